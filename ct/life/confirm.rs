// SPDX-License-Identifier: GPL-2.0

//! Confirmation: an entry is inserted into the table when its first packet has passed all rules.
//!
//! Every entry is inserted by its reply tuple, and by its original tuple if that has another hash
//! ([`crate::ct::table`]). Its reply tuple's reservation, if NAT made one, is removed under the
//! same locks ([`reservation`]).
//!
//! # Races
//!
//! Under the locks of the buckets, `insert` settles these in turn:
//!
//! 1. A clone of the packet has confirmed the same entry on another CPU ([`StatusBit::Confirmed`]):
//!    nothing is left to be done.
//! 2. The entry was deleted before it was confirmed ([`StatusBit::Dying`]): the packet is dropped.
//! 3. Another entry has one of the tuples already: two packets of one new connection, on two CPUs,
//!    each created an entry. [`resolve_clash`] decides for packets; entries of sockets and of user
//!    space give way.
//!
//! # Locks
//!
//! Bottom halves off; the lock of the reservation's bucket, then those of the table's buckets, then
//! the leaf locks of the [`index`].

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
        figures::causes::{
            self,
            Refusal, //
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

use super::{
    clash,
    delete::{
        self,
        DestroyReason, //
    },
    gc,
    reconsider, //
};

/// A chain with more entries than this and a random number below [`CHAIN_SPREAD`] is full. Chance
/// alone does not make chains that long.
const CHAIN_LIMIT: u32 = 50;
/// The range of the random part of the limit: an attacker cannot tell which entry will be refused.
const CHAIN_SPREAD: u32 = 30;

/// Returns whether a chain of this length is full. A long chain makes the table grow.
#[inline]
fn is_full(length: u32) -> bool {
    if length <= autosize::LONG_CHAIN {
        return false;
    }
    if autosize::request_growth() {
        gc::wake();
    }
    // Random numbers are drawn only above the limit, which hardly ever happens.
    length > CHAIN_LIMIT && length.wrapping_sub(CHAIN_LIMIT) > random::below(CHAIN_SPREAD)
}

/// The reason why an entry cannot be inserted into the table.
enum InsertError {
    /// `EEXIST`: this entry has one of its tuples.
    Conflict(ARef<Conn>),
    /// `ENOSPC`: a chain is full, see [`CHAIN_LIMIT`].
    ChainTooLong,
}

impl From<InsertError> for Error {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::Conflict(_) => EEXIST,
            InsertError::ChainTooLong => ENOSPC,
        }
    }
}

/// Checks both buckets of an entry for a conflict, and the lengths of their chains.
#[inline(always)]
fn check_buckets(pair: &LockedPair<'_>, conn: &Conn) -> Result<(), InsertError> {
    if pair.is_one() {
        check_bucket(pair, conn, None)
    } else {
        check_two_buckets(pair, conn)
    }
}

/// Does the work of [`check_buckets`] for an entry with two buckets.
#[inline(never)]
fn check_two_buckets(pair: &LockedPair<'_>, conn: &Conn) -> Result<(), InsertError> {
    check_bucket(pair, conn, Some(Direction::Original))?;
    check_bucket(pair, conn, Some(Direction::Reply))
}

/// Checks the bucket of one of an entry's tuples, or of both ([`None`]), as [`check_buckets`] does.
#[inline(always)]
fn check_bucket(
    pair: &LockedPair<'_>,
    conn: &Conn,
    dir: Option<Direction>,
) -> Result<(), InsertError> {
    match table::find_conflict(pair, conn, dir) {
        (Some(existing), _) => Err(InsertError::Conflict(ARef::from(existing))),
        (None, length) if is_full(length) => {
            resize::request_rehash();
            conn.net().count_one(Stat::ChainTooLong);
            Err(InsertError::ChainTooLong)
        }
        (None, _) => Ok(()),
    }
}

/// The result of [`insert`].
enum InsertOutcome {
    /// The entry is in the table.
    Inserted,
    /// The packet belongs to this entry, which was there first.
    Joined(ARef<Conn>),
    /// The packet belongs to this entry, whose connection it has shown to the rules again: they
    /// gave the same answer as before.
    Kept(ARef<Conn>),
    /// The entry is in the table, in front of this one, whose connection it has taken over.
    Succeeded(ARef<Conn>),
    /// The entry cannot be inserted.
    Refused,
}

/// Returns whether there is nothing to do for the packet at confirmation: it has no entry, or one
/// that is in the table and has no helper, no sequence adjustment and no event cache.
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

/// Confirms the packet's entry, if it is unconfirmed, and delivers the entry's events.
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

/// Confirms the packet's entry, if it is unconfirmed.
#[inline]
pub(in crate::ct) fn confirm_packet(skb: &mut Skb, rcu: Rcu<'_>) -> Verdict {
    let (conn, info) = match skb.tracked() {
        // A RST or ICMP error that a rule has sent for a refused packet carries that packet's entry
        // in the reply direction: it confirms nothing.
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
        InsertOutcome::Kept(old) => {
            keep_old(skb, old, info);
            Verdict::Accept
        }
        InsertOutcome::Succeeded(old) => {
            // Not before: a reply in between would begin a connection the wrong way round.
            delete::delete(&old, DestroyReason::Reconsidered);
            reconsider::note_moved(&old);
            Verdict::Accept
        }
        InsertOutcome::Refused => Verdict::Drop,
    }
}

/// Inserts the entry of a socket. Returns whether it is in the table: it gives way to an entry that
/// a packet of the same connection has created.
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

/// Inserts an entry into the table, which takes over the reference. `clash` decides what becomes of
/// the entry if another one has one of its tuples.
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
    // Locked until the entry is in the table.
    let _reservation = reservation::consume(&conn, &bh, rcu);
    let Some(mut pair) = table::lock_pair(&conn, hash, &bh, rcu) else {
        return InsertOutcome::Refused;
    };
    let status = conn.status();
    // Race 1. A bridge floods clones of a packet, for example.
    if status.has(StatusBit::Confirmed) {
        return InsertOutcome::Inserted;
    }
    // Race 2. User space deleted the entry, or its namespace ended.
    if status.has(StatusBit::Dying) {
        conn.net().count_one(Stat::InsertFailed);
        conn.net().count_figure(causes::refused(Refusal::Deleted));
        return InsertOutcome::Refused;
    }

    // Race 3.
    match check_buckets(&pair, &conn) {
        Ok(()) => {}
        Err(InsertError::Conflict(existing)) => return clash(&mut pair, conn, &existing),
        Err(InsertError::ChainTooLong) => {
            conn.net().count_one(Stat::InsertFailed);
            conn.net().count_figure(causes::refused(Refusal::LongChain));
            return InsertOutcome::Refused;
        }
    }

    put(&mut pair, conn, &bh, rcu)
}

/// Puts an entry of a packet into the table.
#[inline(always)]
fn put(
    pair: &mut LockedPair<'_>,
    conn: ARef<Conn>,
    bh: &BhDisabled,
    rcu: Rcu<'_>,
) -> InsertOutcome {
    // The timeout of an unconfirmed entry is relative; from now on it is a deadline.
    conn.set_timeout(conn.timeout().wrapping_add(time::jiffies32()));
    if !conn.extensions().is_empty() {
        queue_new_event(&conn, rcu);
    }
    match index::insert(pair, conn, bh, rcu) {
        Ok(()) => InsertOutcome::Inserted,
        Err(_) => InsertOutcome::Refused,
    }
}

/// Sets the start time of a new entry, and queues its events.
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

/// Inserts an entry of user space; its timeout is a deadline already. The table takes over the
/// reference.
///
/// Errors are those of [`InsertError`]; `ENOENT`: there is no table.
pub(in crate::ct) fn insert_from_user(conn: ARef<Conn>, rcu: Rcu<'_>) -> Result {
    // Dropped after the locks are released: this may be the last reference.
    let kept = conn.clone();
    let net = kept.net();
    let bh = BhDisabled::new();
    conn.check_mirrored();
    // NAT has reserved the reply tuple. Locked until the entry is in the table.
    let _reservation = reservation::consume(&conn, &bh, rcu);
    let mut pair = table::lock_pair(&conn, None, &bh, rcu).ok_or(ENOENT)?;
    check_buckets(&pair, &conn)?;
    index::insert(&mut pair, conn, &bh, rcu).map_err(|_| EEXIST)?;
    net.count_one(Stat::Insert);
    Ok(())
}

/// Returns whether two entries of one new connection can be merged: whether the protocol keeps no
/// state about the connection that the two packets would have changed differently.
fn allows_clash(protocol: u8) -> bool {
    !matches!(protocol, protocol::TCP | protocol::SCTP)
}

/// Decides what becomes of `conn` if `existing`, which was in the table first, has one of its
/// tuples.
///
/// 1. Both entries are of the same connection, in the same direction or in opposite ones: the
///    packet joins the existing entry. With TCP only if that was created from a socket while the
///    packet was in the hooks, see [`catch_up`].
/// 2. The reply tuple is free, because NAT has translated the two differently: `conn` is inserted
///    by that tuple alone, for one second. Packets in the original direction go on finding the
///    existing entry, and the reply to this packet finds its destination.
/// 3. In all other cases the packet is dropped. If NAT could have avoided the clash but has no
///    hooks in the namespace, it gets some ([`clash`]).
#[cold]
fn resolve_clash(
    pair: &mut LockedPair<'_>,
    conn: ARef<Conn>,
    existing: &ARef<Conn>,
) -> InsertOutcome {
    let net = conn.net();
    if reconsider::succeeds(&conn, existing) {
        if let Some(outcome) = settle_succession(pair, &conn, existing) {
            return outcome;
        }
    }
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
                net.count_one(Stat::ClashResolve);
                entry::note_start(&conn);
                let (bh, rcu) = (BhDisabled::new(), RcuGuard::new());
                return match index::insert_reply_only(pair, conn, &bh, rcu.token()) {
                    Ok(()) => InsertOutcome::Inserted,
                    Err(_) => InsertOutcome::Refused,
                };
            }
        }
    }
    if let Some(family) = unresolved_by_nat(pair, &conn) {
        clash::note(net, family);
    }
    net.count_one(Stat::Drop);
    net.count_one(Stat::InsertFailed);
    net.count_figure(causes::refused(Refusal::Clash));
    InsertOutcome::Refused
}

/// Decides between `existing` and `conn`, which was begun to show the connection to the rules
/// again. [`None`]: as for any clash, since a third entry has the reply tuple of `conn`.
fn settle_succession(
    pair: &mut LockedPair<'_>,
    conn: &ARef<Conn>,
    existing: &ARef<Conn>,
) -> Option<InsertOutcome> {
    if same_connection(conn, existing) {
        return Some(InsertOutcome::Kept(existing.clone()));
    }
    // Its original tuple is that of `existing`, which does not count.
    if table::find_conflict(pair, conn, Some(Direction::Reply))
        .0
        .is_some()
    {
        return None;
    }
    reconsider::note_asked(conn);
    let (bh, rcu) = (BhDisabled::new(), RcuGuard::new());
    Some(match put(pair, conn.clone(), &bh, rcu.token()) {
        InsertOutcome::Inserted => InsertOutcome::Succeeded(existing.clone()),
        outcome => outcome,
    })
}

/// Returns the family of an entry's tuples if another connection has its reply tuple, and NAT,
/// which would have chosen another one, was not asked.
fn unresolved_by_nat(pair: &LockedPair<'_>, conn: &Conn) -> Option<Family> {
    if conn.has(StatusBit::SrcNatDone) {
        return None;
    }
    let dir = Direction::Original;
    let other = table::find_conflict(pair, conn, Some(Direction::Reply)).0?;
    let is_another =
        other.tuple(dir) != conn.tuple(dir) || other.zone().id_for(dir) != conn.zone().id_for(dir);
    let family = conn.tuple(dir).family()?;
    is_another.then_some(family)
}

/// Returns whether two entries are of one connection, in the same direction or in opposite ones.
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

/// Attaches the packet to `old`, the entry that its connection had before and keeps.
#[cold]
fn keep_old(skb: &mut Skb, old: ARef<Conn>, info: CtInfo) {
    if let Tracked::Yes(asked, _) = skb.tracked() {
        reconsider::keep(&old, asked);
        entry::account(&old, info.dir(), skb.len());
    }
    skb.attach(old, info);
}

/// Attaches the packet to `winner`, which takes over the packet's counters.
fn continue_with(skb: &mut Skb, winner: ARef<Conn>, info: CtInfo) {
    if let Tracked::Yes(loser, _) = skb.tracked() {
        if loser.protocol() == protocol::TCP {
            catch_up(&winner, loser);
        }
        if let Some((_, bytes)) = entry::counted(loser, info.dir()) {
            // The loser was created by one packet, so the number of bytes is its length.
            entry::account(
                &winner,
                info.dir(),
                u32::try_from(bytes).unwrap_or(u32::MAX),
            );
        }
    }
    skb.attach(winner, info);
}

/// Merges the TCP state of `loser` into `winner`. The winner was created from a socket after this
/// packet's lookup, but before the packet reached the socket, so neither of the two has seen what
/// the other has.
#[cold]
fn catch_up(winner: &Conn, loser: &Conn) {
    let turned = winner.tuple(Direction::Original) != loser.tuple(Direction::Original);
    let Some(seen) = loser.with_proto(|track: &mut tcp::Track| *track) else {
        return;
    };
    winner.with_proto(|track: &mut tcp::Track| track.catch_up(&seen, turned));
}
