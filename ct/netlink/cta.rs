// SPDX-License-Identifier: GPL-2.0

//! The message and attribute numbers of ctnetlink, under C's names. Those that depend on the
//! protocol, and those of NAT, are in [`crate::nf::entry::cta`].
//!
//! Modules of this folder import them by glob. A policy table has a place for each number up to
//! the highest: `[Policy; CTA_MAX + 1]`.
//!
//! C header: [`include/uapi/linux/netfilter/nfnetlink_conntrack.h`](srctree/include/uapi/linux/netfilter/nfnetlink_conntrack.h)

use crate::{
    nf::{
        bindings,
        entry::cta::constants, //
    },
    proto::types::num::u32_as_usize, //
};

pub(super) use crate::nf::entry::cta::*;

// Messages of the subsystem of connections.
constants!(
    pub(super) enum cntl_msg_types {
        IPCTNL_MSG_CT_NEW,
        IPCTNL_MSG_CT_GET,
        IPCTNL_MSG_CT_DELETE,
        IPCTNL_MSG_CT_GET_CTRZERO,
        IPCTNL_MSG_CT_GET_STATS_CPU,
        IPCTNL_MSG_CT_GET_STATS,
        IPCTNL_MSG_CT_GET_DYING,
        IPCTNL_MSG_CT_GET_UNCONFIRMED,
    }
);

// Messages of the subsystem of expectations.
constants!(
    pub(super) enum ctnl_exp_msg_types {
        IPCTNL_MSG_EXP_NEW,
        IPCTNL_MSG_EXP_GET,
        IPCTNL_MSG_EXP_DELETE,
        IPCTNL_MSG_EXP_GET_STATS_CPU,
    }
);

// An entry.
constants!(pub(super) enum ctattr_type {
    CTA_TUPLE_ORIG,
    CTA_TUPLE_REPLY,
    CTA_STATUS,
    CTA_PROTOINFO,
    CTA_HELP,
    CTA_NAT_SRC,
    CTA_TIMEOUT,
    CTA_MARK,
    CTA_COUNTERS_ORIG,
    CTA_COUNTERS_REPLY,
    CTA_USE,
    CTA_ID,
    CTA_NAT_DST,
    CTA_TUPLE_MASTER,
    CTA_SEQ_ADJ_ORIG,
    CTA_SEQ_ADJ_REPLY,
    CTA_ZONE,
    CTA_SECCTX,
    CTA_TIMESTAMP,
    CTA_MARK_MASK,
    CTA_LABELS,
    CTA_LABELS_MASK,
    CTA_SYNPROXY,
    CTA_FILTER,
    CTA_STATUS_MASK,
    CTA_TIMESTAMP_EVENT;
    CTA_MAX < __CTA_MAX
});

// A tuple.
constants!(pub(super) enum ctattr_tuple {
    CTA_TUPLE_IP,
    CTA_TUPLE_PROTO,
    CTA_TUPLE_ZONE;
    CTA_TUPLE_MAX < __CTA_TUPLE_MAX
});

// The addresses of a tuple.
constants!(pub(super) enum ctattr_ip {
    CTA_IP_V4_SRC,
    CTA_IP_V4_DST,
    CTA_IP_V6_SRC,
    CTA_IP_V6_DST;
    CTA_IP_MAX < __CTA_IP_MAX
});

// The counters of one direction.
constants!(
    pub(super) enum ctattr_counters {
        CTA_COUNTERS_PACKETS,
        CTA_COUNTERS_BYTES,
        CTA_COUNTERS_PAD,
    }
);

// The times of an entry's start and end, in nanoseconds since 1970.
constants!(
    pub(super) enum ctattr_tstamp {
        CTA_TIMESTAMP_START,
        CTA_TIMESTAMP_STOP,
        CTA_TIMESTAMP_PAD,
    }
);

// The helper of an entry.
constants!(pub(super) enum ctattr_help {
    CTA_HELP_NAME,
    CTA_HELP_INFO;
    CTA_HELP_MAX < __CTA_HELP_MAX
});

// The sequence adjustment of one direction.
constants!(pub(super) enum ctattr_seqadj {
    CTA_SEQADJ_CORRECTION_POS,
    CTA_SEQADJ_OFFSET_BEFORE,
    CTA_SEQADJ_OFFSET_AFTER;
    CTA_SEQADJ_MAX < __CTA_SEQADJ_MAX
});

// The state of SYNPROXY.
constants!(pub(super) enum ctattr_synproxy {
    CTA_SYNPROXY_ISN,
    CTA_SYNPROXY_ITS,
    CTA_SYNPROXY_TSOFF;
    CTA_SYNPROXY_MAX < __CTA_SYNPROXY_MAX
});

// A security context.
#[cfg(CONFIG_NF_CONNTRACK_SECMARK)]
constants!(
    pub(super) enum ctattr_secctx {
        CTA_SECCTX_NAME,
    }
);

// The fields of one tuple that a filter compares.
constants!(pub(super) enum ctattr_filter {
    CTA_FILTER_ORIG_FLAGS,
    CTA_FILTER_REPLY_FLAGS;
    CTA_FILTER_MAX < __CTA_FILTER_MAX
});

// The counters of connections, of one CPU.
constants!(
    pub(super) enum ctattr_stats_cpu {
        CTA_STATS_FOUND,
        CTA_STATS_INVALID,
        CTA_STATS_INSERT,
        CTA_STATS_INSERT_FAILED,
        CTA_STATS_DROP,
        CTA_STATS_EARLY_DROP,
        CTA_STATS_ERROR,
        CTA_STATS_SEARCH_RESTART,
        CTA_STATS_CLASH_RESOLVE,
        CTA_STATS_CHAIN_TOOLONG,
    }
);

// The number of entries of a namespace, and its limit.
constants!(
    pub(super) enum ctattr_stats_global {
        CTA_STATS_GLOBAL_ENTRIES,
        CTA_STATS_GLOBAL_MAX_ENTRIES,
    }
);

// The counters of expectations, of one CPU.
constants!(
    pub(super) enum ctattr_expect_stats {
        CTA_STATS_EXP_NEW,
        CTA_STATS_EXP_CREATE,
        CTA_STATS_EXP_DELETE,
    }
);

// An expectation.
constants!(pub(super) enum ctattr_expect {
    CTA_EXPECT_MASTER,
    CTA_EXPECT_TUPLE,
    CTA_EXPECT_MASK,
    CTA_EXPECT_TIMEOUT,
    CTA_EXPECT_ID,
    CTA_EXPECT_HELP_NAME,
    CTA_EXPECT_ZONE,
    CTA_EXPECT_FLAGS,
    CTA_EXPECT_CLASS,
    CTA_EXPECT_NAT,
    CTA_EXPECT_FN;
    CTA_EXPECT_MAX < __CTA_EXPECT_MAX
});

// The NAT of an expected connection.
constants!(pub(super) enum ctattr_expect_nat {
    CTA_EXPECT_NAT_DIR,
    CTA_EXPECT_NAT_TUPLE;
    CTA_EXPECT_NAT_MAX < __CTA_EXPECT_NAT_MAX
});

/// Number of messages of the subsystem of connections.
pub(super) const IPCTNL_MSG_MAX: usize = u32_as_usize(bindings::cntl_msg_types_IPCTNL_MSG_MAX);

/// Number of messages of the subsystem of expectations.
pub(super) const IPCTNL_MSG_EXP_MAX: usize =
    u32_as_usize(bindings::ctnl_exp_msg_types_IPCTNL_MSG_EXP_MAX);

/// Flag of an expectation: a helper in user space made it.
pub(super) const NF_CT_EXPECT_USERSPACE: u32 = bindings::NF_CT_EXPECT_USERSPACE;

/// The flags of an expectation that user space knows.
pub(super) const NF_CT_EXPECT_MASK: u32 = bindings::NF_CT_EXPECT_PERMANENT
    | bindings::NF_CT_EXPECT_INACTIVE
    | bindings::NF_CT_EXPECT_USERSPACE;

/// Attribute of an entry that the C tracker does not have: the
/// [`DestroyReason`](crate::ct::life::delete::DestroyReason) of an entry that ended, one byte.
pub(super) const CTA_RCT_DESTROY_REASON: u16 = 0x30e1;

/// Attribute of [`IPCTNL_MSG_CT_GET_STATS`] that the C tracker does not have: the number of
/// entries that pass the filter of the request, four bytes in network byte order.
pub(super) const CTA_RCT_MATCHING: u16 = 0x30e2;

// Reserved:
// 0x30e3  flag of a dump request: also the attributes that only a restore needs
// 0x30e4  those attributes of an entry
// 0x30e5  a block of ports that NAT gave to a source
// 0x30e6  the sequence number of an event
// 0x30e7  a dump request for what changed since that sequence number

/// The highest number that is reserved for attributes that the C tracker does not have.
#[allow(dead_code)] // To rustc 1.85, an assertion at compile time is no use.
const CTA_RCT_MAX: u16 = 0x30e7;

// Some readers keep eight bits of an attribute's type (Go's ti-mo/conntrack, older versions of
// florianl/go-conntrack), so the low byte of a private number must be a number that C does not
// use, at any level of nesting. 0x80 leaves room: C's numbers grow by one at a time. The two high
// bits of a type are flags (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`), and a reader may take the type
// for a signed number.
const _: () = {
    const FREE_LOW_BYTE: usize = 0x80;
    assert!(CTA_RCT_DESTROY_REASON & 0xff >= 0x80 && CTA_RCT_DESTROY_REASON < CTA_RCT_MATCHING);
    assert!(CTA_RCT_MATCHING < CTA_RCT_MAX);
    assert!(CTA_RCT_DESTROY_REASON >> 8 == CTA_RCT_MAX >> 8 && CTA_RCT_MAX < 0x4000);
    let c = [
        CTA_MAX,
        CTA_TUPLE_MAX,
        CTA_IP_MAX,
        CTA_PROTO_MAX,
        CTA_PROTOINFO_MAX,
        CTA_PROTOINFO_TCP_MAX,
        CTA_PROTOINFO_SCTP_MAX,
        u32_as_usize(bindings::ctattr_counters___CTA_COUNTERS_MAX),
        u32_as_usize(bindings::ctattr_tstamp___CTA_TIMESTAMP_MAX),
        CTA_NAT_MAX,
        CTA_PROTONAT_MAX,
        u32_as_usize(bindings::ctattr_secctx___CTA_SECCTX_MAX),
        u32_as_usize(bindings::ctattr_stats_cpu___CTA_STATS_MAX),
        u32_as_usize(bindings::ctattr_stats_global___CTA_STATS_GLOBAL_MAX),
        u32_as_usize(bindings::ctattr_expect_stats___CTA_STATS_EXP_MAX),
        CTA_HELP_MAX,
        CTA_SEQADJ_MAX,
        CTA_SYNPROXY_MAX,
        CTA_FILTER_MAX,
        CTA_EXPECT_MAX,
        CTA_EXPECT_NAT_MAX,
    ];
    let mut level = 0;
    while level < c.len() {
        assert!(c[level] < FREE_LOW_BYTE);
        level += 1;
    }
};
