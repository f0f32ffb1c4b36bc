// SPDX-License-Identifier: GPL-2.0

//! Ids of entries and expectations for user space: `CTA_ID`, `CTA_EXPECT_ID`, `id=` in
//! `/proc/net/rust_conntrack`.
//!
//! An id is constant over the life of its object, and tells objects of the same tuple apart by
//! their addresses. It must not reveal these: root of a user namespace reads the ids of its
//! entries, and knows their tuples. So the hash is siphash under a key of its own, as in the C
//! tracker.

use kernel::sync::SetOnce;

use crate::nf::{
    expect::expectation::Expectation,
    kernel::siphash::SipKey,
    prelude::*, //
};

/// The key. Drawn by [`draw_key`].
static KEY: SetOnce<SipKey> = SetOnce::new();

/// Draws the key. Called once, before there are entries.
pub(in crate::ct) fn draw_key() {
    KEY.populate(SipKey::random());
}

/// Returns the hash of an object with a tuple; 0 before the key is drawn.
fn id_of(tuple: &Tuple, address: usize, master: usize, net: usize) -> u32 {
    let Some(key) = KEY.as_ref() else {
        return 0;
    };
    let [a, b, c, d, e] = *tuple.key().words();
    // CAST: Addresses have 64 bits at most, and an id is the low half of the hash.
    key.hash(&[address as u64, master as u64, net as u64, a, b, c, d, e]) as u32
}

/// Returns the id of an entry.
pub(in crate::ct) fn of_entry(conn: &Conn) -> u32 {
    let master = conn.master().map_or(0, |master| master.address());
    let net = core::ptr::from_ref(conn.net()).addr();
    id_of(
        &conn.tuple(Direction::Original),
        conn.address(),
        master,
        net,
    )
}

/// Returns the id of an expectation. Its master belongs to its namespace.
pub(in crate::ct) fn of_expectation(expectation: &Expectation) -> u32 {
    let (address, master) = (expectation.address(), expectation.master_address());
    id_of(&expectation.tuple(), address, master, 0)
}
