// SPDX-License-Identifier: GPL-2.0

//! [`HelperName`]: the name of a helper, of a class of its expectations, or of a NAT module.

use kernel::prelude::*;

use crate::{
    nf::{
        bindings,
        kernel::attr::Attribute, //
    },
    proto::types::num::u32_as_usize, //
};

/// Bytes of a name, with the zero behind it.
pub(crate) const HELPER_NAME_LEN: usize = u32_as_usize(bindings::NF_CT_HELPER_NAME_LEN);

/// A name: text of up to fifteen bytes, padded with zeroes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct HelperName([u8; HELPER_NAME_LEN]);

impl HelperName {
    /// The name that log messages show for a helper that is not there.
    pub(super) const NULL: Self = Self(*b"(null)\0\0\0\0\0\0\0\0\0\0");

    /// Reads a C string. [`None`]: it is too long to be a name.
    ///
    /// # Safety
    ///
    /// `text` is a C string.
    pub(crate) unsafe fn from_c_string(text: *const c_char) -> Option<Self> {
        let mut name = [0; HELPER_NAME_LEN];
        for (index, byte) in name.iter_mut().enumerate() {
            // SAFETY: By the function's contract: the string's end was not read yet.
            *byte = unsafe { text.add(index).read() };
            if *byte == 0 {
                return Some(Self(name));
            }
        }
        None
    }

    /// Reads the text of a netlink attribute. [`None`]: it is too long to be a name.
    pub(crate) fn from_attribute(attribute: Attribute<'_>) -> Option<Self> {
        let text = attribute.payload().split(|byte| *byte == 0).next()?;
        (text.len() < HELPER_NAME_LEN).then(|| Self::from_bytes(text.iter()))
    }

    /// Joins `prefix` and a C string, and truncates the result to the length of a name.
    ///
    /// # Safety
    ///
    /// `text` is a C string.
    pub(super) unsafe fn truncated(prefix: &[u8], text: *const c_char) -> Self {
        let mut name = [0; HELPER_NAME_LEN];
        let mut prefix = prefix.iter();
        let mut index = 0;
        for slot in name.iter_mut().take(HELPER_NAME_LEN - 1) {
            if let Some(byte) = prefix.next() {
                *slot = *byte;
                continue;
            }
            // SAFETY: By the function's contract: the string's end was not read yet.
            *slot = unsafe { text.add(index).read() };
            if *slot == 0 {
                break;
            }
            index = index.wrapping_add(1);
        }
        Self(name)
    }

    /// Appends a hyphen and a number, and truncates the result to the length of a name.
    #[cfg(rct_has_helper_tuple)]
    pub(super) fn numbered(self, number: u32) -> Self {
        let mut digits = [0; 10];
        let (mut rest, mut first) = (number, 0);
        for (index, slot) in digits.iter_mut().enumerate().rev() {
            // CAST: One digit.
            *slot = b'0' + (rest % 10) as u8;
            rest /= 10;
            first = index;
            if rest == 0 {
                break;
            }
        }
        let digits = digits.get(first..).unwrap_or_default();
        // By its path: another trait has a function of that name.
        Self::from_bytes(Iterator::chain(
            Iterator::chain(self.text().iter(), b"-"),
            digits,
        ))
    }

    /// Reads the field of a C structure. A field without a zero is truncated, and what follows the
    /// zero is ignored.
    ///
    /// # Safety
    ///
    /// `field` is valid for reads.
    pub(in crate::nf) unsafe fn from_field(field: *const [c_char; HELPER_NAME_LEN]) -> Self {
        // SAFETY: By the function's contract; a `c_char` is a byte.
        let bytes = unsafe { field.cast::<[u8; HELPER_NAME_LEN]>().read() };
        Self::from_bytes(bytes.iter().take_while(|byte| **byte != 0))
    }

    fn from_bytes<'a>(text: impl Iterator<Item = &'a u8>) -> Self {
        let mut name = [0; HELPER_NAME_LEN];
        for (slot, byte) in name.iter_mut().take(HELPER_NAME_LEN - 1).zip(text) {
            *slot = *byte;
        }
        Self(name)
    }

    /// Returns the text.
    pub(crate) fn text(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Returns the bytes, zeroes included.
    pub(crate) fn bytes(&self) -> &[u8; HELPER_NAME_LEN] {
        &self.0
    }

    /// Returns the name as a C string.
    pub(in crate::nf) fn as_char_ptr(&self) -> *const c_char {
        // The last byte is zero.
        self.0.as_ptr().cast()
    }
}
