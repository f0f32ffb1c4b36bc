// SPDX-License-Identifier: GPL-2.0

//! The number of changes of a namespace's NAT rules.

/// The number of times that the rules of a namespace have changed, modulo 256.
///
/// An entry is stamped with the generation in which it was created, or was last shown to the rules.
/// While both are equal no rule has changed since, or a multiple of 256 changes came between two
/// packets of the connection.
pub type Generation = u8;
