// SPDX-License-Identifier: GPL-2.0

//! Netlink attributes: reading those that the kernel's parser has validated and sorted by number,
//! and writing them into a message.
//!
//! # Examples
//!
//! ```ignore
//! /// Indexed by the attribute's number.
//! static POLICY: [Policy; 3] = [Policy::ANY, Policy::NESTED, Policy::be32_up_to(8)];
//!
//! // `ERANGE`, not a panic, if the payload is too short.
//! if let Some(attribute) = request.get(CTA_MARK) {
//!     let mark = attribute.be32()?;
//! }
//!
//! message.nest(CTA_PROTOINFO, |message| {
//!     message.put_u8(CTA_PROTOINFO_TCP_STATE, state)?;
//!     message.put_be32(CTA_TIMEOUT, seconds)
//! })?;
//! ```
//!
//! C header: [`include/net/netlink.h`](srctree/include/net/netlink.h)

use core::{
    marker::PhantomData,
    mem::size_of,
    ptr::{
        null_mut,
        NonNull, //
    },
};

use kernel::prelude::*;

use crate::{
    nf::bindings,
    proto::types::num::{
        u16_as_usize,
        u32_as_usize,
        u32_into_u8, //
    },
};

/// The size of an attribute's header, in bytes.
const HEADER_LEN: usize = size_of::<bindings::nlattr>();

/// The format of an attribute, for the kernel's parser (`struct nla_policy`).
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Policy(bindings::nla_policy);

// SAFETY: Not written to, and without pointers.
unsafe impl Sync for Policy {}

impl Policy {
    /// Any payload.
    pub(crate) const ANY: Self = Self::of(bindings::NLA_UNSPEC, 0);
    /// At least one byte.
    pub(crate) const U8: Self = Self::of(bindings::NLA_U8, 0);
    /// At least two bytes.
    pub(crate) const U16: Self = Self::of(bindings::NLA_U16, 0);
    /// At least four bytes.
    pub(crate) const U32: Self = Self::of(bindings::NLA_U32, 0);

    /// Nested attributes.
    pub(crate) const NESTED: Self = Self::of(bindings::NLA_NESTED, 0);

    /// Allows at least `len` bytes.
    pub(crate) const fn bytes(len: u16) -> Self {
        Self::of(bindings::NLA_UNSPEC, len)
    }

    /// The attribute is rejected.
    pub(crate) const REJECTED: Self = Self::of(bindings::NLA_REJECT, 0);

    /// Allows at most `len` bytes.
    pub(crate) const fn bytes_up_to(len: u16) -> Self {
        Self::of(bindings::NLA_BINARY, len)
    }

    /// Allows text that ends with a NUL byte, of at most `len` bytes before it; 0: of any length.
    pub(crate) const fn text_up_to(len: u16) -> Self {
        Self::of(bindings::NLA_NUL_STRING, len)
    }

    /// Allows one byte, not above `max`.
    pub(crate) const fn u8_up_to(max: u8) -> Self {
        // CAST: `From` is not const.
        Self::U8.up_to(max as i16)
    }

    /// Allows four bytes in network byte order, not above `max`.
    pub(crate) const fn be32_up_to(max: u8) -> Self {
        // CAST: `From` is not const.
        Self::of(bindings::NLA_BE32, 0).up_to(max as i16)
    }

    /// Allows four bytes in host byte order, without bits outside of `mask`.
    pub(crate) const fn u32_within(mask: u32) -> Self {
        Self::U32.within(mask)
    }

    /// Allows four bytes in network byte order, without bits outside of `mask`.
    pub(crate) const fn be32_within(mask: u32) -> Self {
        Self::of(bindings::NLA_BE32, 0).within(mask)
    }

    const fn up_to(mut self, max: i16) -> Self {
        const MAX: u8 = u32_into_u8::<{ bindings::nla_policy_validation_NLA_VALIDATE_MAX }>();
        self.0.validation_type = MAX;
        self.0.__bindgen_anon_1.__bindgen_anon_1 =
            bindings::nla_policy__bindgen_ty_1__bindgen_ty_1 { min: 0, max };
        self
    }

    const fn within(mut self, mask: u32) -> Self {
        const MASK: u8 = u32_into_u8::<{ bindings::nla_policy_validation_NLA_VALIDATE_MASK }>();
        self.0.validation_type = MASK;
        self.0.__bindgen_anon_1.mask = mask;
        self
    }

    const fn of(kind: u32, len: u16) -> Self {
        Self(bindings::nla_policy {
            // CAST: one of the constants `NLA_*`, which are small.
            type_: kind as u8,
            validation_type: 0,
            len,
            // The largest member of the union, so that all of its bytes are zero.
            __bindgen_anon_1: bindings::nla_policy__bindgen_ty_1 {
                nested_policy: core::ptr::null(),
            },
        })
    }

    /// Returns a table of policies, for C code.
    pub(in crate::nf) const fn raw(table: &'static [Self]) -> *const bindings::nla_policy {
        // The type is transparent.
        table.as_ptr().cast()
    }

    /// Makes a table of `N` policies, indexed by attribute number, from rules for single
    /// attributes. An attribute without a rule may hold anything.
    ///
    /// # Examples
    ///
    /// ```ignore
    /// static HELP: [Policy; CTA_HELP_MAX + 1] = Policy::table([(CTA_HELP_INFO, Policy::NESTED)]);
    /// let name = attribute.nest(&HELP)?.get(CTA_HELP_NAME).ok_or(EINVAL)?;
    /// ```
    pub(crate) const fn table<const N: usize, const R: usize>(
        rules: [(u16, Self); R],
    ) -> [Self; N] {
        let mut table = [Self::ANY; N];
        let mut rest = rules.as_slice();
        while let [(number, policy), tail @ ..] = rest {
            table[u16_as_usize(*number)] = *policy;
            rest = tail;
        }
        table
    }
}

/// Returns the size in a message, in bytes, of an attribute with a payload of `payload` bytes
/// (`nla_total_size()`).
pub(crate) const fn size_of_attribute(payload: usize) -> usize {
    const ALIGN: usize = u32_as_usize(bindings::NLA_ALIGNTO);
    HEADER_LEN.wrapping_add(payload).wrapping_add(ALIGN - 1) & !(ALIGN - 1)
}

/// Parsed attributes, by number.
///
/// # Invariants
///
/// `table` points to `len` pointers. Each is null or points to an attribute that does not change
/// during `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a> {
    table: *const *mut bindings::nlattr,
    len: usize,
    attributes: PhantomData<&'a bindings::nlattr>,
}

impl<'a> Attributes<'a> {
    /// # Safety
    ///
    /// As the invariants say.
    pub(crate) unsafe fn from_raw(table: *mut *mut bindings::nlattr, len: usize) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            table,
            len,
            attributes: PhantomData,
        }
    }

    /// Returns the attribute with this number, if the message has it.
    pub(crate) fn get(&self, number: u16) -> Option<Attribute<'a>> {
        if usize::from(number) >= self.len {
            return None;
        }
        // SAFETY: In bounds, as just checked.
        let attribute = unsafe { self.table.add(usize::from(number)).read() };
        NonNull::new(attribute).map(|attribute| Attribute(attribute, PhantomData))
    }
}

/// An attribute.
///
/// # Invariants
///
/// `0` points to an attribute; its `nla_len` bytes are readable during `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Attribute<'a>(NonNull<bindings::nlattr>, PhantomData<&'a bindings::nlattr>);

impl<'a> Attribute<'a> {
    /// # Safety
    ///
    /// As the invariants say.
    pub(crate) unsafe fn from_raw(attribute: NonNull<bindings::nlattr>) -> Self {
        // INVARIANT: By the safety requirements.
        Self(attribute, PhantomData)
    }

    /// Returns the attribute, for C code.
    pub(in crate::nf) fn raw(self) -> *mut bindings::nlattr {
        self.0.as_ptr()
    }

    /// Returns the payload.
    pub(crate) fn payload(self) -> &'a [u8] {
        // SAFETY: By the type invariants.
        let len = usize::from(unsafe { (*self.0.as_ptr()).nla_len }).saturating_sub(HEADER_LEN);
        // SAFETY: By the type invariants.
        unsafe { core::slice::from_raw_parts(self.0.as_ptr().cast::<u8>().add(HEADER_LEN), len) }
    }

    /// Returns the first `N` bytes of the payload. `ERANGE`: it is shorter.
    pub(crate) fn bytes<const N: usize>(self) -> Result<[u8; N]> {
        self.payload().first_chunk().copied().ok_or(ERANGE)
    }

    /// Returns a payload of one byte.
    pub(crate) fn u8(self) -> Result<u8> {
        self.bytes().map(|[byte]| byte)
    }

    /// Returns a payload of two bytes in network byte order.
    pub(crate) fn be16(self) -> Result<u16> {
        self.bytes().map(u16::from_be_bytes)
    }

    /// Returns a payload of four bytes in network byte order.
    pub(crate) fn be32(self) -> Result<u32> {
        self.bytes().map(u32::from_be_bytes)
    }

    /// Returns a payload of four bytes in host byte order.
    pub(crate) fn u32(self) -> Result<u32> {
        self.bytes().map(u32::from_ne_bytes)
    }

    /// Parses the attributes nested in this one. `policy` is indexed by their numbers; attributes
    /// with larger ones are ignored.
    pub(crate) fn nest<const N: usize>(self, policy: &'static [Policy; N]) -> Result<Nest<'a, N>> {
        self.parse(policy, false)
    }

    /// Does as [`Attribute::nest`], but rejects attributes with larger numbers, and trailing bytes.
    pub(crate) fn nest_strictly<const N: usize>(
        self,
        policy: &'static [Policy; N],
    ) -> Result<Nest<'a, N>> {
        self.parse(policy, true)
    }

    fn parse<const N: usize>(
        self,
        policy: &'static [Policy; N],
        strictly: bool,
    ) -> Result<Nest<'a, N>> {
        let mut nest = Nest {
            table: [null_mut(); N],
            attributes: PhantomData,
        };
        let Some(last) = N.checked_sub(1) else {
            return Err(EINVAL);
        };
        // SAFETY: The attribute is valid by the type invariants; table and policy have an element
        // for each number up to the last.
        kernel::error::to_result(unsafe {
            let parse = if strictly {
                bindings::rct_nla_parse_nested
            } else {
                bindings::rct_nla_parse_nested_deprecated
            };
            parse(
                nest.table.as_mut_ptr(),
                // CAST: a small number.
                last as core::ffi::c_int,
                self.0.as_ptr(),
                Policy::raw(policy),
            )
        })?;
        Ok(nest)
    }
}

/// The attributes that were nested in another one.
///
/// # Invariants
///
/// Each pointer is null, or points to an attribute inside of a valid one.
pub(crate) struct Nest<'a, const N: usize> {
    table: [*mut bindings::nlattr; N],
    attributes: PhantomData<&'a bindings::nlattr>,
}

impl<'a, const N: usize> Nest<'a, N> {
    /// Returns the attribute with this number, if the message has it.
    pub(crate) fn get(&self, number: u16) -> Option<Attribute<'a>> {
        let attribute = *self.table.get(usize::from(number))?;
        NonNull::new(attribute).map(|attribute| Attribute(attribute, PhantomData))
    }

    /// Returns the same attributes, as a type without `N`.
    pub(crate) fn attributes(&self) -> Attributes<'_> {
        // INVARIANT: By the type invariants.
        Attributes {
            table: self.table.as_ptr(),
            len: N,
            attributes: PhantomData,
        }
    }
}

/// A netlink message that is being written. An attribute that does not fit is an error
/// (`EMSGSIZE`), after which the message is incomplete and must not be sent.
///
/// # Invariants
///
/// `0` is a message to which only this value writes during `'a`.
pub(crate) struct Message<'a>(*mut bindings::sk_buff, PhantomData<&'a mut ()>);

impl<'a> Message<'a> {
    /// # Safety
    ///
    /// As the invariants say.
    pub(crate) unsafe fn from_raw(skb: *mut bindings::sk_buff) -> Self {
        // INVARIANT: By the safety requirements.
        Self(skb, PhantomData)
    }

    /// Returns the message, for C code.
    pub(in crate::nf) fn raw(&mut self) -> *mut bindings::sk_buff {
        self.0
    }

    /// Adds an attribute.
    pub(crate) fn put(&mut self, number: u16, bytes: &[u8]) -> Result {
        let len = i32::try_from(bytes.len()).map_err(|_| EMSGSIZE)?;
        // SAFETY: By the type invariants; reads `len` bytes.
        kernel::error::to_result(unsafe {
            bindings::nla_put(self.0, number.into(), len, bytes.as_ptr().cast())
        })
    }

    /// Adds an attribute of one byte.
    pub(crate) fn put_u8(&mut self, number: u16, value: u8) -> Result {
        self.put(number, &[value])
    }

    /// Adds an attribute of two bytes, in network byte order.
    pub(crate) fn put_be16(&mut self, number: u16, value: u16) -> Result {
        self.put(number, &value.to_be_bytes())
    }

    /// Adds an attribute of four bytes, in network byte order.
    pub(crate) fn put_be32(&mut self, number: u16, value: u32) -> Result {
        self.put(number, &value.to_be_bytes())
    }

    /// Adds an attribute of eight bytes, in network byte order. On architectures that need it
    /// aligned, an empty attribute with the number `pad` precedes it.
    pub(crate) fn put_be64(&mut self, number: u16, value: u64, pad: u16) -> Result {
        let bytes = value.to_be_bytes();
        // SAFETY: By the type invariants; reads eight bytes.
        kernel::error::to_result(unsafe {
            bindings::nla_put_64bit(self.0, number.into(), 8, bytes.as_ptr().cast(), pad.into())
        })
    }

    /// Adds an attribute of text, followed by a NUL byte.
    pub(crate) fn put_text(&mut self, number: u16, text: &[u8]) -> Result {
        let len = text.len().checked_add(1).ok_or(EMSGSIZE)?;
        let len = i32::try_from(len).map_err(|_| EMSGSIZE)?;
        // SAFETY: By the type invariants.
        let attribute = unsafe { bindings::nla_reserve(self.0, number.into(), len) };
        let attribute = NonNull::new(attribute).ok_or(EMSGSIZE)?;
        // SAFETY: The attribute was just reserved, with room for the text and a NUL byte.
        unsafe {
            let place = bindings::rct_nla_data(attribute.as_ptr()).cast::<u8>();
            core::ptr::copy_nonoverlapping(text.as_ptr(), place, text.len());
            place.add(text.len()).write(0);
        }
        Ok(())
    }

    /// Adds an attribute in which those are nested that `fill` adds.
    pub(crate) fn nest(&mut self, number: u16, fill: impl FnOnce(&mut Self) -> Result) -> Result {
        // SAFETY: By the type invariants.
        let nest = unsafe { bindings::rct_nla_nest_start(self.0, number.into()) };
        if nest.is_null() {
            return Err(EMSGSIZE);
        }
        fill(self)?;
        // SAFETY: The nest was begun in this message.
        unsafe { bindings::rct_nla_nest_end(self.0, nest) };
        Ok(())
    }
}
