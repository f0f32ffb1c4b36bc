// SPDX-License-Identifier: GPL-2.0

//! Sysctls: settings as files in `/proc/sys/net`.
//!
//! The kernel's own handlers turn text into numbers and store them where the setting
//! lives. What is described here is which handler, which place and which range.
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
        Full, //
    },
};

use crate::{
    nf::bindings,
    proto::types::timeout::Timeout, //
};

use super::{
    net::{
        Net,
        NewNet, //
    },
    port_set::{
        PortSet,
        PORTS, //
    },
    settings::Field, //
};

/// A setting that is no number in memory.
pub(crate) trait Computed: 'static {
    /// The number to show.
    fn read() -> u32;

    /// A number was written: any `int`. An error is the writer's. May sleep.
    fn write(value: i32) -> Result;
}

/// Somebody who wants to know when a setting is written.
pub(crate) trait Watcher: 'static {
    /// `value` was written, and is in force. May sleep.
    fn written(value: u8);
}

type Handler = unsafe extern "C" fn(
    *const bindings::ctl_table,
    c_int,
    *mut c_void,
    *mut usize,
    *mut bindings::loff_t,
) -> c_int;

/// Who may write a setting. Everybody may read it.
#[derive(Clone, Copy)]
enum Writers {
    Nobody,
    /// Root of the first namespace, there: it counts for all namespaces.
    FirstRoot,
    /// Root of the namespace.
    Root,
}

impl Writers {
    fn mode(self, net: &Net) -> bindings::umode_t {
        match self {
            Self::Nobody => 0o444,
            Self::FirstRoot if !net.is_init() => 0o444,
            Self::FirstRoot | Self::Root => 0o644,
        }
    }
}

/// Where the number is.
#[derive(Clone, Copy)]
enum Place {
    /// At an offset in the namespace's `struct netns_ct`.
    Field(usize),
    /// In what else belongs to the namespace.
    OfNet(fn(&Net) -> &Atomic<u32>),
    /// The same, a set of ports.
    Ports(fn(&Net) -> &PortSet),
    /// In the module.
    Global(fn() -> &'static Atomic<u32>),
    /// Its handler knows.
    Hidden,
}

/// Describes a sysctl.
///
/// # Invariants
///
/// `handler` accesses at most `size` bytes at `place`, and two `int` at `range`.
pub(crate) struct Setting {
    name: &'static CStr,
    writers: Writers,
    place: Place,
    size: usize,
    handler: Handler,
    /// Smallest and largest.
    range: Option<[&'static c_int; 2]>,
}

impl Setting {
    /// A byte that root of the namespace may set: 0 or 1.
    pub(crate) const fn switch(name: &'static CStr, byte: Field<u8>) -> Self {
        // INVARIANT: two `int` for a range.
        Self {
            range: Some([&0, &1]),
            ..Self::byte(name, byte)
        }
    }

    /// A byte that root of the namespace may set: 0, 1 or 2.
    pub(crate) const fn three(name: &'static CStr, byte: Field<u8>) -> Self {
        // INVARIANT: two `int` for a range.
        Self {
            range: Some([&0, &2]),
            ..Self::byte(name, byte)
        }
    }

    /// A byte that root of the namespace may set.
    pub(crate) const fn byte(name: &'static CStr, byte: Field<u8>) -> Self {
        // INVARIANT: a byte for a byte.
        Self {
            name,
            writers: Writers::Root,
            place: Place::Field(byte.offset()),
            size: size_of::<u8>(),
            handler: bindings::proc_dou8vec_minmax,
            range: None,
        }
    }

    /// A byte that root of the namespace may set, and somebody who is told of it.
    pub(crate) const fn watched<W: Watcher>(name: &'static CStr, byte: Field<u8>) -> Self {
        // INVARIANT: the handler accesses what that of a byte does.
        Self {
            handler: watched::<W>,
            ..Self::byte(name, byte)
        }
    }

    /// A time, shown in seconds, that root of the namespace may set.
    pub(crate) const fn seconds(name: &'static CStr, timeout: Field<Timeout>) -> Self {
        // INVARIANT: an `int` for an `unsigned int`.
        Self {
            name,
            writers: Writers::Root,
            place: Place::Field(timeout.offset()),
            size: size_of::<c_int>(),
            handler: bindings::proc_dointvec_jiffies,
            range: None,
        }
    }

    /// A number of the namespace that can only be read.
    pub(crate) const fn count(name: &'static CStr, counter: fn(&Net) -> &Atomic<u32>) -> Self {
        // INVARIANT: an `int` for a `u32`.
        Self {
            name,
            writers: Writers::Nobody,
            place: Place::OfNet(counter),
            size: size_of::<c_int>(),
            handler: bindings::proc_dointvec,
            range: None,
        }
    }

    /// A switch that root of the namespace may set: 0 or 1.
    pub(crate) const fn option(name: &'static CStr, option: fn(&Net) -> &Atomic<u32>) -> Self {
        // INVARIANT: an `int` for a `u32`; two `int` for a range.
        Self {
            name,
            writers: Writers::Root,
            place: Place::OfNet(option),
            size: size_of::<c_int>(),
            handler: bindings::proc_dointvec_minmax,
            range: Some([&0, &1]),
        }
    }

    /// Ports that root of the namespace may set, as numbers and ranges with commas in between.
    pub(crate) const fn ports(name: &'static CStr, ports: fn(&Net) -> &PortSet) -> Self {
        // INVARIANT: the handler takes a pointer to a pointer to as many bits as `size` says,
        // and does nothing if that is null.
        Self {
            name,
            writers: Writers::Root,
            place: Place::Ports(ports),
            size: PORTS,
            handler: bindings::proc_do_large_bitmap,
            range: None,
        }
    }

    /// A number above 0 that counts for all namespaces.
    pub(crate) const fn limit(name: &'static CStr, limit: fn() -> &'static Atomic<u32>) -> Self {
        // INVARIANT: an `int` for a `u32`.
        Self {
            name,
            writers: Writers::FirstRoot,
            place: Place::Global(limit),
            size: size_of::<c_int>(),
            handler: bindings::proc_dointvec_minmax,
            range: Some([&1, &c_int::MAX]),
        }
    }

    /// A number that is no number in memory, and counts for all namespaces.
    pub(crate) const fn computed<C: Computed>(name: &'static CStr) -> Self {
        // INVARIANT: the handler does not use the place.
        Self {
            name,
            writers: Writers::FirstRoot,
            place: Place::Hidden,
            size: size_of::<c_int>(),
            handler: computed::<C>,
            range: None,
        }
    }

    /// The description that C code takes.
    fn entry(&self, net: &Net) -> bindings::ctl_table {
        let data: *mut c_void = match self.place {
            // In bounds: the offset of a field.
            Place::Field(offset) => net.ct().cast::<u8>().wrapping_add(offset).cast(),
            Place::OfNet(counter) => counter(net).as_ptr().cast(),
            Place::Ports(ports) => ports(net).place().cast(),
            Place::Global(number) => number().as_ptr().cast(),
            Place::Hidden => null_mut(),
        };
        let bound = |bound: &'static c_int| core::ptr::from_ref(bound).cast_mut().cast();
        let [extra1, extra2] = self.range.map_or([null_mut(); 2], |range| range.map(bound));
        bindings::ctl_table {
            procname: self.name.as_char_ptr(),
            data,
            // CAST: bytes of a number, or bits of a set.
            maxlen: self.size as c_int,
            mode: self.writers.mode(net),
            proc_handler: Some(self.handler),
            poll: null_mut(),
            extra1,
            extra2,
        }
    }
}

/// The handler of a [`Setting::watched`].
///
/// # Safety
///
/// As for a `proc_handler`: `table` is one of ours, `buffer` is kernel memory.
unsafe extern "C" fn watched<W: Watcher>(
    table: *const bindings::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    length: *mut usize,
    position: *mut bindings::loff_t,
) -> c_int {
    // SAFETY: What the caller promises us we promise on.
    let result = unsafe { bindings::proc_dou8vec_minmax(table, write, buffer, length, position) };
    if result >= 0 && write != 0 {
        // SAFETY: By the invariants of `Setting` the place is a byte.
        W::written(unsafe { bindings::rct_read_once_u8((*table).data.cast()) });
    }
    result
}

/// The handler of a [`Setting::computed`].
///
/// # Safety
///
/// As for a `proc_handler`: `table` is one of ours, `buffer` is kernel memory.
unsafe extern "C" fn computed<C: Computed>(
    table: *const bindings::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    length: *mut usize,
    position: *mut bindings::loff_t,
) -> c_int {
    // CAST: as the C tracker shows numbers that are larger than any that make sense.
    let mut value = C::read() as c_int;
    // SAFETY: The kernel hands over a valid entry.
    let mut table = unsafe { *table };
    table.data = addr_of_mut!(value).cast();
    // SAFETY: What the caller promises us we promise on; the place is an `int`.
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
// SAFETY: There is nothing to do with a reference.
unsafe impl Sync for Registration {}

impl Registration {
    /// Registers sysctls under `folder`, in the first namespace. May sleep.
    pub(crate) fn new(folder: &'static CStr, settings: &[Setting]) -> Result<Self> {
        Self::for_net(Net::init_net(), folder, settings)
    }

    /// To be dropped before the namespace ends.
    fn for_net(net: &Net, folder: &'static CStr, settings: &[Setting]) -> Result<Self> {
        let mut table = KVec::with_capacity(settings.len(), GFP_KERNEL)?;
        for setting in settings {
            table.push_within_capacity(setting.entry(net))?;
        }
        // SAFETY: The table stays where it is until the registration ends, what it points to
        // until the namespace does; by the invariants of `Setting` the handlers access that.
        let header = unsafe {
            bindings::register_net_sysctl_sz(
                net.raw(),
                folder.as_char_ptr(),
                table.as_ptr(),
                table.len(),
            )
        };
        // INVARIANT: just registered.
        Ok(Self {
            header: NonNull::new(header).ok_or(ENOMEM)?,
            _table: table,
        })
    }
}

impl Drop for Registration {
    /// Waits for those who read or write one of them now. May sleep.
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::unregister_net_sysctl_table(self.header.as_ptr()) };
    }
}

/// A namespace's place for its registration; zeroed: there is none.
///
/// # Invariants
///
/// Null, or a `KBox` that belongs to the slot.
pub(crate) struct Slot(Atomic<*mut Registration>);

// SAFETY: The number of null is zero.
unsafe impl pin_init::Zeroable for Slot {}

impl Slot {
    /// Registers sysctls for a namespace, in place of those that are. May sleep.
    ///
    /// The slot is part of what the namespace keeps: [`Slot::clear`] it before that ends.
    pub(crate) fn register(
        &self,
        net: &NewNet<'_>,
        folder: &'static CStr,
        settings: &[Setting],
    ) -> Result {
        let registration = KBox::new(Registration::for_net(net, folder, settings)?, GFP_KERNEL)?;
        self.swap(Some(registration));
        Ok(())
    }

    /// Takes them back. May sleep.
    pub(crate) fn clear(&self) {
        self.swap(None);
    }

    fn swap(&self, new: Option<KBox<Registration>>) {
        let old = self.0.xchg(new.map_or(null_mut(), KBox::into_raw), Full);
        if !old.is_null() {
            // SAFETY: By the type invariants the box was the slot's, and now is ours.
            drop(unsafe { KBox::from_raw(old) });
        }
    }
}
