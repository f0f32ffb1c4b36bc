// SPDX-License-Identifier: GPL-2.0

//! The names that nearly every file of `ct` and `nat` imports, as [`kernel::prelude`] has those of
//! nearly every module.
//!
//! `nf` itself does not use it: its folders import each other by name, which shows their order.

pub(crate) use crate::{
    nf::{
        entry::conn::{
            Conn,
            StatusBit, //
        },
        kernel::{
            lock::BhDisabled,
            net::Net,
            rcu::{
                Rcu,
                RcuGuard, //
            },
        },
        packet::{
            hook::Verdict,
            skb::{
                CtInfo,
                Skb, //
            },
        },
    },
    proto::types::{
        direction::Direction,
        family::Family,
        protocol,
        tuple::Tuple,
        zone::Zone, //
    },
};
