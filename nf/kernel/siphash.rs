// SPDX-License-Identifier: GPL-2.0

//! SipHash-2-4: a hash with a secret key. Hashes reveal neither the key nor what was hashed, and
//! without the key no inputs of equal hash can be chosen.
//!
//! C header: [`include/linux/siphash.h`](srctree/include/linux/siphash.h)

use crate::nf::bindings;

use super::random;

/// A key: 128 secret bits.
#[derive(Clone, Copy)]
pub(crate) struct SipKey(bindings::siphash_key_t);

impl SipKey {
    /// Draws a key.
    pub(crate) fn random() -> Self {
        Self(bindings::siphash_key_t {
            key: [random::word(), random::word()],
        })
    }

    /// Returns the hash of some words. Their number is part of the input.
    #[inline]
    pub(crate) fn hash<const N: usize>(&self, words: &[u64; N]) -> u64 {
        // SAFETY: Reads the words and the key.
        unsafe { bindings::rct_siphash(words.as_ptr().cast(), size_of_val(words), &self.0) }
    }
}
