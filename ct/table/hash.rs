// SPDX-License-Identifier: GPL-2.0

//! The hash of a table: in peace jhash with a seed of 160 bits, during a flood siphash with a key
//! of 128 bits.
//!
//! jhash is what finds an entry faster than in the C tracker. It mixes the seed in well, but it is
//! no keyed hash: with enough knowledge of which tuples share a chain, its seed can be computed. So
//! nothing shows the order of hashes to user space ([`super::walk`]), and a chain that is too long
//! for chance moves the table to siphash ([`super::resize`]), for which no tuples of equal hash can
//! be chosen.
//!
//! Which one it is belongs to a table, and does not change: another hash means another table, and
//! readers use the hash of the table that they search.

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

use crate::{
    nf::{
        entry::conn::Entry,
        kernel::{
            random,
            siphash::SipKey, //
        },
        prelude::*, //
    },
    proto::{
        hash::{
            tuple_hash,
            Seed, //
        },
        types::tuple::Key, //
    },
};

/// The kinds of hashes. The numbers are those of the names in `exports.c`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HashKind {
    /// jhash.
    Jhash = 0,
    /// siphash.
    Siphash = 1,
}

impl HashKind {
    /// Returns the kind with a number.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [Self::Jhash, Self::Siphash]
            .into_iter()
            .find(|&kind| kind as u32 == number)
    }

    /// Returns the name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Jhash => "jhash",
            Self::Siphash => "siphash",
        }
    }
}

/// The number of the next hash.
static EPOCHS: Atomic<u32> = Atomic::new(0);

/// The hash of a table, with its secret.
#[derive(Clone, Copy)]
pub(in crate::ct) struct TableHash {
    /// The function and its secret.
    secret: Secret,
    /// The number of the hash: another hash has another one. Not 0, and the top bit is clear; see
    /// [`super::TupleHash::pack`].
    epoch: u32,
}

/// A hash function and its secret.
#[derive(Clone, Copy)]
enum Secret {
    /// jhash.
    Jhash(Seed),
    /// siphash.
    Siphash(SipKey),
}

impl TableHash {
    /// Draws a secret.
    pub(super) fn random(kind: HashKind) -> Self {
        let secret = match kind {
            HashKind::Jhash => Secret::Jhash(Seed::new(core::array::from_fn(|_| random::word()))),
            HashKind::Siphash => Secret::Siphash(SipKey::random()),
        };
        let epoch = EPOCHS.fetch_add(1, Relaxed).wrapping_add(1) & (u32::MAX >> 1);
        Self {
            secret,
            epoch: epoch.max(1),
        }
    }

    /// Returns the kind.
    pub(super) fn kind(&self) -> HashKind {
        match self.secret {
            Secret::Jhash(_) => HashKind::Jhash,
            Secret::Siphash(_) => HashKind::Siphash,
        }
    }

    /// Returns the number of the hash.
    #[inline(always)]
    pub(in crate::ct) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Returns the hash of a tuple in a zone of a namespace, if the hash is jhash; in peace it is.
    #[inline(always)]
    pub(in crate::ct) fn of_in_peace(&self, key: &Key, zone_id: u16, net: &Net) -> Option<u32> {
        match &self.secret {
            Secret::Jhash(seed) => Some(tuple_hash(key, zone_id, net.hash_mix(), seed)),
            Secret::Siphash(_) => None,
        }
    }

    /// Returns the hash of a tuple in a zone of a namespace. A tuple and its mirror image have the
    /// same hash.
    #[inline(always)]
    pub(in crate::ct) fn of(&self, key: &Key, zone_id: u16, net: &Net) -> u32 {
        match &self.secret {
            Secret::Jhash(seed) => tuple_hash(key, zone_id, net.hash_mix(), seed),
            Secret::Siphash(secret) => siphash_of(secret, key, zone_id, net),
        }
    }

    /// Returns the hash of one of an entry's tuples.
    #[inline]
    pub(super) fn of_entry(&self, conn: &Entry, dir: Direction) -> u32 {
        let zone_id = conn.zone().id_for(dir);
        self.of(&Key::from_words(conn.tuple_words(dir)), zone_id, conn.net())
    }
}

/// Computes [`TableHash::of`] by siphash.
#[cold]
#[inline(never)]
fn siphash_of(secret: &SipKey, key: &Key, zone_id: u16, net: &Net) -> u32 {
    let mirror = key.mirror();
    let &[a, b, c, d, e] = key.words().min(mirror.words());
    let place = u64::from(net.hash_mix()) << 32 | u64::from(zone_id);
    // CAST: the low half.
    secret.hash(&[a, b, c, d, e, place]) as u32
}
