// SPDX-License-Identifier: GPL-2.0

//! Numbers of ctnetlink: its messages, and the attributes in them.
//!
//! C header: [`include/uapi/linux/netfilter/nfnetlink_conntrack.h`](srctree/include/uapi/linux/netfilter/nfnetlink_conntrack.h)

use crate::nf::bindings as b;

/// Gives C's numbers the names and the type under which they are used here.
macro_rules! numbers {
    ($($name:ident = $c:ident),* $(,)?) => {
        // CAST: numbers of attributes and messages are small.
        $(pub(crate) const $name: u16 = super::b::$c as u16;)*
    };
}

/// Messages about connections (`IPCTNL_MSG_CT_*`).
pub(crate) mod message {
    numbers! {
        NEW = cntl_msg_types_IPCTNL_MSG_CT_NEW,
        GET = cntl_msg_types_IPCTNL_MSG_CT_GET,
        DELETE = cntl_msg_types_IPCTNL_MSG_CT_DELETE,
        GET_AND_ZERO = cntl_msg_types_IPCTNL_MSG_CT_GET_CTRZERO,
        STATISTICS_OF_CPUS = cntl_msg_types_IPCTNL_MSG_CT_GET_STATS_CPU,
        STATISTICS = cntl_msg_types_IPCTNL_MSG_CT_GET_STATS,
        GET_DYING = cntl_msg_types_IPCTNL_MSG_CT_GET_DYING,
        GET_UNCONFIRMED = cntl_msg_types_IPCTNL_MSG_CT_GET_UNCONFIRMED,
    }

    /// How many there are.
    pub(crate) const COUNT: usize = super::b::cntl_msg_types_IPCTNL_MSG_MAX as usize;
}

/// Messages about expectations (`IPCTNL_MSG_EXP_*`).
pub(crate) mod expect_message {
    numbers! {
        NEW = ctnl_exp_msg_types_IPCTNL_MSG_EXP_NEW,
        GET = ctnl_exp_msg_types_IPCTNL_MSG_EXP_GET,
        DELETE = ctnl_exp_msg_types_IPCTNL_MSG_EXP_DELETE,
        STATISTICS_OF_CPUS = ctnl_exp_msg_types_IPCTNL_MSG_EXP_GET_STATS_CPU,
    }

    /// How many there are.
    pub(crate) const COUNT: usize = super::b::ctnl_exp_msg_types_IPCTNL_MSG_EXP_MAX as usize;
}

/// An entry (`CTA_*`).
pub(crate) mod entry {
    numbers! {
        ORIGINAL = ctattr_type_CTA_TUPLE_ORIG,
        REPLY = ctattr_type_CTA_TUPLE_REPLY,
        STATUS = ctattr_type_CTA_STATUS,
        PROTOCOL_INFO = ctattr_type_CTA_PROTOINFO,
        HELP = ctattr_type_CTA_HELP,
        NAT_SOURCE = ctattr_type_CTA_NAT_SRC,
        TIMEOUT = ctattr_type_CTA_TIMEOUT,
        MARK = ctattr_type_CTA_MARK,
        COUNTERS_ORIGINAL = ctattr_type_CTA_COUNTERS_ORIG,
        COUNTERS_REPLY = ctattr_type_CTA_COUNTERS_REPLY,
        USE = ctattr_type_CTA_USE,
        ID = ctattr_type_CTA_ID,
        NAT_DESTINATION = ctattr_type_CTA_NAT_DST,
        MASTER = ctattr_type_CTA_TUPLE_MASTER,
        SHIFT_ORIGINAL = ctattr_type_CTA_SEQ_ADJ_ORIG,
        SHIFT_REPLY = ctattr_type_CTA_SEQ_ADJ_REPLY,
        ZONE = ctattr_type_CTA_ZONE,
        SECURITY = ctattr_type_CTA_SECCTX,
        TIMES = ctattr_type_CTA_TIMESTAMP,
        MARK_MASK = ctattr_type_CTA_MARK_MASK,
        LABELS = ctattr_type_CTA_LABELS,
        LABELS_MASK = ctattr_type_CTA_LABELS_MASK,
        SYNPROXY = ctattr_type_CTA_SYNPROXY,
        FILTER = ctattr_type_CTA_FILTER,
        STATUS_MASK = ctattr_type_CTA_STATUS_MASK,
        EVENT_TIME = ctattr_type_CTA_TIMESTAMP_EVENT,
    }

    /// Places in a table of them.
    pub(crate) const PLACES: usize = super::b::ctattr_type___CTA_MAX as usize;
}

/// What the C tracker does not know. The numbers lie far above its own, which grow by one at a
/// time, and have no bit that means something else.
pub(crate) mod own {
    /// Of an entry that ended: why. One byte.
    pub(crate) const WHY: u16 = 0x3001;
    /// Of global statistics: how many entries pass the filter of the request. Four bytes.
    pub(crate) const MATCHING: u16 = 0x3002;
}

/// A tuple (`CTA_TUPLE_*`).
pub(crate) mod tuple {
    numbers! {
        ADDRESSES = ctattr_tuple_CTA_TUPLE_IP,
        TRANSPORT = ctattr_tuple_CTA_TUPLE_PROTO,
        ZONE = ctattr_tuple_CTA_TUPLE_ZONE,
    }

    /// Places in a table of them.
    pub(crate) const PLACES: usize = super::b::ctattr_tuple___CTA_TUPLE_MAX as usize;
}

/// A tuple's addresses (`CTA_IP_*`).
pub(crate) mod address {
    numbers! {
        V4_SOURCE = ctattr_ip_CTA_IP_V4_SRC,
        V4_DESTINATION = ctattr_ip_CTA_IP_V4_DST,
        V6_SOURCE = ctattr_ip_CTA_IP_V6_SRC,
        V6_DESTINATION = ctattr_ip_CTA_IP_V6_DST,
    }

    /// Places in a table of them.
    pub(crate) const PLACES: usize = super::b::ctattr_ip___CTA_IP_MAX as usize;
}

/// A tuple's transport part (`CTA_PROTO_*`); the rest is in
/// [`TupleAttribute`](crate::nf::entry::l4proto::TupleAttribute).
pub(crate) mod transport {
    numbers! {
        PROTOCOL = ctattr_l4proto_CTA_PROTO_NUM,
    }
}

/// What a direction's packets come to (`CTA_COUNTERS_*`).
pub(crate) mod counters {
    numbers! {
        PACKETS = ctattr_counters_CTA_COUNTERS_PACKETS,
        BYTES = ctattr_counters_CTA_COUNTERS_BYTES,
        PAD = ctattr_counters_CTA_COUNTERS_PAD,
    }
}

/// When it began and ended (`CTA_TIMESTAMP_*`).
pub(crate) mod times {
    numbers! {
        START = ctattr_tstamp_CTA_TIMESTAMP_START,
        STOP = ctattr_tstamp_CTA_TIMESTAMP_STOP,
        PAD = ctattr_tstamp_CTA_TIMESTAMP_PAD,
    }
}

/// Who helps it (`CTA_HELP_*`).
pub(crate) mod help {
    numbers! {
        NAME = ctattr_help_CTA_HELP_NAME,
        INFO = ctattr_help_CTA_HELP_INFO,
    }

    /// Places in a table of them.
    pub(crate) const PLACES: usize = super::b::ctattr_help___CTA_HELP_MAX as usize;
}

/// How far sequence numbers are shifted (`CTA_SEQADJ_*`).
pub(crate) mod shift {
    numbers! {
        POSITION = ctattr_seqadj_CTA_SEQADJ_CORRECTION_POS,
        BEFORE = ctattr_seqadj_CTA_SEQADJ_OFFSET_BEFORE,
        AFTER = ctattr_seqadj_CTA_SEQADJ_OFFSET_AFTER,
    }

    /// Places in a table of them.
    pub(crate) const PLACES: usize = super::b::ctattr_seqadj___CTA_SEQADJ_MAX as usize;
}

/// What SYNPROXY keeps (`CTA_SYNPROXY_*`).
pub(crate) mod synproxy {
    numbers! {
        ISN = ctattr_synproxy_CTA_SYNPROXY_ISN,
        ITS = ctattr_synproxy_CTA_SYNPROXY_ITS,
        OFFSET = ctattr_synproxy_CTA_SYNPROXY_TSOFF,
    }

    /// Places in a table of them.
    pub(crate) const PLACES: usize = super::b::ctattr_synproxy___CTA_SYNPROXY_MAX as usize;
}

/// The security context (`CTA_SECCTX_*`).
pub(crate) mod security {
    numbers! {
        NAME = ctattr_secctx_CTA_SECCTX_NAME,
    }
}

/// Which parts of tuples a filter compares (`CTA_FILTER_*`).
pub(crate) mod filter {
    numbers! {
        ORIGINAL = ctattr_filter_CTA_FILTER_ORIG_FLAGS,
        REPLY = ctattr_filter_CTA_FILTER_REPLY_FLAGS,
    }

    /// Places in a table of them.
    pub(crate) const PLACES: usize = super::b::ctattr_filter___CTA_FILTER_MAX as usize;
}

/// The statistics of a CPU (`CTA_STATS_*`).
pub(crate) mod statistics {
    numbers! {
        FOUND = ctattr_stats_cpu_CTA_STATS_FOUND,
        INVALID = ctattr_stats_cpu_CTA_STATS_INVALID,
        INSERT = ctattr_stats_cpu_CTA_STATS_INSERT,
        INSERT_FAILED = ctattr_stats_cpu_CTA_STATS_INSERT_FAILED,
        DROP = ctattr_stats_cpu_CTA_STATS_DROP,
        EARLY_DROP = ctattr_stats_cpu_CTA_STATS_EARLY_DROP,
        ERROR = ctattr_stats_cpu_CTA_STATS_ERROR,
        SEARCH_RESTART = ctattr_stats_cpu_CTA_STATS_SEARCH_RESTART,
        CLASH_RESOLVE = ctattr_stats_cpu_CTA_STATS_CLASH_RESOLVE,
        CHAIN_TOO_LONG = ctattr_stats_cpu_CTA_STATS_CHAIN_TOOLONG,
        ENTRIES = ctattr_stats_global_CTA_STATS_GLOBAL_ENTRIES,
        MAX_ENTRIES = ctattr_stats_global_CTA_STATS_GLOBAL_MAX_ENTRIES,
        EXPECT_NEW = ctattr_expect_stats_CTA_STATS_EXP_NEW,
        EXPECT_CREATE = ctattr_expect_stats_CTA_STATS_EXP_CREATE,
        EXPECT_DELETE = ctattr_expect_stats_CTA_STATS_EXP_DELETE,
    }
}

/// An expectation (`CTA_EXPECT_*`).
pub(crate) mod expect {
    numbers! {
        MASTER = ctattr_expect_CTA_EXPECT_MASTER,
        TUPLE = ctattr_expect_CTA_EXPECT_TUPLE,
        MASK = ctattr_expect_CTA_EXPECT_MASK,
        TIMEOUT = ctattr_expect_CTA_EXPECT_TIMEOUT,
        ID = ctattr_expect_CTA_EXPECT_ID,
        HELPER = ctattr_expect_CTA_EXPECT_HELP_NAME,
        ZONE = ctattr_expect_CTA_EXPECT_ZONE,
        FLAGS = ctattr_expect_CTA_EXPECT_FLAGS,
        CLASS = ctattr_expect_CTA_EXPECT_CLASS,
        NAT = ctattr_expect_CTA_EXPECT_NAT,
        FUNCTION = ctattr_expect_CTA_EXPECT_FN,
    }

    /// Places in a table of them.
    pub(crate) const PLACES: usize = super::b::ctattr_expect___CTA_EXPECT_MAX as usize;

    /// The flags that user space knows (`NF_CT_EXPECT_*`).
    pub(crate) const KNOWN_FLAGS: u32 = super::b::NF_CT_EXPECT_PERMANENT
        | super::b::NF_CT_EXPECT_INACTIVE
        | super::b::NF_CT_EXPECT_USERSPACE;

    /// The flag that says that a helper of user space made it, which only that may say.
    pub(crate) const USERSPACE_FLAG: u32 = super::b::NF_CT_EXPECT_USERSPACE;
}

/// How what an expectation brings is translated (`CTA_EXPECT_NAT_*`).
pub(crate) mod expect_nat {
    numbers! {
        DIRECTION = ctattr_expect_nat_CTA_EXPECT_NAT_DIR,
        TUPLE = ctattr_expect_nat_CTA_EXPECT_NAT_TUPLE,
    }

    /// Places in a table of them.
    pub(crate) const PLACES: usize = super::b::ctattr_expect_nat___CTA_EXPECT_NAT_MAX as usize;
}
