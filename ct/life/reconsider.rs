// SPDX-License-Identifier: GPL-2.0

//! Stale mappings: an unreplied connection is shown to NAT's rules again when they have changed
//! since it was created.
//!
//! A client that sends from one port, faster than the entry's timeout, keeps an entry for ever that
//! sends its packets to a destination that is gone, or past a rule that came later. So a packet of
//! such a connection begins a second entry, which meets the rules as that of a new connection does,
//! while the first one stays in the table. When the second one is confirmed
//! ([`super::confirm`]), there are two cases:
//!
//! - The rules gave the same answer: the second entry is dropped, and the first one goes on.
//! - They gave another: the second entry is put in front of the first one, which is deleted then. A
//!   lookup finds one of the two at any moment. (If there were none, a late reply would begin a
//!   connection the wrong way round, past NAT.)
//!
//! # When
//!
//! Each entry is stamped with the [generation](crate::proto::types::generation) of the rules when
//! it is created, before its first packet meets them: the stamp is never newer than the rules that
//! have decided. A connection that has had a reply costs nothing here; another one a comparison of
//! two bytes per packet.
//!
//! Besides, an entry is given an early stamp, so that its next packet asks at once or without a
//! change of rules: if an ICMP error says that its destination is unreachable
//! ([`note_unreachable`]), and if its source was translated long ago without a reply ever since
//! ([`note_visit`]): a port that was taken then may be free now.
//!
//! With `nf_nat_reconsider=2`, a UDP connection whose replies have stopped counts as unreplied
//! again, if the rules have changed since it met them ([`note_visit`], too). The entry's counters
//! tell that, so a reply costs nothing more, and an entry without counters is left alone.
//!
//! # Races
//!
//! Several CPUs may begin an entry for the same connection: one is confirmed, the others meet an
//! entry with the present stamp, and are settled as any clash. A reply to the first entry between
//! the insertion of the second one and the deletion of the first one is translated as before; the
//! connection goes on by its new mapping all the same.

use core::mem::offset_of;

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

use crate::{
    ct::{
        entry,
        figures::nat::NatCounts,
        netns::{
            NetState,
            Reconsider, //
        },
    },
    nf::{
        entry::{
            conn::Status,
            ext::{
                Counters,
                SynProxy, //
            },
            stale::{
                Get,
                Stale, //
            },
        },
        kernel::{
            params,
            time::{
                self,
                HZ, //
            },
        },
        prelude::*, //
    },
    proto::{
        reconsider::{
            early_stamp,
            question,
            Asked,
            Question,
            Replies, //
        },
        tcp,
        types::num::{
            u32_as_usize,
            usize_as_u64, //
        },
        udp, //
    },
};

/// A second, in jiffies.
const SECOND: usize = u32_as_usize(HZ);

/// Returns whether the rules may have changed since the connection of an unreplied entry met them.
#[inline(always)]
pub(in crate::ct) fn is_stale(status: Status, net: &Net) -> bool {
    status.generation() != net.generation()
}

/// Returns what is to be asked about the connection of a [stale](is_stale) entry now. Stamps the
/// entry if the rules have no say about it.
#[cold]
pub(in crate::ct) fn question_about(conn: &Conn, net: &Net, rcu: Rcu<'_>) -> Question {
    let state = net.state_in::<NetState>(rcu);
    let (status, current) = (conn.status(), net.generation());
    let settings = &state.reconsider;
    let has_rules = settings.level.load(Relaxed) != 0 && state.nat_chains.load(Relaxed) != 0;
    if !has_rules || !is_eligible(conn, status) {
        conn.stamp(current, None);
        return Question::Nothing;
    }
    // A second entry takes a place until one of the two is gone: none that another connection
    // would have to give up.
    let is_full = state.entries() >= params::max_entries().load(Relaxed);
    let is_unreachable = status.has(StatusBit::Unreachable);
    let is_aged = status.has(StatusBit::Aged);
    let question = question(status.generation(), current, is_aged, is_unreachable);
    let after = if is_unreachable || question == Question::Source {
        0
    } else {
        in_jiffies(&settings.after)
    };
    if is_full || !is_due(conn, after) {
        return Question::Nothing;
    }
    question
}

/// Returns whether an entry is unreplied, and may have another mapping by the rules that user space
/// sees.
fn is_eligible(conn: &Conn, status: Status) -> bool {
    !status.has(StatusBit::SeenReply) && is_of_rules(conn, status)
}

/// Returns whether an entry has the mapping that rules have given to a packet of its own.
fn is_of_rules(conn: &Conn, status: Status) -> bool {
    const OTHERS: [StatusBit; 10] = [
        StatusBit::Expected,
        StatusBit::SeqAdjust,
        StatusBit::Dying,
        StatusBit::FixedTimeout,
        StatusBit::Template,
        StatusBit::NatClash,
        // Its expectations would go with it.
        StatusBit::Helper,
        StatusBit::Offload,
        StatusBit::HwOffload,
        StatusBit::Adopted,
    ];
    let is_open = match conn.protocol() {
        protocol::TCP => {
            // A retransmitted SYN. The caller sees to that.
            conn.proto_byte(offset_of!(tcp::Track, state)) == tcp::State::SynSent.to_u8()
        }
        protocol::SCTP => false,
        _ => true,
    };
    is_open
        && status.has(StatusBit::Confirmed)
        && !OTHERS.into_iter().any(|bit| status.has(bit))
        && conn.master().is_none()
        && conn.extensions().find::<SynProxy>().is_none()
}

/// Returns whether the connection met the rules at least `after` jiffies ago. There is nothing
/// one-way about TCP, so a retransmitted SYN need not wait.
fn is_due(conn: &Conn, after: usize) -> bool {
    asked(conn).is_none_or(|asked| asked.is_due(time::jiffies(), after, SECOND))
}

/// Returns a setting in seconds, in jiffies.
fn in_jiffies(seconds: &Atomic<u32>) -> usize {
    u32_as_usize(seconds.load(Relaxed)).saturating_mul(SECOND)
}

/// Returns when the connection met the rules. [`None`]: its protocol's state has no room for that.
fn asked(conn: &Conn) -> Option<Asked> {
    let [created, last] = conn.spare_words()?;
    let created = match conn.protocol() {
        protocol::UDP => udp::created(conn.proto_word(), SECOND),
        _ => created.load(Relaxed),
    };
    let last = last.load(Relaxed);
    Some(Asked {
        created,
        last: (last != 0).then_some(last),
    })
}

/// Notes the time of the first packet of a connection whose protocol keeps no time.
pub(in crate::ct) fn note_created(conn: &Conn) {
    if let Some([created, _]) = conn.spare_words() {
        created.store(time::jiffies(), Relaxed);
    }
}

/// Returns whether `conn`, which has the original tuple of `existing` and is to be confirmed, was
/// begun to ask the rules again, and `existing` is to go if they gave another answer.
pub(super) fn succeeds(conn: &Conn, existing: &Conn) -> bool {
    let status = existing.status();
    let dir = Direction::Original;
    status.generation() != conn.status().generation()
        && is_eligible(existing, status)
        && conn.tuple(dir) == existing.tuple(dir)
        && conn.zone().id_for(dir) == existing.zone().id_for(dir)
}

/// Keeps an entry for which the rules gave the same answer as before to its connection: `other` met
/// them, and gives its state to the entry.
pub(super) fn keep(conn: &Conn, other: &Conn) {
    conn.stamp(other.status().generation(), None);
    note_asked(conn);
    match other.with_proto(|track: &mut tcp::Track| *track) {
        // The SYN may be another one than the first. As in C it does not prolong the attempt.
        Some(begun) => {
            conn.with_proto(|track: &mut tcp::Track| *track = begun);
        }
        None => entry::refresh(conn, other.timeout()),
    }
    count(conn.net(), false);
}

/// Notes that a connection meets the rules now, not for the first time.
pub(super) fn note_asked(conn: &Conn) {
    if let Some([_, last]) = conn.spare_words() {
        // 0 says that there was none.
        last.store(time::jiffies() | 1, Relaxed);
    }
}

/// Counts a connection that got another mapping. `old` is the entry that it had before.
pub(super) fn note_moved(old: &Conn) {
    count(old.net(), true);
}

fn count(net: &Net, is_moved: bool) {
    let counters = NatCounts::of(net);
    counters.reconsidered.fetch_add(1, Relaxed);
    if is_moved {
        counters.moved.fetch_add(1, Relaxed);
    }
}

/// Notes that an ICMP error says that the destination of a connection is unreachable.
///
/// The mapping stays (RFC 5508, section 4): the rules are only asked again, at most once a second.
/// So a forged error does no more than that.
///
/// A UDP connection that has had replies counts as unreplied again if the rules have changed since
/// it met them: the host that answered is gone, perhaps with the rule that led to it. A server that
/// is only being restarted has its rule still.
#[cold]
pub(crate) fn note_unreachable(conn: &Conn) {
    let (status, net) = (conn.status(), conn.net());
    if status.has(StatusBit::Unreachable) || !is_of_rules(conn, status) {
        return;
    }
    if status.has(StatusBit::SeenReply) {
        let is_on = Reconsider::of(net).level.load(Relaxed) != 0;
        if !is_on || conn.protocol() != protocol::UDP || !is_stale(status, net) {
            return;
        }
        conn.forget_reply();
    }
    conn.stamp(early_stamp(net.generation()), Some(StatusBit::Unreachable));
}

/// Takes notice of an entry that the collector meets in its round: it may have been unreplied for
/// long, or have had its last reply long ago.
#[inline]
pub(super) fn note_visit(stale: Stale<'_>) {
    let status = stale.status();
    if !status.has(StatusBit::SeenReply) {
        if status.has(StatusBit::SrcNat) {
            age(stale);
        }
    } else if status.has(StatusBit::SrcNat) || status.has(StatusBit::DstNat) {
        silence(stale);
    }
}

/// Lets a UDP connection that has had replies, but has none any more, count as unreplied, if the
/// rules have changed since it met them, and `nf_nat_reconsider` is 2.
///
/// A reply that comes meanwhile makes it a replied one again.
#[inline(never)]
fn silence(stale: Stale<'_>) {
    let settings = Reconsider::of_in(stale.net(), stale.rcu());
    if settings.level.load(Relaxed) != 2 || stale.protocol() != protocol::UDP {
        return;
    }
    // The memory may have had another entry since.
    let Get::Hit(conn) = stale.get_if(|stale| stale.status().has(StatusBit::Confirmed)) else {
        return;
    };
    let (status, net) = (conn.status(), conn.net());
    let Some([memory, _]) = conn.spare_words() else {
        return;
    };
    if conn.protocol() != protocol::UDP {
        return;
    }
    let Some(counters) = conn.extensions().find::<Counters>() else {
        return;
    };
    let (replies, _) = counters.read(Direction::Reply);
    let mut known = Replies::from_word(usize_as_u64(memory.load(Relaxed)));
    // CAST: The lower half tells whether there were others.
    let silent = known.note(replies as u32, time::jiffies32());
    // CAST: A word has 64 bits.
    memory.store(known.to_word() as usize, Relaxed);
    let after = in_jiffies(&Reconsider::of(net).after).max(SECOND);
    if u32_as_usize(silent) >= after
        && status.has(StatusBit::SeenReply)
        && is_stale(status, net)
        && is_of_rules(&conn, status)
    {
        conn.forget_reply();
    }
}

/// Has the source of an unreplied UDP connection chosen anew if that was long ago.
#[inline(never)]
fn age(stale: Stale<'_>) {
    let Get::Hit(conn) = stale.get_if(|stale| stale.status().has(StatusBit::Confirmed)) else {
        return;
    };
    let (status, net) = (conn.status(), conn.net());
    let max = in_jiffies(&Reconsider::of(net).udp_max);
    // One with another stamp asks anyway.
    if max == 0 || is_stale(status, net) || conn.protocol() != protocol::UDP {
        return;
    }
    if is_due(&conn, max) && is_eligible(&conn, status) {
        conn.stamp(early_stamp(status.generation()), Some(StatusBit::Aged));
    }
}

/// Gives a new entry the destination of `old`, for which only a source is sought.
pub(in crate::ct) fn keep_destination(skb: &mut Skb, old: &Conn) {
    let Some(mut entry) = skb.unconfirmed() else {
        return;
    };
    let reply = entry.conn().tuple(Direction::Reply);
    let kept = old.tuple(Direction::Reply);
    entry.set_reply(&Tuple {
        src: kept.src,
        src_key: kept.src_key,
        ..reply
    });
    if old.has(StatusBit::DstNat) {
        entry.conn().set(StatusBit::DstNat);
    }
    entry.conn().set(StatusBit::DstNatDone);
}
