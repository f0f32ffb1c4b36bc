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
        size_of, //
    },
    ptr::{
        addr_of_mut,
        drop_in_place,
        null,
        null_mut, //
    }, //
};

use kernel::{
    error::from_result,
    prelude::*, //
};

use crate::nf::bindings;

use super::net::{
    Net,
    NetRef, //
};

/// The contents of a file of a namespace. All methods may sleep.
pub(crate) trait SeqFile: 'static {
    /// The position of a reader. The default: at the first record. Dropped when the file is closed
    /// or removed.
    type Cursor: Default + Send + 'static;

    /// A record, or what it is written from. It is kept during one `read()` at most.
    type Item: Send + 'static;

    /// Returns the record at the cursor, or the first one after it if that is gone.
    ///
    /// Called again without [`SeqFile::advance`], it returns the same record, which did not fit. An
    /// error is that of the `read()`.
    fn current(cursor: &mut Self::Cursor, net: &Net) -> Result<Option<Self::Item>>;

    /// Moves the cursor past `item`, the record at which it is, and returns the next one.
    fn advance(
        cursor: &mut Self::Cursor,
        item: &Self::Item,
        net: &Net,
    ) -> Result<Option<Self::Item>>;

    /// Writes a record.
    fn show(item: &Self::Item, net: &Net, out: &mut Out<'_>);
}

/// The state of an open file, `seq_file.private`.
///
/// # Invariants
///
/// `item` is [`None`] unless an operation of the file runs.
struct Reader<F: SeqFile> {
    net: NetRef,
    cursor: F::Cursor,
    item: Option<F::Item>,
}

impl<F: SeqFile> Reader<F> {
    /// Returns the state of an open file.
    ///
    /// # Safety
    ///
    /// `seq` is a file that [`open`] has opened for `F`, and the caller is one of the operations:
    /// the kernel runs one at a time for a file.
    unsafe fn of<'a>(seq: *mut bindings::seq_file) -> &'a mut Self {
        // SAFETY: `open` has put it there. No other operation runs.
        unsafe { &mut *bindings::rct_seq_private(seq).cast() }
    }

    /// Replaces the record. Returns the token for the kernel: null, if there is none, or an error.
    fn hold(&mut self, item: Result<Option<F::Item>>) -> *mut c_void {
        match item {
            Ok(item) => {
                self.item = item;
                if self.item.is_some() {
                    addr_of_mut!(*self).cast()
                } else {
                    null_mut()
                }
            }
            Err(error) => {
                self.item = None;
                error.to_ptr()
            }
        }
    }
}

/// Returns the operations of a file in `/proc`. Its folder's data is the namespace.
pub(in crate::nf) const fn proc_operations<F: SeqFile>() -> &'static bindings::proc_ops {
    &const {
        bindings::proc_ops {
            proc_open: Some(open::<F>),
            proc_read: Some(bindings::seq_read),
            proc_lseek: Some(bindings::seq_lseek),
            proc_release: Some(release::<F>),
            // SAFETY: Null pointers, of operations that the file does not have.
            ..unsafe { core::mem::zeroed() }
        }
    }
}

/// Returns the operations on the records of a file.
const fn operations<F: SeqFile>() -> &'static bindings::seq_operations {
    &const {
        bindings::seq_operations {
            start: Some(start::<F>),
            stop: Some(stop::<F>),
            next: Some(next::<F>),
            show: Some(show::<F>),
        }
    }
}

/// Opens a file: `proc_ops.proc_open`. The open file keeps its namespace.
///
/// `EACCES`: for writing. `ENXIO`: the namespace has ended. `ENOMEM`: no memory.
///
/// # Safety
///
/// `inode` is that of a file in a namespace's folder, `file` is being opened.
unsafe extern "C" fn open<F: SeqFile>(
    inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    // `kmalloc()` aligns memory of any size to that.
    const { assert!(align_of::<Reader<F>>() <= align_of::<u64>()) };
    const { assert!(size_of::<Reader<F>>() < 4096) };
    from_result(|| {
        // SAFETY: By the safety requirements.
        if unsafe { bindings::rct_file_is_writable(file) } {
            return Err(EACCES);
        }
        // SAFETY: By the safety requirements. The namespace is there until its files are removed,
        // which waits for this function.
        let net = unsafe { NetRef::new(bindings::proc_get_parent_data(inode).cast()) };
        let net = net.ok_or(ENXIO)?;
        // SAFETY: The operations are static and take this state. CAST: less than 4096, as asserted.
        let state = unsafe {
            bindings::__seq_open_private(file, operations::<F>(), size_of::<Reader<F>>() as c_int)
        };
        if state.is_null() {
            return Err(ENOMEM);
        }
        let reader = Reader::<F> {
            net,
            cursor: F::Cursor::default(),
            item: None,
        };
        // SAFETY: Memory of that size, which no operation reads yet.
        unsafe { state.cast::<Reader<F>>().write(reader) };
        Ok(0)
    })
}

/// Closes a file, or ends its use as it is removed: `proc_ops.proc_release`.
///
/// # Safety
///
/// [`open`] has opened the file, and no other operation runs any more.
unsafe extern "C" fn release<F: SeqFile>(
    inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    // SAFETY: By the safety requirements. The memory is freed after the state in it was dropped.
    unsafe {
        drop_in_place(Reader::<F>::of(bindings::rct_file_seq(file)));
        bindings::seq_release_private(inode, file)
    }
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
    let reader = unsafe { Reader::<F>::of(seq) };
    // SAFETY: By the safety requirements.
    if unsafe { *position } == 0 {
        reader.cursor = F::Cursor::default();
    }
    let item = F::current(&mut reader.cursor, &reader.net);
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
    let reader = unsafe { Reader::<F>::of(seq) };
    // SAFETY: By the safety requirements. The kernel requires that the number grows; the position
    // of the reader is that of the cursor.
    unsafe { *position = (*position).wrapping_add(1) };
    let item = match reader.item.take() {
        Some(item) => F::advance(&mut reader.cursor, &item, &reader.net),
        None => Ok(None),
    };
    reader.hold(item)
}

/// Stops: the buffer is full, or there are no more records. `seq_operations.stop`.
///
/// # Safety
///
/// As for [`Reader::of`].
unsafe extern "C" fn stop<F: SeqFile>(seq: *mut bindings::seq_file, _token: *mut c_void) {
    // SAFETY: By the safety requirements.
    unsafe { Reader::<F>::of(seq) }.item = None;
}

/// Writes the record: `seq_operations.show`.
///
/// # Safety
///
/// As for [`Reader::of`].
unsafe extern "C" fn show<F: SeqFile>(seq: *mut bindings::seq_file, _token: *mut c_void) -> c_int {
    // SAFETY: By the safety requirements.
    let reader = unsafe { Reader::<F>::of(seq) };
    if let Some(item) = &reader.item {
        // INVARIANT: The operation runs until `F::show` returns.
        F::show(item, &reader.net, &mut Out(seq, PhantomData));
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
