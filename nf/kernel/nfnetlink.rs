// SPDX-License-Identifier: GPL-2.0

//! nfnetlink: what user space asks, and what it is told.
//!
//! A subsystem has a table of [`Handler`]s, one for each kind of message. nfnetlink has checked
//! that the sender may administer the namespace, and sorted the attributes by number, before it
//! calls one. Many answers make a [`Dump`], which goes on as fast as its reader reads.
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

use crate::nf::bindings;

use super::{
    attr::{
        Attribute,
        Attributes,
        Message,
        Policy, //
    },
    net::Net, //
};

/// Who asked for what an event tells: 0 if not user space.
#[derive(Clone, Copy, Default)]
pub(crate) struct Requester {
    /// The netlink port.
    pub(crate) portid: u32,
    /// Whether the requester wants to hear of it as well.
    pub(crate) report: bool,
}

/// The listener could not take an event: its buffer is full.
pub(crate) struct Congested;

/// The subsystem of connections.
pub(crate) const CTNETLINK: u8 = bindings::NFNL_SUBSYS_CTNETLINK as u8;
/// The subsystem of expectations.
pub(crate) const CTNETLINK_EXP: u8 = bindings::NFNL_SUBSYS_CTNETLINK_EXP as u8;

/// Flags of a message (`NLM_F_*`).
pub(crate) mod flag {
    use super::bindings as b;

    /// One of several.
    pub(crate) const MULTI: u16 = b::NLM_F_MULTI as u16;
    /// Not all that there is: what a filter let pass.
    pub(crate) const FILTERED: u16 = b::NLM_F_DUMP_FILTERED as u16;
    /// Of an event: something new.
    pub(crate) const CREATED: u16 = (b::NLM_F_CREATE | b::NLM_F_EXCL) as u16;
}

/// Answers a kind of request.
pub(crate) trait Handler: 'static {
    /// What its attributes must look like; empty: it has none.
    const POLICY: &'static [Policy];

    /// Does what is asked. May sleep. The error goes to who asked.
    fn handle(request: &Request<'_>) -> Result;
}

/// The handlers of a subsystem, by the number of their message.
#[repr(transparent)]
pub(crate) struct Handlers<const N: usize>([bindings::nfnl_callback; N]);

// SAFETY: Nobody writes to it; what it points to is static.
unsafe impl<const N: usize> Sync for Handlers<N> {}

impl<const N: usize> Handlers<N> {
    /// None: every request is refused.
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

    /// One more, for the message with this number.
    pub(crate) const fn with<H: Handler>(mut self, message: u16) -> Self {
        // CAST: a handful.
        let last = (H::POLICY.len() as u16).saturating_sub(1);
        self.0[message as usize] = bindings::nfnl_callback {
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

/// A subsystem.
pub(crate) struct Subsystem(bindings::nfnetlink_subsystem);

// SAFETY: Nobody writes to it; what it points to is static.
unsafe impl Sync for Subsystem {}

impl Subsystem {
    /// The subsystem with this number.
    pub(crate) const fn new<const N: usize>(
        name: &'static CStr,
        number: u8,
        handlers: &'static Handlers<N>,
    ) -> Self {
        Self(bindings::nfnetlink_subsystem {
            name: name.to_bytes_with_nul().as_ptr().cast(),
            subsys_id: number,
            // CAST: a handful.
            cb_count: N as u8,
            cb: handlers.0.as_ptr(),
            owner: null_mut(),
            commit: None,
            abort: None,
            valid_genid: None,
        })
    }
}

/// Keeps a subsystem registered. Dropped, waits until nobody is in its handlers. (A dump that
/// is not read to its end keeps the module.)
///
/// # Invariants
///
/// `0` is registered.
pub(crate) struct SubsystemRegistration(&'static Subsystem);

impl SubsystemRegistration {
    /// Has requests answered from now on. `EBUSY`: somebody else answers them.
    pub(crate) fn new(subsystem: &'static Subsystem) -> Result<Self> {
        // SAFETY: Static.
        to_result(unsafe { bindings::nfnetlink_subsys_register(&subsystem.0) })?;
        // INVARIANT: just registered.
        Ok(Self(subsystem))
    }
}

impl Drop for SubsystemRegistration {
    fn drop(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::nfnetlink_subsys_unregister(&self.0 .0) };
    }
}

/// [`Handler::handle`].
///
/// # Safety
///
/// For nfnetlink alone, with the attributes that it sorted by the handler's policy.
unsafe extern "C" fn call<H: Handler>(
    skb: *mut bindings::sk_buff,
    info: *const bindings::nfnl_info,
    attributes: *const *const bindings::nlattr,
) -> c_int {
    // SAFETY: nfnetlink hands over a request that stays until we return.
    let request = unsafe {
        Request {
            skb,
            info: &*info,
            attributes: Attributes::from_raw(attributes.cast_mut().cast(), H::POLICY.len()),
        }
    };
    from_result(|| H::handle(&request).map(|()| 0))
}

/// What user space asks.
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
    /// The namespace.
    pub(crate) fn net(&self) -> &'a Net {
        // SAFETY: By the type invariants; the sender's socket keeps it.
        unsafe { Net::from_raw(self.info.net) }
    }

    /// The attribute with this number, if there is one.
    pub(crate) fn get(&self, number: u16) -> Option<Attribute<'a>> {
        self.attributes.get(number)
    }

    /// All attributes.
    pub(crate) fn attributes(&self) -> Attributes<'a> {
        self.attributes
    }

    /// The address family that it is about; 0: any.
    pub(crate) fn family(&self) -> u8 {
        // SAFETY: By the type invariants.
        unsafe { (*self.info.nfmsg).nfgen_family }
    }

    /// The version of the format.
    pub(crate) fn version(&self) -> u8 {
        // SAFETY: By the type invariants.
        unsafe { (*self.info.nfmsg).version }
    }

    fn has(&self, flags: u32) -> bool {
        // SAFETY: By the type invariants.
        u32::from(unsafe { (*self.info.nlh).nlmsg_flags }) & flags == flags
    }

    /// Whether all there are are asked for. (Either of the two bits that make up the flag will
    /// do, as it always has.)
    pub(crate) fn is_dump(&self) -> bool {
        self.has(bindings::NLM_F_ROOT) || self.has(bindings::NLM_F_MATCH)
    }

    /// Whether what is not there is to be made.
    pub(crate) fn creates(&self) -> bool {
        self.has(bindings::NLM_F_CREATE)
    }

    /// Whether what is there is to be left alone.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.has(bindings::NLM_F_EXCL)
    }

    /// Who asked.
    pub(crate) fn requester(&self) -> Requester {
        Requester {
            portid: self.peer().portid,
            report: self.has(bindings::NLM_F_ECHO),
        }
    }

    /// Whom to answer.
    pub(crate) fn peer(&self) -> Peer {
        // SAFETY: By the type invariants.
        unsafe {
            Peer {
                portid: bindings::rct_netlink_portid(self.skb),
                sequence: (*self.info.nlh).nlmsg_seq,
            }
        }
    }

    /// Answers with what `fill` adds, or with its error. `ENOMEM`: there is no memory, or it is
    /// too much.
    pub(crate) fn answer(&self, fill: impl FnOnce(&mut Messages<'_>) -> Result) -> Result {
        let mut buffer = Buffer::new(bindings::RCT_NLMSG_DEFAULT_SIZE, bindings::RCT_GFP_KERNEL)?;
        fill(&mut buffer.messages()).map_err(|error| match error {
            EMSGSIZE => ENOMEM,
            other => other,
        })?;
        // SAFETY: By the type invariants; the buffer is given away.
        to_result(unsafe {
            bindings::nfnetlink_unicast(buffer.into_raw(), self.info.net, self.peer().portid)
        })
    }

    /// Answers with a dump, which may go on long after the request.
    pub(crate) fn dump<D: Dump>(&self, dump: D) -> Result {
        let mut dump = Some(dump);
        let mut control = bindings::netlink_dump_control {
            start: Some(start::<D>),
            dump: Some(go_on::<D>),
            done: Some(done::<D>),
            extack: null_mut(),
            data: core::ptr::addr_of_mut!(dump).cast(),
            module: null_mut(),
            min_dump_alloc: 0,
            flags: 0,
        };
        // SAFETY: By the type invariants. `start` takes the dump out of its place, or else it
        // is dropped here.
        to_result(unsafe {
            bindings::rct_netlink_dump_start(self.info.sk, self.skb, self.info.nlh, &mut control)
        })
    }
}

/// Whom an answer is for.
#[derive(Clone, Copy)]
pub(crate) struct Peer {
    /// The netlink port.
    pub(crate) portid: u32,
    /// The number of the request.
    pub(crate) sequence: u32,
}

/// How far a [`Dump`] is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There was no room for the next message.
    More,
    /// That was all.
    End,
}

/// An answer of many messages.
pub(crate) trait Dump: Sized + 'static {
    /// Adds messages until there are no more, or no more room. May sleep.
    fn fill(&mut self, net: &Net, messages: &mut Messages<'_>) -> Progress;

    /// Whether it is not about all there are.
    fn is_filtered(&self) -> bool {
        false
    }
}

/// The dump of a callback.
///
/// # Safety
///
/// `callback` is one for which [`start`] of the same type was called, and [`done`] was not.
unsafe fn dump_of<'a, D: Dump>(callback: *mut bindings::netlink_callback) -> &'a mut D {
    // SAFETY: `start` left a box there; netlink runs one function of a callback at a time.
    unsafe { &mut *(*callback).data.cast::<D>() }
}

/// A dump begins.
///
/// # Safety
///
/// For netlink alone, with what [`Request::dump`] made.
unsafe extern "C" fn start<D: Dump>(callback: *mut bindings::netlink_callback) -> c_int {
    // SAFETY: `Request::dump` waits for us, with the dump in a place of its own.
    let place = unsafe { &mut *(*callback).data.cast::<Option<D>>() };
    let Some(dump) = place.take() else {
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
    // SAFETY: The callback is ours to fill in; `done` takes the box back.
    unsafe {
        (*callback).answer_flags = answer_flags;
        (*callback).data = KBox::into_raw(dump).cast::<c_void>();
    }
    0
}

/// [`Dump::fill`].
///
/// # Safety
///
/// For netlink alone, with an empty message for the reader and what [`start`] left.
unsafe extern "C" fn go_on<D: Dump>(
    skb: *mut bindings::sk_buff,
    callback: *mut bindings::netlink_callback,
) -> c_int {
    // SAFETY: netlink's promise.
    let (dump, net) = unsafe {
        (
            dump_of::<D>(callback),
            Net::from_raw(bindings::rct_netlink_net(skb)),
        )
    };
    let progress = dump.fill(net, &mut Messages(skb, PhantomData));
    // SAFETY: Valid.
    match (unsafe { bindings::rct_skb_len(skb) }, progress) {
        // Not even one message fits.
        (0, Progress::More) => EMSGSIZE.to_errno(),
        // CAST: far below the sign bit. 0: that was all, and has been sent.
        (len, _) => len as c_int,
    }
}

/// A dump ends, or its reader went away.
///
/// # Safety
///
/// For netlink alone, with what [`start`] left.
unsafe extern "C" fn done<D: Dump>(callback: *mut bindings::netlink_callback) -> c_int {
    // SAFETY: `start` left a box there, and netlink calls this once.
    drop(unsafe { KBox::from_raw((*callback).data.cast::<D>()) });
    0
}

/// What stands at the beginning of a message.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    /// Whom it is for.
    pub(crate) peer: Peer,
    /// The subsystem.
    pub(crate) subsystem: u8,
    /// The message's number there.
    pub(crate) message: u16,
    /// See [`flag`].
    pub(crate) flags: u16,
    /// The address family that it is about.
    pub(crate) family: u16,
    /// A number beside that.
    pub(crate) resource: u16,
}

impl Head {
    /// The flags of an answer: those that ask for one know it as one of several.
    pub(crate) fn multi(peer: Peer) -> u16 {
        if peer.portid == 0 {
            0
        } else {
            flag::MULTI
        }
    }
}

/// Messages, one behind the other.
///
/// # Invariants
///
/// `0` is a packet buffer of our own for `'a`.
pub(crate) struct Messages<'a>(*mut bindings::sk_buff, PhantomData<&'a mut ()>);

impl Messages<'_> {
    /// Adds a message, or nothing if it finds no room.
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
                // CAST: families are a byte.
                head.family as u8,
                head.resource,
            )
        };
        if raw.is_null() {
            return Err(EMSGSIZE);
        }
        // SAFETY: By the type invariants, and nobody else writes to it meanwhile.
        let result = fill(&mut unsafe { Message::from_raw(self.0) });
        // SAFETY: The message was begun above.
        unsafe {
            match result {
                Ok(()) => bindings::rct_nlmsg_end(self.0, raw),
                Err(_) => bindings::rct_skb_trim(self.0, before),
            }
        }
        result
    }
}

/// A packet buffer for messages.
///
/// # Invariants
///
/// The buffer is ours.
pub(crate) struct Buffer(NonNull<bindings::sk_buff>);

impl Buffer {
    fn new(size: usize, gfp: usize) -> Result<Self> {
        // SAFETY: Allocates. CAST: allocation flags are 32 bits.
        let skb = unsafe { bindings::rct_nlmsg_new(size, gfp as bindings::gfp_t) };
        // INVARIANT: just allocated.
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

/// Who wants to be told of a kind of events.
#[derive(Clone, Copy)]
pub(crate) struct Group(u32);

impl Group {
    /// Of new connections.
    pub(crate) const CONNTRACK_NEW: Self = Self(bindings::nfnetlink_groups_NFNLGRP_CONNTRACK_NEW);
    /// Of changes to them.
    pub(crate) const CONNTRACK_UPDATE: Self =
        Self(bindings::nfnetlink_groups_NFNLGRP_CONNTRACK_UPDATE);
    /// Of their ends.
    pub(crate) const CONNTRACK_DESTROY: Self =
        Self(bindings::nfnetlink_groups_NFNLGRP_CONNTRACK_DESTROY);
    /// Of new expectations.
    pub(crate) const CONNTRACK_EXP_NEW: Self =
        Self(bindings::nfnetlink_groups_NFNLGRP_CONNTRACK_EXP_NEW);
    /// Of their ends.
    pub(crate) const CONNTRACK_EXP_DESTROY: Self =
        Self(bindings::nfnetlink_groups_NFNLGRP_CONNTRACK_EXP_DESTROY);

    /// Whether anybody has joined it.
    pub(crate) fn has_listeners(self, net: &Net) -> bool {
        // SAFETY: A namespace that is not freed; nfnetlink leaves it after us.
        unsafe { bindings::nfnetlink_has_listeners(net.raw(), self.0) != 0 }
    }

    /// Tells all who joined it, and who asked for it, with a message of at most `size` bytes
    /// behind its head. Atomic context.
    ///
    /// Fails if somebody's buffer is full who must not miss anything.
    pub(crate) fn send(
        self,
        net: &Net,
        by: Requester,
        size: usize,
        head: &Head,
        fill: impl FnOnce(&mut Message<'_>) -> Result,
    ) -> Result<(), Congested> {
        // What stands behind the head of netlink.
        const HEAD: usize = core::mem::size_of::<bindings::nfgenmsg>();
        let buffer = Buffer::new(size.wrapping_add(HEAD), bindings::RCT_GFP_ATOMIC).and_then(
            |mut buffer| {
                buffer.messages().add(head, fill)?;
                Ok(buffer)
            },
        );
        let Ok(buffer) = buffer else {
            // The listeners learn that they have missed something.
            // SAFETY: As above.
            let deaf =
                unsafe { bindings::nfnetlink_set_err(net.raw(), 0, self.0, ENOBUFS.to_errno()) };
            return if deaf > 0 { Err(Congested) } else { Ok(()) };
        };
        // SAFETY: As above; the buffer is given away.
        let result = to_result(unsafe {
            bindings::nfnetlink_send(
                buffer.into_raw(),
                net.raw(),
                by.portid,
                self.0,
                by.report.into(),
                // CAST: allocation flags are 32 bits.
                bindings::RCT_GFP_ATOMIC as bindings::gfp_t,
            )
        });
        match result {
            Err(error) if error == ENOBUFS || error == EAGAIN => Err(Congested),
            // That nobody listens is nobody's loss.
            _ => Ok(()),
        }
    }
}
