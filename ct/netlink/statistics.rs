// SPDX-License-Identifier: GPL-2.0

//! Statistics: of each CPU, and of the namespace.

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::nf::{
    attr::Policy,
    ctattr::{
        message,
        statistics as number, //
    },
    net::{
        possible_cpu,
        Net,
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
};

use super::super::netns::NetState;

/// What is told of connections.
const OF_CONNECTIONS: &[(u16, Stat)] = &[
    (number::FOUND, Stat::Found),
    (number::INVALID, Stat::Invalid),
    (number::INSERT, Stat::Insert),
    (number::INSERT_FAILED, Stat::InsertFailed),
    (number::DROP, Stat::Drop),
    (number::EARLY_DROP, Stat::EarlyDrop),
    (number::ERROR, Stat::Error),
    (number::SEARCH_RESTART, Stat::SearchRestart),
    (number::CLASH_RESOLVE, Stat::ClashResolve),
    (number::CHAIN_TOO_LONG, Stat::ChainTooLong),
];

/// What is told of expectations.
const OF_EXPECTATIONS: &[(u16, Stat)] = &[
    (number::EXPECT_NEW, Stat::ExpectNew),
    (number::EXPECT_CREATE, Stat::ExpectCreate),
    (number::EXPECT_DELETE, Stat::ExpectDelete),
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
        of_cpus(request, message::STATISTICS_OF_CPUS, OF_CONNECTIONS)
    }
}

/// Of expectations. The answers look like those of connections' subsystem: clients expect that.
pub(super) struct GetExpectationsOfCpus;

impl Handler for GetExpectationsOfCpus {
    const POLICY: &'static [Policy] = &[];

    fn handle(request: &Request<'_>) -> Result {
        of_cpus(
            request,
            crate::nf::ctattr::expect_message::STATISTICS_OF_CPUS,
            OF_EXPECTATIONS,
        )
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

/// How many entries there are, and may be.
pub(super) struct GetGlobal;

impl Handler for GetGlobal {
    const POLICY: &'static [Policy] = &[];

    fn handle(request: &Request<'_>) -> Result {
        let peer = request.peer();
        let head = Head {
            peer,
            subsystem: CONNECTIONS,
            message: message::STATISTICS,
            flags: Head::multi(peer),
            family: 0,
            resource: 0,
        };
        request.answer(|messages| {
            messages.add(&head, |message| {
                let entries = request.net().state::<NetState>().entries();
                message.put_be32(number::ENTRIES, entries)?;
                message.put_be32(number::MAX_ENTRIES, params::max_entries().load(Relaxed))
            })
        })
    }
}
