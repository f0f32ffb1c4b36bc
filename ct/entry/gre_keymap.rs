// SPDX-License-Identifier: GPL-2.0

//! GRE keys that PPTP agrees on.
//!
//! A packet of a PPTP call carries the call ID of its receiver only. Both IDs were agreed on in
//! the control connection, where the PPTP helper reads them and makes two maps, one for each
//! direction, from addresses and the receiver's ID to the sender's ID.

use crate::nf::{
    expect::gre_keymap::{
        self,
        NewKeymaps,
        PptpMaster, //
    },
    prelude::*, //
};

/// Whether two tuples are of one call, seen the same way: all but the sender's ID.
fn same_receiver(a: &Tuple, b: &Tuple) -> bool {
    let without_source = |tuple: &Tuple| Tuple {
        src_key: [0; 2],
        ..*tuple
    };
    without_source(a) == without_source(b)
}

/// The call ID of the sender, by all else that the tuple says; 0 if nobody has told it.
pub(in crate::ct) fn sender_id(net: &Net, tuple: &Tuple, rcu: Rcu<'_>) -> [u8; 2] {
    gre_keymap::find(net, rcu, |map| same_receiver(map, tuple))
        .map_or([0; 2], |map: Tuple| map.src_key)
}

/// Makes the maps of a control connection. Says whether it has these.
///
/// It keeps the first that it gets: a peer that tells other IDs later may not take over calls.
pub(in crate::ct) fn add(control: &PptpMaster<'_>, original: &Tuple, reply: &Tuple) -> bool {
    let Some(new) = NewKeymaps::new(*original, *reply) else {
        return false;
    };
    let mut maps = gre_keymap::KEYMAPS.lock();
    // Who takes the entry away takes its maps away later, and waits for the lock.
    if control.conn().has(StatusBit::Dying) {
        return false;
    }
    let there = [Direction::Original, Direction::Reply].map(|dir| maps.tuple(control, dir));
    match there {
        [None, None] => maps.add(control, new),
        [Some(first), Some(second)] => {
            same_receiver(&first, original) && same_receiver(&second, reply)
        }
        _ => false,
    }
}

/// Takes the maps of a control connection away.
pub(in crate::ct) fn remove(control: &PptpMaster<'_>) {
    gre_keymap::KEYMAPS.lock().remove(control);
}

/// A GRE connection ends that came of `parent`: so do the maps that led to it.
#[cold]
pub(in crate::ct) fn remove_of_parent(parent: &Conn) {
    let rcu = RcuGuard::new();
    if let Some(control) = PptpMaster::of_parent(parent, rcu.token()) {
        remove(&control);
    }
}
