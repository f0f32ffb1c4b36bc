// SPDX-License-Identifier: GPL-2.0

//! The decision about the translation of a connection, made once for each of its two ends.
//!
//! # Examples
//!
//! ```ignore
//! // The rule `snat to 192.0.2.1:1024-2047` meets the first packet of a connection.
//! let range = Range {
//!     flags: flag::MAP_IPS | flag::PROTO_SPECIFIED,
//!     min_key: 1024_u16.to_be_bytes(),
//!     max_key: 2047_u16.to_be_bytes(),
//!     ..Range::address(address)
//! };
//! let verdict = setup::setup_info(entry, &range, Manip::Source);
//! // NF_ACCEPT: the reply tuple is addressed to 192.0.2.1 and a free port of the range, the status
//! // has `SrcNat` and `SrcNatDone`. NF_DROP: no port is free.
//! ```

use kernel::{
    fmt,
    sync::atomic::Relaxed, //
};

use crate::{
    ct::figures::{
        causes::{
            self,
            Refusal, //
        },
        nat::NatCounts, //
    },
    nf::{
        entry::{
            conn::{
                Entry,
                Status, //
            },
            help::Help, //
        },
        kernel::{
            log::{
                pr_warn,
                pr_warn_once, //
            },
            net::Stat, //
        },
        packet::{
            hook::InetHook,
            log,
            nat::Unconfirmed, //
        },
        prelude::*, //
    },
    proto::nat::{
        occupancy::Choice,
        range::{
            flag,
            Range, //
        },
        Manip, //
    },
};

use super::{
    bysource,
    choose,
    netns::NatState, //
};

/// Returns the end that is translated at a hook.
#[inline]
pub(super) fn manip_at(hooknum: u32) -> Manip {
    if hooknum == InetHook::PostRouting.number() || hooknum == InetHook::LocalIn.number() {
        Manip::Source
    } else {
        Manip::Destination
    }
}

/// Returns the status bit of a translated end (`IPS_SRC_NAT`, `IPS_DST_NAT`).
#[inline]
pub(super) fn changed_bit(manip: Manip) -> StatusBit {
    match manip {
        Manip::Source => StatusBit::SrcNat,
        Manip::Destination => StatusBit::DstNat,
    }
}

fn done_bit(manip: Manip) -> StatusBit {
    match manip {
        Manip::Source => StatusBit::SrcNatDone,
        Manip::Destination => StatusBit::DstNatDone,
    }
}

/// Returns whether the decision about an end is made.
#[inline]
pub(super) fn is_done(status: Status, manip: Manip) -> bool {
    status.has(done_bit(manip))
}

/// Decides about an end of a connection, within `range` (`nf_nat_setup_info`).
pub(super) fn setup_info(mut entry: Unconfirmed<'_>, range: &Range, manip: Manip) -> Verdict {
    let conn = entry.conn();
    if is_done(conn.status(), manip) {
        pr_warn_once!("a connection was to be translated twice\n");
        return Verdict::Drop;
    }
    // The packet after the translation of the other end, if that is decided.
    let Some(current) = conn.tuple(Direction::Reply).invert() else {
        return Verdict::Drop;
    };
    let rcu = RcuGuard::new();
    let chosen = match choose::choose(&mut entry, &current, range, manip, rcu.token()) {
        Choice::Found(chosen) => chosen,
        Choice::Exhausted(tuple) => {
            if manip == Manip::Source && conn.net().state::<NatState>().is_thorough() {
                return refuse(conn, &tuple, range);
            }
            // A clash is detected when the connection is confirmed.
            tuple
        }
    };
    if apply(&mut entry, &current, &chosen, manip).is_none() {
        choose::release(conn, rcu.token());
        return Verdict::Drop;
    }
    match manip {
        // Sets the bit, too.
        Manip::Source => bysource::insert(conn, rcu.token()),
        Manip::Destination => conn.set(StatusBit::DstNatDone),
    }
    Verdict::Accept
}

/// Stores the inverse of `chosen` as the reply tuple. [`None`]: it has none, or there is no memory.
fn apply(entry: &mut Unconfirmed<'_>, current: &Tuple, chosen: &Tuple, manip: Manip) -> Option<()> {
    let conn = entry.conn();
    let reply = chosen.invert()?;
    // A rejected choice may have stored another reply tuple.
    if conn.tuple(Direction::Reply) != reply {
        entry.set_reply(&reply);
    }
    if chosen != current {
        conn.set(changed_bit(manip));
        // A helper may change the length of the stream when it rewrites addresses in it.
        if conn.extensions().find::<Help>().is_some() {
            entry.ensure_seqadj()?;
        }
    }
    Some(())
}

/// Drops the packet: every mapping that the range allows is taken.
#[cold]
fn refuse(conn: &Entry, tuple: &Tuple, range: &Range) -> Verdict {
    let net = conn.net();
    NatCounts::of(net).exhausted.fetch_add(1, Relaxed);
    net.count_one(Stat::Drop);
    net.count_figure(causes::refused(Refusal::NoPort));
    if log::ratelimit() {
        let family = tuple.family();
        pr_warn!(
            "nf_nat: no port left at {} towards {} port {}, protocol {}{}: packet dropped\n",
            Address(family, &tuple.src),
            Address(family, &tuple.dst),
            tuple.dst_port(),
            tuple.protonum,
            Ports(range),
        );
    }
    Verdict::Drop
}

/// An address for display.
struct Address<'a>(Option<Family>, &'a [u8; 16]);

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(family, address) = *self;
        if family == Some(Family::Ipv4) {
            let [a, b, c, d, ..] = *address;
            return write!(f, "{a}.{b}.{c}.{d}");
        }
        for (index, group) in address.chunks_exact(2).enumerate() {
            let &[high, low] = group else { continue };
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{:x}", u16::from_be_bytes([high, low]))?;
        }
        Ok(())
    }
}

/// The port range of a rule for display.
struct Ports<'a>(&'a Range);

impl fmt::Display for Ports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(range) = self;
        if !range.has(flag::PROTO_SPECIFIED) {
            return Ok(());
        }
        let number = u16::from_be_bytes;
        write!(
            f,
            ", ports {}-{}",
            number(range.min_key),
            number(range.max_key)
        )
    }
}

/// Decides that an end keeps its address and key, unless another connection has the same reply
/// tuple (`nf_nat_alloc_null_binding`).
pub(super) fn null_binding(entry: Unconfirmed<'_>, manip: Manip) -> Verdict {
    let conn = entry.conn();
    // The reply tuple holds the decision about the other end.
    let reply = conn.tuple(Direction::Reply);
    let address = match manip {
        Manip::Source => reply.dst,
        Manip::Destination => reply.src,
    };
    let verdict = setup_info(entry, &Range::address(address), manip);
    if manip == Manip::Source && conn.has(StatusBit::SrcNat) {
        NatCounts::of(conn.net()).clashes.fetch_add(1, Relaxed);
    }
    verdict
}
