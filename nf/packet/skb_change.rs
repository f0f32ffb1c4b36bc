// SPDX-License-Identifier: GPL-2.0

//! Changes to a packet: its headers, length, checksum state, route and socket.

use core::{
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::{
    nf::bindings,
    proto::types::num::u32_as_usize, //
};

use super::skb::Skb;

/// The state of the transport checksum (`skb->ip_summed`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IpSummed {
    /// `CHECKSUM_NONE`, `CHECKSUM_UNNECESSARY`: the header holds the checksum, which is still to be
    /// verified, or is known to be right.
    InHeader,
    /// `CHECKSUM_COMPLETE`: the device that received the packet computed the sum of all bytes.
    Complete,
    /// `CHECKSUM_PARTIAL`: the header holds the sum of the pseudo-header; the device that sends the
    /// packet adds the rest.
    Partial,
}

/// A packet with first bytes that may be changed, as [`Skb::ensure_writable`] returns it.
///
/// It borrows the packet: while it exists, the data is neither moved nor shared with a clone.
///
/// # Invariants
///
/// The first `len` bytes are in the packet's linear part, which no other packet shares.
///
/// # Examples
///
/// ```ignore
/// // A sequence number at `offset`; `checksum` is the offset of the checksum that covers it.
/// let mut segment = skb.ensure_writable(end)?;
/// segment.replace4(offset, seq.to_be_bytes(), checksum).ok_or(EINVAL)?;
///
/// // Does not compile: only `Writable` has `replace4`.
/// skb.replace4(offset, seq.to_be_bytes(), checksum);
///
/// // Does not compile: `segment` still borrows the packet, whose data this may move.
/// skb.splice(offset, 4, &[]);
/// segment.replace4(offset, seq.to_be_bytes(), checksum);
/// ```
pub(crate) struct Writable<'s> {
    skb: &'s mut Skb,
    len: u32,
}

impl Deref for Writable<'_> {
    type Target = Skb;

    #[inline]
    fn deref(&self) -> &Skb {
        self.skb
    }
}

impl Writable<'_> {
    /// Replaces the four bytes at `offset`, and updates the checksum at `checksum` of the transport
    /// header that covers them.
    ///
    /// [`None`]: one of the two is not in the writable bytes; the packet is unchanged then.
    pub(crate) fn replace4(&mut self, offset: u32, new: [u8; 4], checksum: u32) -> Option<()> {
        let old: [u8; 4] = self.read(offset)?;
        if offset.checked_add(4)? > self.len || checksum.checked_add(2)? > self.len {
            return None;
        }
        // SAFETY: In bounds, as just checked; by the type invariants the bytes may be changed.
        unsafe {
            let data = bindings::rct_skb_data(self.raw()).cast_mut();
            bindings::inet_proto_csum_replace4(
                data.add(u32_as_usize(checksum)).cast(),
                self.raw(),
                u32::from_ne_bytes(old),
                u32::from_ne_bytes(new),
                false,
            );
            data.add(u32_as_usize(offset)).cast::<[u8; 4]>().write(new);
        }
        Some(())
    }
}

impl Skb {
    /// Makes the first `len` bytes linear and unshared. A clone of the packet keeps the former
    /// data.
    ///
    /// `ENOMEM`: the packet ends before, or there is no memory for a copy.
    pub(crate) fn ensure_writable(&mut self, len: u32) -> Result<Writable<'_>> {
        // SAFETY: By the type invariants; `&mut self` excludes slices of the data.
        to_result(unsafe { bindings::skb_ensure_writable(self.raw(), len) })?;
        // INVARIANT: As the function just established.
        Ok(Writable { skb: self, len })
    }

    /// Returns the `len` bytes at `offset` for writing. A clone of the packet keeps the former
    /// data.
    ///
    /// [`None`]: the packet ends before, or there is no memory for a copy.
    #[inline]
    pub(crate) fn writable(&mut self, offset: u32, len: usize) -> Option<&mut [u8]> {
        let end = offset.checked_add(u32::try_from(len).ok()?)?;
        // SAFETY: By the type invariants.
        let is_writable = unsafe {
            end <= bindings::rct_skb_headlen(self.raw()) && !bindings::rct_skb_cloned(self.raw())
        };
        if !is_writable {
            self.ensure_writable(end).ok()?;
        }
        // SAFETY: The bytes are in the linear part, which is unshared now, and does not move while
        // `self` is borrowed.
        Some(unsafe {
            let data = bindings::rct_skb_data(self.raw()).cast_mut();
            core::slice::from_raw_parts_mut(data.add(u32_as_usize(offset)), len)
        })
    }

    /// Returns the state of the transport checksum.
    #[inline]
    pub(crate) fn ip_summed(&self) -> IpSummed {
        // SAFETY: By the type invariants.
        match usize::from(unsafe { bindings::rct_skb_ip_summed(self.raw()) }) {
            bindings::RCT_CHECKSUM_COMPLETE => IpSummed::Complete,
            bindings::RCT_CHECKSUM_PARTIAL => IpSummed::Partial,
            _ => IpSummed::InHeader,
        }
    }

    /// Subtracts `less` from the sum that the device reported ([`IpSummed::Complete`]).
    pub(crate) fn subtract_from_sum(&mut self, less: u16) {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_sum_sub(self.raw(), less.into()) };
    }

    /// Sets `CHECKSUM_NONE`: nothing is known about the checksum.
    pub(crate) fn set_checksum_none(&mut self) {
        // CAST: One of four values.
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_set_ip_summed(self.raw(), bindings::RCT_CHECKSUM_NONE as u8) };
    }

    /// Sets `CHECKSUM_PARTIAL`: the device computes the checksum from `start` on, and stores it
    /// `field` bytes behind `start`. [`None`]: the packet ends before.
    pub(crate) fn set_checksum_partial(&mut self, start: u32, field: u32) -> Option<()> {
        let end = start.checked_add(field)?.checked_add(2)?;
        // SAFETY: By the type invariants.
        if end > unsafe { bindings::rct_skb_headlen(self.raw()) } {
            return None;
        }
        // CAST: One of four values.
        const PARTIAL: u8 = bindings::RCT_CHECKSUM_PARTIAL as u8;
        // SAFETY: By the type invariants; the field is in the linear part.
        unsafe {
            let start = start.wrapping_add(bindings::rct_skb_headroom(self.raw()));
            bindings::rct_skb_set_csum_start(self.raw(), u16::try_from(start).ok()?);
            bindings::rct_skb_set_csum_offset(self.raw(), u16::try_from(field).ok()?);
            bindings::rct_skb_set_ip_summed(self.raw(), PARTIAL);
        }
        Some(())
    }

    /// Returns the one's complement sum of the bytes from `offset` on. [`None`]: the packet ends
    /// before.
    pub(crate) fn sum_from(&self, offset: u32) -> Option<u16> {
        let len = self.len().checked_sub(offset)?;
        // SAFETY: By the type invariants; the packet has that many bytes.
        Some(unsafe { bindings::rct_skb_sum(self.raw(), offset, len) })
    }

    /// Computes the CRC32c of the SCTP packet at `offset`, in the byte order of the header, with
    /// the checksum field taken as zero. [`None`]: the packet ends within the header, or there is
    /// no memory.
    pub(crate) fn sctp_checksum(&mut self, offset: u32) -> Option<[u8; 4]> {
        const HEADER_LEN: u32 = 12;
        let end = offset.checked_add(HEADER_LEN)?;
        self.ensure_writable(end).ok()?;
        // SAFETY: By the type invariants; the header is linear and writable.
        Some(unsafe { bindings::rct_sctp_checksum(self.raw(), offset) }.to_ne_bytes())
    }

    /// Allocates a larger head: `head` more bytes of headroom, and `tail` more of tailroom.
    ///
    /// `ENOMEM`: no memory; the packet is unchanged then.
    ///
    /// # Safety
    ///
    /// There are no pointers into the data.
    pub(super) unsafe fn expand_head(&mut self, head: u32, tail: u32) -> Result {
        let [head, tail] = [head, tail].map(i32::try_from);
        // SAFETY: By the type invariants and the safety requirements.
        to_result(unsafe {
            bindings::pskb_expand_head(self.raw(), head?, tail?, bindings::gfp::ATOMIC)
        })
    }

    /// Replaces the `old_len` bytes at `offset` by `new`, and moves what follows. The packet is
    /// linear afterwards.
    ///
    /// [`None`]: the packet ends before, would exceed 65535 bytes, or there is no memory; its
    /// content is unchanged then.
    pub(crate) fn splice(&mut self, offset: u32, old_len: u32, new: &[u8]) -> Option<()> {
        const LONGEST: u32 = 65535;
        let old_end = offset.checked_add(old_len)?;
        let tail_len = self.len().checked_sub(old_end)?;
        let new_len = u32::try_from(new.len()).ok()?;
        let new_end = offset.checked_add(new_len)?;
        let total = new_end.checked_add(tail_len)?;
        let len = self.len();
        self.ensure_writable(len).ok()?;

        if let Some(more) = total.checked_sub(len).filter(|&more| more != 0) {
            // SAFETY: By the type invariants.
            let room = unsafe { bindings::rct_skb_tailroom(self.raw()) };
            let room = u32::try_from(room).unwrap_or(0);
            if more > room {
                if total > LONGEST {
                    return None;
                }
                // SAFETY: By the type invariants; `&mut self` excludes pointers into the data.
                unsafe { self.expand_head(0, more.wrapping_sub(room)) }.ok()?;
            }
            // SAFETY: There is room now.
            unsafe { bindings::rct_skb_put(self.raw(), more) };
        }
        // SAFETY: The packet is linear, unshared, and as long as the longer of its two forms, so
        // that all three ranges are in it.
        unsafe {
            let data = bindings::rct_skb_data(self.raw()).cast_mut();
            core::ptr::copy(
                data.add(u32_as_usize(old_end)),
                data.add(u32_as_usize(new_end)),
                u32_as_usize(tail_len),
            );
            core::ptr::copy_nonoverlapping(new.as_ptr(), data.add(u32_as_usize(offset)), new.len());
        }
        if total < len {
            // SAFETY: By the type invariants; the packet is longer, and linear.
            unsafe { bindings::rct_skb_trim(self.raw(), total) };
        }
        Some(())
    }

    /// Returns whether the packet has a route. Packets at all hooks but PRE_ROUTING have one.
    #[inline]
    pub(crate) fn is_routed(&self) -> bool {
        // SAFETY: By the type invariants.
        !unsafe { bindings::rct_skb_dst(self.raw()) }.is_null()
    }

    /// Drops the route, so that the packet is routed anew.
    pub(crate) fn drop_dst(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_dst_drop(self.raw()) };
    }

    /// Returns the destination port of the socket that the packet was assigned to before the hook
    /// (early demux), in network byte order.
    ///
    /// [`None`]: there is no such socket, or it is a transparent one, which takes packets for other
    /// addresses.
    pub(crate) fn demuxed_peer_port(&self) -> Option<[u8; 2]> {
        // SAFETY: By the type invariants; the packet keeps its socket.
        unsafe {
            let sk = NonNull::new(bindings::rct_skb_sk(self.raw()))?.as_ptr();
            (!bindings::rct_sock_is_transparent(sk))
                .then(|| bindings::rct_sock_peer_port(sk).to_ne_bytes())
        }
    }

    /// Takes the packet away from the socket that it was assigned to.
    pub(crate) fn orphan(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_orphan(self.raw()) };
    }

    /// Returns the EtherType (`ETH_P_*`), in host byte order.
    pub(crate) fn ethernet_protocol(&self) -> u16 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_protocol(self.raw()) }
    }
}
