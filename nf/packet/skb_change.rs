// SPDX-License-Identifier: GPL-2.0

//! Changes to a packet: its headers, its length, its checksum, what it is routed by.

use core::ops::Deref;

use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::nf::bindings;

use super::skb::Skb;

/// Who has computed the transport checksum (`skb->ip_summed`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IpSummed {
    /// The sender; nobody has to look at it any more, or somebody still has to.
    InHeader,
    /// The device that received the packet reports the sum of all bytes.
    Complete,
    /// The device that sends the packet will.
    Partial,
}

/// A packet whose first bytes may be changed, as [`Skb::ensure_writable`] returns it.
///
/// It borrows the packet: as long as it exists, nothing can move the packet's data or share it
/// with a clone.
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
        // SAFETY: By the type invariants the bytes may be changed; they are in bounds, as just
        // checked.
        unsafe {
            let data = bindings::rct_skb_data(self.raw()).cast_mut();
            bindings::inet_proto_csum_replace4(
                data.add(checksum as usize).cast(),
                self.raw(),
                u32::from_ne_bytes(old),
                u32::from_ne_bytes(new),
                false,
            );
            data.add(offset as usize).cast::<[u8; 4]>().write(new);
        }
        Some(())
    }
}

impl Skb {
    /// Makes the first `len` bytes linear and unshared. A clone of the packet keeps its own data.
    ///
    /// `ENOMEM`: the packet ends before, or there is no memory for a copy.
    pub(crate) fn ensure_writable(&mut self, len: u32) -> Result<Writable<'_>> {
        // SAFETY: By the type invariants; `&mut self` excludes slices of the data.
        to_result(unsafe { bindings::skb_ensure_writable(self.raw(), len) })?;
        // INVARIANT: As the function just saw to.
        Ok(Writable { skb: self, len })
    }

    /// The `len` bytes at `offset`, ours to change. Other users of the packet keep theirs.
    ///
    /// [`None`]: the packet ends before, or there is no memory for a copy.
    #[inline]
    pub(crate) fn writable(&mut self, offset: u32, len: usize) -> Option<&mut [u8]> {
        let end = offset.checked_add(u32::try_from(len).ok()?)?;
        // SAFETY: By the type invariants.
        if !unsafe { bindings::rct_skb_is_writable(self.raw(), end) } {
            self.ensure_writable(end).ok()?;
        }
        // SAFETY: The bytes are in the linear part, which is ours alone now, and does not move
        // while `self` is borrowed.
        Some(unsafe {
            let data = bindings::rct_skb_data(self.raw()).cast_mut();
            core::slice::from_raw_parts_mut(data.add(offset as usize), len)
        })
    }

    /// Who has computed the transport checksum.
    #[inline]
    pub(crate) fn ip_summed(&self) -> IpSummed {
        // SAFETY: By the type invariants.
        match usize::from(unsafe { bindings::rct_skb_ip_summed(self.raw()) }) {
            bindings::RCT_CHECKSUM_COMPLETE => IpSummed::Complete,
            bindings::RCT_CHECKSUM_PARTIAL => IpSummed::Partial,
            _ => IpSummed::InHeader,
        }
    }

    /// The sum that the device reported (see [`IpSummed::Complete`]) is smaller by `less`.
    pub(crate) fn subtract_from_sum(&mut self, less: u16) {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_sum_sub(self.raw(), less.into()) };
    }

    /// What was known about the checksum is so no longer.
    pub(crate) fn set_checksum_none(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_set_checksum_none(self.raw()) };
    }

    /// Leaves the checksum of everything from `start` on to the device, which puts it into the
    /// field that is `field` bytes behind. [`None`]: the packet ends before.
    pub(crate) fn set_checksum_partial(&mut self, start: u32, field: u32) -> Option<()> {
        let end = start.checked_add(field)?.checked_add(2)?;
        // SAFETY: By the type invariants.
        if end > unsafe { bindings::rct_skb_headlen(self.raw()) } {
            return None;
        }
        // SAFETY: By the type invariants; the field is in the packet.
        unsafe { bindings::rct_skb_set_checksum_partial(self.raw(), start, field) };
        Some(())
    }

    /// The one's complement sum of all bytes from `offset` on. [`None`]: the packet ends
    /// before.
    pub(crate) fn sum_from(&self, offset: u32) -> Option<u16> {
        let len = self.len().checked_sub(offset)?;
        // SAFETY: By the type invariants; the bytes are there.
        Some(unsafe { bindings::rct_skb_sum(self.raw(), offset, len) })
    }

    /// The CRC32c of the SCTP packet at `offset`, as its header has it. The header has to be in
    /// the linear part and [writable](Skb::writable): its checksum counts as zero.
    pub(crate) fn sctp_checksum(&mut self, offset: u32) -> Option<[u8; 4]> {
        const HEADER_LEN: u32 = 12;
        let end = offset.checked_add(HEADER_LEN)?;
        self.ensure_writable(end).ok()?;
        // SAFETY: By the type invariants; the header is there, and ours to change.
        Some(unsafe { bindings::rct_sctp_checksum(self.raw(), offset) }.to_ne_bytes())
    }

    /// Puts `new` in place of the `old_len` bytes at `offset`, and moves what follows. The
    /// packet is in one piece afterwards.
    ///
    /// [`None`]: the packet ends before, would be too long, or there is no memory; nothing has
    /// changed then.
    pub(crate) fn splice(&mut self, offset: u32, old_len: u32, new: &[u8]) -> Option<()> {
        const LONGEST: u32 = u16::MAX as u32;
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
                // SAFETY: By the type invariants; `&mut self`: nobody points into the data.
                let error =
                    unsafe { bindings::rct_skb_expand_tail(self.raw(), more.wrapping_sub(room)) };
                if error != 0 {
                    return None;
                }
            }
            // SAFETY: There is room now.
            unsafe { bindings::rct_skb_put(self.raw(), more) };
        }
        // SAFETY: The packet is linear and ours, and as long as the longer of the two: all
        // three places are in it.
        unsafe {
            let data = bindings::rct_skb_data(self.raw()).cast_mut();
            core::ptr::copy(
                data.add(old_end as usize),
                data.add(new_end as usize),
                tail_len as usize,
            );
            core::ptr::copy_nonoverlapping(new.as_ptr(), data.add(offset as usize), new.len());
        }
        if total < len {
            // SAFETY: The packet is longer, and linear.
            unsafe { bindings::rct_skb_trim(self.raw(), total) };
        }
        Some(())
    }

    /// Whether the packet has a route: a packet at a hook other than PRE_ROUTING does.
    #[inline]
    pub(crate) fn is_routed(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_has_dst(self.raw()) }
    }

    /// The packet goes elsewhere than it was routed: it has to be routed anew.
    pub(crate) fn drop_dst(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_dst_drop(self.raw()) };
    }

    /// The destination port that the socket sends to which the packet was found to belong
    /// before it came here, network byte order. [`None`]: there is none, or one that takes
    /// packets for others.
    pub(crate) fn demuxed_peer_port(&self) -> Option<[u8; 2]> {
        // SAFETY: By the type invariants; the packet keeps its socket.
        unsafe {
            bindings::rct_skb_has_demuxed_socket(self.raw())
                .then(|| bindings::rct_skb_socket_peer_port(self.raw()).to_ne_bytes())
        }
    }

    /// The packet does not belong to the socket that it was found to belong to.
    pub(crate) fn orphan(&mut self) {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_orphan(self.raw()) };
    }

    /// What the packet is, behind its link header (`ETH_P_*`).
    pub(crate) fn ethernet_protocol(&self) -> u16 {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_skb_protocol(self.raw()) }
    }
}
