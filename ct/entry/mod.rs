// SPDX-License-Identifier: GPL-2.0

//! What an entry means to the tracker: typed tuples, its time, its counters.

pub(crate) mod events;
pub(crate) mod gre_keymap;
pub(crate) mod l4proto;
pub(super) mod labels;
pub(crate) mod seqadj;
pub(crate) mod timeout;

use kernel::sync::atomic::Relaxed;

use crate::{
    nf::{
        entry::ext::{
            Counters,
            SynProxy,
            Timestamps, //
        },
        kernel::time,
        prelude::*, //
    },
    proto::{
        step::Status,
        time::Jiffies32, //
    },
};

/// What the protocol trackers want to know of an entry.
#[inline]
pub(super) fn status(conn: &Conn) -> Status {
    let status = conn.status();
    Status {
        confirmed: status.has(StatusBit::Confirmed),
        seen_reply: status.has(StatusBit::SeenReply),
        assured: status.has(StatusBit::Assured),
        fixed_timeout: status.has(StatusBit::FixedTimeout),
        nat_clash: status.has(StatusBit::NatClash),
        expires: Jiffies32(conn.timeout()),
        synproxy: conn.extensions().find::<SynProxy>().is_some(),
    }
}

/// Whether a connection is in the table and was answered; and no helper has moved its sequence
/// numbers.
#[inline]
pub(super) fn is_answered(conn: &Conn) -> bool {
    let status = conn.status();
    status.has(StatusBit::Confirmed)
        && status.has(StatusBit::SeenReply)
        && !status.has(StatusBit::SeqAdjust)
}

/// Whether listings have an entry: not one that is there for a moment, for the answer to one packet
/// to find its way back.
#[inline]
pub(super) fn is_shown(conn: &Conn) -> bool {
    !conn.has(StatusBit::NatClash)
}

/// Whether nothing is left to be found out about a connection by a usual packet: it is
/// [answered](is_answered), and assured.
#[inline]
pub(super) fn is_established(conn: &Conn) -> bool {
    is_answered(conn) && conn.has(StatusBit::Assured)
}

/// Lets an entry live `jiffies` from now, or from its confirmation if that is to come.
#[inline]
pub(super) fn refresh(conn: &Conn, jiffies: u32) {
    let status = conn.status();
    if status.has(StatusBit::FixedTimeout) {
        return;
    }
    let base = if status.has(StatusBit::Confirmed) {
        time::jiffies32()
    } else {
        0
    };
    conn.set_timeout(base.wrapping_add(jiffies));
}

/// Counts a packet, where the entry has counters.
#[inline]
pub(crate) fn account(conn: &Conn, dir: Direction, bytes: u32) {
    if let Some(counters) = conn.extensions().find::<Counters>() {
        counters.count(dir, bytes);
    }
}

/// Counts packets that somebody else forwarded.
pub(super) fn account_many(conn: &Conn, dir: Direction, packets: u32, bytes: u32) {
    if let Some(counters) = conn.extensions().find::<Counters>() {
        counters.add(dir, packets, bytes);
    }
}

/// Notes that the connection began now.
pub(super) fn note_start(conn: &Conn) {
    if let Some(timestamps) = conn.extensions().find::<Timestamps>() {
        timestamps.start().store(time::real_ns(), Relaxed);
    }
}

/// Notes that the connection ended: now, or when its time was over, if that was earlier.
pub(super) fn note_stop(conn: &Conn) {
    if let Some(timestamps) = conn.extensions().find::<Timestamps>() {
        let overdue = time::jiffies32().wrapping_sub(conn.timeout());
        // CAST: the sign bit tells past from future.
        let late = if (overdue as i32) > 0 {
            time::jiffies_to_ns(overdue)
        } else {
            0
        };
        timestamps
            .stop()
            .store(time::real_ns().saturating_sub(late), Relaxed);
    }
}

/// The packets and bytes counted in a direction, where the entry has counters.
pub(super) fn counted(conn: &Conn, dir: Direction) -> Option<(u64, u64)> {
    conn.extensions()
        .find::<Counters>()
        .map(|counters| counters.read(dir))
}
