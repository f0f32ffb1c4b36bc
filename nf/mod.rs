// SPDX-License-Identifier: GPL-2.0

//! The netfilter layer that the `kernel` crate lacks: safe types around what the network
//! stack and C code share with a connection tracker.
//!
//! It knows no policy, and nothing of protocols. All unsafe code of the module is here
//! and in the C-callable doors (`ct/abi`, `nat/abi`).

pub(crate) mod attr;
mod bag;
pub(crate) mod bh_lock;
pub(crate) mod bindings;
pub(crate) mod bridge;
pub(crate) mod by_source;
pub(crate) mod chain;
pub(crate) mod conn;
mod conn_end;
mod conn_fresh;
mod conn_stale;
mod conn_user;
pub(crate) mod ctattr;
pub(crate) mod device;
pub(crate) mod ecache;
pub(crate) mod endpoint;
pub(crate) mod expect;
pub(crate) mod expect_table;
pub(crate) mod expect_user;
pub(crate) mod ext;
pub(crate) mod fragments;
pub(crate) mod gre_keymap;
pub(crate) mod helper;
pub(crate) mod helper_table;
mod hlist;
pub(crate) mod hook;
pub(crate) mod l4proto;
pub(crate) mod links;
pub(crate) mod local_ports;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod mutex;
pub(crate) mod nat;
pub(crate) mod nat_hook;
pub(crate) mod net;
pub(crate) mod nfnetlink;
pub(crate) mod notify;
mod object;
pub(crate) mod original_dst;
pub(crate) mod pair;
pub(crate) mod params;
pub(crate) mod port_set;
pub(crate) mod procfs;
pub(crate) mod queue_hook;
pub(crate) mod random;
pub(crate) mod rcu;
pub(crate) mod route;
pub(crate) mod seq_file;
pub(crate) mod seqcount;
pub(crate) mod settings;
pub(crate) mod skb;
pub(crate) mod skb_change;
pub(crate) mod slab;
pub(crate) mod sockets;
pub(crate) mod sysctl;
pub(crate) mod template;
pub(crate) mod time;
pub(crate) mod timeout;
pub(crate) mod tracker;
pub(crate) mod work;
