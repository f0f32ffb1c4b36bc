// SPDX-License-Identifier: GPL-2.0

//! `struct nf_conn`: a tracked connection, in the layout that C code reads.
//!
//! An entry lives through stages, and each is a type:
//!
//! - [`Fresh`](super::fresh::Fresh): just allocated, and known to its creator alone.
//! - `&Conn`, `ARef<Conn>`: shared. First attached to the packet that created it and to that
//!   packet's clones (unconfirmed), then also in the table (confirmed).
//! - [`Dead`](super::end::Dead): the last reference is gone; the memory is freed on drop.
//!
//! What all stages have in common is an [`Entry`].
//!
//! The memory is type-stable under RCU (`SLAB_TYPESAFE_BY_RCU`): after it was freed it may become
//! another connection at once, but it stays a `struct nf_conn` until a grace period has passed. So
//! a walk over a chain gives a [`Stale`](super::stale::Stale), not a `&Conn`.
//!
//! C header: [`include/net/netfilter/nf_conntrack.h`](srctree/include/net/netfilter/nf_conntrack.h)

use core::{
    mem::{
        offset_of,
        size_of, //
    },
    ops::Deref,
    ptr::{
        self,
        addr_of,
        addr_of_mut,
        NonNull, //
    }, //
};

use kernel::{
    sync::{
        aref::AlwaysRefCounted,
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        static_lock_class, //
    },
    types::Opaque, //
};

use crate::{
    nf::{
        bindings,
        kernel::{
            layout::SameLayout,
            lock::{
                self,
                SpinLockBhGuard, //
            },
            net::Net,
            time::jiffies32, //
        }, //
    },
    proto::types::{
        direction::Direction,
        generation::Generation,
        protocol,
        tuple::Tuple,
        zone::Zone, //
    }, //
};

/// The state that a protocol keeps in an entry (`nf_conn.proto`).
///
/// # Safety
///
/// As for [`SameLayout`], `Self::C` being a member of `union nf_conntrack_proto`.
pub(crate) unsafe trait ProtoState: SameLayout {
    /// The IP protocol of the entries that have it. Their state is accessed as a whole under the
    /// entry's lock, and read as single bytes without it.
    const PROTOCOL: u8;
}

/// Makes the lock of an entry, or of a template, usable.
///
/// # Safety
///
/// `conn` points to memory for one that is not shared yet.
#[inline]
pub(super) unsafe fn init_lock(conn: *mut bindings::nf_conn) {
    // SAFETY: The caller's promise.
    unsafe { lock::init_raw(addr_of_mut!((*conn).lock), c"nf_conn", static_lock_class!()) };
}

/// Bits of `nf_conn.status` (`IPS_*`).
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum StatusBit {
    /// An expectation matched the connection.
    Expected = bindings::ip_conntrack_status_IPS_EXPECTED_BIT,
    /// A packet in the reply direction was seen.
    SeenReply = bindings::ip_conntrack_status_IPS_SEEN_REPLY_BIT,
    /// Sequence numbers are adjusted, because a helper changed the length of the payload.
    SeqAdjust = bindings::ip_conntrack_status_IPS_SEQ_ADJUST_BIT,
    /// The entry is not subject to early drop.
    Assured = bindings::ip_conntrack_status_IPS_ASSURED_BIT,
    /// The entry is, or was, in the table.
    Confirmed = bindings::ip_conntrack_status_IPS_CONFIRMED_BIT,
    /// The entry has left the table for good, or is leaving it.
    Dying = bindings::ip_conntrack_status_IPS_DYING_BIT,
    /// Packets do not refresh the timeout.
    FixedTimeout = bindings::ip_conntrack_status_IPS_FIXED_TIMEOUT_BIT,
    /// A template: attributes for the entry that a packet will create.
    Template = bindings::ip_conntrack_status_IPS_TEMPLATE_BIT,
    /// The source is translated.
    SrcNat = bindings::ip_conntrack_status_IPS_SRC_NAT_BIT,
    /// The destination is translated.
    DstNat = bindings::ip_conntrack_status_IPS_DST_NAT_BIT,
    /// NAT has set up the destination.
    DstNatDone = bindings::ip_conntrack_status_IPS_DST_NAT_DONE_BIT,
    /// NAT has set up the source, and the entry was put into the
    /// [by-source table](super::bysource::SourceTable).
    SrcNatDone = bindings::ip_conntrack_status_IPS_SRC_NAT_DONE_BIT,
    /// Only the reply tuple is in the table, beside another entry that has the original tuple.
    NatClash = bindings::ip_conntrack_status_IPS_NAT_CLASH_BIT,
    /// The entry has the extension for a helper.
    Helper = bindings::ip_conntrack_status_IPS_HELPER_BIT,
    /// A flow table forwards the packets (in software).
    Offload = bindings::ip_conntrack_status_IPS_OFFLOAD_BIT,
    /// Hardware forwards the packets.
    HwOffload = bindings::ip_conntrack_status_IPS_HW_OFFLOAD_BIT,
    /// The entry was created from a socket that had the connection before the module was loaded. An
    /// extension of this tracker, beyond the 32 bits that netlink shows.
    Adopted = 32,
    /// The reply tuple is the mirror image of the original one, in the same zone: the entry is on
    /// one chain of the table, for both. An extension of this tracker, as `Adopted`. Of an
    /// unconfirmed entry the bit says only that both are in the same zone;
    /// [`Entry::check_mirrored`] compares the tuples before the entry is confirmed.
    Mirrored = 33,
    /// The mapping has grown old without a reply, and is to be chosen anew. An extension of this
    /// tracker, as `Adopted`.
    Aged = 38,
    /// An ICMP error said that the destination is unreachable, so NAT's rules are to be asked
    /// again. An extension of this tracker, as `Adopted`.
    Unreachable = 39,
}

// The bits of this tracker's own are behind those that user space may know. (Those of a word's
// highest 16 bits are the CPU's number.)
const _: () = {
    assert!(bindings::ip_conntrack_status___IPS_MAX_BIT <= StatusBit::Adopted as u32);
    assert!(StatusBit::Adopted as u32 >= u32::BITS && usize::BITS == 64);
};

impl StatusBit {
    /// Returns whether the bit says how an entry is linked, so that only `nf` sets it.
    #[inline(always)]
    const fn is_of_table(self) -> bool {
        matches!(
            self,
            Self::Confirmed | Self::Template | Self::NatClash | Self::Mirrored | Self::SrcNatDone
        )
    }
}

/// The position of the [generation](Generation) of an entry: eight bits of the status, one of its
/// bytes.
pub(in crate::nf) const GENERATION_SHIFT: u32 = CPU_SHIFT - Generation::BITS;

/// The position of the number of the CPU that created an entry: the highest 16 bits of the status.
pub(in crate::nf) const CPU_SHIFT: u32 = usize::BITS - u16::BITS;

/// A snapshot of `nf_conn.status`.
#[derive(Clone, Copy)]
pub(crate) struct Status(usize);

impl Status {
    /// Returns the status with one bit set.
    #[inline]
    pub(crate) const fn of(bit: StatusBit) -> Self {
        Self(1 << bit as u32)
    }

    /// Returns whether `bit` was set.
    #[inline]
    pub(crate) fn has(self, bit: StatusBit) -> bool {
        self.0 & (1 << bit as u32) != 0
    }

    /// Returns the generation of rules with which the entry was stamped.
    #[inline]
    pub(crate) fn generation(self) -> Generation {
        // CAST: eight bits of the word.
        (self.0 >> GENERATION_SHIFT) as Generation
    }

    /// Returns the bits that user space knows (`IPS_*`).
    pub(crate) fn bits(self) -> u32 {
        // CAST: the low half of the word.
        self.0 as u32
    }
}

/// An entry, whether or not there is a reference to it.
///
/// Tuples, zone and namespace do not change once the entry is shared, except that NAT sets the
/// reply tuple of an unconfirmed one while it holds the only packet. The rest is atomic, or guarded
/// by the entry's lock.
///
/// No [`ARef`](kernel::sync::aref::ARef) can be made of it: the count of a
/// [`Fresh`](super::fresh::Fresh) and of a [`Dead`](super::end::Dead) entry is zero.
///
/// # Invariants
///
/// Initialised by [`Fresh::new`](super::fresh::Fresh::new) or as a template; its namespace outlives
/// it, because a namespace's teardown waits until its entries are gone.
#[repr(transparent)]
pub(crate) struct Entry(Opaque<bindings::nf_conn>);

// SAFETY: Entries travel with packets from CPU to CPU.
unsafe impl Send for Entry {}
// SAFETY: Shared access is atomic or locked, see the type.
unsafe impl Sync for Entry {}

/// An [`Entry`] with references.
///
/// # Invariants
///
/// The reference count is not zero while a `&Conn` exists.
#[repr(transparent)]
pub(crate) struct Conn(Entry);

impl Deref for Conn {
    type Target = Entry;

    #[inline(always)]
    fn deref(&self) -> &Entry {
        &self.0
    }
}

// SAFETY: The reference count is `ct_general.use`.
unsafe impl AlwaysRefCounted for Conn {
    #[inline]
    fn inc_ref(&self) {
        // SAFETY: By the type invariants the count is not zero.
        unsafe { bindings::rct_ct_get(self.raw()) };
    }

    #[inline]
    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference. At zero the C inline function calls
        // `nf_ct_destroy`, which `ct` defines.
        unsafe { bindings::rct_ct_put(obj.as_ptr().cast()) };
    }
}

impl Conn {
    /// Borrows an entry that C code handed over.
    ///
    /// # Safety
    ///
    /// `ptr` points to an initialised entry, or a template, with a reference count that is not zero
    /// during `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::nf_conn) -> &'a Self {
        // SAFETY: The caller's promise; the type is transparent.
        unsafe { &*ptr.cast() }
    }
}

impl Entry {
    /// Borrows an entry that may have no references.
    ///
    /// # Safety
    ///
    /// `ptr` points to an initialised entry, or a template, that is not freed during `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::nf_conn) -> &'a Self {
        // SAFETY: The caller's promise; the type is transparent.
        unsafe { &*ptr.cast() }
    }

    /// Returns the C object.
    #[inline]
    pub(crate) fn raw(&self) -> *mut bindings::nf_conn {
        self.0.get()
    }

    /// Returns the address: an identity of the entry while it lives.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        self.raw().expose_provenance()
    }

    #[inline]
    pub(in crate::nf) fn status_word(&self) -> &Atomic<usize> {
        // SAFETY: The field is valid, aligned, and only accessed atomically by all.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.raw()).status).cast()) }
    }

    /// Returns all status bits.
    #[inline]
    pub(crate) fn status(&self) -> Status {
        Status(self.status_word().load(Relaxed))
    }

    /// Returns whether a status bit is set.
    #[inline]
    pub(crate) fn has(&self, bit: StatusBit) -> bool {
        self.status().has(bit)
    }

    /// Returns the CPU that created the entry, modulo 2^16.
    #[inline]
    pub(crate) fn cpu(&self) -> u32 {
        // CAST: 16 bits.
        (self.status_word().load(Relaxed) >> CPU_SHIFT) as u32
    }

    /// Sets a status bit, unless it is one [of the table](StatusBit::is_of_table).
    #[inline(always)]
    pub(crate) fn set(&self, bit: StatusBit) {
        if !bit.is_of_table() {
            self.set_table_bit(bit);
        }
    }

    /// Sets a status bit.
    #[inline]
    pub(super) fn set_table_bit(&self, bit: StatusBit) {
        // SAFETY: The word is valid.
        unsafe { bindings::rct_set_bit(bit as u32, self.status_word().as_ptr().cast()) };
    }

    /// Sets a status bit, unless it is one [of the table](StatusBit::is_of_table), and returns
    /// whether it was set before.
    #[inline(always)]
    pub(crate) fn test_and_set(&self, bit: StatusBit) -> bool {
        if bit.is_of_table() {
            return self.has(bit);
        }
        // SAFETY: The word is valid.
        unsafe { bindings::rct_test_and_set_bit(bit as u32, self.status_word().as_ptr().cast()) }
    }

    /// Makes the entry one that has had no reply, and is not assured.
    pub(crate) fn forget_reply(&self) {
        for bit in [StatusBit::SeenReply, StatusBit::Assured] {
            // SAFETY: The word has that bit.
            unsafe { bindings::rct_clear_bit(bit as u32, self.status_word().as_ptr().cast()) };
        }
    }

    /// Stamps the entry with a generation of rules, and with why it is to be shown to them again,
    /// if it is: [`StatusBit::Aged`] or [`StatusBit::Unreachable`].
    pub(crate) fn stamp(&self, generation: Generation, why: Option<StatusBit>) {
        const REASONS: usize = Status::of(StatusBit::Aged).0 | Status::of(StatusBit::Unreachable).0;
        const CLEARED: usize = REASONS | 0xff << GENERATION_SHIFT;
        let why = why.map_or(0, |why| Status::of(why).0 & REASONS);
        let set = why | usize::from(generation) << GENERATION_SHIFT;
        let word = self.status_word();
        let mut old = word.load(Relaxed);
        while let Err(other) = word.cmpxchg(old, old & !CLEARED | set, Relaxed) {
            old = other;
        }
    }

    /// Returns whether the entry is, or was, in the table.
    #[inline]
    pub(crate) fn is_confirmed(&self) -> bool {
        self.has(StatusBit::Confirmed)
    }

    #[inline]
    fn timeout_word(&self) -> &Atomic<u32> {
        // SAFETY: The field is valid, aligned, and only accessed atomically by all.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.raw()).timeout)) }
    }

    /// Returns the timeout in jiffies: of a confirmed entry the time at which it expires, of an
    /// unconfirmed one its duration.
    #[inline]
    pub(crate) fn timeout(&self) -> u32 {
        self.timeout_word().load(Relaxed)
    }

    /// Sets [`Entry::timeout`], but dirties the cache line only for a change.
    #[inline]
    pub(crate) fn set_timeout(&self, timeout: u32) {
        if self.timeout() != timeout {
            self.timeout_word().store(timeout, Relaxed);
        }
    }

    /// Returns whether a confirmed entry has expired.
    #[inline]
    pub(crate) fn is_expired(&self) -> bool {
        expired(self.timeout())
    }

    /// Returns how many jiffies a confirmed entry has left, 0 if it has expired.
    pub(crate) fn remaining(&self) -> u32 {
        let left = self.timeout().wrapping_sub(jiffies32());
        // CAST: the sign bit distinguishes the past from the future.
        if (left as i32) < 0 {
            0
        } else {
            left
        }
    }

    /// Returns the tuple of packets in direction `dir`.
    #[inline]
    pub(crate) fn tuple(&self, dir: Direction) -> Tuple {
        let words = self.tuple_words(dir);
        // SAFETY: A `Tuple` is 40 bytes of plain integers.
        unsafe { core::mem::transmute(words) }
    }

    /// Returns the tuple as five native words, in memory order. If the memory becomes another entry
    /// meanwhile, each word is that of one of the two, and the whole may be a mix.
    #[inline]
    pub(crate) fn tuple_words(&self, dir: Direction) -> [u64; 5] {
        core::array::from_fn(|index| self.tuple_word(dir, index))
    }

    /// Returns one of these words; `index` is below five.
    #[inline]
    pub(crate) fn tuple_word(&self, dir: Direction, index: usize) -> u64 {
        // SAFETY: The entry is valid, the word in bounds.
        unsafe { tuple_word(self.raw(), dir, index.min(4)) }.load(Relaxed)
    }

    /// Returns the zone.
    #[inline]
    pub(crate) fn zone(&self) -> Zone {
        const { assert!(offset_of!(bindings::nf_conn, zone) % 4 == 0) };
        const { assert!(size_of::<bindings::nf_conntrack_zone>() == 4) };
        // SAFETY: Valid, aligned as asserted, and accessed atomically.
        let zone = unsafe { Atomic::<u32>::from_ptr(addr_of_mut!((*self.raw()).zone).cast()) };
        let word = zone.load(Relaxed);
        // SAFETY: A `Zone` is four bytes of plain integers.
        unsafe { core::mem::transmute(word) }
    }

    /// Returns the namespace.
    #[inline]
    pub(crate) fn net(&self) -> &Net {
        // SAFETY: By the type invariants the namespace outlives the entry.
        unsafe { Net::from_raw(bindings::rct_ct_net(self.raw())) }
    }

    /// Returns the connection mark (`CTA_MARK`).
    pub(crate) fn mark(&self) -> u32 {
        // SAFETY: The field is valid, aligned, and only accessed atomically by all.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.raw()).mark)) }.load(Relaxed)
    }

    /// Returns the master: the connection for which a helper expected this one.
    pub(crate) fn master(&self) -> Option<&Conn> {
        // SAFETY: Set before the entry is shared, and not changed while it lives.
        let master = NonNull::new(unsafe { (*self.raw()).master })?;
        // SAFETY: The entry holds a reference to it.
        Some(unsafe { Conn::from_raw(master.as_ptr()) })
    }

    /// Returns the security mark (`CTA_SECMARK`).
    #[cfg(CONFIG_NF_CONNTRACK_SECMARK)]
    pub(crate) fn secmark(&self) -> u32 {
        // SAFETY: The field is valid, aligned, and only accessed atomically by all.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.raw()).secmark)) }.load(Relaxed)
    }

    /// Returns the reference count, which includes the reference that is used for the call.
    pub(crate) fn use_count(&self) -> u32 {
        // SAFETY: The entry is valid.
        unsafe { bindings::rct_ct_use(self.raw()) }
    }

    /// Takes the entry's lock.
    #[inline]
    pub(crate) fn lock(&self) -> SpinLockBhGuard<'_, ()> {
        // SAFETY: The lock was initialised with the entry, which stays while it is borrowed.
        unsafe { lock::from_raw(addr_of_mut!((*self.raw()).lock)) }.lock()
    }

    /// Returns the IP protocol number.
    #[inline(always)]
    pub(crate) fn protocol(&self) -> u8 {
        const PROTONUM: usize = offset_of!(bindings::nf_conntrack_tuple_hash, tuple)
            + offset_of!(bindings::nf_conntrack_tuple, dst)
            + offset_of!(bindings::nf_conntrack_tuple__bindgen_ty_1, protonum);
        // SAFETY: A byte of the first tuple, which does not change.
        unsafe {
            let original = addr_of!((*self.raw()).tuplehash).cast::<u8>();
            bindings::rct_read_once_u8(original.add(PROTONUM))
        }
    }

    /// Reports, where lockdep is at work, that this CPU does not hold the entry's lock.
    #[inline]
    pub(super) fn assert_locked(&self) {
        // SAFETY: The lock was initialised with the entry, which stays while it is borrowed.
        unsafe { bindings::rct_lockdep_assert_held(addr_of_mut!((*self.raw()).lock)) }
    }

    /// Runs `f` on the protocol's state, under the entry's lock. [`None`]: the entry is of another
    /// protocol than `T`.
    ///
    /// C code that reads single bytes of it without the lock (the TCP state, say) sees them before
    /// or after a change; a byte cannot be torn.
    #[inline]
    pub(crate) fn with_proto<T: ProtoState, R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        const { assert!(size_of::<T>() <= size_of::<bindings::nf_conntrack_proto>()) };
        if self.protocol() != T::PROTOCOL {
            return None;
        }
        let _guard = self.lock();
        // SAFETY: By the trait's contract the bytes are a `T`. The lock makes access exclusive for
        // an entry of this protocol. `f` cannot take the lock again: the CPU would wait for itself.
        Some(f(unsafe {
            &mut *addr_of_mut!((*self.raw()).proto).cast::<T>()
        }))
    }

    /// Returns a byte of the protocol's state, read without the lock; 0 beyond its end.
    #[inline]
    pub(crate) fn proto_byte(&self, offset: usize) -> u8 {
        if offset >= size_of::<bindings::nf_conntrack_proto>() {
            return 0;
        }
        // SAFETY: In bounds, as just checked.
        unsafe {
            bindings::rct_read_once_u8(addr_of!((*self.raw()).proto).cast::<u8>().add(offset))
        }
    }

    fn proto_words(&self) -> &Atomic<usize> {
        // SAFETY: Valid and aligned to a word. It is read and, for a protocol that has words,
        // written atomically. Another protocol's state is written under the lock: a word that is
        // read then is one from before or after, or a mix.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.raw()).proto).cast()) }
    }

    fn proto_halves<const INDEX: usize>(&self) -> &Atomic<u32> {
        const HALVES: usize = size_of::<bindings::nf_conntrack_proto>() / size_of::<u32>();
        const { assert!(INDEX < HALVES) };
        // SAFETY: In bounds and aligned. The rest as for `proto_words`.
        unsafe { Atomic::from_ptr(addr_of_mut!((*self.raw()).proto).cast::<u32>().add(INDEX)) }
    }

    /// Returns the first word of the protocol's state: UDP keeps nothing else, and needs no lock.
    #[inline(always)]
    pub(crate) fn proto_word(&self) -> usize {
        self.proto_words().load(Relaxed)
    }

    /// Sets the first word of the protocol's state, if the protocol is UDP.
    #[inline(always)]
    pub(crate) fn set_proto_word(&self, word: usize) {
        if self.protocol() == protocol::UDP {
            self.proto_words().store(word, Relaxed);
        }
    }

    /// Returns the second and the third word of the protocol's state, which are spare: of any
    /// protocol but TCP and SCTP. Zero at first.
    #[inline]
    pub(crate) fn spare_words(&self) -> Option<&[Atomic<usize>; 2]> {
        const {
            assert!(size_of::<bindings::nf_conntrack_proto>() >= 3 * size_of::<usize>());
            assert!(size_of::<bindings::nf_ct_gre>() <= size_of::<usize>());
        };
        if matches!(self.protocol(), protocol::TCP | protocol::SCTP) {
            return None;
        }
        let words = ptr::from_ref(self.proto_words());
        // SAFETY: In bounds, as asserted. Only accessed atomically, and by this tracker alone, as
        // no other protocol has more than one word.
        Some(unsafe { &*words.add(1).cast() })
    }

    /// Returns a half of [`Entry::proto_word`], or of a later word: GRE keeps two numbers of 32
    /// bits.
    #[inline]
    pub(crate) fn proto_half<const INDEX: usize>(&self) -> u32 {
        self.proto_halves::<INDEX>().load(Relaxed)
    }

    /// Sets what [`Entry::proto_half`] returns, if the protocol is GRE.
    #[inline]
    pub(crate) fn set_proto_half<const INDEX: usize>(&self, half: u32) {
        if self.protocol() == protocol::GRE {
            self.proto_halves::<INDEX>().store(half, Relaxed);
        }
    }

    /// Decides whether the entry is [mirrored](StatusBit::Mirrored): right before it is confirmed,
    /// as NAT may replace the reply tuple until then, and so may C code directly (IPVS).
    #[inline]
    pub(crate) fn check_mirrored(&self) {
        if self.has(StatusBit::Mirrored) && !self.has_mirror_images() {
            let (bit, word) = (StatusBit::Mirrored as u32, self.status_word().as_ptr());
            // SAFETY: The word has that bit.
            unsafe { bindings::rct_clear_bit(bit, word.cast()) };
        }
    }

    /// Returns whether each tuple has the ends of the other one, exchanged.
    #[inline]
    fn has_mirror_images(&self) -> bool {
        // In halves of words: four for the source address, one that begins with the source port,
        // and the same of the destination.
        const PORT: u32 = u32::from_ne_bytes([0xff, 0xff, 0, 0]);
        let half = |dir, index: usize| {
            // SAFETY: The entry is valid, the word in bounds for `index < 10`.
            let word = unsafe { tuple_word(self.raw(), dir, index / 2) };
            let halves = word.as_ptr().cast::<u32>();
            // SAFETY: One of the word's two halves.
            unsafe { Atomic::from_ptr(halves.add(index % 2)) }.load(Relaxed)
        };
        let mut differs = 0;
        for (dir, other) in [
            (Direction::Original, Direction::Reply),
            (Direction::Reply, Direction::Original),
        ] {
            for index in 0..4 {
                differs |= half(dir, index) ^ half(other, index + 5);
            }
            differs |= (half(dir, 4) ^ half(other, 9)) & PORT;
        }
        differs == 0
    }

    /// Returns the hash of an unconfirmed entry's reservation (see [`super::reservations`]);
    /// [`None`]: it has none. Another CPU may be changing it.
    #[inline]
    pub(crate) fn reservation_hash(&self) -> Option<u32> {
        let word = self.pprev_word(Direction::Original).load(Relaxed);
        // CAST: the lower half.
        (word >> 32 == 1).then_some(word as u32)
    }

    /// Returns whether an entry that was never in a table has no reservation.
    #[inline(always)]
    pub(super) fn is_free_of_reservation(&self) -> bool {
        self.pprev_word(Direction::Original).load(Relaxed) == 0
    }

    /// Notes that the reply tuple is reserved for the entry, unless it was. Returns whether it did:
    /// of several CPUs that try, one does.
    pub(super) fn take_reservation(&self, hash: u32) -> bool {
        let word = 1 << 32 | u64::from(hash);
        self.pprev_word(Direction::Original)
            .cmpxchg(0, word, Full)
            .is_ok()
    }

    /// Notes that no tuple is reserved for the entry.
    #[inline]
    pub(super) fn drop_reservation(&self) {
        self.pprev_word(Direction::Original).store(0, Relaxed);
    }

    /// Returns the hash that [`Fresh::new`](super::fresh::Fresh::new) was given, to be kept until
    /// the entry is confirmed. Of a confirmed entry, or one that another CPU is confirming: that,
    /// or a word with its highest bit set.
    #[inline]
    pub(crate) fn cached_hash(&self) -> u64 {
        self.pprev_word(Direction::Reply).load(Relaxed)
    }

    /// Returns the word of a tuple's node that chains do not use. Of an entry in the table it may
    /// be a link of a list (see [`super::object`]).
    #[inline]
    pub(in crate::nf) fn pprev_word(&self, dir: Direction) -> &Atomic<u64> {
        // SAFETY: Valid and aligned. Another CPU may be linking the entry, hence atomically.
        unsafe {
            let pprev = addr_of_mut!((*self.raw()).tuplehash[dir as usize].hnnode.pprev);
            Atomic::from_ptr(pprev.cast())
        }
    }
}

#[inline]
fn expired(timeout: u32) -> bool {
    // CAST: the sign bit distinguishes the past from the future.
    timeout.wrapping_sub(jiffies32()) as i32 <= 0
}

/// # Safety
///
/// `conn` points to memory that is, or was, an entry.
#[inline]
pub(in crate::nf) unsafe fn tuple_word<'a>(
    conn: *mut bindings::nf_conn,
    dir: Direction,
    index: usize,
) -> &'a Atomic<u64> {
    const TUPLES: usize = offset_of!(bindings::nf_conn, tuplehash)
        + offset_of!(bindings::nf_conntrack_tuple_hash, tuple);
    const { assert!(TUPLES % 8 == 0) };
    const { assert!(size_of::<bindings::nf_conntrack_tuple_hash>() % 8 == 0) };
    const { assert!(size_of::<bindings::nf_conntrack_tuple>() == 40) };
    let offset = TUPLES
        .wrapping_add((dir as usize).wrapping_mul(size_of::<bindings::nf_conntrack_tuple_hash>()))
        .wrapping_add(index.wrapping_mul(8));
    // SAFETY: In bounds for `index < 5`, aligned as asserted, and accessed atomically.
    unsafe { Atomic::from_ptr(conn.byte_add(offset).cast()) }
}

/// Replaces the reply tuple, word by word.
///
/// # Safety
///
/// `conn` points to an unconfirmed entry, and nothing else writes to its tuples.
pub(in crate::nf) unsafe fn store_reply(conn: *mut bindings::nf_conn, words: [u64; 5]) {
    for (index, word) in words.into_iter().enumerate() {
        // SAFETY: The caller's promise.
        unsafe { tuple_word(conn, Direction::Reply, index) }.store(word, Relaxed);
    }
}
