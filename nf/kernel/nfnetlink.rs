// SPDX-License-Identifier: GPL-2.0

//! nfnetlink: requests of user space, answers to them, and events.
//!
//! A subsystem has a table of [`Handler`]s, one for each type of message. Before nfnetlink calls a
//! handler, it has checked that the sender may administer the namespace (`CAP_NET_ADMIN`), and has
//! sorted the attributes by number. An answer of many messages is a [`Dump`], which continues as
//! its reader reads.
//!
//! # Examples
//!
//! ```ignore
//! struct GetStats;
//!
//! impl Handler for GetStats {
//!     const POLICY: &'static [Policy] = &[];
//!
//!     fn handle(request: &Request<'_>) -> Result {
//!         if request.is_dump() {
//!             return request.dump(PerCpu { cpu: 0 });
//!         }
//!         let head = Head { peer: request.peer(), .. };
//!         request.answer(|messages| messages.add(&head, |message| message.put_be32(..)))
//!     }
//! }
//!
//! static HANDLERS: Handlers<{ IPCTNL_MSG_MAX }> =
//!     Handlers::new().with::<GetStats>(IPCTNL_MSG_CT_GET_STATS);
//! ```
//!
//! C header: [`include/linux/netfilter/nfnetlink.h`](srctree/include/linux/netfilter/nfnetlink.h)

use core::{
    ffi::{
        c_int,
        c_void, //
    },
    marker::PhantomData,
    ptr::{
        null,
        null_mut,
        NonNull, //
    },
};

use kernel::{
    alloc::flags::GFP_KERNEL,
    error::{
        from_result,
        to_result, //
    },
    prelude::*, //
};

use crate::{
    nf::bindings,
    proto::types::num::{
        u16_as_usize,
        u32_into_u8, //
    },
};

use super::{
    attr::{
        Attribute,
        Attributes,
        Message,
        Policy, //
    },
    errno::ENOBUFS,
    net::Net, //
};

/// The request that caused an event; the default, if user space did not cause it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Requester {
    /// The netlink port of the sender; 0 without one.
    pub(crate) portid: u32,
    /// Whether the event is also sent to the sender (`NLM_F_ECHO`).
    pub(crate) report: bool,
}

/// An event was lost because the receive buffer of a listener is full (`ENOBUFS`).
pub(crate) struct Congested;

/// The subsystem of connections, `NFNL_SUBSYS_CTNETLINK`.
pub(crate) const CTNETLINK: u8 = u32_into_u8::<{ bindings::NFNL_SUBSYS_CTNETLINK }>();
/// The subsystem of expectations, `NFNL_SUBSYS_CTNETLINK_EXP`.
pub(crate) const CTNETLINK_EXP: u8 = u32_into_u8::<{ bindings::NFNL_SUBSYS_CTNETLINK_EXP }>();

/// Flags of a message (`NLM_F_*`).
pub(crate) mod flag {
    use crate::proto::types::num::u32_into_u16;

    use super::bindings as b;

    /// The message is one of several.
    pub(crate) const MULTI: u16 = u32_into_u16::<{ b::NLM_F_MULTI }>();
    /// A filter selected the messages of the dump.
    pub(crate) const FILTERED: u16 = u32_into_u16::<{ b::NLM_F_DUMP_FILTERED }>();
    /// The event is about a new object.
    pub(crate) const CREATED: u16 = u32_into_u16::<{ b::NLM_F_CREATE | b::NLM_F_EXCL }>();
}

/// The handler of one type of request.
pub(crate) trait Handler: 'static {
    /// The formats of its attributes, indexed by their numbers; empty: it has none.
    const POLICY: &'static [Policy];

    /// Carries the request out. May sleep. An error is sent to the requester.
    fn handle(request: &Request<'_>) -> Result;
}

/// The handlers of a subsystem, indexed by the type of message.
#[repr(transparent)]
pub(crate) struct Handlers<const N: usize>([bindings::nfnl_callback; N]);

// SAFETY: Not written to; the pointers are to statics.
unsafe impl<const N: usize> Sync for Handlers<N> {}

impl<const N: usize> Handlers<N> {
    /// Returns an empty table: every request is rejected.
    pub(crate) const fn new() -> Self {
        Self(
            [const {
                bindings::nfnl_callback {
                    call: None,
                    policy: null(),
                    type_: bindings::nfnl_callback_type_NFNL_CB_UNSPEC,
                    attr_count: 0,
                }
            }; N],
        )
    }

    /// Adds the handler of a type of message. For constants: a type that is too large does not
    /// compile.
    pub(crate) const fn with<H: Handler>(mut self, message: u16) -> Self {
        // CAST: fewer than a hundred attributes.
        let last = (H::POLICY.len() as u16).saturating_sub(1);
        self.0[u16_as_usize(message)] = bindings::nfnl_callback {
            call: Some(call::<H>),
            policy: if last == 0 {
                null()
            } else {
                Policy::raw(H::POLICY)
            },
            type_: bindings::nfnl_callback_type_NFNL_CB_MUTEX,
            attr_count: last,
        };
        self
    }
}

/// A subsystem, `struct nfnetlink_subsystem`.
pub(crate) struct Subsystem(bindings::nfnetlink_subsystem);

// SAFETY: Not written to; the pointers are to statics.
unsafe impl Sync for Subsystem {}

impl Subsystem {
    /// Describes a subsystem with this number.
    pub(crate) const fn new<const N: usize>(
        name: &'static CStr,
        number: u8,
        handlers: &'static Handlers<N>,
    ) -> Self {
        Self(bindings::nfnetlink_subsystem {
            name: name.to_bytes_with_nul().as_ptr().cast(),
            subsys_id: number,
            // CAST: fewer than ten types.
            cb_count: N as u8,
            cb: handlers.0.as_ptr(),
            owner: null_mut(),
            commit: None,
            abort: None,
            valid_genid: None,
        })
    }
}

/// Keeps a subsystem registered. Dropping it waits until no handler runs. (A dump that is not read
/// to its end keeps the module loaded.)
///
/// # Invariants
///
/// `0` is registered.
pub(crate) struct SubsystemRegistration(&'static Subsystem);

impl SubsystemRegistration {
    /// Registers a subsystem. `EBUSY`: another module has registered its number.
    pub(crate) fn new(subsystem: &'static Subsystem) -> Result<Self> {
        // SAFETY: Static.
        to_result(unsafe { bindings::nfnetlink_subsys_register(&subsystem.0) })?;
        // INVARIANT: Just registered.
        Ok(Self(subsystem))
    }
}

impl Drop for SubsystemRegistration {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::nfnetlink_subsys_unregister(&self.0 .0) };
    }
}

/// Calls [`Handler::handle`].
///
/// # Safety
///
/// For nfnetlink alone, with the attributes that it sorted by the handler's policy.
unsafe extern "C" fn call<H: Handler>(
    skb: *mut bindings::sk_buff,
    info: *const bindings::nfnl_info,
    attributes: *const *const bindings::nlattr,
) -> c_int {
    // SAFETY: nfnetlink passes a request that is valid until the return.
    let request = unsafe {
        Request {
            skb,
            info: &*info,
            attributes: Attributes::from_raw(attributes.cast_mut().cast(), H::POLICY.len()),
        }
    };
    from_result(|| H::handle(&request).map(|()| 0))
}

/// A request of user space.
///
/// # Invariants
///
/// The pointers, and those in `info`, are valid for `'a`.
pub(crate) struct Request<'a> {
    skb: *mut bindings::sk_buff,
    info: &'a bindings::nfnl_info,
    attributes: Attributes<'a>,
}

impl<'a> Request<'a> {
    /// Returns the namespace of the sender's socket.
    pub(crate) fn net(&self) -> &'a Net {
        // SAFETY: By the type invariants; the socket holds the namespace.
        unsafe { Net::from_raw(self.info.net) }
    }

    /// Returns the attribute with this number, if the request has it.
    pub(crate) fn get(&self, number: u16) -> Option<Attribute<'a>> {
        self.attributes.get(number)
    }

    /// Returns all attributes.
    pub(crate) fn attributes(&self) -> Attributes<'a> {
        self.attributes
    }

    /// Returns the address family of the request; 0: any.
    pub(crate) fn family(&self) -> u8 {
        // SAFETY: By the type invariants.
        unsafe { (*self.info.nfmsg).nfgen_family }
    }

    /// Returns the version of the message format (`NFNETLINK_V0`).
    pub(crate) fn version(&self) -> u8 {
        // SAFETY: By the type invariants.
        unsafe { (*self.info.nfmsg).version }
    }

    fn has(&self, flags: u32) -> bool {
        // SAFETY: By the type invariants.
        u32::from(unsafe { (*self.info.nlh).nlmsg_flags }) & flags == flags
    }

    /// Returns whether a dump is requested. (Either of the two bits of `NLM_F_DUMP` suffices, as in
    /// the C tracker.)
    pub(crate) fn is_dump(&self) -> bool {
        self.has(bindings::NLM_F_ROOT) || self.has(bindings::NLM_F_MATCH)
    }

    /// Returns whether a missing object is to be created (`NLM_F_CREATE`).
    pub(crate) fn creates(&self) -> bool {
        self.has(bindings::NLM_F_CREATE)
    }

    /// Returns whether an existing object is an error (`NLM_F_EXCL`).
    pub(crate) fn is_exclusive(&self) -> bool {
        self.has(bindings::NLM_F_EXCL)
    }

    /// Returns the requester, for the events that the request causes.
    pub(crate) fn requester(&self) -> Requester {
        Requester {
            portid: self.peer().portid,
            report: self.has(bindings::NLM_F_ECHO),
        }
    }

    /// Returns the receiver of the answers.
    pub(crate) fn peer(&self) -> Peer {
        // SAFETY: By the type invariants.
        unsafe {
            Peer {
                portid: bindings::rct_netlink_portid(self.skb),
                sequence: (*self.info.nlh).nlmsg_seq,
            }
        }
    }

    /// Sends the messages that `fill` adds, or returns its error. `ENOMEM`: there is no memory, or
    /// the messages do not fit into `NLMSG_DEFAULT_SIZE` bytes.
    pub(crate) fn answer(&self, fill: impl FnOnce(&mut Messages<'_>) -> Result) -> Result {
        let mut buffer = Buffer::new(bindings::RCT_NLMSG_DEFAULT_SIZE, bindings::gfp::KERNEL)?;
        fill(&mut buffer.messages()).map_err(|error| match error {
            EMSGSIZE => ENOMEM,
            other => other,
        })?;
        // SAFETY: By the type invariants; the buffer is passed on.
        to_result(unsafe {
            bindings::nfnetlink_unicast(buffer.into_raw(), self.info.net, self.peer().portid)
        })
    }

    /// Answers with a dump, which may continue long after the request.
    pub(crate) fn dump<D: Dump>(&self, dump: D) -> Result {
        let mut dump = Some(dump);
        let mut control = bindings::netlink_dump_control {
            start: Some(start::<D>),
            dump: Some(fill::<D>),
            done: Some(done::<D>),
            extack: null_mut(),
            data: core::ptr::addr_of_mut!(dump).cast(),
            module: null_mut(),
            min_dump_alloc: 0,
            flags: 0,
        };
        // SAFETY: By the type invariants. `start` takes the dump out of the `Option`; if it is not
        // called, the dump is dropped here.
        to_result(unsafe {
            bindings::rct_netlink_dump_start(self.info.sk, self.skb, self.info.nlh, &mut control)
        })
    }
}

/// The receiver of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    /// The netlink port.
    pub(crate) portid: u32,
    /// The sequence number of the request.
    pub(crate) sequence: u32,
}

/// The progress of a [`Dump`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The next message did not fit.
    More,
    /// The dump is complete.
    End,
}

/// An answer of many messages, which is continued each time that its reader has read some.
pub(crate) trait Dump: Sized + 'static {
    /// Adds messages until the dump is complete, or the next one does not fit. May sleep.
    fn fill(&mut self, net: &Net, messages: &mut Messages<'_>) -> Progress;

    /// Returns whether a filter selects the messages (`NLM_F_DUMP_FILTERED`).
    fn is_filtered(&self) -> bool {
        false
    }
}

/// Returns the dump of a callback.
///
/// # Safety
///
/// `callback` is one for which [`start`] of the same type was called, and [`done`] was not.
unsafe fn dump_of<'a, D: Dump>(callback: *mut bindings::netlink_callback) -> &'a mut D {
    // SAFETY: `start` has stored a box there; netlink serialises the functions of a callback.
    unsafe { &mut *(*callback).data.cast::<D>() }
}

/// Begins a dump: `netlink_dump_control.start`.
///
/// # Safety
///
/// For netlink alone, with what [`Request::dump`] made.
unsafe extern "C" fn start<D: Dump>(callback: *mut bindings::netlink_callback) -> c_int {
    // SAFETY: `Request::dump` has stored a pointer to a local variable, and waits.
    let dump = unsafe { &mut *(*callback).data.cast::<Option<D>>() };
    let Some(dump) = dump.take() else {
        return EINVAL.to_errno();
    };
    let answer_flags = if dump.is_filtered() {
        flag::FILTERED
    } else {
        0
    };
    let Ok(dump) = KBox::new(dump, GFP_KERNEL) else {
        return ENOMEM.to_errno();
    };
    // SAFETY: The callback is filled in by this function; `done` takes the box back.
    unsafe {
        (*callback).answer_flags = answer_flags;
        (*callback).data = KBox::into_raw(dump).cast::<c_void>();
    }
    0
}

/// Continues a dump: [`Dump::fill`], `netlink_dump_control.dump`.
///
/// # Safety
///
/// For netlink alone, with an empty buffer for the reader, and a callback of [`start`].
unsafe extern "C" fn fill<D: Dump>(
    skb: *mut bindings::sk_buff,
    callback: *mut bindings::netlink_callback,
) -> c_int {
    // SAFETY: By the safety requirements.
    let (dump, net) = unsafe {
        (
            dump_of::<D>(callback),
            Net::from_raw(bindings::rct_netlink_net(skb)),
        )
    };
    let progress = dump.fill(net, &mut Messages(skb, PhantomData));
    // SAFETY: Valid.
    match (unsafe { bindings::rct_skb_len(skb) }, progress) {
        // Not one message fits into an empty buffer.
        (0, Progress::More) => EMSGSIZE.to_errno(),
        // CAST: far below the sign bit. 0: the dump is complete, and has been sent.
        (len, _) => len as c_int,
    }
}

/// Ends a dump that is complete, or whose reader is gone: `netlink_dump_control.done`.
///
/// # Safety
///
/// For netlink alone, with a callback of [`start`].
unsafe extern "C" fn done<D: Dump>(callback: *mut bindings::netlink_callback) -> c_int {
    // SAFETY: `start` has stored a box there, and netlink calls this once.
    drop(unsafe { KBox::from_raw((*callback).data.cast::<D>()) });
    0
}

/// The headers of a message: `struct nlmsghdr` and `struct nfgenmsg`.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    /// The receiver.
    pub(crate) peer: Peer,
    /// The subsystem.
    pub(crate) subsystem: u8,
    /// The type of message in the subsystem.
    pub(crate) message: u16,
    /// The flags, see [`flag`].
    pub(crate) flags: u16,
    /// The address family.
    pub(crate) family: u16,
    /// `nfgenmsg.res_id`, in host byte order.
    pub(crate) resource: u16,
}

impl Head {
    /// Returns the flags of an answer: [`flag::MULTI`], unless the message is an event.
    pub(crate) fn multi(peer: Peer) -> u16 {
        if peer.portid == 0 {
            0
        } else {
            flag::MULTI
        }
    }
}

/// A buffer to which messages are added, one after the other.
///
/// # Invariants
///
/// `0` is a packet buffer that only this value uses during `'a`.
pub(crate) struct Messages<'a>(*mut bindings::sk_buff, PhantomData<&'a mut ()>);

impl Messages<'_> {
    /// Adds a message, or nothing if it does not fit (`EMSGSIZE`).
    pub(crate) fn add(
        &mut self,
        head: &Head,
        fill: impl FnOnce(&mut Message<'_>) -> Result,
    ) -> Result {
        // SAFETY: By the type invariants.
        let before = unsafe { bindings::rct_skb_len(self.0) };
        // SAFETY: By the type invariants.
        let raw = unsafe {
            bindings::rct_nfnl_msg_put(
                self.0,
                head.peer.portid,
                head.peer.sequence,
                u16::from(head.subsystem) << 8 | head.message,
                head.flags,
                // CAST: address families are less than 256.
                head.family as u8,
                head.resource,
            )
        };
        if raw.is_null() {
            return Err(EMSGSIZE);
        }
        // SAFETY: By the type invariants; `self` does not write to it meanwhile.
        let result = fill(&mut unsafe { Message::from_raw(self.0) });
        // SAFETY: The message was started above.
        unsafe {
            match result {
                Ok(()) => bindings::rct_nlmsg_end(self.0, raw),
                Err(_) => bindings::rct_skb_trim(self.0, before),
            }
        }
        result
    }
}

/// An owned packet buffer for messages.
///
/// # Invariants
///
/// The buffer belongs to this value.
pub(crate) struct Buffer(NonNull<bindings::sk_buff>);

impl Buffer {
    fn new(size: usize, gfp: bindings::gfp_t) -> Result<Self> {
        // SAFETY: Allocates.
        let skb = unsafe { bindings::rct_nlmsg_new(size, gfp) };
        // INVARIANT: Just allocated.
        NonNull::new(skb).map(Self).ok_or(ENOMEM)
    }

    fn messages(&mut self) -> Messages<'_> {
        // INVARIANT: By the type invariants.
        Messages(self.0.as_ptr(), PhantomData)
    }

    fn into_raw(self) -> *mut bindings::sk_buff {
        let raw = self.0.as_ptr();
        core::mem::forget(self);
        raw
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_kfree_skb(self.0.as_ptr()) };
    }
}

/// A multicast group of events (`enum nfnetlink_groups`).
#[derive(Clone, Copy)]
pub(crate) struct Group(u32);

impl Group {
    /// New connections.
    pub(crate) const CONNTRACK_NEW: Self = Self(bindings::nfnetlink_groups_NFNLGRP_CONNTRACK_NEW);
    /// Changes of connections.
    pub(crate) const CONNTRACK_UPDATE: Self =
        Self(bindings::nfnetlink_groups_NFNLGRP_CONNTRACK_UPDATE);
    /// Ends of connections.
    pub(crate) const CONNTRACK_DESTROY: Self =
        Self(bindings::nfnetlink_groups_NFNLGRP_CONNTRACK_DESTROY);
    /// New expectations.
    pub(crate) const CONNTRACK_EXP_NEW: Self =
        Self(bindings::nfnetlink_groups_NFNLGRP_CONNTRACK_EXP_NEW);
    /// Ends of expectations.
    pub(crate) const CONNTRACK_EXP_DESTROY: Self =
        Self(bindings::nfnetlink_groups_NFNLGRP_CONNTRACK_EXP_DESTROY);

    /// Returns whether the group has listeners in a namespace.
    pub(crate) fn has_listeners(self, net: &Net) -> bool {
        // SAFETY: A namespace that is not freed; nfnetlink's own teardown of it comes later.
        unsafe { bindings::nfnetlink_has_listeners(net.raw(), self.0) != 0 }
    }

    /// Sends a message to the listeners of the group, and to the requester if that wants it. `size`
    /// is an upper bound of the bytes after the headers. Atomic context.
    ///
    /// [`Congested`]: the buffer of a listener is full that has set `NETLINK_BROADCAST_ERROR`.
    pub(crate) fn send(
        self,
        net: &Net,
        by: Requester,
        size: usize,
        head: &Head,
        fill: impl FnOnce(&mut Message<'_>) -> Result,
    ) -> Result<(), Congested> {
        // The header that follows netlink's own.
        const HEAD: usize = core::mem::size_of::<bindings::nfgenmsg>();
        let buffer =
            Buffer::new(size.wrapping_add(HEAD), bindings::gfp::ATOMIC).and_then(|mut buffer| {
                buffer.messages().add(head, fill)?;
                Ok(buffer)
            });
        let Ok(buffer) = buffer else {
            // The next read of each listener returns `ENOBUFS`.
            // SAFETY: As above.
            let failed =
                unsafe { bindings::nfnetlink_set_err(net.raw(), 0, self.0, ENOBUFS.to_errno()) };
            return if failed > 0 { Err(Congested) } else { Ok(()) };
        };
        // SAFETY: As above; the buffer is passed on.
        let result = to_result(unsafe {
            bindings::nfnetlink_send(
                buffer.into_raw(),
                net.raw(),
                by.portid,
                self.0,
                by.report.into(),
                bindings::gfp::ATOMIC,
            )
        });
        match result {
            Err(error) if error == ENOBUFS || error == EAGAIN => Err(Congested),
            // `ESRCH`: there is no listener.
            _ => Ok(()),
        }
    }
}
