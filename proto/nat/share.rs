// SPDX-License-Identifier: GPL-2.0

//! A namespace's share of a chain of reservations.
//!
//! Rules may put first packets into a queue, where a namespace can have as many reservations as it
//! may have entries, and each reservation of any namespace walks over its chain under a lock. So a
//! namespace alone makes no chain longer than [`LONG_CHAIN`], and each further namespace makes it
//! longer by [`SHARE`] at most. None of them can take the share of another one.

/// Length from which on a chain is long.
pub const LONG_CHAIN: u32 = 16;

/// Number of reservations that each namespace may have in a long chain.
pub const SHARE: u32 = 2;

/// A reservation on the chain, as the one that wants to join it sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Other {
    /// It is of the same tuple.
    Conflicting,
    /// It is of another tuple in the same namespace.
    Own,
    /// It is of another namespace.
    Foreign,
}

/// What becomes of a reservation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// The tuple is reserved already.
    Taken,
    /// It joins the chain.
    Joins,
    /// The chain is long, and the namespace has its share of it: the tuple may be used, but is not
    /// reserved.
    Unreserved,
}

/// Decides about a reservation by what is on its chain.
#[inline]
pub fn admit(chain: impl Iterator<Item = Other>) -> Admission {
    let (mut length, mut own) = (0_u32, 0_u32);
    for other in chain {
        match other {
            Other::Conflicting => return Admission::Taken,
            Other::Own => own = own.wrapping_add(1),
            Other::Foreign => {}
        }
        length = length.wrapping_add(1);
    }
    if length >= LONG_CHAIN && own >= SHARE {
        Admission::Unreserved
    } else {
        Admission::Joins
    }
}
