// SPDX-License-Identifier: GPL-2.0

//! Text files that are written record by record while they are read.
//!
//! The kernel collects whole records in a buffer, so that a reader never gets half of one that
//! changed in between. When the buffer is full it stops; the next `read()`, possibly many seconds
//! later, continues at the first record that it did not take. A [`SeqFile`] therefore has a cursor,
//! which is kept between reads, and records, which are not.
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

/// The contents of a file of a namespace. All methods may sleep.
pub(crate) trait SeqFile: 'static {
    /// The position of a reader. All zeroes: at the first record.
    type Cursor: Zeroable + Copy;

    /// A record, or what it is written from. It is kept during one `read()` at most.
    type Item: 'static;

    /// Returns the record at the cursor, or the first one after it if that is gone.
    ///
    /// Called again without [`SeqFile::advance`], it returns the same record, which did not fit.
    fn current(cursor: &mut Self::Cursor, net: &Net) -> Option<Self::Item>;

    /// Moves the cursor to the next record, and returns that.
    fn advance(cursor: &mut Self::Cursor, net: &Net) -> Option<Self::Item>;

    /// Writes a record.
    fn show(item: &Self::Item, net: &Net, out: &mut Out<'_>);
}

/// The state of an open file, `seq_file.private`.
///
/// # Invariants
///
/// `item` is initialised if `holds` is true, which it is between `start` and `stop` only.
#[repr(C)]
struct Reader<F: SeqFile> {
    /// The kernel's own state: the namespace.
    namespace: bindings::seq_net_private,
    cursor: F::Cursor,
    holds: bool,
    item: MaybeUninit<F::Item>,
}

impl<F: SeqFile> Reader<F> {
    /// Returns the state of an open file.
    ///
    /// # Safety
    ///
    /// `seq` is a file with the operations and the state of `F`, and the caller is one of the
    /// operations: the kernel runs one at a time for a file.
    unsafe fn of<'a>(seq: *mut bindings::seq_file) -> &'a mut Self {
        // SAFETY: The kernel allocated `state_size` zeroed bytes, which are a valid `Self`: the
        // cursor may be zero, and there is no record. No other operation runs.
        unsafe { &mut *bindings::rct_seq_private(seq).cast() }
    }

    /// Drops the record, if there is one.
    fn release(&mut self) {
        if core::mem::take(&mut self.holds) {
            // SAFETY: By the type invariants; `holds` is false from now on.
            unsafe { self.item.assume_init_drop() };
        }
    }

    /// Replaces the record. Returns the token for the kernel: null, if there is none.
    fn hold(&mut self, item: Option<F::Item>) -> *mut c_void {
        self.release();
        match item {
            Some(item) => {
                // INVARIANT: Initialised here.
                self.item.write(item);
                self.holds = true;
                addr_of_mut!(*self).cast()
            }
            None => null_mut(),
        }
    }

    /// Returns the record.
    fn item(&self) -> Option<&F::Item> {
        // SAFETY: By the type invariants.
        self.holds.then(|| unsafe { self.item.assume_init_ref() })
    }
}

/// Returns the size of the state of an open file, in bytes.
pub(in crate::nf) const fn state_size<F: SeqFile>() -> u32 {
    // `kmalloc()` aligns memory of any size to that.
    const { assert!(align_of::<Reader<F>>() <= align_of::<u64>()) };
    const { assert!(size_of::<Reader<F>>() < 4096) };
    // CAST: less than 4096, as just asserted.
    size_of::<Reader<F>>() as u32
}

/// Returns the operations of a file. They need [`state_size`] zeroed bytes of state.
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
    // SAFETY: The open file holds its namespace.
    unsafe { Net::from_raw(bindings::rct_seq_file_net(seq)) }
}

/// Starts, or continues, at the first record that was not taken: `seq_operations.start`.
///
/// # Safety
///
/// As for [`Reader::of`]; `position` is valid.
unsafe extern "C" fn start<F: SeqFile>(
    seq: *mut bindings::seq_file,
    position: *mut bindings::loff_t,
) -> *mut c_void {
    // SAFETY: By the safety requirements.
    let (reader, net) = unsafe { (Reader::<F>::of(seq), net_of(seq)) };
    // SAFETY: By the safety requirements.
    if unsafe { *position } == 0 {
        reader.cursor = F::Cursor::zeroed();
    }
    let item = F::current(&mut reader.cursor, net);
    reader.hold(item)
}

/// Goes to the next record: `seq_operations.next`.
///
/// # Safety
///
/// As for [`Reader::of`]; `position` is valid.
unsafe extern "C" fn next<F: SeqFile>(
    seq: *mut bindings::seq_file,
    _token: *mut c_void,
    position: *mut bindings::loff_t,
) -> *mut c_void {
    // SAFETY: By the safety requirements.
    let (reader, net) = unsafe { (Reader::<F>::of(seq), net_of(seq)) };
    // SAFETY: By the safety requirements. The kernel requires that the number grows; the position
    // of the reader is that of the cursor.
    unsafe { *position = (*position).wrapping_add(1) };
    let item = F::advance(&mut reader.cursor, net);
    reader.hold(item)
}

/// Stops: the buffer is full, or there are no more records. `seq_operations.stop`.
///
/// # Safety
///
/// As for [`Reader::of`].
unsafe extern "C" fn stop<F: SeqFile>(seq: *mut bindings::seq_file, _token: *mut c_void) {
    // SAFETY: By the safety requirements.
    unsafe { Reader::<F>::of(seq) }.release();
}

/// Writes the record: `seq_operations.show`.
///
/// # Safety
///
/// As for [`Reader::of`].
unsafe extern "C" fn show<F: SeqFile>(seq: *mut bindings::seq_file, _token: *mut c_void) -> c_int {
    // SAFETY: By the safety requirements.
    let (reader, net) = unsafe { (Reader::<F>::of(seq), net_of(seq)) };
    if let Some(item) = reader.item() {
        // INVARIANT: The operation runs until `F::show` returns.
        F::show(item, net, &mut Out(seq, PhantomData));
    }
    0
}

/// The output of a record. If it does not fit, the kernel drops the whole record, and calls `show`
/// for it again with a larger buffer.
///
/// # Invariants
///
/// `0` is a file whose `show` operation runs during all of `'a`.
pub(crate) struct Out<'a>(*mut bindings::seq_file, PhantomData<&'a mut ()>);

impl Out<'_> {
    /// # Safety
    ///
    /// As the invariants say.
    pub(in crate::nf) unsafe fn from_raw(seq: *mut bindings::seq_file) -> Self {
        // INVARIANT: By the safety requirements.
        Self(seq, PhantomData)
    }

    /// Writes text.
    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Writes bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        // SAFETY: By the type invariants; reads the given bytes.
        unsafe { bindings::seq_write(self.0, bytes.as_ptr().cast(), bytes.len()) };
    }

    /// Writes text, and blanks up to `width` characters.
    pub(crate) fn padded(&mut self, text: &str, width: usize) {
        self.text(text);
        for _ in text.len()..width {
            self.text(" ");
        }
    }

    /// Writes a decimal number.
    pub(crate) fn number(&mut self, number: u64) {
        // SAFETY: By the type invariants; without a delimiter.
        unsafe { bindings::seq_put_decimal_ull(self.0, null(), number) };
    }

    /// Writes a hexadecimal number of eight digits.
    pub(crate) fn hex8(&mut self, number: u32) {
        // SAFETY: By the type invariants; the format takes a number.
        unsafe { bindings::seq_printf(self.0, c"%08x".as_char_ptr(), number) };
    }

    /// Writes a hexadecimal number without leading zeroes.
    pub(crate) fn hex(&mut self, number: u16) {
        // SAFETY: By the type invariants; the format takes a number.
        unsafe { bindings::seq_printf(self.0, c"%x".as_char_ptr(), u32::from(number)) };
    }

    /// Writes an IPv4 address: four decimal numbers.
    pub(crate) fn ipv4(&mut self, address: &[u8; 4]) {
        // SAFETY: By the type invariants; the format takes a pointer to four bytes.
        unsafe { bindings::seq_printf(self.0, c"%pI4".as_char_ptr(), address.as_ptr()) };
    }

    /// Writes an IPv6 address in full: eight hexadecimal numbers of four digits.
    pub(crate) fn ipv6(&mut self, address: &[u8; 16]) {
        // SAFETY: By the type invariants; the format takes a pointer to sixteen bytes.
        unsafe { bindings::seq_printf(self.0, c"%pI6".as_char_ptr(), address.as_ptr()) };
    }
}
