// SPDX-License-Identifier: GPL-2.0

//! The entries of a namespace, read while packets change them.
//!
//! A line shows one moment, and an entry has one line at most; see [`ResumableWalk`]. Between two
//! lines no lock is held and no RCU section is open: a reference keeps the entry of the next line.
//! As in the C tracker, `use=` counts this reference.
//!
//! A reader deletes the expired entries that it finds, so that the number of lines is the number of
//! live entries.

use core::marker::PhantomData;

use kernel::sync::aref::ARef;

use crate::{
    ct::{
        life::delete::{
            self,
            DestroyReason, //
        },
        table::walk::ResumableWalk, //
    },
    nf::{
        kernel::seq_file::{
            Out,
            SeqFile, //
        },
        prelude::*, //
    },
};

use super::line::Format;

/// A file with one line of format `F` per entry.
pub(super) struct EntriesFile<F>(PhantomData<F>);

impl<F: Format> SeqFile for EntriesFile<F> {
    type Cursor = ResumableWalk;
    type Item = ARef<Conn>;

    fn current(cursor: &mut ResumableWalk, net: &Net) -> Option<ARef<Conn>> {
        let conn = cursor.current(net);
        skip_expired(conn, cursor, net)
    }

    fn advance(cursor: &mut ResumableWalk, net: &Net) -> Option<ARef<Conn>> {
        let conn = cursor.advance(net);
        skip_expired(conn, cursor, net)
    }

    fn show(conn: &ARef<Conn>, _net: &Net, out: &mut Out<'_>) {
        F::write(conn, out);
    }
}

/// Returns `found`, or the first entry after it that has not expired; deletes the expired ones.
fn skip_expired(
    mut found: Option<ARef<Conn>>,
    listing: &mut ResumableWalk,
    net: &Net,
) -> Option<ARef<Conn>> {
    while let Some(expired) = found.as_deref().filter(|conn| delete::is_due(conn)) {
        delete::delete(expired, DestroyReason::TimedOut);
        found = listing.advance(net);
    }
    found
}
