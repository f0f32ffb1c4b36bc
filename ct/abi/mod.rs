// SPDX-License-Identifier: GPL-2.0

//! The functions that C code calls: each converts raw pointers, makes one safe call, and converts
//! the result. No decision is made here.
//!
//! The functions have the names and types under which the kernel's own modules import them;
//! `nf/exports.c` exports them. The SAFETY comments name what C guarantees to each function.

mod bridge;
mod entry;
mod events;
mod expect;
mod gre;
mod helper;
mod hooks;
mod l4proto;
mod labels;
mod ovs;
mod packet;
mod params;
mod seqadj;
mod template;
mod timeout;
mod twin;
