// SPDX-License-Identifier: GPL-2.0

//! Statistics of each CPU (`conntrack -S`) and of the namespace (`conntrack -C`).

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::{
    ct::{
        entry::is_shown,
        life::delete,
        netns::NetState,
        table::index, //
    },
    nf::{
        kernel::{
            attr::Policy,
            net::{
                PossibleCpu,
                Stat, //
            },
            nfnetlink::{
                Dump,
                Handler,
                Head,
                Messages,
                Peer,
                Progress,
                Request,
                CTNETLINK, //
            },
            params, //
        },
        prelude::*, //
    },
};

use super::{
    cta::*,
    filter::{
        self,
        Filter, //
    },
};

/// The counters of connections.
const CONNECTION_COUNTERS: &[(u16, Stat)] = &[
    (CTA_STATS_FOUND, Stat::Found),
    (CTA_STATS_INVALID, Stat::Invalid),
    (CTA_STATS_INSERT, Stat::Insert),
    (CTA_STATS_INSERT_FAILED, Stat::InsertFailed),
    (CTA_STATS_DROP, Stat::Drop),
    (CTA_STATS_EARLY_DROP, Stat::EarlyDrop),
    (CTA_STATS_ERROR, Stat::Error),
    (CTA_STATS_SEARCH_RESTART, Stat::SearchRestart),
    (CTA_STATS_CLASH_RESOLVE, Stat::ClashResolve),
    (CTA_STATS_CHAIN_TOOLONG, Stat::ChainTooLong),
];

/// The counters of expectations.
const EXPECTATION_COUNTERS: &[(u16, Stat)] = &[
    (CTA_STATS_EXP_NEW, Stat::ExpectNew),
    (CTA_STATS_EXP_CREATE, Stat::ExpectCreate),
    (CTA_STATS_EXP_DELETE, Stat::ExpectDelete),
];

/// Dumps counters of each CPU. A request that is no dump gets no answer and no error, as in C.
fn dump_cpus(request: &Request<'_>, message: u16, counters: &'static [(u16, Stat)]) -> Result {
    if !request.is_dump() {
        return Ok(());
    }
    request.dump(CpuDump {
        peer: request.peer(),
        message,
        counters,
        next: 0,
    })
}

/// Reads the counters of connections of each CPU.
pub(super) struct GetStatsCpu;

impl Handler for GetStatsCpu {
    const POLICY: &'static [Policy] = &[];

    fn handle(request: &Request<'_>) -> Result {
        dump_cpus(request, IPCTNL_MSG_CT_GET_STATS_CPU, CONNECTION_COUNTERS)
    }
}

/// Reads the counters of expectations of each CPU. The answers have the number of the subsystem of
/// connections, as clients expect.
pub(super) struct GetExpectStatsCpu;

impl Handler for GetExpectStatsCpu {
    const POLICY: &'static [Policy] = &[];

    fn handle(request: &Request<'_>) -> Result {
        dump_cpus(request, IPCTNL_MSG_EXP_GET_STATS_CPU, EXPECTATION_COUNTERS)
    }
}

/// A dump with a message for each possible CPU.
struct CpuDump {
    peer: Peer,
    /// The number of the messages.
    message: u16,
    /// The attributes and their counters.
    counters: &'static [(u16, Stat)],
    /// The lowest number that the next CPU may have.
    next: u32,
}

impl Dump for CpuDump {
    fn fill(&mut self, net: &Net, messages: &mut Messages<'_>) -> Progress {
        while let Some(cpu) = PossibleCpu::at_least(self.next) {
            let head = Head {
                peer: self.peer,
                subsystem: CTNETLINK,
                message: self.message,
                flags: Head::multi(self.peer),
                family: 0,
                // CAST: The field for the CPU has 16 bits.
                resource: cpu.number() as u16,
            };
            let added = messages.add(&head, |message| {
                self.counters.iter().try_for_each(|(number, stat)| {
                    message.put_be32(*number, net.stat_of(cpu, *stat))
                })
            });
            if added.is_err() {
                return Progress::More;
            }
            self.next = cpu.number().saturating_add(1);
        }
        Progress::End
    }
}

/// Counts the entries that pass the filter of a request; [`None`]: the request has no filter, or
/// one that makes no sense.
///
/// The C tracker ignores all attributes, and has no such number.
fn count_matching(request: &Request<'_>) -> Option<u32> {
    let filters = [CTA_MARK, CTA_FILTER, CTA_STATUS, CTA_ZONE];
    if filters
        .into_iter()
        .all(|number| request.get(number).is_none())
    {
        return None;
    }
    // Clients set the family in requests without a filter too.
    let has_family = request.get(CTA_FILTER).is_some();
    let family = if has_family { request.family() } else { 0 };
    let filter = Filter::of(&request.attributes(), family).ok()?;
    let mut matching = 0_u32;
    index::for_each(request.net(), filter::scope(&filter), |conn| {
        if !delete::is_due(conn) && is_shown(conn) && filter::passes(&filter, conn) {
            matching = matching.wrapping_add(1);
        }
    });
    Some(matching)
}

/// Reads the number of a namespace's entries, its limit, and how many pass the request's filter.
pub(super) struct GetStats;

impl Handler for GetStats {
    /// Nothing is refused, as in C.
    const POLICY: &'static [Policy] = &[Policy::ANY; CTA_MAX + 1];

    fn handle(request: &Request<'_>) -> Result {
        let peer = request.peer();
        let matching = count_matching(request);
        let head = Head {
            peer,
            subsystem: CTNETLINK,
            message: IPCTNL_MSG_CT_GET_STATS,
            flags: Head::multi(peer),
            family: 0,
            resource: 0,
        };
        request.answer(|messages| {
            messages.add(&head, |message| {
                let entries = request.net().state::<NetState>().entries();
                message.put_be32(CTA_STATS_GLOBAL_ENTRIES, entries)?;
                message.put_be32(
                    CTA_STATS_GLOBAL_MAX_ENTRIES,
                    params::max_entries().load(Relaxed),
                )?;
                match matching {
                    Some(matching) => message.put_be32(CTA_RCT_MATCHING, matching),
                    None => Ok(()),
                }
            })
        })
    }
}
