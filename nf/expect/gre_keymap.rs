// SPDX-License-Identifier: GPL-2.0

//! The keymaps of GRE (`struct nf_ct_gre_keymap`): for each call that a PPTP control connection
//! announces, which call ID the sender of a packet has.
//!
//! The keymaps of a namespace are in the list of its `struct netns_ct`. A control connection points
//! to its two keymaps in the data of its helper, the PPTP module's.
//!
//! # Examples
//!
//! ```ignore
//! // SAFETY: The helper of `conn` is PPTP's.
//! let Some(master) = (unsafe { PptpMaster::of(conn) }) else {
//!     return false;
//! };
//! // Allocated before the lock is taken.
//! let Some(new) = NewKeymaps::new(original, reply) else {
//!     return false;
//! };
//! KEYMAPS.lock().add(&master, new)
//! ```
//!
//! C header: [`include/linux/netfilter/nf_conntrack_proto_gre.h`](srctree/include/linux/netfilter/nf_conntrack_proto_gre.h)

use core::{
    mem::{
        offset_of,
        size_of,
        ManuallyDrop, //
    },
    ptr::{
        addr_of,
        addr_of_mut,
        null_mut,
        NonNull, //
    },
};

use crate::{
    nf::{
        bindings,
        entry::{
            conn::Conn,
            help::Help, //
        },
        kernel::{
            net::Net,
            rcu::Rcu,
            static_lock::StaticSpinLock, //
        },
    },
    proto::types::{
        direction::Direction,
        tuple::Tuple, //
    },
};

type Keymap = bindings::nf_ct_gre_keymap;

/// Finds a keymap of a namespace, and returns its tuple.
pub(crate) fn find(
    net: &Net,
    _rcu: Rcu<'_>,
    mut is_wanted: impl FnMut(&Tuple) -> bool,
) -> Option<Tuple> {
    let head = net.keymaps();
    let mut at = head;
    loop {
        // SAFETY: The head, or a keymap that was in the list during the section; keymaps are freed
        // no sooner than a grace period after they were unlinked.
        at = unsafe { bindings::rct_list_next_rcu(at) };
        // Null: the namespace is not set up.
        if at == head || at.is_null() {
            return None;
        }
        let map = at
            .wrapping_byte_sub(offset_of!(Keymap, list))
            .cast::<Keymap>();
        // SAFETY: A keymap that is, or was, in the list; its tuple does not change.
        let tuple = unsafe { addr_of_mut!((*map).tuple).cast::<Tuple>().read() };
        if is_wanted(&tuple) {
            return Some(tuple);
        }
    }
}

/// A PPTP control connection, with the data of its helper (`struct nf_ct_pptp_master`).
///
/// # Invariants
///
/// The data is in an extension of the entry, and the entry's helper is the PPTP module's.
/// [`KEYMAPS`] guards the two pointers to keymaps. Each is null, or the keymap belongs to this
/// entry alone and is in the list of the entry's namespace.
pub(crate) struct PptpMaster<'a> {
    conn: &'a Conn,
    data: NonNull<bindings::nf_ct_pptp_master>,
}

impl<'a> PptpMaster<'a> {
    /// Wraps a control connection. [`None`]: it has no helper.
    ///
    /// # Safety
    ///
    /// If the connection has a helper, that is the PPTP module's.
    pub(crate) unsafe fn of(conn: &'a Conn) -> Option<Self> {
        let help = conn.extensions().find::<Help>()?;
        // SAFETY: A field of a valid object.
        let data = unsafe { NonNull::new_unchecked(addr_of_mut!((*help.raw()).data)) };
        // INVARIANT: By the function's contract the data is PPTP's.
        Some(Self {
            conn,
            data: data.cast(),
        })
    }

    /// Wraps the master of a GRE connection. [`None`]: it is no PPTP control connection.
    pub(crate) fn of_parent(conn: &'a Conn, rcu: Rcu<'_>) -> Option<Self> {
        let help = conn.extensions().find::<Help>()?;
        if !help.helper(rcu)?.is_pptp() {
            return None;
        }
        // SAFETY: The helper is PPTP's, as just found.
        unsafe { Self::of(conn) }
    }

    /// Returns the control connection.
    pub(crate) fn conn(&self) -> &'a Conn {
        self.conn
    }

    /// Returns the call IDs in network byte order: the network server's, then the access
    /// concentrator's.
    pub(crate) fn call_ids(&self) -> [[u8; 2]; 2] {
        let data = self.data.as_ptr();
        // SAFETY: Valid, aligned words, which the helper may write meanwhile.
        unsafe {
            [
                addr_of!((*data).pns_call_id).read_volatile().to_ne_bytes(),
                addr_of!((*data).pac_call_id).read_volatile().to_ne_bytes(),
            ]
        }
    }

    /// Returns the place of the pointer to the keymap of a direction.
    fn slot(&self, dir: Direction) -> *mut *mut Keymap {
        // SAFETY: In bounds: there is one for each direction.
        unsafe {
            addr_of_mut!((*self.data.as_ptr()).keymap)
                .cast::<*mut Keymap>()
                .add(dir.to_u8().into())
        }
    }
}

/// The two keymaps of a control connection, before they are linked. Dropping them frees them.
///
/// # Invariants
///
/// Both are initialised, from `kmalloc()`, and owned by this value.
pub(crate) struct NewKeymaps([NonNull<Keymap>; 2]);

impl NewKeymaps {
    /// Allocates the keymaps of both directions. Atomic context. [`None`]: no memory.
    pub(crate) fn new(original: Tuple, reply: Tuple) -> Option<Self> {
        let original = allocate(original)?;
        let Some(reply) = allocate(reply) else {
            // SAFETY: Just allocated, and not used.
            unsafe { bindings::kfree(original.as_ptr().cast()) };
            return None;
        };
        // INVARIANT: Just made.
        Some(Self([original, reply]))
    }
}

/// Allocates a keymap. Atomic context. [`None`]: no memory.
fn allocate(tuple: Tuple) -> Option<NonNull<Keymap>> {
    // SAFETY: Allocates.
    let map = unsafe { bindings::rct_kzalloc(size_of::<Keymap>(), bindings::gfp::ATOMIC) };
    let map = NonNull::new(map)?.cast::<Keymap>();
    // SAFETY: Just allocated, and large enough; `Tuple` is a layout twin.
    unsafe {
        addr_of_mut!((*map.as_ptr()).tuple)
            .cast::<Tuple>()
            .write(tuple)
    };
    Some(map)
}

impl Drop for NewKeymaps {
    fn drop(&mut self) {
        for map in self.0 {
            // SAFETY: By the type invariants.
            unsafe { bindings::kfree(map.as_ptr().cast()) };
        }
    }
}

/// Guards the keymaps of all namespaces.
pub(crate) static KEYMAPS: StaticSpinLock<Keymaps> =
    StaticSpinLock::new(c"KEYMAPS", || Keymaps(()));

/// The right to use what [`KEYMAPS`] guards: there is one value, inside of it.
pub(crate) struct Keymaps(());

impl Keymaps {
    /// Returns the tuple of a control connection's keymap.
    pub(crate) fn tuple(&self, master: &PptpMaster<'_>, dir: Direction) -> Option<Tuple> {
        // SAFETY: The lock is held.
        let map = NonNull::new(unsafe { *master.slot(dir) })?;
        // SAFETY: By the invariants of `PptpMaster`; `Tuple` is a layout twin.
        Some(unsafe { addr_of_mut!((*map.as_ptr()).tuple).cast::<Tuple>().read() })
    }

    /// Links the keymaps of a control connection. Returns `false`, and frees the keymaps, if the
    /// connection has one already.
    pub(crate) fn add(&mut self, master: &PptpMaster<'_>, maps: NewKeymaps) -> bool {
        let both = [Direction::Original, Direction::Reply];
        if both.iter().any(|dir| self.tuple(master, *dir).is_some()) {
            return false;
        }
        let maps = ManuallyDrop::new(maps);
        for (dir, map) in both.into_iter().zip(maps.0) {
            let head = master.conn.net().keymaps();
            // SAFETY: The lock is held; the keymap is initialised and in no list.
            // INVARIANT: It is in the list from now on, and belongs to the entry.
            unsafe {
                bindings::rct_list_add_tail_rcu(addr_of_mut!((*map.as_ptr()).list), head);
                *master.slot(dir) = map.as_ptr();
            }
        }
        true
    }

    /// Unlinks the keymaps of a control connection, and frees them after a grace period.
    pub(crate) fn remove(&mut self, master: &PptpMaster<'_>) {
        for dir in [Direction::Original, Direction::Reply] {
            // SAFETY: The lock is held.
            let map = unsafe { master.slot(dir).replace(null_mut()) };
            if !map.is_null() {
                // SAFETY: By the invariants of `PptpMaster` it was in the list, and belonged to
                // this entry alone; readers may still look at it.
                unsafe {
                    bindings::rct_list_del_rcu(addr_of_mut!((*map).list));
                    bindings::rct_keymap_kfree_rcu(map);
                }
            }
        }
    }
}
