// SPDX-License-Identifier: GPL-2.0

//! An entry's state as the tracker sees it: status, timeout, counters and timestamps; and its
//! extensions, one file each: events ([`events`]), labels ([`labels`]), sequence adjustment
//! ([`seqadj`]), timeout policies ([`timeout`]). [`l4proto`] describes the protocols to C code and
//! to netlink; [`gre_keymap`] has the GRE keys of PPTP, [`id`] the ids for user space.
//!
//! This is the ground floor of the tracker, besides [`crate::ct::netns`]: it knows no table. The
//! memory layout of entries and extensions is in [`crate::nf::entry`].
//!
//! An entry in the table is read and written by several CPUs at once. Status bits, timeouts and
//! counters are atomic; the protocol's state is behind the lock of the entry (`Conn::with_proto`),
//! which is a leaf.

pub(crate) mod events;
pub(crate) mod gre_keymap;
pub(super) mod id;
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

/// Returns what the protocol trackers need to know of an entry.
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

/// The greatest number of masters above an entry: its own, the master of that one, and so on. The
/// longest chain that a helper of the kernel makes has three (H.323).
///
/// Each entry keeps its master's memory, so a chain is freed all at once.
const MAX_MASTERS: u32 = 8;

/// Returns whether an entry may become the master of another one: whether the chain of its own
/// masters is shorter than [`MAX_MASTERS`].
pub(super) fn may_be_master(conn: &Conn) -> bool {
    let mut conn = conn;
    for _ in 0..MAX_MASTERS {
        match conn.master() {
            None => return true,
            Some(master) => conn = master,
        }
    }
    false
}

/// Returns whether a connection is in the table and has been replied to, and its sequence numbers
/// are not adjusted.
#[inline]
pub(super) fn is_answered(conn: &Conn) -> bool {
    let status = conn.status();
    status.has(StatusBit::Confirmed)
        && status.has(StatusBit::SeenReply)
        && !status.has(StatusBit::SeqAdjust)
}

/// Returns whether listings show an entry: not one that exists for a moment, so that the reply to
/// one packet finds its connection (`resolve_clash` in [`crate::ct::life::confirm`]).
#[inline]
pub(super) fn is_shown(conn: &Conn) -> bool {
    !conn.has(StatusBit::NatClash)
}

/// Returns whether an ordinary packet cannot change the status of a connection any more: it is
/// [replied to](is_answered), and assured.
#[inline]
pub(super) fn is_established(conn: &Conn) -> bool {
    is_answered(conn) && conn.has(StatusBit::Assured)
}

/// Sets the timeout of an entry to `jiffies` from now; or from its confirmation, if it is
/// unconfirmed. Does nothing if the timeout is fixed.
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

/// Counts a packet of `bytes` bytes, if the entry has counters.
#[inline]
pub(crate) fn account(conn: &Conn, dir: Direction, bytes: u32) {
    if let Some(counters) = conn.extensions().find::<Counters>() {
        counters.count(dir, bytes);
    }
}

/// Counts packets that a flow table has forwarded, if the entry has counters.
pub(super) fn account_many(conn: &Conn, dir: Direction, packets: u32, bytes: u32) {
    if let Some(counters) = conn.extensions().find::<Counters>() {
        counters.add(dir, packets, bytes);
    }
}

/// Sets the start timestamp to now, if the entry has timestamps.
pub(super) fn note_start(conn: &Conn) {
    if let Some(timestamps) = conn.extensions().find::<Timestamps>() {
        timestamps.start().store(time::real_ns(), Relaxed);
    }
}

/// Sets the stop timestamp, if the entry has timestamps: to now, or to the time at which the entry
/// expired.
pub(super) fn note_stop(conn: &Conn) {
    if let Some(timestamps) = conn.extensions().find::<Timestamps>() {
        let overdue = time::jiffies32().wrapping_sub(conn.timeout());
        // CAST: The sign bit tells past from future.
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

/// Returns the packets and bytes of a direction, if the entry has counters.
pub(super) fn counted(conn: &Conn, dir: Direction) -> Option<(u64, u64)> {
    conn.extensions()
        .find::<Counters>()
        .map(|counters| counters.read(dir))
}
