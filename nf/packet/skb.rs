// SPDX-License-Identifier: GPL-2.0

//! A packet (`struct sk_buff`), borrowed for the time of a hook.
//!
//! Methods that read take `&self`; methods that may move the packet's data take `&mut self`, so
//! that no slice of the data outlives a move.
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
    proto::types::{
        direction::Direction,
        num::u32_as_usize, //
    },
};

/// The relation of a packet to its connection (`enum ip_conntrack_info`), as rules see it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum CtInfo {
    /// Belongs to a connection that has seen packets in both directions; original direction.
    Established = bindings::ip_conntrack_info_IP_CT_ESTABLISHED,
    /// Is about the connection, but not of it, as an ICMP error; original direction.
    Related = bindings::ip_conntrack_info_IP_CT_RELATED,
    /// Begins a connection, or continues one that has seen no reply yet.
    New = bindings::ip_conntrack_info_IP_CT_NEW,
    /// Belongs to a connection; reply direction.
    EstablishedReply = bindings::ip_conntrack_info_IP_CT_ESTABLISHED_REPLY,
    /// Is about the connection, but not of it; reply direction.
    RelatedReply = bindings::ip_conntrack_info_IP_CT_RELATED_REPLY,
}

impl CtInfo {
    #[inline]
    fn from_bits(bits: usize) -> Self {
        // CAST: The mask leaves three bits.
        Self::from_number(bits as u32)
    }

    #[inline]
    const fn bits(self) -> usize {
        // CAST: The discriminants fit in three bits.
        self as usize
    }

    /// Converts the number that C code uses.
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

    /// Returns the direction of the packet.
    #[inline]
    pub(crate) fn dir(self) -> Direction {
        match self {
            Self::Established | Self::Related | Self::New => Direction::Original,
            Self::EstablishedReply | Self::RelatedReply => Direction::Reply,
        }
    }
}

/// The value of `skb->_nfct`.
pub(crate) enum Tracked<'s> {
    /// Nothing: the packet has not been looked up yet, or is INVALID.
    No,
    /// The packet is not tracked, because a rule or the tracker decided so (UNTRACKED).
    Untracked,
    /// A template: zone, helper and other attributes of an entry that the packet may create.
    Template,
    /// The packet's entry.
    Yes(&'s Conn, CtInfo),
}

/// A packet.
///
/// It has an IPv4 or IPv6 header, at [`Skb::network_offset`], that the stack has validated.
///
/// # Examples
///
/// ```ignore
/// /// Reads the ports at `offset`, and makes the packet's own copy of them writable.
/// fn swap_ports(skb: &mut Skb, offset: u32) -> Option<()> {
///     // Copies four bytes, from the linear part or from a fragment.
///     let [a, b, c, d] = skb.read(offset)?;
///     // Borrows `skb`: while `ports` lives, no method can move the data.
///     let ports = skb.writable(offset, 4)?;
///     *ports.first_chunk_mut()? = [c, d, a, b];
///     Some(())
/// }
/// ```
///
/// # Invariants
///
/// The buffer is valid. Behind a `&mut Skb` no other context changes it.
#[repr(transparent)]
pub(crate) struct Skb(Opaque<bindings::sk_buff>);

impl Skb {
    /// Borrows a packet that the caller may change.
    ///
    /// # Safety
    ///
    /// `ptr` points to a packet that nothing else changes during `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::sk_buff) -> &'a mut Self {
        // SAFETY: By the safety requirements; the type is transparent.
        unsafe { &mut *ptr.cast() }
    }

    /// Borrows a packet to read it.
    ///
    /// # Safety
    ///
    /// `ptr` points to a packet that does not change during `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw_shared<'a>(ptr: *const bindings::sk_buff) -> &'a Self {
        // SAFETY: By the safety requirements; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    #[inline]
    pub(in crate::nf) fn raw(&self) -> *mut bindings::sk_buff {
        self.0.get()
    }

    /// Returns the number of bytes from the start of the data to the end of the packet.
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_len(self.raw()) }
    }

    /// Returns the offset of the network header from the start of the data.
    ///
    /// [`None`]: the header was pulled off the data already.
    #[inline]
    pub(crate) fn network_offset(&self) -> Option<u32> {
        // SAFETY: By the type invariants.
        u32::try_from(unsafe { bindings::rct_skb_network_offset(self.raw()) }).ok()
    }

    /// Returns the packet's mark.
    #[inline]
    pub(crate) fn mark(&self) -> u32 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_mark(self.raw()) }
    }

    /// Returns the namespace of the packet's device.
    pub(crate) fn device_net(&self) -> Option<&Net> {
        // SAFETY: By the type invariants.
        let dev = NonNull::new(unsafe { bindings::rct_skb_dev(self.raw()) })?;
        // SAFETY: The device and its namespace outlive its packets.
        Some(unsafe { Net::from_raw(bindings::rct_dev_net(dev.as_ptr())) })
    }

    /// Copies `N` bytes at `offset`. [`None`]: the packet ends before.
    #[inline(always)]
    pub(crate) fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        // The result is read through one pointer in either case, so that the compiler loads only
        // those bytes of the packet that the caller uses.
        let mut room = MaybeUninit::<[u8; N]>::uninit();
        // CAST: `N` is the size of a header.
        let len = N as u32;
        let end = offset.checked_add(len)?;
        // SAFETY: By the type invariants.
        let bytes = if end <= unsafe { bindings::rct_skb_headlen(self.raw()) } {
            // SAFETY: The bytes are inside the linear part, as just checked.
            unsafe { bindings::rct_skb_data(self.raw()).add(u32_as_usize(offset)) }
        } else {
            let room = room.as_mut_ptr().cast::<u8>();
            // SAFETY: There is room for `N` bytes.
            unsafe { self.copy(offset, room, len) }?;
            room
        };
        // SAFETY: `bytes` points to `N` bytes, of the packet or copied from it.
        Some(unsafe { bytes.cast::<[u8; N]>().read() })
    }

    /// Returns as many bytes at `offset` as `buffer` has: a slice of the packet if they are in its
    /// linear part, else a copy in `buffer`. [`None`]: the packet ends before.
    #[inline]
    pub(crate) fn slice<'a>(&'a self, offset: u32, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let len = u32::try_from(buffer.len()).ok()?;
        // SAFETY: By the type invariants.
        if offset.checked_add(len)? <= unsafe { bindings::rct_skb_headlen(self.raw()) } {
            // SAFETY: The bytes are in the linear part, as just checked, which does not move while
            // `self` is borrowed.
            return Some(unsafe {
                core::slice::from_raw_parts(
                    bindings::rct_skb_data(self.raw()).add(u32_as_usize(offset)),
                    buffer.len(),
                )
            });
        }
        // SAFETY: The buffer has `len` bytes.
        unsafe { self.copy(offset, buffer.as_mut_ptr(), len) }?;
        Some(buffer)
    }

    /// Copies bytes that are not in the linear part. [`None`]: the packet ends before.
    ///
    /// # Safety
    ///
    /// `to` points to room for `len` bytes.
    #[cold]
    #[inline(never)]
    unsafe fn copy(&self, offset: u32, to: *mut u8, len: u32) -> Option<()> {
        let (offset, len) = (i32::try_from(offset).ok()?, i32::try_from(len).ok()?);
        // SAFETY: By the safety requirements; the function checks the packet's length.
        let error = unsafe { bindings::skb_copy_bits(self.raw(), offset, to.cast(), len) };
        (error == 0).then_some(())
    }

    /// Returns whether the transport checksum is wrong. A verified checksum is recorded in the
    /// packet (`CHECKSUM_UNNECESSARY`), so that it is not computed again.
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
        // The device has verified the checksum, or the packet was never on a wire.
        if matches!(
            summed,
            bindings::RCT_CHECKSUM_UNNECESSARY | bindings::RCT_CHECKSUM_PARTIAL
        ) {
            return false;
        }
        // SAFETY: By the type invariants; the function checks the packet's length.
        unsafe { bindings::rct_nf_checksum_bad(self.raw(), hook, offset, protocol, family) }
    }

    /// Returns whether the packet goes over the loopback device.
    pub(crate) fn is_loopback(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_is_loopback(self.raw()) }
    }

    /// Returns whether the checksum of the SCTP packet at `offset` is wrong, or cannot be verified.
    /// A verified checksum is recorded in the packet, so that it is not computed again.
    pub(crate) fn sctp_checksum_is_bad(&mut self, offset: u32) -> bool {
        const CHECKSUM_AT: u32 = 8;
        const HEADER_LEN: u32 = 12;
        // SAFETY: By the type invariants.
        if usize::from(unsafe { bindings::rct_skb_ip_summed(self.raw()) })
            != bindings::RCT_CHECKSUM_NONE
        {
            return false;
        }
        let Some(end) = offset.checked_add(HEADER_LEN) else {
            return true;
        };
        // SAFETY: By the type invariants; `&mut self` excludes pointers into the data. The checksum
        // field is zeroed during the computation, so the packet has to be writable up to there.
        unsafe {
            if bindings::skb_ensure_writable(self.raw(), end) != 0
                || self.read(offset.wrapping_add(CHECKSUM_AT))
                    != Some(bindings::rct_sctp_checksum(self.raw(), offset).to_ne_bytes())
            {
                return true;
            }
            // CAST: One of four values.
            const VERIFIED: u8 = bindings::RCT_CHECKSUM_UNNECESSARY as u8;
            bindings::rct_skb_set_ip_summed(self.raw(), VERIFIED);
        }
        false
    }

    /// Returns whether the packet is still to be split into segments (GSO).
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

    /// Returns the decoded `skb->_nfct`.
    #[inline]
    pub(crate) fn tracked(&self) -> Tracked<'_> {
        let nfct = self.nfct();
        let bits = nfct & bindings::RCT_NFCT_INFOMASK;
        let conn = (nfct & !bindings::RCT_NFCT_INFOMASK) as *mut bindings::nf_conn;
        if conn.is_null() {
            // CAST: The mask leaves three bits.
            return if bits as u32 == bindings::ip_conntrack_info_IP_CT_UNTRACKED {
                Tracked::Untracked
            } else {
                Tracked::No
            };
        }
        // SAFETY: The packet owns a reference to the entry.
        let conn = unsafe { Conn::from_raw(conn) };
        if conn.has(StatusBit::Template) {
            Tracked::Template
        } else {
            Tracked::Yes(conn, CtInfo::from_bits(bits))
        }
    }

    /// Returns the attached entry or template.
    #[inline]
    pub(crate) fn attached(&self) -> Option<&Conn> {
        let conn = (self.nfct() & !bindings::RCT_NFCT_INFOMASK) as *mut bindings::nf_conn;
        // SAFETY: The packet owns a reference to the entry.
        (!conn.is_null()).then(|| unsafe { Conn::from_raw(conn) })
    }

    /// Detaches the entry or template, and returns the packet's reference to it.
    #[inline]
    pub(crate) fn detach(&mut self) -> Option<ARef<Conn>> {
        let conn = (self.nfct() & !bindings::RCT_NFCT_INFOMASK) as *mut Conn;
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_clear_nfct(self.raw()) };
        // SAFETY: The packet owned the reference.
        NonNull::new(conn).map(|conn| unsafe { ARef::from_raw(conn) })
    }

    /// Attaches an entry. A former one is detached.
    #[inline(always)]
    pub(crate) fn attach(&mut self, conn: ARef<Conn>, info: CtInfo) {
        if self.nfct() != 0 {
            drop(self.detach());
        }
        let conn = ManuallyDrop::new(conn);
        // SAFETY: By the type invariants; the alignment of entries leaves the low bits free.
        unsafe { bindings::rct_skb_set_nfct(self.raw(), conn.address() | info.bits()) };
    }

    /// Marks the packet as UNTRACKED.
    pub(crate) fn set_untracked(&mut self) {
        drop(self.detach());
        // CAST: It fits in three bits.
        let bits = bindings::ip_conntrack_info_IP_CT_UNTRACKED as usize;
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_set_nfct(self.raw(), bits) };
    }
}
