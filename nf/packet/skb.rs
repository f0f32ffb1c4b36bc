// SPDX-License-Identifier: GPL-2.0

//! A packet, borrowed for the time of a hook.
//!
//! Reads take `&self`; whatever may move the packet's data takes `&mut self`, so that no
//! slice of it can outlive a move.
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h)

use core::{
    mem::{
        ManuallyDrop,
        MaybeUninit, //
    },
    ptr::NonNull, //
};

use kernel::{
    sync::aref::ARef,
    types::Opaque, //
};

use crate::{
    nf::{
        bindings,
        entry::conn::{
            Conn,
            StatusBit, //
        },
        kernel::net::Net, //
    },
    proto::types::direction::Direction, //
};

/// How a packet relates to its connection (`enum ip_conntrack_info`), as rules see it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum CtInfo {
    /// Part of a connection that has seen packets both ways, original direction.
    Established = bindings::ip_conntrack_info_IP_CT_ESTABLISHED,
    /// Of another connection, but about this one; original direction.
    Related = bindings::ip_conntrack_info_IP_CT_RELATED,
    /// Begins a connection, or goes on with one that nobody answered.
    New = bindings::ip_conntrack_info_IP_CT_NEW,
    /// Part of a connection, reply direction.
    EstablishedReply = bindings::ip_conntrack_info_IP_CT_ESTABLISHED_REPLY,
    /// About a connection, reply direction.
    RelatedReply = bindings::ip_conntrack_info_IP_CT_RELATED_REPLY,
}

impl CtInfo {
    #[inline]
    fn from_bits(bits: usize) -> Self {
        // CAST: three bits.
        Self::from_number(bits as u32)
    }

    /// The number that C code uses.
    #[inline]
    pub(crate) fn from_number(number: bindings::ip_conntrack_info) -> Self {
        match number {
            bindings::ip_conntrack_info_IP_CT_ESTABLISHED => Self::Established,
            bindings::ip_conntrack_info_IP_CT_RELATED => Self::Related,
            bindings::ip_conntrack_info_IP_CT_ESTABLISHED_REPLY => Self::EstablishedReply,
            bindings::ip_conntrack_info_IP_CT_RELATED_REPLY => Self::RelatedReply,
            _ => Self::New,
        }
    }

    /// The way the packet goes.
    #[inline]
    pub(crate) fn dir(self) -> Direction {
        match self {
            Self::Established | Self::Related | Self::New => Direction::Original,
            Self::EstablishedReply | Self::RelatedReply => Direction::Reply,
        }
    }
}

/// What is attached to a packet.
pub(crate) enum Tracked<'s> {
    /// Nothing: not looked at yet, or INVALID.
    No,
    /// A rule, or the tracker, decided not to track it.
    Untracked,
    /// Attributes for the connection that it may begin.
    Template,
    /// Its connection.
    Yes(&'s Conn, CtInfo),
}

/// A packet.
///
/// # Invariants
///
/// The buffer is valid, and, where it is reached by `&mut`, ours to change.
#[repr(transparent)]
pub(crate) struct Skb(Opaque<bindings::sk_buff>);

impl Skb {
    /// # Safety
    ///
    /// `ptr` points to a packet that nobody else changes during `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::sk_buff) -> &'a mut Self {
        // SAFETY: The caller's promise; the type is transparent.
        unsafe { &mut *ptr.cast() }
    }

    /// # Safety
    ///
    /// `ptr` points to a packet that nobody changes during `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw_shared<'a>(ptr: *const bindings::sk_buff) -> &'a Self {
        // SAFETY: The caller's promise; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    #[inline]
    pub(in crate::nf) fn raw(&self) -> *mut bindings::sk_buff {
        self.0.get()
    }

    /// Bytes from the start of the data to the end of the packet.
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_len(self.raw()) }
    }

    /// Where the network header begins, from the start of the data.
    ///
    /// [`None`] if it was pulled off the data already.
    #[inline]
    pub(crate) fn network_offset(&self) -> Option<u32> {
        // SAFETY: By the type invariants.
        u32::try_from(unsafe { bindings::rct_skb_network_offset(self.raw()) }).ok()
    }

    /// The packet's mark.
    #[inline]
    pub(crate) fn mark(&self) -> u32 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_mark(self.raw()) }
    }

    /// The namespace of the packet's device.
    pub(crate) fn device_net(&self) -> Option<&Net> {
        // SAFETY: By the type invariants; a device's namespace outlives its packets.
        let net = NonNull::new(unsafe { bindings::rct_skb_dev_net(self.raw()) })?;
        // SAFETY: As above.
        Some(unsafe { Net::from_raw(net.as_ptr()) })
    }

    /// The `N` bytes at `offset`, or [`None`] if the packet ends before.
    #[inline(always)]
    pub(crate) fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        // The result is read from where the bytes are in either case, so that the compiler reads
        // of the packet what is made use of, and nothing else.
        let mut room = MaybeUninit::<[u8; N]>::uninit();
        // CAST: header sizes fit.
        let end = offset.checked_add(N as u32)?;
        // SAFETY: By the type invariants.
        let bytes = if end <= unsafe { bindings::rct_skb_headlen(self.raw()) } {
            // SAFETY: The bytes are inside the linear part, as just checked.
            unsafe { bindings::rct_skb_data(self.raw()).add(offset as usize) }
        } else {
            let room = room.as_mut_ptr().cast::<u8>();
            // SAFETY: There is room for `N` bytes.
            unsafe { self.copy(offset, room, N as u32) }?;
            room
        };
        // SAFETY: `N` bytes, of the packet or copied from it.
        Some(unsafe { bytes.cast::<[u8; N]>().read() })
    }

    /// The bytes at `offset` that `buffer` has room for: those in the packet itself if
    /// they are in one piece, else copied to `buffer`. [`None`] if the packet ends before.
    #[inline]
    pub(crate) fn slice<'a>(&'a self, offset: u32, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let len = u32::try_from(buffer.len()).ok()?;
        // SAFETY: By the type invariants.
        if offset.checked_add(len)? <= unsafe { bindings::rct_skb_headlen(self.raw()) } {
            // SAFETY: The bytes are inside the linear part, as just checked; it does not move
            // while `self` is borrowed.
            return Some(unsafe {
                core::slice::from_raw_parts(
                    bindings::rct_skb_data(self.raw()).add(offset as usize),
                    buffer.len(),
                )
            });
        }
        // SAFETY: The buffer has `len` bytes.
        unsafe { self.copy(offset, buffer.as_mut_ptr(), len) }?;
        Some(buffer)
    }

    /// # Safety
    ///
    /// `to` points to room for `len` bytes.
    #[cold]
    #[inline(never)]
    unsafe fn copy(&self, offset: u32, to: *mut u8, len: u32) -> Option<()> {
        let (offset, len) = (i32::try_from(offset).ok()?, i32::try_from(len).ok()?);
        // SAFETY: The caller's promise; the function checks the packet's end itself.
        let error = unsafe { bindings::skb_copy_bits(self.raw(), offset, to.cast(), len) };
        (error == 0).then_some(())
    }

    /// Whether the transport checksum is wrong. May write down in the packet that it is
    /// right, so that nobody sums it up again.
    #[inline]
    pub(crate) fn checksum_is_bad(
        &mut self,
        hook: u32,
        offset: u32,
        protocol: u8,
        family: u8,
    ) -> bool {
        // SAFETY: By the type invariants.
        let summed = usize::from(unsafe { bindings::rct_skb_ip_summed(self.raw()) });
        // The device has verified it, or the packet came no way on which it could be damaged.
        if matches!(
            summed,
            bindings::RCT_CHECKSUM_UNNECESSARY | bindings::RCT_CHECKSUM_PARTIAL
        ) {
            return false;
        }
        // SAFETY: By the type invariants; the function checks the packet's end itself.
        unsafe { bindings::rct_nf_checksum_bad(self.raw(), hook, offset, protocol, family) }
    }

    /// Whether the packet goes from this machine to itself.
    pub(crate) fn is_loopback(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_is_loopback(self.raw()) }
    }

    /// Whether the checksum of the SCTP packet at `offset` is wrong, or cannot be verified. If
    /// it is right, this is written down in the packet, so that nobody sums it up again.
    pub(crate) fn sctp_checksum_is_bad(&mut self, offset: u32) -> bool {
        const HEADER_LEN: u32 = 12;
        // SAFETY: By the type invariants.
        if !unsafe { bindings::rct_skb_checksum_none(self.raw()) } {
            return false;
        }
        let Some(end) = offset.checked_add(HEADER_LEN) else {
            return true;
        };
        // SAFETY: By the type invariants the packet is ours; `&mut self` says that nobody holds
        // a pointer into its data. The field of the checksum is cleared while it is summed up,
        // hence the packet has to be writable up to there.
        unsafe {
            if bindings::skb_ensure_writable(self.raw(), end) != 0
                || !bindings::rct_sctp_checksum_is_right(self.raw(), offset)
            {
                return true;
            }
            bindings::rct_skb_set_checksum_unnecessary(self.raw());
        }
        false
    }

    /// Whether segmentation offload has yet to split the packet.
    #[inline]
    pub(crate) fn is_gso(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_is_gso(self.raw()) }
    }

    #[inline]
    fn nfct(&self) -> usize {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_nfct(self.raw()) }
    }

    /// What is attached to the packet.
    #[inline]
    pub(crate) fn tracked(&self) -> Tracked<'_> {
        let nfct = self.nfct();
        let bits = nfct & bindings::RCT_NFCT_INFOMASK;
        let conn = (nfct & bindings::RCT_NFCT_PTRMASK) as *mut bindings::nf_conn;
        if conn.is_null() {
            // CAST: three bits.
            return if bits as u32 == bindings::ip_conntrack_info_IP_CT_UNTRACKED {
                Tracked::Untracked
            } else {
                Tracked::No
            };
        }
        // SAFETY: An attached entry has a reference for that, which the packet owns.
        let conn = unsafe { Conn::from_raw(conn) };
        if conn.has(StatusBit::Template) {
            Tracked::Template
        } else {
            Tracked::Yes(conn, CtInfo::from_bits(bits))
        }
    }

    /// The entry that is attached, or the template.
    #[inline]
    pub(crate) fn attached(&self) -> Option<&Conn> {
        let conn = (self.nfct() & bindings::RCT_NFCT_PTRMASK) as *mut bindings::nf_conn;
        // SAFETY: An attached entry has a reference for that, which the packet owns.
        (!conn.is_null()).then(|| unsafe { Conn::from_raw(conn) })
    }

    /// Takes off what is attached, with its reference.
    #[inline]
    pub(crate) fn detach(&mut self) -> Option<ARef<Conn>> {
        let conn = (self.nfct() & bindings::RCT_NFCT_PTRMASK) as *mut Conn;
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_clear_nfct(self.raw()) };
        // SAFETY: The packet owned the reference.
        NonNull::new(conn).map(|conn| unsafe { ARef::from_raw(conn) })
    }

    /// Attaches an entry in place of what was attached.
    #[inline(always)]
    pub(crate) fn attach(&mut self, conn: ARef<Conn>, info: CtInfo) {
        if self.nfct() != 0 {
            drop(self.detach());
        }
        let conn = ManuallyDrop::new(conn);
        // SAFETY: By the type invariants; the slab's alignment leaves the low bits free.
        unsafe { bindings::rct_skb_set_nfct(self.raw(), conn.address() | info as usize) };
    }

    /// Marks the packet as not to be tracked.
    pub(crate) fn set_untracked(&mut self) {
        drop(self.detach());
        let bits = bindings::ip_conntrack_info_IP_CT_UNTRACKED as usize;
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_set_nfct(self.raw(), bits) };
    }
}
