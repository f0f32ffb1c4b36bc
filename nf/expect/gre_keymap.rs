// SPDX-License-Identifier: GPL-2.0

//! The map of GRE keys: what a PPTP control connection says about the calls that belong to it.
//!
//! The maps of a namespace are on the list in its `struct netns_ct`; those of a control
//! connection hang on what the PPTP helper remembers of that.
//!
//! C header: [`include/linux/netfilter/nf_conntrack_proto_gre.h`](srctree/include/linux/netfilter/nf_conntrack_proto_gre.h)

use core::{
    mem::{
        offset_of,
        size_of, //
    },
    ptr::{
        addr_of_mut,
        null_mut,
        NonNull, //
    }, //
};

use kernel::types::Opaque;

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
        }, //
    },
    proto::types::{
        direction::Direction,
        tuple::Tuple, //
    }, //
};

type Map = bindings::nf_ct_gre_keymap;

/// Finds a map of a namespace by its tuple.
pub(crate) fn find(
    net: &Net,
    _rcu: Rcu<'_>,
    mut is_it: impl FnMut(&Tuple) -> bool,
) -> Option<Tuple> {
    let head = net.keymaps();
    let mut at = head;
    loop {
        // SAFETY: The head, or a map that was on the list during the section; maps are freed no
        // sooner than a grace period after they were taken off.
        at = unsafe { bindings::rct_list_next_rcu(at) };
        if at == head {
            return None;
        }
        let map = at.wrapping_byte_sub(offset_of!(Map, list)).cast::<Map>();
        // SAFETY: A map that is, or was, on the list; its tuple does not change.
        let tuple = unsafe { addr_of_mut!((*map).tuple).cast::<Tuple>().read() };
        if is_it(&tuple) {
            return Some(tuple);
        }
    }
}

/// What the PPTP helper remembers of a control connection.
///
/// # Invariants
///
/// Its map pointers are guarded by [`MAPS`]; each is null, or a map on the
/// namespace's list that belongs to it.
#[repr(transparent)]
pub(crate) struct Control(Opaque<bindings::nf_ct_pptp_master>);

impl Control {
    /// What a connection's helper remembers. [`None`]: it has no helper.
    ///
    /// # Safety
    ///
    /// If the connection has a helper, that is PPTP's.
    pub(crate) unsafe fn of<'a>(conn: &'a Conn) -> Option<&'a Self> {
        let help = conn.extensions().find::<Help>()?;
        // SAFETY: The part of the extension that belongs to the helper; the caller says that
        // it is this.
        Some(unsafe { &*addr_of_mut!((*help.raw()).data).cast() })
    }

    /// What the helper of the connection that a GRE connection comes from remembers.
    ///
    /// [`None`]: that is not PPTP.
    pub(crate) fn of_parent<'a>(conn: &'a Conn, rcu: Rcu<'_>) -> Option<&'a Self> {
        let help = conn.extensions().find::<Help>()?;
        if !help.helper(rcu)?.has_destroy() {
            return None;
        }
        // SAFETY: The one helper that wants to clean up is PPTP's.
        unsafe { Self::of(conn) }
    }

    /// The call IDs in network byte order: that of the network server, then that of the access
    /// concentrator.
    pub(crate) fn call_ids(&self) -> [[u8; 2]; 2] {
        let control = self.0.get();
        // SAFETY: Valid words, which the helper sets before it makes a map.
        unsafe {
            [
                (*control).pns_call_id.to_ne_bytes(),
                (*control).pac_call_id.to_ne_bytes(),
            ]
        }
    }

    fn place(&self, dir: Direction) -> *mut *mut Map {
        // SAFETY: In bounds: one for each direction.
        unsafe {
            addr_of_mut!((*self.0.get()).keymap)
                .cast::<*mut Map>()
                .add(dir as usize)
        }
    }
}

/// The two maps of a control connection, not on the list yet.
///
/// # Invariants
///
/// Both are initialised, and belong to this.
pub(crate) struct NewMaps([NonNull<Map>; 2]);

impl NewMaps {
    /// Makes them, in atomic context. [`None`]: no memory.
    pub(crate) fn new(original: Tuple, reply: Tuple) -> Option<Self> {
        let original = allocate(original)?;
        let Some(reply) = allocate(reply) else {
            // SAFETY: Ours alone.
            unsafe { bindings::kfree(original.as_ptr().cast()) };
            return None;
        };
        // INVARIANT: just made.
        Some(Self([original, reply]))
    }
}

fn allocate(tuple: Tuple) -> Option<NonNull<Map>> {
    let gfp = bindings::RCT_GFP_ATOMIC as u32;
    // SAFETY: Allocates.
    let map = NonNull::new(unsafe { bindings::rct_kzalloc(size_of::<Map>(), gfp) }.cast::<Map>())?;
    // SAFETY: Ours, and large enough; the types have the same bytes.
    unsafe {
        addr_of_mut!((*map.as_ptr()).tuple)
            .cast::<Tuple>()
            .write(tuple)
    };
    Some(map)
}

impl Drop for NewMaps {
    fn drop(&mut self) {
        for map in self.0 {
            // SAFETY: By the type invariants.
            unsafe { bindings::kfree(map.as_ptr().cast()) };
        }
    }
}

/// Guards the maps of all namespaces.
pub(crate) static MAPS: StaticSpinLock<Maps> = StaticSpinLock::new(c"MAPS", || Maps(()));

/// The right to use what [`MAPS`] guards: there is one value, inside of that.
pub(crate) struct Maps(());

impl Maps {
    /// The tuple of a control connection's map.
    pub(crate) fn tuple(&self, control: &Control, dir: Direction) -> Option<Tuple> {
        // SAFETY: The lock is held.
        let map = NonNull::new(unsafe { *control.place(dir) })?;
        // SAFETY: By the invariants of `Control`; the types have the same bytes.
        Some(unsafe { addr_of_mut!((*map.as_ptr()).tuple).cast::<Tuple>().read() })
    }

    /// Gives a control connection that has no maps these.
    pub(crate) fn add(&mut self, net: &Net, control: &Control, maps: NewMaps) {
        let [original, reply] = maps.0;
        core::mem::forget(maps);
        for (dir, map) in [(Direction::Original, original), (Direction::Reply, reply)] {
            // SAFETY: The lock is held; the map is initialised and on no list.
            // INVARIANT: it is on the list from now on.
            unsafe {
                bindings::rct_list_add_tail_rcu(addr_of_mut!((*map.as_ptr()).list), net.keymaps());
                *control.place(dir) = map.as_ptr();
            }
        }
    }

    /// Takes the maps of a control connection away.
    pub(crate) fn remove(&mut self, control: &Control) {
        for dir in [Direction::Original, Direction::Reply] {
            let place = control.place(dir);
            // SAFETY: The lock is held.
            let map = unsafe { place.replace(null_mut()) };
            if !map.is_null() {
                // SAFETY: By the invariants of `Control` it was on the list and no longer
                // belongs to anybody; readers may still look at it.
                unsafe {
                    bindings::rct_list_del_rcu(addr_of_mut!((*map).list));
                    bindings::rct_keymap_kfree_rcu(map);
                }
            }
        }
    }
}
