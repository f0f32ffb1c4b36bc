// SPDX-License-Identifier: GPL-2.0

//! The sysctls `net.netfilter.nf_conntrack_*`, and `net.nf_conntrack_max`.
//!
//! Names, ranges and units are those of the C tracker. Settings of the whole machine can be written
//! in the initial namespace only.

use kernel::prelude::*;

use crate::{
    nf::{
        kernel::{
            params,
            pernet::{
                Counter,
                NewNet, //
            },
            settings,
            sysctl::{
                self,
                Computed,
                Registration,
                Setting,
                WriteListener, //
            },
        },
        packet::log,
        prelude::*, //
    },
    proto::{
        gre,
        sctp,
        tcp::{
            timeout,
            State, //
        },
        types::num::{
            u32_as_usize,
            u8_as_usize, //
        },
        udp, //
    },
};

use super::{
    netns::{
        self,
        NetState, //
    },
    table::resize, //
};

/// The sysctls in `net.netfilter`, of each namespace.
const SETTINGS: &[Setting] = &[
    MAX,
    Setting::count(c"nf_conntrack_count", |net| entries(net)),
    Setting::computed::<Buckets>(c"nf_conntrack_buckets"),
    Setting::switch(c"nf_conntrack_checksum", settings::CHECKSUM),
    Setting::watched::<LogInvalid>(c"nf_conntrack_log_invalid", settings::LOG_INVALID),
    Setting::limit(c"nf_conntrack_expect_max", params::max_expectations),
    Setting::switch(c"nf_conntrack_acct", settings::ACCT),
    #[cfg(CONFIG_NF_CONNTRACK_EVENTS)]
    Setting::three(c"nf_conntrack_events", settings::EVENTS),
    #[cfg(CONFIG_NF_CONNTRACK_TIMESTAMP)]
    Setting::switch(c"nf_conntrack_timestamp", settings::TSTAMP),
    Setting::seconds(c"nf_conntrack_generic_timeout", settings::GENERIC_TIMEOUT),
    tcp_state(c"nf_conntrack_tcp_timeout_syn_sent", State::SynSent),
    tcp_state(c"nf_conntrack_tcp_timeout_syn_recv", State::SynRecv),
    tcp_state(c"nf_conntrack_tcp_timeout_established", State::Established),
    tcp_state(c"nf_conntrack_tcp_timeout_fin_wait", State::FinWait),
    tcp_state(c"nf_conntrack_tcp_timeout_close_wait", State::CloseWait),
    tcp_state(c"nf_conntrack_tcp_timeout_last_ack", State::LastAck),
    tcp_state(c"nf_conntrack_tcp_timeout_time_wait", State::TimeWait),
    tcp_state(c"nf_conntrack_tcp_timeout_close", State::Close),
    Setting::seconds(
        c"nf_conntrack_tcp_timeout_max_retrans",
        settings::TCP_TIMEOUTS.at(timeout::RETRANS),
    ),
    Setting::seconds(
        c"nf_conntrack_tcp_timeout_unacknowledged",
        settings::TCP_TIMEOUTS.at(timeout::UNACK),
    ),
    Setting::switch(c"nf_conntrack_tcp_loose", settings::TCP_LOOSE),
    Setting::switch(c"nf_conntrack_tcp_be_liberal", settings::TCP_BE_LIBERAL),
    Setting::switch(
        c"nf_conntrack_tcp_ignore_invalid_rst",
        settings::TCP_IGNORE_INVALID_RST,
    ),
    Setting::byte(c"nf_conntrack_tcp_max_retrans", settings::TCP_MAX_RETRANS),
    Setting::seconds(
        c"nf_conntrack_udp_timeout",
        settings::UDP_TIMEOUTS.at(udp::UNREPLIED),
    ),
    Setting::seconds(
        c"nf_conntrack_udp_timeout_stream",
        settings::UDP_TIMEOUTS.at(udp::REPLIED),
    ),
    #[cfg(CONFIG_NF_FLOW_TABLE)]
    Setting::seconds(c"nf_flowtable_tcp_timeout", settings::TCP_OFFLOAD_TIMEOUT),
    #[cfg(CONFIG_NF_FLOW_TABLE)]
    Setting::seconds(c"nf_flowtable_udp_timeout", settings::UDP_OFFLOAD_TIMEOUT),
    Setting::seconds(c"nf_conntrack_icmp_timeout", settings::ICMP_TIMEOUT),
    Setting::seconds(c"nf_conntrack_icmpv6_timeout", settings::ICMPV6_TIMEOUT),
    sctp_state(c"nf_conntrack_sctp_timeout_closed", sctp::State::Closed),
    sctp_state(
        c"nf_conntrack_sctp_timeout_cookie_wait",
        sctp::State::CookieWait,
    ),
    sctp_state(
        c"nf_conntrack_sctp_timeout_cookie_echoed",
        sctp::State::CookieEchoed,
    ),
    sctp_state(
        c"nf_conntrack_sctp_timeout_established",
        sctp::State::Established,
    ),
    sctp_state(
        c"nf_conntrack_sctp_timeout_shutdown_sent",
        sctp::State::ShutdownSent,
    ),
    sctp_state(
        c"nf_conntrack_sctp_timeout_shutdown_recd",
        sctp::State::ShutdownRecd,
    ),
    sctp_state(
        c"nf_conntrack_sctp_timeout_shutdown_ack_sent",
        sctp::State::ShutdownAckSent,
    ),
    sctp_state(
        c"nf_conntrack_sctp_timeout_heartbeat_sent",
        sctp::State::HeartbeatSent,
    ),
    Setting::seconds(
        c"nf_conntrack_gre_timeout",
        settings::GRE_TIMEOUTS.at(gre::UNREPLIED),
    ),
    Setting::seconds(
        c"nf_conntrack_gre_timeout_stream",
        settings::GRE_TIMEOUTS.at(gre::REPLIED),
    ),
];

/// The limit on entries of one namespace.
const MAX: Setting = Setting::limit(c"nf_conntrack_max", params::max_entries);

const fn tcp_state(name: &'static CStr, state: State) -> Setting {
    Setting::seconds(name, settings::TCP_TIMEOUTS.at(u8_as_usize(state.to_u8())))
}

const fn sctp_state(name: &'static CStr, state: sctp::State) -> Setting {
    Setting::seconds(
        name,
        settings::SCTP_TIMEOUTS.at(u32_as_usize(state.to_u32())),
    )
}

fn entries(net: &Net) -> &Counter {
    net.state::<NetState>().entries_counter()
}

/// `nf_conntrack_buckets`: the size of the table. A written number is rounded up.
struct Buckets;

impl Computed for Buckets {
    fn read() -> u32 {
        resize::buckets()
    }

    fn write(value: i32) -> Result {
        // The C tracker takes a negative number for a very large one.
        resize::resize(u32::try_from(value).unwrap_or(u32::MAX))
    }
}

/// `nf_conntrack_log_invalid`: writing it loads a logging backend, without which nothing is logged.
struct LogInvalid;

impl WriteListener for LogInvalid {
    fn written(value: u8) {
        if value != 0 {
            log::request_backend();
        }
    }
}

/// The registration of `net.nf_conntrack_max`, an older name of the sysctl in `net.netfilter`.
pub(super) struct Global {
    _registration: Registration,
}

impl Global {
    /// Registers it, in the initial namespace. May sleep.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            _registration: Registration::new(c"net", &[MAX])?,
        })
    }
}

/// Registers a namespace's sysctls, which have their defaults by now, until it ends. May sleep.
pub(super) fn register(net: &NewNet<'_>) -> Result {
    netns::inherit::<NetState>(net, SETTINGS);
    sysctl::register(net, c"net/netfilter", SETTINGS)
}
