// SPDX-License-Identifier: GPL-2.0

//! The kernel's interfaces that have nothing to do with packets and entries: locks, RCU, reference
//! counts, namespaces, netlink, `/proc`, sysctls, sockets, time, work.

pub(crate) mod attr;
pub(crate) mod cpu;
pub(crate) mod endpoint;
pub(crate) mod errno;
pub(crate) mod hlist;
pub(crate) mod layout;
pub(crate) mod local_ports;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod module_folder;
pub(crate) mod net;
mod netns_ct;
pub(crate) mod nfnetlink;
pub(crate) mod params;
pub(crate) mod pernet;
pub(crate) mod port_set;
pub(crate) mod procfs;
pub(crate) mod random;
pub(crate) mod rcu;
pub(crate) mod refcount;
pub(crate) mod seq_file;
pub(crate) mod seqcount;
pub(crate) mod settings;
pub(crate) mod siphash;
pub(crate) mod sockets;
pub(crate) mod static_lock;
pub(crate) mod sysctl;
pub(crate) mod time;
pub(crate) mod work;
