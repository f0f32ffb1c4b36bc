// SPDX-License-Identifier: GPL-2.0

//! Text files that are made record by record while they are read.
//!
//! The kernel collects whole records in a buffer, so that a reader never gets half of one
//! that changed in between. When the buffer is full it stops, and with the next `read()`
//! it begins again at the first record that it did not take. Many seconds may lie between.
//! A [`SeqFile`] therefore has a cursor, which lasts, and records, which do not.
//!
//! C header: [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)

use core::{
    ffi::{
        c_int,
        c_void, //
    },
    marker::PhantomData,
    mem::{
        align_of,
        size_of,
        MaybeUninit, //
    },
    ptr::{
        addr_of_mut,
        null,
        null_mut, //
    }, //
};

use pin_init::Zeroable;

use kernel::prelude::*;

use crate::nf::bindings;

use super::net::Net;

/// A file of a namespace, made record by record. Everything here may sleep.
pub(crate) trait SeqFile: 'static {
    /// How far a reader is. All zeroes: at the first record.
    type Cursor: Zeroable + Copy;

    /// A record, or what a record is made of: it is kept, at most, for one `read()`.
    type Item: 'static;

    /// The record at the cursor, or the first one behind it if that is gone.
    ///
    /// Asked again without [`SeqFile::advance`], it gives the same record: it was made, but
    /// found no room.
    fn current(cursor: &mut Self::Cursor, net: &Net) -> Option<Self::Item>;

    /// The record behind the cursor.
    fn advance(cursor: &mut Self::Cursor, net: &Net) -> Option<Self::Item>;

    /// Writes a record.
    fn show(item: &Self::Item, net: &Net, out: &mut Out<'_>);
}

/// What the kernel keeps for an open file; `seq_file.private`.
///
/// # Invariants
///
/// `item` is initialised if `holds`, which is only so between `start` and `stop`.
#[repr(C)]
struct Reader<F: SeqFile> {
    /// The kernel's own part: the namespace.
    namespace: bindings::seq_net_private,
    cursor: F::Cursor,
    holds: bool,
    item: MaybeUninit<F::Item>,
}

impl<F: SeqFile> Reader<F> {
    /// The reader of an open file.
    ///
    /// # Safety
    ///
    /// `seq` is a file with the operations and the state of `F`, and the caller is one of
    /// the operations, which the kernel does not run at the same time for one file.
    unsafe fn of<'a>(seq: *mut bindings::seq_file) -> &'a mut Self {
        // SAFETY: The kernel allocated the state zeroed, with `STATE_SIZE` bytes, which makes
        // a `Self`: the cursor may be zero, and nothing is held. Nobody else uses it now.
        unsafe { &mut *bindings::rct_seq_private(seq).cast() }
    }

    /// Lets go of the record, if there is one.
    fn release(&mut self) {
        if core::mem::take(&mut self.holds) {
            // SAFETY: By the type invariants; from now on nothing is held.
            unsafe { self.item.assume_init_drop() };
        }
    }

    /// Holds `item` in place of the last one. Returns the token of a record, or of none.
    fn hold(&mut self, item: Option<F::Item>) -> *mut c_void {
        self.release();
        match item {
            Some(item) => {
                // INVARIANT: initialised here, and held from here on.
                self.item.write(item);
                self.holds = true;
                addr_of_mut!(*self).cast()
            }
            None => null_mut(),
        }
    }

    /// The record that is held.
    fn item(&self) -> Option<&F::Item> {
        // SAFETY: By the type invariants.
        self.holds.then(|| unsafe { self.item.assume_init_ref() })
    }
}

/// How much the kernel has to keep for an open file of `F`.
pub(in crate::nf) const fn state_size<F: SeqFile>() -> u32 {
    // What `kmalloc` aligns to, whatever the size.
    const { assert!(align_of::<Reader<F>>() <= align_of::<u64>()) };
    const { assert!(size_of::<Reader<F>>() < 4096) };
    // CAST: just compared.
    size_of::<Reader<F>>() as u32
}

/// The operations that make a file of `F`. They expect [`state_size`] zeroed bytes.
pub(in crate::nf) const fn operations<F: SeqFile>() -> &'static bindings::seq_operations {
    &const {
        bindings::seq_operations {
            start: Some(start::<F>),
            stop: Some(stop::<F>),
            next: Some(next::<F>),
            show: Some(show::<F>),
        }
    }
}

/// # Safety
///
/// `seq` is an open file of a namespace.
unsafe fn net_of<'a>(seq: *mut bindings::seq_file) -> &'a Net {
    // SAFETY: The open file keeps its namespace.
    unsafe { Net::from_raw(bindings::rct_seq_file_net(seq)) }
}

/// Begins to make records, at the first one that has not been taken. `seq_operations.start`.
///
/// # Safety
///
/// As [`Reader::of`] asks; `position` is valid.
unsafe extern "C" fn start<F: SeqFile>(
    seq: *mut bindings::seq_file,
    position: *mut bindings::loff_t,
) -> *mut c_void {
    // SAFETY: The kernel runs one operation of a file at a time.
    let (reader, net) = unsafe { (Reader::<F>::of(seq), net_of(seq)) };
    // SAFETY: The kernel hands over a valid number.
    if unsafe { *position } == 0 {
        reader.cursor = F::Cursor::zeroed();
    }
    let item = F::current(&mut reader.cursor, net);
    reader.hold(item)
}

/// The next record. `seq_operations.next`.
///
/// # Safety
///
/// As [`Reader::of`] asks; `position` is valid.
unsafe extern "C" fn next<F: SeqFile>(
    seq: *mut bindings::seq_file,
    _token: *mut c_void,
    position: *mut bindings::loff_t,
) -> *mut c_void {
    // SAFETY: The kernel runs one operation of a file at a time.
    let (reader, net) = unsafe { (Reader::<F>::of(seq), net_of(seq)) };
    // SAFETY: The kernel hands over a valid number. It wants it to grow, and that is all we
    // use it for: where the reader is says the cursor.
    unsafe { *position = (*position).wrapping_add(1) };
    let item = F::advance(&mut reader.cursor, net);
    reader.hold(item)
}

/// Enough for now. `seq_operations.stop`.
///
/// # Safety
///
/// As [`Reader::of`] asks.
unsafe extern "C" fn stop<F: SeqFile>(seq: *mut bindings::seq_file, _token: *mut c_void) {
    // SAFETY: The kernel runs one operation of a file at a time.
    unsafe { Reader::<F>::of(seq) }.release();
}

/// Writes the record. `seq_operations.show`.
///
/// # Safety
///
/// As [`Reader::of`] asks.
unsafe extern "C" fn show<F: SeqFile>(seq: *mut bindings::seq_file, _token: *mut c_void) -> c_int {
    // SAFETY: The kernel runs one operation of a file at a time.
    let (reader, net) = unsafe { (Reader::<F>::of(seq), net_of(seq)) };
    if let Some(item) = reader.item() {
        // INVARIANT: the file is ours until we return.
        F::show(item, net, &mut Out(seq, PhantomData));
    }
    0
}

/// Where a record is written. What finds no room is dropped, together with the rest of the
/// record: the kernel then asks for it again, with more room.
///
/// # Invariants
///
/// `0` is a file whose `show` operation runs for all of `'a`.
pub(crate) struct Out<'a>(*mut bindings::seq_file, PhantomData<&'a mut ()>);

impl Out<'_> {
    /// # Safety
    ///
    /// As the invariants say.
    pub(in crate::nf) unsafe fn from_raw(seq: *mut bindings::seq_file) -> Self {
        // INVARIANT: the caller's promise.
        Self(seq, PhantomData)
    }

    /// Text as it is.
    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        // SAFETY: By the type invariants; reads the given bytes.
        unsafe { bindings::seq_write(self.0, bytes.as_ptr().cast(), bytes.len()) };
    }

    /// Text, and blanks up to `width` characters.
    pub(crate) fn padded(&mut self, text: &str, width: usize) {
        self.text(text);
        for _ in text.len()..width {
            self.text(" ");
        }
    }

    /// A decimal number.
    pub(crate) fn number(&mut self, number: u64) {
        // SAFETY: By the type invariants; without a delimiter.
        unsafe { bindings::seq_put_decimal_ull(self.0, null(), number) };
    }

    /// A hexadecimal number of eight digits.
    pub(crate) fn hex8(&mut self, number: u32) {
        // SAFETY: By the type invariants; the format takes a number.
        unsafe { bindings::seq_printf(self.0, c"%08x".as_char_ptr(), number) };
    }

    /// A hexadecimal number without leading zeroes.
    pub(crate) fn hex(&mut self, number: u16) {
        // SAFETY: By the type invariants; the format takes a number.
        unsafe { bindings::seq_printf(self.0, c"%x".as_char_ptr(), u32::from(number)) };
    }

    /// An IPv4 address: four decimal numbers.
    pub(crate) fn ipv4(&mut self, address: &[u8; 4]) {
        // SAFETY: By the type invariants; the format takes a pointer to four bytes.
        unsafe { bindings::seq_printf(self.0, c"%pI4".as_char_ptr(), address.as_ptr()) };
    }

    /// An IPv6 address: eight hexadecimal numbers of four digits each, none left out.
    pub(crate) fn ipv6(&mut self, address: &[u8; 16]) {
        // SAFETY: By the type invariants; the format takes a pointer to sixteen bytes.
        unsafe { bindings::seq_printf(self.0, c"%pI6".as_char_ptr(), address.as_ptr()) };
    }
}
