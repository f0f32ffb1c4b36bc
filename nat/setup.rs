// SPDX-License-Identifier: GPL-2.0

//! Decides, once for each end of a connection, what it is to look like.

use kernel::{
    fmt,
    pr_warn_once,
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::{
    nf::{
        entry::{
            conn::Status,
            help::Help, //
        },
        kernel::net::Stat,
        packet::{
            hook::Point,
            log,
            nat::Unconfirmed, //
        },
        prelude::*, //
    },
    proto::nat::{
        occupancy::Choice,
        range::{
            flag,
            Range, //
        },
        Manip, //
    },
};

use super::{
    bysource,
    choose,
    netns::NatState, //
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
pub(super) fn setup_info(mut entry: Unconfirmed<'_>, range: &Range, manip: Manip) -> Verdict {
    let conn = entry.conn();
    if is_done(conn.status(), manip) {
        pr_warn_once!("a connection was to be translated twice\n");
        return Verdict::Drop;
    }
    // What the packet looks like, after what was decided about the other end.
    let Some(current) = conn.tuple(Direction::Reply).invert() else {
        return Verdict::Drop;
    };
    let rcu = RcuGuard::new();
    let chosen = match choose::choose(&mut entry, &current, range, manip, rcu.token()) {
        Choice::Found(chosen) => chosen,
        Choice::Exhausted(tuple) => {
            if manip == Manip::Source && conn.net().state::<NatState>().is_thorough() {
                return refuse(conn, &tuple, range);
            }
            // Who has it is seen when the connection is confirmed.
            tuple
        }
    };
    if apply(&mut entry, &current, &chosen, manip).is_none() {
        choose::give_up(conn, rcu.token());
        return Verdict::Drop;
    }
    if manip == Manip::Source {
        bysource::remember(conn, rcu.token());
    }
    conn.set(done_bit(manip));
    Verdict::Accept
}

/// Has an entry look like `chosen` behind us. [`None`]: that cannot be done.
fn apply(entry: &mut Unconfirmed<'_>, current: &Tuple, chosen: &Tuple, manip: Manip) -> Option<()> {
    let conn = entry.conn();
    let reply = chosen.invert()?;
    // A choice that was not taken may have left another one.
    if conn.tuple(Direction::Reply) != reply {
        entry.set_reply(&reply);
    }
    if chosen != current {
        conn.set(changed_bit(manip));
        // A helper may make the stream longer, as it writes other addresses into it.
        if conn.extensions().find::<Help>().is_some() {
            entry.ensure_seqadj()?;
        }
    }
    Some(())
}

/// Everything that the range allows is taken.
#[cold]
fn refuse(conn: &Conn, tuple: &Tuple, range: &Range) -> Verdict {
    let net = conn.net();
    net.state::<NatState>().exhausted.fetch_add(1, Relaxed);
    net.count_one(Stat::Drop);
    if log::ratelimit() {
        let family = tuple.family();
        pr_warn!(
            "nf_nat: no port left at {} towards {} port {}, protocol {}{}: packet dropped\n",
            Address(family, &tuple.src),
            Address(family, &tuple.dst),
            tuple.dst_port(),
            tuple.protonum,
            Ports(range),
        );
    }
    Verdict::Drop
}

/// An address, to be shown.
struct Address<'a>(Option<Family>, &'a [u8; 16]);

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(family, address) = *self;
        if family == Some(Family::Ipv4) {
            let [a, b, c, d, ..] = *address;
            return write!(f, "{a}.{b}.{c}.{d}");
        }
        let (groups, _) = address.as_chunks::<2>();
        for (index, group) in groups.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{:x}", u16::from_be_bytes(*group))?;
        }
        Ok(())
    }
}

/// The ports that a rule names, to be shown.
struct Ports<'a>(&'a Range);

impl fmt::Display for Ports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(range) = self;
        if !range.has(flag::PROTO_SPECIFIED) {
            return Ok(());
        }
        let number = u16::from_be_bytes;
        write!(
            f,
            ", ports {}-{}",
            number(range.min_key),
            number(range.max_key)
        )
    }
}

/// Decides that an end of a connection stays as it is, if nobody else looks so.
pub(super) fn null_binding(entry: Unconfirmed<'_>, manip: Manip) -> Verdict {
    // The reply tuple tells what was decided about the other end.
    let reply = entry.conn().tuple(Direction::Reply);
    let address = match manip {
        Manip::Source => reply.dst,
        Manip::Destination => reply.src,
    };
    setup_info(entry, &Range::address(address), manip)
}
