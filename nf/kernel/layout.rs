// SPDX-License-Identifier: GPL-2.0

//! Types of ours that share their bytes with C.

/// A type of ours that has the same bytes as a C type.
///
/// # Safety
///
/// `Self` has the size of `Self::C`, an alignment that is not larger, and every sequence
/// of bytes is a valid `Self`.
pub(crate) unsafe trait SameLayout: Copy {
    /// The C type.
    type C;
}
