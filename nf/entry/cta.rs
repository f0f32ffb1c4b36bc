// SPDX-License-Identifier: GPL-2.0

//! Attribute numbers of ctnetlink, under C's names: those that depend on the
//! protocol ([`l4proto`](super::l4proto)), and those of NAT.
//!
//! Modules import them by glob. A policy table has a place for each number up to the highest:
//! `[Policy; CTA_PROTO_MAX + 1]`.
//!
//! C header: [`include/uapi/linux/netfilter/nfnetlink_conntrack.h`](srctree/include/uapi/linux/netfilter/nfnetlink_conntrack.h)

/// Defines constants for values of a C enum. `; MAX < END` makes `MAX` the value before `END`, as
/// C's `#define CTA_MAX (__CTA_MAX - 1)` does.
macro_rules! constants {
    (
        $vis:vis enum $enum:ident { $($name:ident),* $(,)? $(; $max:ident < $end:ident)? }
    ) => {
        ::kernel::macros::paste! {
            $(
                $vis const $name: u16 = $crate::proto::types::num::u32_into_u16::<
                    { $crate::nf::bindings::[<$enum _ $name>] },
                >();
            )*
            $(
                $vis const $max: usize = $crate::proto::types::num::u32_as_usize(
                    $crate::nf::bindings::[<$enum _ $end>],
                ) - 1;
            )?
        }
    };
}

pub(crate) use constants;

// The protocol of a tuple, and its ports or what it has in their place.
constants!(pub(crate) enum ctattr_l4proto {
    CTA_PROTO_NUM,
    CTA_PROTO_SRC_PORT,
    CTA_PROTO_DST_PORT,
    CTA_PROTO_ICMP_ID,
    CTA_PROTO_ICMP_TYPE,
    CTA_PROTO_ICMP_CODE,
    CTA_PROTO_ICMPV6_ID,
    CTA_PROTO_ICMPV6_TYPE,
    CTA_PROTO_ICMPV6_CODE;
    CTA_PROTO_MAX < __CTA_PROTO_MAX
});

// The nest for the state of each protocol.
constants!(pub(crate) enum ctattr_protoinfo {
    CTA_PROTOINFO_TCP,
    CTA_PROTOINFO_SCTP;
    CTA_PROTOINFO_MAX < __CTA_PROTOINFO_MAX
});

// The state of a TCP connection. The flags are followed by a mask.
constants!(pub(crate) enum ctattr_protoinfo_tcp {
    CTA_PROTOINFO_TCP_STATE,
    CTA_PROTOINFO_TCP_WSCALE_ORIGINAL,
    CTA_PROTOINFO_TCP_WSCALE_REPLY,
    CTA_PROTOINFO_TCP_FLAGS_ORIGINAL,
    CTA_PROTOINFO_TCP_FLAGS_REPLY;
    CTA_PROTOINFO_TCP_MAX < __CTA_PROTOINFO_TCP_MAX
});

// The state of an SCTP association.
constants!(pub(crate) enum ctattr_protoinfo_sctp {
    CTA_PROTOINFO_SCTP_STATE,
    CTA_PROTOINFO_SCTP_VTAG_ORIGINAL,
    CTA_PROTOINFO_SCTP_VTAG_REPLY;
    CTA_PROTOINFO_SCTP_MAX < __CTA_PROTOINFO_SCTP_MAX
});

// What NAT changes: addresses, and a nest for ports.
constants!(pub(crate) enum ctattr_nat {
    CTA_NAT_V4_MINIP,
    CTA_NAT_V4_MAXIP,
    CTA_NAT_PROTO,
    CTA_NAT_V6_MINIP,
    CTA_NAT_V6_MAXIP;
    CTA_NAT_MAX < __CTA_NAT_MAX
});

// The ports of a NAT range.
constants!(pub(crate) enum ctattr_protonat {
    CTA_PROTONAT_PORT_MIN,
    CTA_PROTONAT_PORT_MAX;
    CTA_PROTONAT_MAX < __CTA_PROTONAT_MAX
});
