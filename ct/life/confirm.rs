// SPDX-License-Identifier: GPL-2.0

//! Confirmation: a packet has passed every check, so the connection that it began counts
//! and goes into the table.
//!
//! Two packets of one new connection, on two CPUs, each made an entry, and one comes
//! second. What becomes of it then is told at [`resolve_clash`].

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    ct::{
        entry::{
            self,
            events, //
        },
        helper,
        table::{
            self,
            autosize,
            index,
            reservation,
            resize,
            TupleHash, //
        },
    },
    nf::{
        entry::{
            ecache::{
                self,
                Event,
                EventCache, //
            },
            pair::LockedPair, //
        },
        kernel::{
            net::Stat,
            random,
            time, //
        },
        packet::skb::Tracked,
        prelude::*, //
    },
    proto::tcp, //
};

use super::gc;

/// Chains longer than this, plus a random number below [`CHAIN_SPREAD`], take no more
/// entries. Chance alone does not make them so long.
const CHAIN_LIMIT: u32 = 50;
const CHAIN_SPREAD: u32 = 30;

/// Whether a chain of this length takes no more. Chance is asked where it decides, which is hardly
/// ever. A crowded one makes the table grow.
#[inline]
fn check_chain_length(length: u32) -> bool {
    if length <= autosize::LONG_CHAIN {
        return false;
    }
    if autosize::request_growth() {
        gc::wake();
    }
    length > CHAIN_LIMIT && length.wrapping_sub(CHAIN_LIMIT) > random::below(CHAIN_SPREAD)
}

/// What keeps an entry out of the table.
enum InsertError {
    /// This one has one of its tuples.
    Conflict(ARef<Conn>),
    /// Its chain takes no more.
    ChainTooLong,
}

/// What keeps an entry out of its buckets.
#[inline(always)]
fn check_buckets(pair: &LockedPair<'_>, conn: &Conn) -> Option<InsertError> {
    if pair.is_one() {
        check_bucket(pair, conn, None)
    } else {
        check_two_buckets(pair, conn)
    }
}

#[inline(never)]
fn check_two_buckets(pair: &LockedPair<'_>, conn: &Conn) -> Option<InsertError> {
    check_bucket(pair, conn, Some(Direction::Original))
        .or_else(|| check_bucket(pair, conn, Some(Direction::Reply)))
}

/// What keeps it out of the bucket of one of its tuples, or of both.
#[inline(always)]
fn check_bucket(pair: &LockedPair<'_>, conn: &Conn, dir: Option<Direction>) -> Option<InsertError> {
    match table::find_conflict(pair, conn, dir) {
        (Some(existing), _) => Some(InsertError::Conflict(ARef::from(existing))),
        (None, length) if check_chain_length(length) => {
            resize::request_reseed();
            conn.net().count_one(Stat::ChainTooLong);
            Some(InsertError::ChainTooLong)
        }
        (None, _) => None,
    }
}

/// What came of an attempt to put an entry into the table.
enum InsertOutcome {
    /// It is in.
    Inserted,
    /// Its packet belongs to this entry instead.
    Joined(ARef<Conn>),
    /// It cannot be in.
    Refused,
}

/// Whether nothing is to be done for the packet any more: it has no entry, or one that is in the
/// table, with no helper and no events.
#[inline]
pub(in crate::ct) fn needs_no_confirm(skb: &Skb) -> bool {
    let Some(conn) = skb.attached() else {
        return true;
    };
    let status = conn.status();
    status.has(StatusBit::Confirmed)
        && !status.has(StatusBit::Helper)
        && !status.has(StatusBit::SeqAdjust)
        && conn.extensions().find::<EventCache>().is_none()
}

/// Puts the packet's entry into the table, if it is not in yet, and tells listeners what
/// happened to it.
#[inline]
pub(in crate::ct) fn confirm(skb: &mut Skb, rcu: Rcu<'_>) -> Verdict {
    let verdict = confirm_packet(skb, rcu);
    if verdict == Verdict::Accept {
        if let Tracked::Yes(conn, _) = skb.tracked() {
            events::deliver(conn);
        }
    }
    verdict
}

/// Puts the packet's entry into the table, if it is not in yet.
#[inline]
pub(in crate::ct) fn confirm_packet(skb: &mut Skb, rcu: Rcu<'_>) -> Verdict {
    let (conn, info) = match skb.tracked() {
        // An answer of ours to a packet that was refused carries the entry that the packet
        // made, in the other direction; it confirms nothing.
        Tracked::Yes(conn, info) if !conn.is_confirmed() && info.dir() == Direction::Original => {
            (ARef::from(conn), info)
        }
        _ => return Verdict::Accept,
    };
    let hash = TupleHash::unpack(conn.cached_hash());
    match insert(conn, Some(hash), rcu, resolve_clash) {
        InsertOutcome::Inserted => Verdict::Accept,
        InsertOutcome::Joined(winner) => {
            continue_with(skb, winner, info);
            Verdict::Accept
        }
        InsertOutcome::Refused => Verdict::Drop,
    }
}

/// Puts in an entry that no packet made. Says whether it is in: it gives way to one that a
/// packet of the same connection has made.
pub(super) fn insert_adopted(conn: ARef<Conn>, rcu: Rcu<'_>) -> bool {
    let keep = conn.clone();
    let is_in = matches!(
        insert(conn, None, rcu, |_, _, _| InsertOutcome::Refused),
        InsertOutcome::Inserted
    );
    if is_in {
        let _bh = BhDisabled::new();
        events::deliver(&keep);
    }
    is_in
}

/// Puts an entry into the table; the reference becomes the table's. `clash` decides what
/// becomes of it if another entry has one of its tuples.
///
/// `hash` is that of the original tuple, if it is known.
fn insert(
    conn: ARef<Conn>,
    hash: Option<TupleHash>,
    rcu: Rcu<'_>,
    clash: impl FnOnce(&mut LockedPair<'_>, ARef<Conn>, &ARef<Conn>) -> InsertOutcome,
) -> InsertOutcome {
    let bh = BhDisabled::new();
    conn.check_mirrored();
    // Until the entry is in.
    let _reservation = reservation::consume(&conn, &bh, rcu);
    let Some(mut pair) = table::lock_pair(&conn, hash, &bh, rcu) else {
        return InsertOutcome::Refused;
    };
    let status = conn.status();
    // A clone of the packet may have been faster, on another CPU: a bridge floods clones.
    if status.has(StatusBit::Confirmed) {
        return InsertOutcome::Inserted;
    }
    // Killed before it was born, by user space or by a namespace's end.
    if status.has(StatusBit::Dying) {
        conn.net().count_one(Stat::InsertFailed);
        return InsertOutcome::Refused;
    }

    match check_buckets(&pair, &conn) {
        None => {}
        Some(InsertError::Conflict(existing)) => return clash(&mut pair, conn, &existing),
        Some(InsertError::ChainTooLong) => {
            conn.net().count_one(Stat::InsertFailed);
            return InsertOutcome::Refused;
        }
    }

    // Its time runs from now on.
    conn.set_timeout(conn.timeout().wrapping_add(time::jiffies32()));
    if !conn.extensions().is_empty() {
        queue_new_event(&conn, rcu);
    }
    index::join(&conn, &bh, rcu);
    match pair.insert(conn) {
        Ok(()) => InsertOutcome::Inserted,
        Err(_) => InsertOutcome::Refused,
    }
}

/// Has the parts of an entry know that it begins.
#[inline(never)]
fn queue_new_event(conn: &Conn, rcu: Rcu<'_>) {
    entry::note_start(conn);
    let event = if conn.has(StatusBit::Expected) {
        Event::Related
    } else {
        Event::New
    };
    if helper::of(conn, rcu).is_some() {
        ecache::keep(conn, Event::Helper);
    }
    ecache::keep(conn, event);
}

/// Puts an entry into the table that user space made, and whose time runs already; the reference
/// becomes the table's.
///
/// `EEXIST`: one of its tuples is there. `ENOSPC`: a chain is too long.
pub(in crate::ct) fn insert_from_user(conn: ARef<Conn>, rcu: Rcu<'_>) -> Result {
    // After the lock is given back: this may be the last reference.
    let kept = conn.clone();
    let net = kept.net();
    let bh = BhDisabled::new();
    conn.check_mirrored();
    // What NAT promised it on the way.
    let _reservation = reservation::consume(&conn, &bh, rcu);
    let mut pair = table::lock_pair(&conn, None, &bh, rcu).ok_or(ENOENT)?;
    match check_buckets(&pair, &conn) {
        None => {}
        Some(InsertError::Conflict(_)) => return Err(EEXIST),
        Some(InsertError::ChainTooLong) => return Err(ENOSPC),
    }
    index::join(&conn, &bh, rcu);
    pair.insert(conn).map_err(|_| EEXIST)?;
    net.count_one(Stat::Insert);
    Ok(())
}

/// Whether an entry that came second may be resolved: the protocol has no state that the
/// two packets would see differently.
fn allows_clash(protocol: u8) -> bool {
    !matches!(protocol, protocol::TCP | protocol::SCTP)
}

/// An entry of the same tuple, `existing`, was there first.
///
/// 1. If both are the same connection, or the same one seen from its two ends, the packet
///    joins the first entry. (Of TCP, only if that came by its socket, while the packet was on
///    its way: see [`catch_up`].)
/// 2. If the reply tuple is free (the two were translated differently), the second entry
///    goes in by that alone, for a second: packets of the original direction go on finding
///    the first, and the answer to this packet finds its way back.
/// 3. Else the packet is dropped.
#[cold]
fn resolve_clash(
    pair: &mut LockedPair<'_>,
    conn: ARef<Conn>,
    existing: &ARef<Conn>,
) -> InsertOutcome {
    let net = conn.net();
    if existing.has(StatusBit::Adopted) && same_connection(&conn, existing) {
        net.count_one(Stat::ClashResolve);
        return InsertOutcome::Joined(existing.clone());
    }
    if allows_clash(conn.protocol()) {
        if same_connection(&conn, existing) {
            net.count_one(Stat::ClashResolve);
            return InsertOutcome::Joined(existing.clone());
        }
        match table::find_conflict(pair, &conn, Some(Direction::Reply)).0 {
            Some(other) if same_connection(&conn, other) => {
                net.count_one(Stat::ClashResolve);
                return InsertOutcome::Joined(ARef::from(other));
            }
            Some(_) => {}
            None => {
                conn.set_timeout(time::jiffies32().wrapping_add(time::HZ));
                conn.set(StatusBit::FixedTimeout);
                conn.set(StatusBit::NatClash);
                net.count_one(Stat::ClashResolve);
                entry::note_start(&conn);
                let (bh, rcu) = (BhDisabled::new(), RcuGuard::new());
                index::join(&conn, &bh, rcu.token());
                return match pair.insert_reply_only(conn) {
                    Ok(()) => InsertOutcome::Inserted,
                    Err(_) => InsertOutcome::Refused,
                };
            }
        }
    }
    net.count_one(Stat::Drop);
    net.count_one(Stat::InsertFailed);
    InsertOutcome::Refused
}

/// Whether two entries stand for one connection, seen from the same end or from the two.
fn same_connection(a: &Conn, b: &Conn) -> bool {
    let equal = |a_dir: Direction, b_dir: Direction| {
        a.tuple(a_dir) == b.tuple(b_dir) && a.zone().id_for(a_dir) == b.zone().id_for(b_dir)
    };
    let same_end = equal(Direction::Original, Direction::Original)
        && equal(Direction::Reply, Direction::Reply);
    let other_end = equal(Direction::Original, Direction::Reply)
        && equal(Direction::Reply, Direction::Original);
    same_end || other_end
}

/// Has the packet continue with `winner`, which takes over what was counted.
fn continue_with(skb: &mut Skb, winner: ARef<Conn>, info: CtInfo) {
    if let Tracked::Yes(loser, _) = skb.tracked() {
        if loser.protocol() == protocol::TCP {
            catch_up(&winner, loser);
        }
        if let Some((_, bytes)) = entry::counted(loser, info.dir()) {
            // One packet made the loser, so this is its length.
            entry::account(
                &winner,
                info.dir(),
                u32::try_from(bytes).unwrap_or(u32::MAX),
            );
        }
    }
    skb.attach(winner, info);
}

/// The entry of a TCP connection was made from its socket when this packet, which made the
/// other one, had been looked up but had not reached the socket.
#[cold]
fn catch_up(winner: &Conn, loser: &Conn) {
    let turned = winner.tuple(Direction::Original) != loser.tuple(Direction::Original);
    let seen = loser.with_proto(|track: &mut tcp::Track| *track);
    winner.with_proto(|track: &mut tcp::Track| track.catch_up(&seen, turned));
}
