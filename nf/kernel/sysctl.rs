// SPDX-License-Identifier: GPL-2.0

//! Sysctls: settings as files in `/proc/sys/net`.
//!
//! The kernel's own handlers convert between text and numbers, and access the setting where it is.
//! A [`Setting`] describes which handler, which memory and which range.
//!
//! # Examples
//!
//! ```ignore
//! const SETTINGS: &[Setting] = &[
//!     Setting::switch(c"nf_conntrack_tcp_loose", settings::TCP_LOOSE),
//!     Setting::seconds(c"nf_conntrack_icmp_timeout", settings::ICMP_TIMEOUT),
//!     Setting::count(c"nf_conntrack_count", |net| &net.state::<NetState>().entries),
//! ];
//!
//! // In `Pernet::init`:
//! sysctl::register(net, c"net/netfilter", SETTINGS)?;
//! ```
//!
//! C header: [`include/linux/sysctl.h`](srctree/include/linux/sysctl.h)

use core::{
    ffi::{
        c_int,
        c_void,
        CStr, //
    },
    mem::size_of,
    ptr::{
        addr_of_mut,
        null_mut,
        NonNull, //
    },
};

use kernel::{
    alloc::flags::GFP_KERNEL,
    error::from_result,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

use crate::{
    nf::bindings,
    proto::types::timeout::Timeout, //
};

use super::{
    net::Net,
    pernet::NewNet,
    port_set::{
        PortSet,
        PORTS, //
    },
    settings::Field, //
};

/// A setting that is computed when it is read.
pub(crate) trait Computed: 'static {
    /// Returns the number to show.
    fn read() -> u32;

    /// Handles a write of any `int`. An error is returned to the writer. May sleep.
    fn write(value: i32) -> Result;
}

/// A listener for writes of a setting.
pub(crate) trait WriteListener: 'static {
    /// Handles that `value` was written, and took effect. May sleep.
    fn written(value: u8);
}

type Handler = unsafe extern "C" fn(
    *const bindings::ctl_table,
    c_int,
    *mut c_void,
    *mut usize,
    *mut bindings::loff_t,
) -> c_int;

/// The permissions of a setting. All processes may read it.
#[derive(Clone, Copy)]
enum Writers {
    /// It is read-only.
    None,
    /// Root of the first namespace may write it there: it applies to all namespaces.
    FirstRoot,
    /// Root of the namespace may write it.
    Root,
}

impl Writers {
    fn mode(self, net: &Net) -> bindings::umode_t {
        match self {
            Self::None => 0o444,
            Self::FirstRoot if !net.is_init() => 0o444,
            Self::FirstRoot | Self::Root => 0o644,
        }
    }
}

/// The memory of a setting.
#[derive(Clone, Copy)]
enum Memory {
    /// At an offset in the namespace's `struct netns_ct`.
    Field(usize),
    /// A number elsewhere in the state of the namespace.
    OfNet(fn(&Net) -> &Atomic<u32>),
    /// A set of ports in the state of the namespace.
    Ports(fn(&Net) -> &PortSet),
    /// A number of the module.
    Global(fn() -> &'static Atomic<u32>),
    /// None that the kernel accesses: the handler computes the number.
    Hidden,
}

/// The description of a sysctl.
///
/// # Invariants
///
/// `handler` accesses at most `size` bytes at `memory`, and two `int` at `range`.
pub(crate) struct Setting {
    name: &'static CStr,
    writers: Writers,
    memory: Memory,
    size: usize,
    handler: Handler,
    /// Smallest and largest.
    range: Option<[&'static c_int; 2]>,
}

impl Setting {
    /// Makes a byte that root of the namespace may set: 0 or 1.
    pub(crate) const fn switch(name: &'static CStr, byte: Field<u8>) -> Self {
        // INVARIANT: Two `int` for a range.
        Self {
            range: Some([&0, &1]),
            ..Self::byte(name, byte)
        }
    }

    /// Makes a byte that root of the namespace may set: 0, 1 or 2.
    pub(crate) const fn three(name: &'static CStr, byte: Field<u8>) -> Self {
        // INVARIANT: Two `int` for a range.
        Self {
            range: Some([&0, &2]),
            ..Self::byte(name, byte)
        }
    }

    /// Makes a byte that root of the namespace may set.
    pub(crate) const fn byte(name: &'static CStr, byte: Field<u8>) -> Self {
        // INVARIANT: A byte for a byte.
        Self {
            name,
            writers: Writers::Root,
            memory: Memory::Field(byte.offset()),
            size: size_of::<u8>(),
            handler: bindings::proc_dou8vec_minmax,
            range: None,
        }
    }

    /// Makes a byte that root of the namespace may set, with a listener for writes.
    pub(crate) const fn watched<W: WriteListener>(name: &'static CStr, byte: Field<u8>) -> Self {
        // INVARIANT: The handler accesses what that of a byte does.
        Self {
            handler: watched::<W>,
            ..Self::byte(name, byte)
        }
    }

    /// Makes a time, shown in seconds, that root of the namespace may set.
    pub(crate) const fn seconds(name: &'static CStr, timeout: Field<Timeout>) -> Self {
        // INVARIANT: An `int` for an `unsigned int`.
        Self {
            name,
            writers: Writers::Root,
            memory: Memory::Field(timeout.offset()),
            size: size_of::<c_int>(),
            handler: bindings::proc_dointvec_jiffies,
            range: None,
        }
    }

    /// Makes a read-only number of the namespace.
    pub(crate) const fn count(name: &'static CStr, counter: fn(&Net) -> &Atomic<u32>) -> Self {
        // INVARIANT: An `int` for a `u32`.
        Self {
            name,
            writers: Writers::None,
            memory: Memory::OfNet(counter),
            size: size_of::<c_int>(),
            handler: bindings::proc_dointvec,
            range: None,
        }
    }

    /// Makes a switch that root of the namespace may set: 0 or 1.
    pub(crate) const fn option(name: &'static CStr, option: fn(&Net) -> &Atomic<u32>) -> Self {
        Self::number_to(name, &1, option)
    }

    /// Makes a number from 0 on that root of the namespace may set.
    pub(crate) const fn number(name: &'static CStr, number: fn(&Net) -> &Atomic<u32>) -> Self {
        Self::number_to(name, &c_int::MAX, number)
    }

    /// Makes a number from 0 to `max` that root of the namespace may set.
    pub(crate) const fn number_to(
        name: &'static CStr,
        max: &'static c_int,
        number: fn(&Net) -> &Atomic<u32>,
    ) -> Self {
        // INVARIANT: An `int` for a `u32`; two `int` for a range.
        Self {
            name,
            writers: Writers::Root,
            memory: Memory::OfNet(number),
            size: size_of::<c_int>(),
            handler: bindings::proc_dointvec_minmax,
            range: Some([&0, max]),
        }
    }

    /// Makes a set of ports that root of the namespace may set, as a list of numbers and ranges
    /// with commas between them.
    pub(crate) const fn ports(name: &'static CStr, ports: fn(&Net) -> &PortSet) -> Self {
        // INVARIANT: The handler takes a pointer to a pointer to `size` bits, and does nothing if
        // the latter is null.
        Self {
            name,
            writers: Writers::Root,
            memory: Memory::Ports(ports),
            size: PORTS,
            handler: bindings::proc_do_large_bitmap,
            range: None,
        }
    }

    /// Makes a positive number that applies to all namespaces.
    pub(crate) const fn limit(name: &'static CStr, limit: fn() -> &'static Atomic<u32>) -> Self {
        // INVARIANT: An `int` for a `u32`.
        Self {
            name,
            writers: Writers::FirstRoot,
            memory: Memory::Global(limit),
            size: size_of::<c_int>(),
            handler: bindings::proc_dointvec_minmax,
            range: Some([&1, &c_int::MAX]),
        }
    }

    /// Makes a computed number that applies to all namespaces.
    pub(crate) const fn computed<C: Computed>(name: &'static CStr) -> Self {
        // INVARIANT: The handler does not use the memory.
        Self {
            name,
            writers: Writers::FirstRoot,
            memory: Memory::Hidden,
            size: size_of::<c_int>(),
            handler: computed::<C>,
            range: None,
        }
    }

    /// Copies the setting of another namespace, if it is a number that root may set.
    ///
    /// A set of ports is not copied: it is about the addresses of its namespace.
    pub(crate) fn copy(&self, from: &Net, to: &NewNet<'_>) {
        if !matches!(self.writers, Writers::Root) {
            return;
        }
        match self.memory {
            Memory::Field(offset) => {
                let place = |net: &Net| net.ct().cast::<u8>().wrapping_add(offset);
                let (from, to) = (place(from), place(to));
                // SAFETY: In bounds by the invariants of `settings::Field`, and by those of
                // `Setting` a byte or an `int`; nothing else accesses the new namespace's yet.
                unsafe {
                    if self.size == size_of::<u8>() {
                        to.write(bindings::rct_read_once_u8(from));
                    } else {
                        let to: *mut u32 = to.cast();
                        to.write(Atomic::<u32>::from_ptr(from.cast()).load(Relaxed));
                    }
                }
            }
            Memory::OfNet(number) => number(to).store(number(from).load(Relaxed), Relaxed),
            Memory::Ports(_) | Memory::Global(_) | Memory::Hidden => {}
        }
    }

    /// Returns the description for C code.
    fn entry(&self, net: &Net) -> bindings::ctl_table {
        let data: *mut c_void = match self.memory {
            // In bounds by the invariants of `settings::Field`.
            Memory::Field(offset) => net.ct().cast::<u8>().wrapping_add(offset).cast(),
            Memory::OfNet(counter) => counter(net).as_ptr().cast(),
            Memory::Ports(ports) => ports(net).place().cast(),
            Memory::Global(number) => number().as_ptr().cast(),
            Memory::Hidden => null_mut(),
        };
        let bound = |bound: &'static c_int| core::ptr::from_ref(bound).cast_mut().cast();
        let [extra1, extra2] = self.range.map_or([null_mut(); 2], |range| range.map(bound));
        bindings::ctl_table {
            procname: self.name.as_char_ptr(),
            data,
            // CAST: at most 65536: the bytes of a number, or the bits of a set.
            maxlen: self.size as c_int,
            mode: self.writers.mode(net),
            proc_handler: Some(self.handler),
            poll: null_mut(),
            extra1,
            extra2,
        }
    }
}

/// Handles reads and writes of a [`Setting::watched`].
///
/// # Safety
///
/// As for a `proc_handler`: `table` is one of [`Setting::entry`], `buffer` is kernel memory.
unsafe extern "C" fn watched<W: WriteListener>(
    table: *const bindings::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    length: *mut usize,
    position: *mut bindings::loff_t,
) -> c_int {
    // SAFETY: By the safety requirements, which are the same.
    let result = unsafe { bindings::proc_dou8vec_minmax(table, write, buffer, length, position) };
    if result >= 0 && write != 0 {
        // SAFETY: By the invariants of `Setting` the memory is a byte.
        W::written(unsafe { bindings::rct_read_once_u8((*table).data.cast()) });
    }
    result
}

/// Handles reads and writes of a [`Setting::computed`].
///
/// # Safety
///
/// As for a `proc_handler`: `table` is one of [`Setting::entry`], `buffer` is kernel memory.
unsafe extern "C" fn computed<C: Computed>(
    table: *const bindings::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    length: *mut usize,
    position: *mut bindings::loff_t,
) -> c_int {
    // CAST: the C tracker also shows numbers above `INT_MAX` as negative ones.
    let mut value = C::read() as c_int;
    // SAFETY: By the safety requirements.
    let mut table = unsafe { *table };
    table.data = addr_of_mut!(value).cast();
    // SAFETY: By the safety requirements; the memory is an `int`.
    let result = unsafe { bindings::proc_dointvec(&table, write, buffer, length, position) };
    if result < 0 || write == 0 {
        return result;
    }
    from_result(|| C::write(value).map(|()| result))
}

/// Keeps sysctls registered.
///
/// # Invariants
///
/// `header` is the registration of `table`.
pub(crate) struct Registration {
    header: NonNull<bindings::ctl_table_header>,
    /// Freed after the registration has ended.
    _table: KVec<bindings::ctl_table>,
}

// SAFETY: Any thread may end the registration.
unsafe impl Send for Registration {}
// SAFETY: A reference gives no access.
unsafe impl Sync for Registration {}

impl Registration {
    /// Registers sysctls under `folder`, in the first namespace. May sleep.
    pub(crate) fn new(folder: &'static CStr, settings: &[Setting]) -> Result<Self> {
        Self::for_net(Net::init_net(), folder, settings)
    }

    /// Registers sysctls of a namespace. The registration is dropped before the namespace ends.
    fn for_net(net: &Net, folder: &'static CStr, settings: &[Setting]) -> Result<Self> {
        let mut table = KVec::with_capacity(settings.len(), GFP_KERNEL)?;
        for setting in settings {
            table.push_within_capacity(setting.entry(net))?;
        }
        // SAFETY: The table does not move until the registration ends, and what it points to lives
        // as long as the namespace; by the invariants of `Setting` the handlers access that.
        let header = unsafe {
            bindings::rct_sysctl_register(
                net.raw(),
                folder.as_char_ptr(),
                table.as_ptr(),
                table.len(),
            )
        };
        // INVARIANT: Just registered.
        Ok(Self {
            header: NonNull::new(header).ok_or(ENOMEM)?,
            _table: table,
        })
    }
}

impl Drop for Registration {
    /// Waits until no process reads or writes one of them. May sleep.
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::unregister_net_sysctl_table(self.header.as_ptr()) };
    }
}

/// Registers sysctls of a new namespace under `folder`, which unregisters them when it ends, and
/// waits until no process reads or writes one. May sleep.
pub(crate) fn register(net: &NewNet<'_>, folder: &'static CStr, settings: &[Setting]) -> Result {
    net.keep(Registration::for_net(net, folder, settings)?)
}
