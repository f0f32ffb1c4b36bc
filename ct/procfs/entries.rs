// SPDX-License-Identifier: GPL-2.0

//! The entries of a namespace, read while packets change them.
//!
//! A line shows one moment. An entry that exists the whole time has exactly one line, and no entry
//! has two, whatever happens to the table between two reads; see [`ScopeWalk`]. Between two
//! lines no lock is held and no RCU section is open: a reference keeps the entry of the next line.
//! As in the C tracker, `use=` counts this reference.
//!
//! A reader deletes the expired entries that it finds, so that the number of lines is the number of
//! live entries.

use core::marker::PhantomData;

use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    ct::{
        entry,
        life::delete::{
            self,
            DestroyReason, //
        },
        netns::NetState,
        table::index::{
            Scope,
            ScopeWalk, //
        },
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

/// The position of a reader.
#[derive(Default)]
pub(super) enum Position {
    /// Nothing was read yet.
    #[default]
    Start,
    /// In the midst of the entries.
    At(ScopeWalk),
    /// All entries were read.
    End,
}

impl Position {
    /// Returns the entry at the position, or the next one; or the one after `past`, if the position
    /// is at that. Deletes the expired entries that it meets.
    ///
    /// `ENOMEM`: no memory.
    fn next(&mut self, net: &Net, past: Option<&Conn>) -> Result<Option<ARef<Conn>>> {
        // A namespace without entries need not wait for a walk past those of other namespaces.
        if matches!(self, Self::Start) && net.state::<NetState>().entries() != 0 {
            *self = Self::At(ScopeWalk::new(Scope::Namespace)?);
        }
        let Self::At(walk) = self else {
            return Ok(None);
        };
        let mut found = walk.next(net, past);
        while let Some(conn) = found {
            if delete::is_due(&conn) {
                delete::delete(&conn, DestroyReason::TimedOut);
            } else if entry::is_shown(&conn) {
                return Ok(Some(conn));
            }
            found = walk.next(net, Some(&conn));
        }
        *self = Self::End;
        Ok(None)
    }
}

impl<F: Format> SeqFile for EntriesFile<F> {
    type Cursor = Position;
    type Item = ARef<Conn>;

    fn current(position: &mut Position, net: &Net) -> Result<Option<ARef<Conn>>> {
        position.next(net, None)
    }

    fn advance(
        position: &mut Position,
        conn: &ARef<Conn>,
        net: &Net,
    ) -> Result<Option<ARef<Conn>>> {
        position.next(net, Some(conn))
    }

    fn show(conn: &ARef<Conn>, _net: &Net, out: &mut Out<'_>) {
        F::write(conn, out);
    }
}
