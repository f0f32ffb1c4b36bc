// SPDX-License-Identifier: GPL-2.0

//! Decides, once for each end of a connection, what it is to look like.

use kernel::pr_warn_once;

use crate::{
    ct::entry,
    nf::{
        conn::{
            Dir,
            Status,
            StatusBit, //
        },
        helper::Help,
        hook::{
            Point,
            Verdict, //
        },
        nat::Unconfirmed,
        rcu::RcuGuard, //
    },
    proto::nat::{
        range::Range,
        Manip, //
    },
};

use super::{
    choose,
    sources, //
};

/// Which end is decided about at a hook.
#[inline]
pub(super) fn manip_at(point: u32) -> Manip {
    if point == Point::PostRouting as u32 || point == Point::LocalIn as u32 {
        Manip::Source
    } else {
        Manip::Destination
    }
}

/// The bit that says that an end is translated.
#[inline]
pub(super) fn changed_bit(manip: Manip) -> StatusBit {
    match manip {
        Manip::Source => StatusBit::SrcNat,
        Manip::Destination => StatusBit::DstNat,
    }
}

fn done_bit(manip: Manip) -> StatusBit {
    match manip {
        Manip::Source => StatusBit::SrcNatDone,
        Manip::Destination => StatusBit::DstNatDone,
    }
}

/// Whether it was decided about an end.
#[inline]
pub(super) fn is_done(status: Status, manip: Manip) -> bool {
    status.has(done_bit(manip))
}

/// Decides about an end of a connection: it is to be one that `range` allows.
pub(super) fn set_up(mut entry: Unconfirmed<'_>, range: &Range, manip: Manip) -> Verdict {
    let conn = entry.conn();
    if is_done(conn.status(), manip) {
        pr_warn_once!("a connection was to be translated twice\n");
        return Verdict::Drop;
    }
    // What the packet looks like, after what was decided about the other end.
    let Some(current) = entry::tuple(conn, Dir::Reply).invert() else {
        return Verdict::Drop;
    };
    let rcu = RcuGuard::new();
    let choice = choose::choose(conn, &current, range, manip, rcu.token());
    let chosen = choice.tuple();
    if *chosen != current {
        let Some(reply) = chosen.invert() else {
            return Verdict::Drop;
        };
        entry.set_reply(&reply);
        conn.set(changed_bit(manip));
        // A helper may make the stream longer, as it writes other addresses into it.
        if conn.extensions().find::<Help>().is_some() && entry.ensure_seqadj().is_none() {
            return Verdict::Drop;
        }
    }
    if manip == Manip::Source {
        sources::remember(conn, rcu.token());
    }
    conn.set(done_bit(manip));
    Verdict::Accept
}

/// Decides that an end of a connection stays as it is, if nobody else looks so.
pub(super) fn leave(entry: Unconfirmed<'_>, manip: Manip) -> Verdict {
    // The reply tuple tells what was decided about the other end.
    let reply = entry::tuple(entry.conn(), Dir::Reply);
    let address = match manip {
        Manip::Source => reply.dst,
        Manip::Destination => reply.src,
    };
    set_up(entry, &Range::address(address), manip)
}
