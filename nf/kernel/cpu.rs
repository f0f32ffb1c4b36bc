// SPDX-License-Identifier: GPL-2.0

//! CPUs.
//!
//! A hypervisor may tell of hundreds of CPUs that could be plugged in, where there are two
//! (`nr_cpu_ids`). Memory and search for each of these would be for nothing.
//!
//! C header: [`include/linux/cpumask.h`](srctree/include/linux/cpumask.h)

use kernel::cpu::nr_cpu_ids;

use crate::nf::bindings;

/// Returns the online CPU with the lowest number that is not less than `from`, or else the lowest
/// one. It may go offline at any time.
pub(crate) fn online_from(from: u32) -> u32 {
    let ids = nr_cpu_ids();
    // SAFETY: Reads the mask of online CPUs.
    let next = |from| unsafe { bindings::rct_next_online_cpu(from) };
    match next(from.min(ids)) {
        cpu if cpu < ids => cpu,
        _ => next(0),
    }
}
