// SPDX-License-Identifier: GPL-2.0

//! Doubly linked lists with cursors that rest on them, all under the list's lock.
//!
//! An object is put first and stays where it is until it is taken off. A cursor is an object
//! between two others, which moves on past those that were looked at. So what is put on the list
//! after the cursor came is in front of it and is not met, and what was there is met once.
//!
//! The mark ([`LinkLayout::MARK`]) says in what leads *to* an object that the object is a cursor.
//! It is set in every half that leads backwards.

use super::layout::LinkLayout;

/// Puts an object behind another one, or first.
///
/// # Safety
///
/// The lock of the list is held. `at` is the half that leads to the next object from `behind`,
/// which is the handle of an object on the list; or it is the list's head, and `behind` is 0. `own`
/// is the handle of an object that is not linked by `link`.
#[inline]
pub(crate) unsafe fn link_behind<L: LinkLayout>(
    layout: L,
    at: L::Half,
    behind: usize,
    link: L::Link,
    own: usize,
    is_cursor: bool,
) {
    let mark = if is_cursor { L::MARK } else { 0 };
    // SAFETY: The caller's promise; an object on a list is valid.
    unsafe {
        let next = layout.read(at);
        layout.write_both(own, link, next, behind | L::MARK);
        let next = next & !L::MARK;
        if next != 0 {
            layout.write(layout.previous(next, link), own | L::MARK);
        }
        layout.write(at, own | mark);
    }
}

/// Takes an object off its list.
///
/// # Safety
///
/// The lock of the list is held, `head` is its head, and `own` is the handle of an object that is
/// on it.
#[inline]
pub(crate) unsafe fn unlink<L: LinkLayout>(layout: L, head: L::Half, link: L::Link, own: usize) {
    // SAFETY: The caller's promise; an object on a list is valid.
    unsafe {
        let next = layout.read(layout.next(own, link));
        let previous = layout.read(layout.previous(own, link));
        let at = match previous & !L::MARK {
            0 => head,
            previous => layout.next(previous, link),
        };
        layout.write(at, next);
        let next = next & !L::MARK;
        if next != 0 {
            layout.write(layout.previous(next, link), previous);
        }
    }
}

/// Calls `look` for the objects at the beginning of a list, but for cursors. Goes past no more than
/// `limit` objects, and returns past how many it went.
///
/// # Safety
///
/// The lock of the list is held, and `head` is its head.
pub(crate) unsafe fn look_at_first<L: LinkLayout>(
    layout: L,
    head: L::Half,
    link: L::Link,
    limit: u32,
    mut look: impl FnMut(usize),
) -> u32 {
    let mut half = head;
    for passed in 0..limit {
        // SAFETY: The half is the head, or that of an object on the list.
        let next = unsafe { layout.read(half) };
        let object = next & !L::MARK;
        if object == 0 {
            return passed;
        }
        if next == object {
            look(object);
        }
        // SAFETY: The object is on the list.
        half = unsafe { layout.next(object, link) };
    }
    limit
}

/// What [`advance`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found<T> {
    /// The value that `look` returned for an object. The cursor is in front of that object.
    Object(T),
    /// `look` returned nothing for the objects up to the limit. The cursor is behind them.
    More,
    /// `look` returned nothing for the objects up to the end of the list.
    End,
}

/// Moves a cursor on to the first object for which `look` returns something, but looks at no more
/// than `limit` objects.
///
/// # Safety
///
/// The lock of the list is held, `head` is its head, and `cursor` is the handle of a cursor that is
/// on it.
#[inline]
pub(crate) unsafe fn advance<L: LinkLayout, T>(
    layout: L,
    head: L::Half,
    link: L::Link,
    cursor: usize,
    limit: u32,
    mut look: impl FnMut(usize) -> Option<T>,
) -> Found<T> {
    let mut at = cursor;
    let mut found = Found::More;
    for _ in 0..limit {
        // SAFETY: The object is on the list.
        let next = unsafe { layout.read(layout.next(at, link)) };
        if next == 0 {
            found = Found::End;
            break;
        }
        let object = next & !L::MARK;
        if next & L::MARK == 0 {
            if let Some(result) = look(object) {
                found = Found::Object(result);
                break;
            }
        }
        at = object;
    }
    if at != cursor {
        // SAFETY: Both are on the list. The cursor goes behind `at`, which stays where it is.
        unsafe {
            unlink(layout, head, link, cursor);
            link_behind(layout, layout.next(at, link), at, link, cursor, true);
        }
    }
    found
}
