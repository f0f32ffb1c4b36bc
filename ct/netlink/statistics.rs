// SPDX-License-Identifier: GPL-2.0

//! Statistics: of each CPU, and of the namespace.

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
                possible_cpu,
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
                CONNECTIONS, //
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
    policy, //
};

/// What is told of connections.
const OF_CONNECTIONS: &[(u16, Stat)] = &[
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

/// What is told of expectations.
const OF_EXPECTATIONS: &[(u16, Stat)] = &[
    (CTA_STATS_EXP_NEW, Stat::ExpectNew),
    (CTA_STATS_EXP_CREATE, Stat::ExpectCreate),
    (CTA_STATS_EXP_DELETE, Stat::ExpectDelete),
];

/// The statistics of each CPU. Who does not ask for all is told nothing, and no error.
fn of_cpus(request: &Request<'_>, message: u16, told: &'static [(u16, Stat)]) -> Result {
    if !request.is_dump() {
        return Ok(());
    }
    request.dump(Cpus {
        peer: request.peer(),
        message,
        told,
        next: 0,
    })
}

/// Of connections.
pub(super) struct GetOfCpus;

impl Handler for GetOfCpus {
    const POLICY: &'static [Policy] = &[];

    fn handle(request: &Request<'_>) -> Result {
        of_cpus(request, IPCTNL_MSG_CT_GET_STATS_CPU, OF_CONNECTIONS)
    }
}

/// Of expectations. The answers look like those of connections' subsystem: clients expect that.
pub(super) struct GetExpectationsOfCpus;

impl Handler for GetExpectationsOfCpus {
    const POLICY: &'static [Policy] = &[];

    fn handle(request: &Request<'_>) -> Result {
        of_cpus(request, IPCTNL_MSG_EXP_GET_STATS_CPU, OF_EXPECTATIONS)
    }
}

/// A message for each CPU.
struct Cpus {
    peer: Peer,
    message: u16,
    told: &'static [(u16, Stat)],
    next: u32,
}

impl Dump for Cpus {
    fn go_on(&mut self, net: &Net, messages: &mut Messages<'_>) -> Progress {
        while let Some(cpu) = possible_cpu(self.next) {
            let head = Head {
                peer: self.peer,
                subsystem: CONNECTIONS,
                message: self.message,
                flags: Head::multi(self.peer),
                family: 0,
                // CAST: as user space knows it.
                resource: cpu as u16,
            };
            let added = messages.add(&head, |message| {
                self.told.iter().try_for_each(|(number, stat)| {
                    message.put_be32(*number, net.stat_of(cpu, *stat))
                })
            });
            if added.is_err() {
                return Progress::More;
            }
            self.next = cpu.saturating_add(1);
        }
        Progress::End
    }
}

/// How many entries pass the filter of a request, if it has one. (The C tracker ignores it, and
/// gives no such number.)
fn count(request: &Request<'_>) -> Result<Option<u32>> {
    let filters = [CTA_MARK, CTA_FILTER, CTA_STATUS, CTA_ZONE];
    if filters
        .into_iter()
        .all(|place| request.get(place).is_none())
    {
        return Ok(None);
    }
    // Clients that do not filter say a family, too.
    let means_family = request.get(CTA_FILTER).is_some();
    let family = if means_family { request.family() } else { 0 };
    let filter = Filter::of(&request.attributes(), family)?;
    let mut matching = 0_u32;
    index::for_each(request.net(), filter::scope(&filter), |conn| {
        if !delete::is_due(conn) && is_shown(conn) && filter::passes(&filter, conn) {
            matching = matching.wrapping_add(1);
        }
    });
    Ok(Some(matching))
}

/// How many entries there are, and may be; and how many are like what the request says.
pub(super) struct GetGlobal;

impl Handler for GetGlobal {
    const POLICY: &'static [Policy] = &policy::ENTRY;

    fn handle(request: &Request<'_>) -> Result {
        let peer = request.peer();
        let matching = count(request)?;
        let head = Head {
            peer,
            subsystem: CONNECTIONS,
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
