// SPDX-License-Identifier: GPL-2.0

//! Code that must not compile. `scripts/check-misuse` compiles it as a module of the crate, and
//! compares the compiler's errors with those that lines name (`//~`): each must be reported, and no
//! other.

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    nf::{
        entry::{
            conn::{
                Conn,
                Entry, //
            },
            dying::DyingList,
            ext::SeqAdjust,
            fresh::Fresh,
            help::Helper,
            pair::LockedPair,
            stale::Stale, //
        },
        expect::{
            expectation::Expectation,
            linked::Seen,
            lock::{
                ExpectGuard,
                Locked, //
            },
        },
        kernel::{
            lock::BhDisabled,
            net::Net,
            pernet::Pernet,
            rcu::{
                Rcu,
                RcuGuard, //
            },
        },
        packet::{
            hook::HookSlot,
            nat::Unconfirmed,
            skb::{
                CtInfo,
                Skb, //
            },
        },
    },
    proto::{
        tcp,
        types::direction::Direction,
        wire::seq::SeqNum, //
    },
};

fn needs_send<T: Send>(_value: T) {}

/// Once an entry is shared, nothing is added to it.
fn fresh_after_publish(mut fresh: Fresh) -> Result {
    let _conn = fresh.publish();
    fresh.add::<SeqAdjust>() //~ E0382
}

/// What a chain led to is no connection before it was compared again.
fn stale_as_conn<'r>(stale: &'r Stale<'r>) -> &'r Conn {
    stale //~ E0308
}

/// An entry whose count may be zero gives no reference.
fn reference_to_entry(entry: &Entry) {
    let _ = ARef::from(entry); //~ E0277
}

/// Nor does a helper or an expectation that was only seen.
fn reference_to_seen(helper: &Helper, expectation: &Expectation) {
    let _ = ARef::from(helper); //~ E0277
    let _ = ARef::from(expectation); //~ E0277
}

/// The source of an entry is decided once.
fn decided_twice(entry: Unconfirmed<'_>, decide: impl Fn(Unconfirmed<'_>)) {
    decide(entry);
    decide(entry); //~ E0382
}

/// An entry that NAT sets up stays in its context.
fn unconfirmed_elsewhere(entry: Unconfirmed<'_>) {
    needs_send(entry); //~ E0277
}

/// Data of a packet is not used after it may have moved.
fn data_after_move(skb: &mut Skb) -> Option<()> {
    let writable = skb.ensure_writable(20).ok()?;
    drop(skb.detach()); //~ E0499
    let _: [u8; 1] = writable.read(0)?;
    Some(())
}

/// What an RCU section protects ends with it.
fn token_after_section() -> Option<Rcu<'static>> {
    let section = RcuGuard::new();
    Some(section.token()) //~ E0515
}

/// The evidence that a lock is held ends with the lock.
fn evidence_after_lock(use_it: impl Fn(Locked<'_>)) {
    let guard = ExpectGuard::new();
    let locked = guard.locked();
    drop(guard); //~ E0505
    use_it(locked);
}

/// Bottom halves stay off where they are.
fn bottom_halves_elsewhere(bh: BhDisabled) {
    needs_send(bh); //~ E0277
}

/// Taking an entry out unlocks its buckets.
fn pair_after_remove(pair: LockedPair<'_>, remove: impl Fn(LockedPair<'_>)) {
    remove(pair);
    let _ = pair.entries(Direction::Reply).count(); //~ E0382
}

/// Only what was in the table, and is no longer, is on the dying list.
fn dying_in_table(list: &DyingList, conn: ARef<Conn>) {
    list.push(conn); //~ E0308
}

/// Hooks are registered in a slot that the namespace closes at its end.
fn slot_without_owner<P: Pernet>(net: &Net, slot: fn(&P) -> &HookSlot) {
    let _ = HookSlot::open(net, slot); //~ E0308
}

/// A helper's functions are called with an entry that has its data.
fn helper_without_entry(helper: &Helper, skb: &mut Skb) {
    let _ = helper.help(skb, 20, CtInfo::New); //~ E0599
}

/// The lock that guards the adjustment is that of its entry.
fn adjustment_without_entry(adjust: &SeqAdjust) {
    let _ = adjust.read(); //~ E0599
}

/// The function of an expectation is called with the new entry.
fn expectfn_of_any(seen: &Seen<'_>, conn: &Conn) {
    let _ = seen.run_expectfn(conn); //~ E0308
}

/// Evidence is not made up.
fn made_up<'a>(raw: *mut crate::nf::bindings::nf_conn) -> (Rcu<'a>, &'a Entry) {
    let rcu = Rcu::assume_held(); //~ E0133
    let entry = Entry::from_raw(raw); //~ E0133
    (rcu, entry)
}

/// A state that is another protocol's is no state of an entry.
fn foreign_state(entry: &Entry) {
    entry.with_proto(|_state: &mut crate::proto::udp::Track| ()); //~ E0277
    entry.with_proto(|_state: &mut tcp::Track| ());
}

/// Sequence numbers have no order by value.
fn order_of_numbers(a: SeqNum, b: SeqNum) -> bool {
    a < b //~ E0369
}
