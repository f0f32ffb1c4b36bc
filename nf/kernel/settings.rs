// SPDX-License-Identifier: GPL-2.0

//! The settings of a namespace that are in `struct netns_ct`, where C code finds them.
//!
//! Sysctls write them while packets read them. Each is one aligned word or byte, so that a reader
//! sees it before or after a change.
//!
//! # Examples
//!
//! ```ignore
//! if settings::TCP_LOOSE.read(net) != 0 { .. }
//!
//! // Timeouts are in jiffies. Indices of an array that are constants are checked at build time.
//! let timeouts = settings::UDP_TIMEOUTS.of(net);
//! Setting::seconds(c"nf_conntrack_udp_timeout", settings::UDP_TIMEOUTS.at(udp::UNREPLIED));
//! ```
//!
//! C header: [`include/net/netns/conntrack.h`](srctree/include/net/netns/conntrack.h)

use core::{
    marker::PhantomData,
    mem::{
        offset_of,
        size_of, //
    },
    ptr::addr_of_mut, //
};

use crate::{
    nf::bindings,
    proto::types::{
        num::u32_as_usize,
        timeout::Timeout, //
    },
};

use super::{
    net::Net,
    pernet::NewNet, //
};

/// A field of `struct netns_ct`.
///
/// # Invariants
///
/// `0` is the offset of a field with the layout of a `T`, which is a `u8`, a [`Timeout`] or an
/// array of these.
pub(crate) struct Field<T>(usize, PhantomData<fn() -> T>);

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

impl<T> Field<T> {
    /// Returns the offset in `struct netns_ct`.
    pub(super) const fn offset(self) -> usize {
        self.0
    }

    #[inline]
    fn place(self, net: &Net) -> *mut T {
        net.ct().cast::<u8>().wrapping_add(self.0).cast()
    }
}

impl Field<u8> {
    /// Reads the setting.
    #[inline]
    pub(crate) fn read(self, net: &Net) -> u8 {
        // SAFETY: By the type invariants a byte. A racing write is seen before or after.
        unsafe { bindings::rct_read_once_u8(self.place(net)) }
    }

    /// Sets the initial value.
    pub(crate) fn set_initial(self, net: &NewNet<'_>, value: u8) {
        // SAFETY: By the type invariants a byte, which no other CPU accesses yet.
        unsafe { self.place(net).write(value) };
    }
}

impl Field<Timeout> {
    /// Returns the timeout of a namespace.
    #[inline]
    pub(crate) fn of(self, net: &Net) -> &Timeout {
        // SAFETY: By the type invariants; it lives as long as the namespace.
        unsafe { &*self.place(net) }
    }
}

impl<const N: usize> Field<[Timeout; N]> {
    /// Returns the timeouts of a namespace.
    #[inline]
    pub(crate) fn of(self, net: &Net) -> &[Timeout; N] {
        // SAFETY: By the type invariants; they live as long as the namespace.
        unsafe { &*self.place(net) }
    }

    /// Returns one of the timeouts. For constants: a wrong index does not compile.
    pub(crate) const fn at(self, index: usize) -> Field<Timeout> {
        assert!(index < N);
        // INVARIANT: In bounds of the array.
        Field(self.0 + index * size_of::<Timeout>(), PhantomData)
    }
}

/// Names fields. `$c` is the C type, which has the layout of `$type`.
macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident: $type:ty, $c:ty = $($path:ident).+;)*) => {
        $(
            $(#[$doc])*
            pub(crate) const $name: Field<$type> = {
                // Compiles for a field of that type only.
                let _: fn(&bindings::netns_ct) -> &$c = |ct| &ct.$($path).+;
                assert!(size_of::<$c>() == size_of::<$type>());
                // INVARIANT: See above.
                Field(offset_of!(bindings::netns_ct, $($path).+), PhantomData)
            };
        )*
    };
}

/// The number of TCP timeouts.
const TCP: usize = u32_as_usize(bindings::tcp_conntrack_TCP_CONNTRACK_TIMEOUT_MAX);
/// The number of UDP timeouts.
const UDP: usize = u32_as_usize(bindings::udp_conntrack_UDP_CT_MAX);
/// The number of SCTP timeouts.
const SCTP: usize = u32_as_usize(bindings::sctp_conntrack_SCTP_CONNTRACK_MAX);
/// The number of GRE timeouts.
const GRE: usize = u32_as_usize(bindings::gre_conntrack_GRE_CT_MAX);

fields! {
    /// `nf_conntrack_checksum`: checksums of received packets are verified.
    CHECKSUM: u8, u8 = sysctl_checksum;
    /// `nf_conntrack_acct`: packets and bytes of new connections are counted.
    ACCT: u8, u8 = sysctl_acct;
    /// `nf_conntrack_timestamp`: begin and end of new connections are noted.
    TSTAMP: u8, u8 = sysctl_tstamp;
    /// `nf_conntrack_log_invalid`: the protocol whose INVALID packets are logged; 255 for all.
    LOG_INVALID: u8, u8 = sysctl_log_invalid;
    /// `nf_conntrack_events`: 0 never, 1 always, 2 if there is a listener.
    EVENTS: u8, u8 = sysctl_events;
    /// `nf_conntrack_tcp_loose`: connections are picked up in their middle.
    TCP_LOOSE: u8, u8 = nf_ct_proto.tcp.tcp_loose;
    /// `nf_conntrack_tcp_be_liberal`: of the segments out of window, only a RST is INVALID.
    TCP_BE_LIBERAL: u8, u8 = nf_ct_proto.tcp.tcp_be_liberal;
    /// `nf_conntrack_tcp_max_retrans`: the number of retransmissions until the timeout is cut.
    TCP_MAX_RETRANS: u8, u8 = nf_ct_proto.tcp.tcp_max_retrans;
    /// `nf_conntrack_tcp_ignore_invalid_rst`: a RST out of window is not INVALID.
    TCP_IGNORE_INVALID_RST: u8, u8 = nf_ct_proto.tcp.tcp_ignore_invalid_rst;

    /// `nf_conntrack_tcp_timeout_*`: by state, then by special case.
    TCP_TIMEOUTS: [Timeout; TCP], [u32; TCP] = nf_ct_proto.tcp.timeouts;
    /// `nf_conntrack_udp_timeout`, then `nf_conntrack_udp_timeout_stream`.
    UDP_TIMEOUTS: [Timeout; UDP], [u32; UDP] = nf_ct_proto.udp.timeouts;
    /// `nf_conntrack_sctp_timeout_*`: by state.
    SCTP_TIMEOUTS: [Timeout; SCTP], [u32; SCTP] = nf_ct_proto.sctp.timeouts;
    /// `nf_conntrack_gre_timeout`, then `nf_conntrack_gre_timeout_stream`.
    GRE_TIMEOUTS: [Timeout; GRE], [u32; GRE] = nf_ct_proto.gre.timeouts;
    /// `nf_conntrack_icmp_timeout`: of queries.
    ICMP_TIMEOUT: Timeout, u32 = nf_ct_proto.icmp.timeout;
    /// `nf_conntrack_icmpv6_timeout`: of queries.
    ICMPV6_TIMEOUT: Timeout, u32 = nf_ct_proto.icmpv6.timeout;
    /// `nf_conntrack_generic_timeout`: of protocols without a tracker.
    GENERIC_TIMEOUT: Timeout, u32 = nf_ct_proto.generic.timeout;
    /// `nf_flowtable_tcp_timeout`: of TCP connections that a flow table forwards.
    #[cfg(CONFIG_NF_FLOW_TABLE)]
    TCP_OFFLOAD_TIMEOUT: Timeout, u32 = nf_ct_proto.tcp.offload_timeout;
    /// `nf_flowtable_udp_timeout`: of UDP connections that a flow table forwards.
    #[cfg(CONFIG_NF_FLOW_TABLE)]
    UDP_OFFLOAD_TIMEOUT: Timeout, u32 = nf_ct_proto.udp.offload_timeout;
}

impl Net {
    /// Returns the list of the maps of GRE keys.
    #[inline]
    pub(in crate::nf) fn keymaps(&self) -> *mut bindings::list_head {
        // SAFETY: In bounds.
        unsafe { addr_of_mut!((*self.ct()).nf_ct_proto.gre.keymap_list) }
    }
}
