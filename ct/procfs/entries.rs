// SPDX-License-Identifier: GPL-2.0

//! A namespace's entries, in pieces, while packets go on changing them.
//!
//! A line is about one moment, and an entry has one line at most; see [`ResumableWalk`]. Between
//! two lines no lock is held and no read-side section is open: the entry that is to be
//! written next is kept by a reference, which its `use=` counts, as that of the C tracker
//! does.
//!
//! A reader removes the entries that it finds expired, so that they are not counted any
//! more by whoever counts lines.

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

/// The entries, a line of format `F` for each.
pub(super) struct Entries<F>(PhantomData<F>);

impl<F: Format> SeqFile for Entries<F> {
    type Cursor = ResumableWalk;
    type Item = ARef<Conn>;

    fn current(cursor: &mut ResumableWalk, net: &Net) -> Option<ARef<Conn>> {
        let conn = cursor.current(net);
        living(conn, cursor, net)
    }

    fn advance(cursor: &mut ResumableWalk, net: &Net) -> Option<ARef<Conn>> {
        let conn = cursor.advance(net);
        living(conn, cursor, net)
    }

    fn show(conn: &ARef<Conn>, _net: &Net, out: &mut Out<'_>) {
        F::write(conn, out);
    }
}

/// The entry that was found, or the first one behind it whose time is not over.
fn living(
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
