// SPDX-License-Identifier: GPL-2.0

//! Lists of entries that have something in common, beside the chains of the table: many of them,
//! each entry on a few.
//!
//! An entry is put first, and stays where it is until it leaves. A [`Place`] on a list stands
//! between two entries, as a node of its own, until it moves on. So a walk may rest for as long
//! as it likes without a lock: it meets every entry that was there when it began, and none twice,
//! whatever comes and goes meanwhile.
//!
//! The nodes lie behind the entry, in the same object of the slab.

use core::{
    marker::PhantomPinned,
    mem::{
        offset_of,
        size_of, //
    },
    pin::Pin,
    ptr::{
        addr_of_mut,
        null_mut,
        NonNull, //
    },
};

use kernel::{
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    types::Opaque, //
};

use super::{
    bindings,
    conn::Conn,
    lock::BhDisabled, //
};

/// What the entries of a list have in common: each entry has a node for each.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Link {
    /// Namespace and zone.
    Zone = 0,
    /// Where the first packet came from.
    Source = 1,
    /// Where it went to.
    Destination = 2,
    /// What it was translated to.
    Translated = 3,
}

/// How many there are.
const LINKS: usize = 4;

/// An object of the slab.
#[repr(C)]
struct Object {
    conn: bindings::nf_conn,
    nodes: [Node; LINKS],
}

/// The size of an entry with its nodes.
pub(super) const OBJECT_SIZE: usize = size_of::<Object>();

/// Set in a pointer to the node of a [`Place`].
const PLACE: usize = 1;

/// A node of a doubly linked list. Changed and followed under the list's lock only.
#[repr(C)]
struct Node {
    /// The next node; null: there is none. Carries [`PLACE`].
    next: *mut Node,
    /// What points to it.
    back: *mut *mut Node,
}

/// The node that a pointer with a mark points to.
#[inline]
fn bare(node: *mut Node) -> *mut Node {
    node.map_addr(|address| address & !PLACE)
}

#[inline]
fn node_of(conn: &Conn, link: Link) -> *mut Node {
    // SAFETY: Entries on lists are objects of the slab, none a template. In bounds: as many
    // nodes as links.
    unsafe {
        addr_of_mut!((*conn.raw().cast::<Object>()).nodes)
            .cast::<Node>()
            .add(link as usize)
    }
}

/// # Safety
///
/// `node` is an entry's for `link`, and the entry stays for `'a`.
#[inline]
unsafe fn entry_of<'a>(node: *mut Node, link: Link) -> &'a Conn {
    let back = offset_of!(Object, nodes).wrapping_add(link as usize * size_of::<Node>());
    // SAFETY: The caller's promise.
    unsafe { Conn::from_raw(node.byte_sub(back).cast()) }
}

/// Puts a node, to which `value` points, where `at` points.
///
/// # Safety
///
/// The lock of the list is held; `at` is the head or the `next` of a node on it; the node is on
/// no list.
#[inline]
unsafe fn link_in(at: *mut *mut Node, value: *mut Node) {
    // SAFETY: The caller's promise.
    unsafe {
        let (node, next) = (bare(value), *at);
        (*node).next = next;
        (*node).back = at;
        if !next.is_null() {
            (*bare(next)).back = addr_of_mut!((*node).next);
        }
        *at = value;
    }
}

/// Takes a node off its list.
///
/// # Safety
///
/// The lock of the list is held, and the node is on it.
#[inline]
unsafe fn unlink(node: *mut Node) {
    // SAFETY: The caller's promise.
    unsafe {
        let next = (*node).next;
        *(*node).back = next;
        if !next.is_null() {
            (*bare(next)).back = (*node).back;
        }
    }
}

/// One list.
#[repr(C)]
struct List {
    lock: Opaque<bindings::spinlock_t>,
    /// Carries [`PLACE`].
    first: *mut Node,
}

/// The lists, as many for each [`Link`].
///
/// # Invariants
///
/// `lists` points to `LINKS * len` initialised lists that belong to this value; `len` is a power
/// of two. An entry on a list has a reference for that, which is given back after it left.
pub(crate) struct Lists {
    lists: NonNull<List>,
    len: u32,
}

// SAFETY: The pointer owns its target, which is made to be shared.
unsafe impl Send for Lists {}
// SAFETY: As above; all access is under the lists' locks.
unsafe impl Sync for Lists {}

impl Lists {
    /// Allocates at least `len` empty lists for each link. May sleep.
    pub(crate) fn new(len: u32) -> Result<Self> {
        let len = len.checked_next_power_of_two().ok_or(ENOMEM)?;
        let all = LINKS.checked_mul(len as usize).ok_or(ENOMEM)?;
        let bytes = all.checked_mul(size_of::<List>()).ok_or(ENOMEM)?;
        // SAFETY: Process context. Zeroed, a list is empty.
        let lists = NonNull::new(unsafe { bindings::rct_kvzalloc(bytes) }).ok_or(ENOMEM)?;
        let lists = lists.cast::<List>();
        for index in 0..all {
            // SAFETY: In bounds, and not in use yet.
            unsafe {
                let list = lists.as_ptr().add(index);
                bindings::rct_spin_lock_init_links(addr_of_mut!((*list).lock).cast());
            }
        }
        // INVARIANT: as just made.
        Ok(Self { lists, len })
    }

    fn list(&self, link: Link, number: u32) -> *mut List {
        let first = (link as usize).wrapping_mul(self.len as usize);
        let index = first.wrapping_add((number & self.len.wrapping_sub(1)) as usize);
        // SAFETY: In bounds by the mask.
        unsafe { self.lists.as_ptr().add(index) }
    }

    /// Runs `f` with the list's lock held.
    #[inline]
    fn locked<R>(
        &self,
        link: Link,
        number: u32,
        _bh: &BhDisabled,
        f: impl FnOnce(*mut *mut Node) -> R,
    ) -> R {
        let list = self.list(link, number);
        // SAFETY: Initialised with the list; bottom halves are off.
        unsafe { bindings::rct_spin_lock(addr_of_mut!((*list).lock).cast()) };
        // SAFETY: A field of a list.
        let result = f(unsafe { addr_of_mut!((*list).first) });
        // SAFETY: Taken above.
        unsafe { bindings::rct_spin_unlock(addr_of_mut!((*list).lock).cast()) };
        result
    }

    /// Puts an entry on a list, where it stays until it [leaves](Self::leave), which is before
    /// the reference is given back that keeps it there.
    #[inline]
    pub(crate) fn join(&self, link: Link, number: u32, conn: &Conn, bh: &BhDisabled) {
        // SAFETY: The lock is held, and the caller sees to it that the entry is on no such list.
        self.locked(link, number, bh, |first| unsafe {
            link_in(first, node_of(conn, link));
        });
    }

    /// Takes an entry off the list that it was put on.
    #[inline]
    pub(crate) fn leave(&self, link: Link, number: u32, conn: &Conn, bh: &BhDisabled) {
        // SAFETY: The lock is held, and the caller has put the entry there.
        self.locked(link, number, bh, |_| unsafe {
            unlink(node_of(conn, link));
        });
    }
}

impl Drop for Lists {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the allocation is ours. Entries have left it, and a
        // place keeps it.
        unsafe { bindings::kvfree(self.lists.as_ptr().cast()) };
    }
}

/// As many nodes are looked at with a lock held.
const SLICE: u32 = 64;

/// What [`Place::find`] found.
pub(crate) enum Found {
    /// This one; the place is in front of it.
    Entry(ARef<Conn>),
    /// None so far.
    More,
    /// None up to the end of the list.
    End,
}

/// A place on a list.
///
/// # Invariants
///
/// `node` is on the list that `on` says, and on none if that is [`None`].
pub(crate) struct Place {
    lists: Arc<Lists>,
    node: Opaque<Node>,
    on: Option<(Link, u32)>,
    _pin: PhantomPinned,
}

// SAFETY: The node is used under the list's lock only.
unsafe impl Send for Place {}

impl Place {
    /// On no list.
    pub(crate) fn new(lists: Arc<Lists>) -> Self {
        // INVARIANT: on none.
        Self {
            lists,
            node: Opaque::new(Node {
                next: null_mut(),
                back: null_mut(),
            }),
            on: None,
            _pin: PhantomPinned,
        }
    }

    /// The pointer by which others know it.
    fn value(&self) -> *mut Node {
        self.node.get().map_addr(|address| address | PLACE)
    }

    /// Goes to the beginning of a list.
    pub(crate) fn enter(mut self: Pin<&mut Self>, link: Link, number: u32) {
        self.as_mut().quit();
        // SAFETY: Nothing is moved out.
        let this = unsafe { self.get_unchecked_mut() };
        let (bh, value) = (BhDisabled::new(), this.value());
        // SAFETY: The lock is held; the node is on no list, and pinned until it leaves this one.
        this.lists
            .locked(link, number, &bh, |first| unsafe { link_in(first, value) });
        // INVARIANT: as just done.
        this.on = Some((link, number));
    }

    /// Whether it is on a list.
    pub(crate) fn is_on_list(&self) -> bool {
        self.on.is_some()
    }

    /// Leaves its list.
    pub(crate) fn quit(self: Pin<&mut Self>) {
        // SAFETY: Nothing is moved out.
        let this = unsafe { self.get_unchecked_mut() };
        if let Some((link, number)) = this.on.take() {
            let (bh, node) = (BhDisabled::new(), this.node.get());
            // SAFETY: The lock is held, and by the type invariants the node is on that list.
            this.lists
                .locked(link, number, &bh, |_| unsafe { unlink(node) });
        }
    }

    /// The next entry behind the place that `wanted` says, but not `past`, if that is the first.
    ///
    /// Looks at a number of nodes that is bounded.
    pub(crate) fn find(
        self: Pin<&mut Self>,
        past: Option<&Conn>,
        wanted: impl Fn(&Conn) -> bool,
    ) -> Found {
        // SAFETY: Nothing is moved out.
        let this = unsafe { self.get_unchecked_mut() };
        let Some((link, number)) = this.on else {
            return Found::End;
        };
        let (node, value) = (this.node.get(), this.value());
        let past = past.map_or(null_mut(), |conn| node_of(conn, link));
        let bh = BhDisabled::new();
        this.lists.locked(link, number, &bh, |_| {
            // SAFETY: By the type invariants the node is on this list, whose lock is held.
            let own = unsafe { addr_of_mut!((*node).next) };
            let mut at = own;
            let mut found = Found::More;
            for _ in 0..SLICE {
                // SAFETY: As above: the `next` of a node on the list.
                let next = unsafe { *at };
                if next.is_null() {
                    found = Found::End;
                    break;
                }
                if next.addr() & PLACE == 0 && next != past {
                    // SAFETY: An entry's node for this link; the list has a reference.
                    let conn = unsafe { entry_of(next, link) };
                    if wanted(conn) {
                        found = Found::Entry(ARef::from(conn));
                        break;
                    }
                }
                // SAFETY: A node on the list.
                at = unsafe { addr_of_mut!((*bare(next)).next) };
            }
            if at != own {
                // SAFETY: Both are on this list, whose lock is held; the node goes from one
                // place on it to another.
                unsafe {
                    unlink(node);
                    link_in(at, value);
                }
            }
            found
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // SAFETY: It was pinned if it is on a list, and is not moved any more.
        unsafe { Pin::new_unchecked(self) }.quit();
    }
}
