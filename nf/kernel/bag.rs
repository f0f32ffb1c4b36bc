// SPDX-License-Identifier: GPL-2.0

//! A stack of things with room for a number of them that is set when it is made.
//!
//! Unlike the kernel's `Vec` it never grows, so it can be filled under a lock.

use core::{
    mem::size_of,
    ptr::NonNull, //
};

use kernel::prelude::*;

use crate::nf::bindings;

/// As many `T` as there is room for.
///
/// # Invariants
///
/// `memory` has room for `room` of them, of which the first `len` are initialised.
pub(in crate::nf) struct Bag<T> {
    memory: NonNull<T>,
    room: usize,
    len: usize,
}

impl<T> Bag<T> {
    /// An empty one. May sleep.
    pub(in crate::nf) fn with_room(room: usize) -> Result<Self> {
        if room == 0 || size_of::<T>() == 0 {
            return Err(EINVAL);
        }
        let bytes = room.checked_mul(size_of::<T>()).ok_or(ENOMEM)?;
        // SAFETY: Process context.
        let memory = NonNull::new(unsafe { bindings::rct_kvzalloc(bytes) }).ok_or(ENOMEM)?;
        // INVARIANT: just allocated, nothing initialised.
        Ok(Self {
            memory: memory.cast(),
            room,
            len: 0,
        })
    }

    pub(in crate::nf) fn is_full(&self) -> bool {
        self.len == self.room
    }

    /// Puts something in, or gives it back if there is no room.
    pub(in crate::nf) fn push(&mut self, item: T) -> Result<(), T> {
        if self.is_full() {
            return Err(item);
        }
        // SAFETY: By the type invariants there is room behind the first `len`.
        unsafe { self.memory.add(self.len).write(item) };
        // INVARIANT: one more is initialised.
        self.len = self.len.wrapping_add(1);
        Ok(())
    }

    /// Takes out what was put in last.
    pub(in crate::nf) fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: By the type invariants it was initialised; it is not counted any more.
        Some(unsafe { self.memory.add(self.len).read() })
    }
}

impl<T> Drop for Bag<T> {
    fn drop(&mut self) {
        while let Some(item) = self.pop() {
            drop(item);
        }
        // SAFETY: By the type invariants it came from `rct_kvzalloc`, and is empty.
        unsafe { bindings::kvfree(self.memory.as_ptr().cast()) };
    }
}
