// SPDX-License-Identifier: GPL-2.0

//! The doors for C code: raw pointers in, one safe call, a number out.
//!
//! The functions have the names and types under which the kernel's own modules import
//! them; `nf/exports.c` exports them.

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
