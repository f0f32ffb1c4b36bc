// SPDX-License-Identifier: GPL-2.0

//! Messages for the kernel log.
//!
//! The macros of the `kernel` crate hand a `fmt::Arguments` to the kernel, whose own copy of `core`
//! formats it (`%pA`). That is right only if one rustc compiled both. Here the module formats its
//! messages itself, so that it can be compiled for a kernel of another rustc.
//!
//! # Examples
//!
//! The macros have the names of those of the `kernel` crate, which an explicit import replaces:
//!
//! ```ignore
//! use crate::nf::kernel::log::pr_info;
//!
//! pr_info!("the table has {buckets} buckets now\n");
//! ```

use core::fmt::{
    self,
    Write, //
};

use kernel::prelude::*;

use crate::nf::bindings;

/// The severity of a message.
#[derive(Clone, Copy)]
pub(crate) enum Level {
    /// `KERN_ERR`
    Error,
    /// `KERN_WARNING`
    Warning,
    /// `KERN_NOTICE`
    Notice,
    /// `KERN_INFO`
    Info,
}

/// The text of one message. What is longer than 256 bytes is cut.
struct Line {
    bytes: [u8; 256],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(text.as_bytes()) {
            *to = *from;
            self.len = self.len.wrapping_add(1);
        }
        Ok(())
    }
}

/// Writes a message into the kernel log, after the module's name.
#[cold]
#[inline(never)]
pub(crate) fn print(level: Level, text: fmt::Arguments<'_>) {
    let mut line = Line {
        bytes: [0; 256],
        len: 0,
    };
    // The only error would be one of a `Display` of the message.
    let _ = line.write_fmt(text);
    let level = match level {
        Level::Error => c"\x013",
        Level::Warning => c"\x014",
        Level::Notice => c"\x015",
        Level::Info => c"\x016",
    };
    let text = line.bytes.as_ptr().cast();
    // SAFETY: Two texts, which the kernel copies; the first ends with a zero, the second is `len`
    // bytes long.
    unsafe { bindings::rct_printk(level.as_char_ptr(), line.len, text) }
}

/// Writes a message of severity `KERN_ERR`.
macro_rules! pr_err {
    ($($argument:tt)*) => {
        $crate::nf::kernel::log::print(
            $crate::nf::kernel::log::Level::Error,
            ::kernel::prelude::fmt!($($argument)*),
        )
    };
}

/// Writes a message of severity `KERN_WARNING`.
macro_rules! pr_warn {
    ($($argument:tt)*) => {
        $crate::nf::kernel::log::print(
            $crate::nf::kernel::log::Level::Warning,
            ::kernel::prelude::fmt!($($argument)*),
        )
    };
}

/// Writes a message of severity `KERN_WARNING` once in the life of the module.
macro_rules! pr_warn_once {
    ($($argument:tt)*) => {{
        static TOLD: ::kernel::sync::atomic::Atomic<i32> = ::kernel::sync::atomic::Atomic::new(0);
        if TOLD.xchg(1, ::kernel::sync::atomic::Relaxed) == 0 {
            $crate::nf::kernel::log::pr_warn!($($argument)*);
        }
    }};
}

/// Writes a message of severity `KERN_NOTICE`.
macro_rules! pr_notice {
    ($($argument:tt)*) => {
        $crate::nf::kernel::log::print(
            $crate::nf::kernel::log::Level::Notice,
            ::kernel::prelude::fmt!($($argument)*),
        )
    };
}

/// Writes a message of severity `KERN_INFO`.
macro_rules! pr_info {
    ($($argument:tt)*) => {
        $crate::nf::kernel::log::print(
            $crate::nf::kernel::log::Level::Info,
            ::kernel::prelude::fmt!($($argument)*),
        )
    };
}

pub(crate) use {
    pr_err,
    pr_info,
    pr_notice,
    pr_warn,
    pr_warn_once, //
};
