// SPDX-License-Identifier: GPL-2.0

//! GRE key maps of PPTP calls.
//!
//! A packet of a PPTP call (RFC 2637) carries the call ID of its receiver only. Both IDs are agreed
//! on in the control connection. The PPTP helper reads them there and adds two maps, one per
//! direction, from the addresses and the receiver's ID to the sender's ID.
//!
//! Maps are read under RCU, and changed under the lock of [`gre_keymap::KEYMAPS`], a leaf.

use crate::nf::{
    expect::gre_keymap::{
        self,
        NewKeymaps,
        PptpMaster, //
    },
    prelude::*, //
};

/// Returns whether two tuples are equal but for the sender's ID.
fn same_receiver(a: &Tuple, b: &Tuple) -> bool {
    let without_source = |tuple: &Tuple| Tuple {
        src_key: [0; 2],
        ..*tuple
    };
    without_source(a) == without_source(b)
}

/// Returns the call ID of the sender for a tuple without it; 0 if there is no map.
pub(in crate::ct) fn sender_id(net: &Net, tuple: &Tuple, rcu: Rcu<'_>) -> [u8; 2] {
    gre_keymap::find(net, rcu, |map| same_receiver(map, tuple))
        .map_or([0; 2], |map: Tuple| map.src_key)
}

/// Adds the maps of a control connection. Returns whether it has these maps now.
///
/// The first pair of maps is kept: a peer that announces other IDs later must not take over calls.
pub(in crate::ct) fn add(control: &PptpMaster<'_>, original: &Tuple, reply: &Tuple) -> bool {
    let Some(new) = NewKeymaps::new(*original, *reply) else {
        return false;
    };
    let mut maps = gre_keymap::KEYMAPS.lock();
    // The end of a control connection sets this bit first, and then takes the lock to remove the
    // maps.
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

/// Removes the maps of a control connection.
pub(in crate::ct) fn remove(control: &PptpMaster<'_>) {
    gre_keymap::KEYMAPS.lock().remove(control);
}

/// Removes the maps of a control connection at the end of a GRE connection that it announced.
#[cold]
pub(in crate::ct) fn remove_of_parent(parent: &Conn) {
    let rcu = RcuGuard::new();
    if let Some(control) = PptpMaster::of_parent(parent, rcu.token()) {
        remove(&control);
    }
}
