// SPDX-License-Identifier: GPL-2.0

//! A census of a namespace's entries: how many there are of each protocol, in each state.
//!
//! The collector meets every entry once a round, and counts it then: packets that change a state
//! count nothing. While it counts a round, the one before is read.

use core::mem::offset_of;

use kernel::sync::atomic::Relaxed;

use crate::{
    nf::{
        entry::stale::Stale,
        kernel::pernet::Counter,
        prelude::*, //
    },
    proto::{
        sctp,
        state,
        tcp,
        types::num::u8_as_usize, //
    },
};

use super::Class;

/// The stages of a connection whose protocol has no states.
const STAGES: [&str; 3] = ["unreplied", "replied", "assured"];

const TCP: usize = state::tcp::State::COUNT;
const SCTP: usize = state::sctp::State::COUNT;
/// The number of kinds of entries.
pub(in crate::ct) const KINDS: usize = TCP + SCTP + Class::NAMES.len() * STAGES.len();

/// The counts of two rounds. Zeroed: of none.
#[derive(pin_init::Zeroable)]
pub(in crate::ct) struct Census([Round; 2]);

/// The counts of a round of the collector.
#[derive(pin_init::Zeroable)]
struct Round {
    /// The number of the round; 0: none.
    number: Counter,
    counts: [Counter; KINDS],
}

impl Census {
    fn round(&self, number: u32) -> &Round {
        let [even, odd] = &self.0;
        if number & 1 == 0 {
            even
        } else {
            odd
        }
    }

    /// Counts an entry in the round with this number, which is not 0. For the collector alone,
    /// which is the only one that writes.
    pub(in crate::ct) fn count(&self, number: u32, stale: &Stale<'_>) {
        let round = self.round(number);
        if round.number.load(Relaxed) != number {
            // The first entry of this round in the namespace.
            round.number.store(0, Relaxed);
            round
                .counts
                .iter()
                .for_each(|count| count.store(0, Relaxed));
            round.number.store(number, Relaxed);
        }
        if let Some(count) = round.counts.get(kind_of(stale)) {
            count.store(count.load(Relaxed).saturating_add(1), Relaxed);
        }
    }

    /// Returns the number of entries of a kind in the round with this number, which has ended.
    pub(in crate::ct) fn read(&self, number: u32, kind: usize) -> u32 {
        let round = self.round(number);
        match round.counts.get(kind) {
            Some(count) if round.number.load(Relaxed) == number => count.load(Relaxed),
            // There were no entries in that round.
            _ => 0,
        }
    }
}

/// Returns the kind of an entry. Its memory may have another entry by now: one is counted for the
/// other then.
fn kind_of(stale: &Stale<'_>) -> usize {
    let class = Class::of(stale.protocol());
    match class {
        Class::Tcp => {
            let state = stale.proto_byte(offset_of!(tcp::Track, state));
            u8_as_usize(state).min(TCP - 1)
        }
        Class::Sctp => {
            let state = stale.proto_byte(sctp::Track::STATE_OFFSET);
            TCP + u8_as_usize(state).min(SCTP - 1)
        }
        _ => {
            let status = stale.status();
            let stage = if status.has(StatusBit::Assured) {
                2
            } else {
                usize::from(status.has(StatusBit::SeenReply))
            };
            TCP + SCTP + u8_as_usize(class as u8) * STAGES.len() + stage
        }
    }
}

/// Returns the protocol and the state of the kind with this number, from 0 on. [`None`]: there are
/// no more.
pub(in crate::ct) fn name_of(kind: usize) -> Option<(&'static str, &'static str)> {
    if let Some(&state) = state::tcp::State::ALL.get(kind) {
        return Some(("tcp", state.name()));
    }
    let kind = kind.checked_sub(TCP)?;
    if let Some(&state) = state::sctp::State::ALL.get(kind) {
        return Some(("sctp", state.name()));
    }
    let kind = kind.checked_sub(SCTP)?;
    let protocol = Class::NAMES.get(kind / STAGES.len())?;
    let stage = STAGES.get(kind % STAGES.len())?;
    Some((protocol, stage))
}
