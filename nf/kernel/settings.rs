// SPDX-License-Identifier: GPL-2.0

//! The settings of a namespace that C code knows the place of: `struct netns_ct`.
//!
//! Sysctls write them while packets read them. Each is one aligned word or byte, so a
//! reader sees it before or after a change.
//!
//! C header: [`include/net/netns/conntrack.h`](srctree/include/net/netns/conntrack.h)

use core::{
    mem::size_of,
    ptr::{
        addr_of,
        addr_of_mut, //
    }, //
};

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

use crate::nf::bindings;

use super::net::Net;

/// A setting of a namespace that sysctls and C code write at any time.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: u8 = $($path:ident).+;)*) => {
        impl Net {
            $(
                $(#[$doc])*
                #[inline]
                pub(crate) fn $name(&self) -> u8 {
                    // SAFETY: A valid byte; a racing write is seen before or after.
                    unsafe { bindings::rct_read_once_u8(addr_of_mut!((*self.ct()).$($path).+)) }
                }
            )*
        }
    };
}

settings! {
    /// `nf_conntrack_checksum`: verify checksums of received packets.
    checksum: u8 = sysctl_checksum;
    /// `nf_conntrack_acct`: count packets and bytes of new connections.
    acct: u8 = sysctl_acct;
    /// `nf_conntrack_timestamp`: note begin and end of new connections.
    tstamp: u8 = sysctl_tstamp;
    /// `nf_conntrack_log_invalid`: the protocol whose INVALID packets are logged.
    log_invalid: u8 = sysctl_log_invalid;
    /// `nf_conntrack_events`: 0 never, 1 always, 2 if somebody listens.
    events: u8 = sysctl_events;
    /// `nf_conntrack_tcp_loose`: pick up connections in their middle.
    tcp_loose: u8 = nf_ct_proto.tcp.tcp_loose;
    /// `nf_conntrack_tcp_be_liberal`: only a RST out of window is INVALID.
    tcp_be_liberal: u8 = nf_ct_proto.tcp.tcp_be_liberal;
    /// `nf_conntrack_tcp_max_retrans`: retransmissions until the timeout is cut.
    tcp_max_retrans: u8 = nf_ct_proto.tcp.tcp_max_retrans;
    /// `nf_conntrack_tcp_ignore_invalid_rst`: a RST out of window is not INVALID.
    tcp_ignore_invalid_rst: u8 = nf_ct_proto.tcp.tcp_ignore_invalid_rst;
}

/// The number of TCP timeouts, indexed by state, then by special case.
pub(crate) const TCP_TIMEOUTS: usize = bindings::tcp_conntrack_TCP_CONNTRACK_TIMEOUT_MAX as usize;

/// The number of UDP timeouts: unreplied, stream.
pub(crate) const UDP_TIMEOUTS: usize = bindings::udp_conntrack_UDP_CT_MAX as usize;

/// The number of SCTP timeouts, indexed by state.
pub(crate) const SCTP_TIMEOUTS: usize = bindings::sctp_conntrack_SCTP_CONNTRACK_MAX as usize;

/// The number of GRE timeouts: unreplied, answered.
pub(crate) const GRE_TIMEOUTS: usize = bindings::gre_conntrack_GRE_CT_MAX as usize;

/// What a namespace begins with; timeouts in jiffies.
pub(crate) struct Defaults {
    /// By state, then by special case.
    pub(crate) tcp: [u32; TCP_TIMEOUTS],
    /// Unreplied, stream.
    pub(crate) udp: [u32; UDP_TIMEOUTS],
    /// By state.
    pub(crate) sctp: [u32; SCTP_TIMEOUTS],
    /// Unreplied, answered.
    pub(crate) gre: [u32; GRE_TIMEOUTS],
    /// What flow tables forward, without another packet.
    #[cfg_attr(not(CONFIG_NF_FLOW_TABLE), expect(dead_code))]
    pub(crate) offload: u32,
    /// ICMP queries.
    pub(crate) icmp: u32,
    /// ICMPv6 queries.
    pub(crate) icmpv6: u32,
    /// Everything else.
    pub(crate) generic: u32,
    /// Retransmissions until the timeout is cut.
    pub(crate) tcp_max_retrans: u8,
    /// Count packets and bytes.
    pub(crate) acct: bool,
    /// Note begin and end.
    pub(crate) tstamp: bool,
}

impl Net {
    /// Sets everything, before packets come.
    pub(crate) fn set_defaults(&self, defaults: &Defaults) {
        let ct = self.ct();
        // SAFETY: The namespace's part is valid, and nobody reads it yet.
        unsafe {
            (*ct).sysctl_checksum = 1;
            (*ct).sysctl_log_invalid = 0;
            (*ct).sysctl_events = 2;
            (*ct).sysctl_acct = defaults.acct.into();
            (*ct).sysctl_tstamp = defaults.tstamp.into();
            let proto = addr_of_mut!((*ct).nf_ct_proto);
            (*proto).generic.timeout = defaults.generic;
            (*proto).icmp.timeout = defaults.icmp;
            (*proto).icmpv6.timeout = defaults.icmpv6;
            (*proto).udp.timeouts = defaults.udp;
            (*proto).tcp.timeouts = defaults.tcp;
            (*proto).sctp.timeouts = defaults.sctp;
            (*proto).gre.timeouts = defaults.gre;
            bindings::rct_list_init(addr_of_mut!((*proto).gre.keymap_list));
            #[cfg(CONFIG_NF_FLOW_TABLE)]
            {
                (*proto).tcp.offload_timeout = defaults.offload;
                (*proto).udp.offload_timeout = defaults.offload;
            }
            (*proto).tcp.tcp_loose = 1;
            (*proto).tcp.tcp_be_liberal = 0;
            (*proto).tcp.tcp_max_retrans = defaults.tcp_max_retrans;
            (*proto).tcp.tcp_ignore_invalid_rst = 0;
        }
    }

    /// `nf_conntrack_tcp_timeout_*`, in jiffies.
    #[inline]
    pub(crate) fn tcp_timeouts(&self) -> &[u32; TCP_TIMEOUTS] {
        // SAFETY: Valid; see the head of this file for racing writes.
        unsafe { &*addr_of!((*self.ct()).nf_ct_proto.tcp.timeouts) }
    }

    /// `nf_conntrack_udp_timeout` and `…_stream`, in jiffies.
    #[inline]
    pub(crate) fn udp_timeouts(&self) -> &[u32; UDP_TIMEOUTS] {
        // SAFETY: Valid; see the head of this file for racing writes.
        unsafe { &*addr_of!((*self.ct()).nf_ct_proto.udp.timeouts) }
    }

    /// `nf_conntrack_sctp_timeout_*`, in jiffies.
    #[inline]
    pub(crate) fn sctp_timeouts(&self) -> &[u32; SCTP_TIMEOUTS] {
        // SAFETY: Valid; see the head of this file for racing writes.
        unsafe { &*addr_of!((*self.ct()).nf_ct_proto.sctp.timeouts) }
    }

    /// `nf_conntrack_gre_timeout` and `…_stream`, in jiffies.
    #[inline]
    pub(crate) fn gre_timeouts(&self) -> &[u32; GRE_TIMEOUTS] {
        // SAFETY: Valid; see the head of this file for racing writes.
        unsafe { &*addr_of!((*self.ct()).nf_ct_proto.gre.timeouts) }
    }

    /// The list of the maps of GRE keys.
    #[inline]
    pub(in crate::nf) fn keymaps(&self) -> *mut bindings::list_head {
        // SAFETY: In bounds.
        unsafe { addr_of_mut!((*self.ct()).nf_ct_proto.gre.keymap_list) }
    }

    /// `nf_conntrack_icmp_timeout`, in jiffies.
    #[inline]
    pub(crate) fn icmp_timeout(&self) -> u32 {
        // SAFETY: A valid, aligned word.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.ct()).nf_ct_proto.icmp.timeout)) }
            .load(Relaxed)
    }

    /// `nf_conntrack_icmpv6_timeout`, in jiffies.
    #[inline]
    pub(crate) fn icmpv6_timeout(&self) -> u32 {
        // SAFETY: A valid, aligned word.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.ct()).nf_ct_proto.icmpv6.timeout)) }
            .load(Relaxed)
    }

    /// `nf_conntrack_generic_timeout`, in jiffies.
    #[inline]
    pub(crate) fn generic_timeout(&self) -> u32 {
        // SAFETY: A valid, aligned word.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.ct()).nf_ct_proto.generic.timeout)) }
            .load(Relaxed)
    }
}

/// As many words as there are.
const fn cells<T, const N: usize>(words: *mut T) -> *const [Atomic<u32>; N] {
    const { assert!(size_of::<T>() == N * size_of::<u32>()) };
    words.cast_const().cast()
}

/// Hands out a protocol's timeouts to those who change them.
macro_rules! timeout_cells {
    ($($(#[$doc:meta])* $name:ident: $count:expr => $($path:ident).+;)*) => {
        impl Net {
            $(
                $(#[$doc])*
                pub(crate) fn $name(&self) -> &[Atomic<u32>; $count] {
                    // SAFETY: In bounds.
                    let words = unsafe { addr_of_mut!((*self.ct()).nf_ct_proto.$($path).+) };
                    // SAFETY: Valid, aligned words, which live as long as the namespace and are
                    // written atomically.
                    unsafe { &*cells(words) }
                }
            )*
        }
    };
}

timeout_cells! {
    /// Of TCP, in jiffies, to be changed.
    tcp_timeout_cells: TCP_TIMEOUTS => tcp.timeouts;
    /// Of UDP, in jiffies, to be changed.
    udp_timeout_cells: UDP_TIMEOUTS => udp.timeouts;
    /// Of SCTP, in jiffies, to be changed.
    sctp_timeout_cells: SCTP_TIMEOUTS => sctp.timeouts;
    /// Of GRE, in jiffies, to be changed.
    gre_timeout_cells: GRE_TIMEOUTS => gre.timeouts;
    /// Of ICMP, in jiffies, to be changed.
    icmp_timeout_cells: 1 => icmp.timeout;
    /// Of ICMPv6, in jiffies, to be changed.
    icmpv6_timeout_cells: 1 => icmpv6.timeout;
    /// Of everything else, in jiffies, to be changed.
    generic_timeout_cells: 1 => generic.timeout;
}
