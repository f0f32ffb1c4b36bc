// SPDX-License-Identifier: GPL-2.0

//! Labels: 128 bits of a connection, which rules set and match.

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    },
};

use crate::nf::{
    entry::{
        ecache::{
            self,
            Event, //
        },
        ext::Labels, //
    },
    prelude::*, //
};

/// Sets a word to `(old & keep) ^ flip`. Returns whether that changed it.
fn replace_word(word: &Atomic<u32>, keep: u32, flip: u32) -> bool {
    let mut old = word.load(Relaxed);
    loop {
        let new = (old & keep) ^ flip;
        if new == old {
            return false;
        }
        match word.cmpxchg(old, new, Full) {
            Ok(_) => return true,
            Err(other) => old = other,
        }
    }
}

/// Sets the labels, word by word, to `(old & !mask) ^ data`; words from `words` on become zero.
///
/// `ENOSPC`: the connection has no labels, because it began before a rule used any.
pub(in crate::ct) fn replace(
    conn: &Conn,
    data: impl Fn(usize) -> u32,
    mask: impl Fn(usize) -> u32,
    words: usize,
) -> Result {
    let labels = conn.extensions().find::<Labels>().ok_or(ENOSPC)?;
    let mut changed = false;
    for index in 0..Labels::WORDS {
        let Some(word) = labels.word(index) else {
            break;
        };
        if index < words {
            changed |= replace_word(word, !mask(index), data(index));
        } else {
            replace_word(word, 0, 0);
        }
    }
    if changed {
        ecache::keep(conn, Event::Label);
    }
    Ok(())
}
