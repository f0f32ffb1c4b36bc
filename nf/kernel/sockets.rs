// SPDX-License-Identifier: GPL-2.0

//! The sockets of the machine: all that are connected by TCP or UDP, and what they know.
//!
//! The kernel keeps them in tables, of which most namespaces share one. A bucket is walked
//! under its lock, and no more is done there than to hold on to each socket; who wants to
//! know more of one then asks it, bucket and table unlocked. So packets wait for nothing
//! longer than for a bucket to be walked, or a socket to be read.
//!
//! C headers: [`include/net/inet_hashtables.h`](srctree/include/net/inet_hashtables.h),
//! [`include/net/udp.h`](srctree/include/net/udp.h)

use core::{
    mem::size_of,
    ptr::NonNull, //
};

use kernel::prelude::*;

use crate::{
    nf::bindings,
    proto::types::family::Family, //
};

use super::{
    endpoint::Endpoint,
    layout::SameLayout,
    local_ports::Transport,
    lock::{
        self,
        BhDisabled,
        LockWith, //
    },
    net::{
        self,
        Net,
        NetRef, //
    },
    rcu::Rcu,
    work, //
};

/// A connected socket, or what stands for one before and after its time.
///
/// # Invariants
///
/// `sk` is a TCP or UDP socket of `net`, a request for a TCP one, or the rest of one in
/// TIME_WAIT, with a reference that this value owns.
pub(crate) struct Socket {
    sk: NonNull<bindings::sock>,
    net: NetRef,
}

impl Socket {
    /// [`None`]: it, or its namespace, is at its end.
    ///
    /// # Safety
    ///
    /// `sk` stands in one of the kernel's tables, of which the caller holds the bucket's lock.
    unsafe fn new(sk: NonNull<bindings::sock>) -> Option<Self> {
        // SAFETY: What is in the table has a namespace that is not freed.
        let net = unsafe { NetRef::new(bindings::rct_sock_net(sk.as_ptr())) }?;
        // SAFETY: What is in the table is not freed.
        if !unsafe { bindings::rct_sock_get(sk.as_ptr()) } {
            return None;
        }
        // INVARIANT: the caller's promise, and just taken.
        Some(Self { sk, net })
    }

    /// Its namespace.
    pub(crate) fn net(&self) -> &Net {
        &self.net
    }

    /// Whether it is a whole socket.
    fn is_full(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { bindings::rct_sock_is_full(self.sk.as_ptr()) }
    }

    /// What it knows. The numbers are of one moment if it [stands still](Self::with_locked),
    /// and says that no process is at work on it.
    fn read<T: SameLayout<C = bindings::rct_socket>>(&self) -> T {
        const { assert!(size_of::<T>() == size_of::<bindings::rct_socket>()) };
        let sk = self.sk.as_ptr();
        let mut facts = bindings::rct_socket::default();
        // SAFETY: By the type invariants; each part is read of the kind that has it. What is
        // not protected is read word by word.
        unsafe {
            bindings::rct_sock_read(sk, &mut facts);
            match u32::from(facts.state) {
                TIME_WAIT => bindings::rct_tcp_tw_read(sk, &mut facts),
                REQUEST => bindings::rct_tcp_request_read(sk, &mut facts),
                _ => {
                    bindings::rct_full_sock_read(sk, &mut facts);
                    if u32::from(facts.protocol) == bindings::IPPROTO_TCP {
                        bindings::rct_tcp_sock_read(sk, &mut facts);
                    }
                }
            }
        }
        // SAFETY: By the trait's contract any bytes are a `T`.
        unsafe { core::mem::transmute_copy(&facts) }
    }

    /// Runs `f` with what the socket knows. It sends and takes nothing meanwhile, except if it
    /// says that a process is at work on it.
    pub(crate) fn with_locked<T, R>(&self, f: impl FnOnce(T) -> R) -> R
    where
        T: SameLayout<C = bindings::rct_socket>,
    {
        let bh = BhDisabled::new();
        // What is no whole socket changes little, and has no lock.
        let _guard = self.is_full().then(|| {
            // SAFETY: By the type invariants; initialised with the socket.
            unsafe { lock::from_raw(bindings::rct_sock_lock(self.sk.as_ptr())) }.lock_with(&bh)
        });
        f(self.read())
    }

    /// What it knows, at a glance.
    pub(crate) fn snapshot<T: SameLayout<C = bindings::rct_socket>>(&self) -> T {
        self.read()
    }

    /// How it came by its port: whether the kernel chose it in `connect()`, and whether the
    /// process asked for it in `bind()`.
    pub(crate) fn port_history(&self) -> (bool, bool) {
        let sk = self.sk.as_ptr();
        // SAFETY: By the type invariants; each is asked what its kind has.
        unsafe {
            match bindings::rct_sock_state(sk) {
                TIME_WAIT => (bindings::rct_tw_chose_port(sk), false),
                REQUEST => (false, false),
                _ => {
                    let locks = bindings::rct_sock_userlocks(sk);
                    (locks & CONNECT_BIND != 0, locks & BINDPORT_LOCK != 0)
                }
            }
        }
    }

    /// Whether another socket, connected to nobody, waits for what comes from `remote` to `local`.
    pub(crate) fn has_listener(
        &self,
        family: Family,
        transport: Transport,
        local: &Endpoint,
        remote: &Endpoint,
        rcu: Rcu<'_>,
    ) -> bool {
        // Of UDP, a socket that is connected to `remote` would be found first.
        let from = match transport {
            Transport::Tcp => remote,
            Transport::Udp => &Endpoint::NOBODY,
        };
        // SAFETY: By the type invariants.
        let device = unsafe { bindings::rct_sock_device(self.sk.as_ptr()) };
        self.net
            .receiver(family, transport, local, from, device, rcu)
            .is_some()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the reference is ours. No lock is held.
        unsafe { bindings::sock_gen_put(self.sk.as_ptr()) };
    }
}

/// The ports that a namespace chooses from: the first and the last.
pub(crate) fn local_port_range(net: &Net) -> [u16; 2] {
    let (mut low, mut high) = (0, 0);
    // SAFETY: By the type invariants of `Net`.
    unsafe { bindings::rct_local_port_range(net.raw(), &mut low, &mut high) };
    [low, high]
}

const TIME_WAIT: u32 = bindings::RCT_TCP_TIME_WAIT as u32;
const REQUEST: u32 = bindings::RCT_TCP_NEW_SYN_RECV as u32;
const CONNECT_BIND: u32 = bindings::RCT_SOCK_CONNECT_BIND as u32;
const BINDPORT_LOCK: u32 = bindings::RCT_SOCK_BINDPORT_LOCK as u32;
const CONNECTED: u32 = bindings::RCT_TCP_ESTABLISHED as u32;

/// A table of sockets that some namespaces share.
#[derive(Clone, Copy)]
enum Table {
    Tcp(NonNull<bindings::inet_hashinfo>),
    Udp(NonNull<bindings::udp_table>),
}

impl Table {
    /// Those of a namespace.
    fn of(net: *mut bindings::net) -> [Option<Self>; 2] {
        // SAFETY: The namespace is not freed, and has its tables from beginning to end.
        let (tcp, udp) = unsafe { (bindings::rct_tcp_table(net), bindings::rct_udp_table(net)) };
        [
            NonNull::new(tcp).map(Self::Tcp),
            NonNull::new(udp).map(Self::Udp),
        ]
    }

    fn address(self) -> usize {
        match self {
            Self::Tcp(table) => table.as_ptr() as usize,
            Self::Udp(table) => table.as_ptr() as usize,
        }
    }

    fn buckets(self) -> u32 {
        // SAFETY: The table lives as long as a namespace that uses it, on which `for_each`
        // or its caller holds.
        unsafe {
            match self {
                Self::Tcp(table) => bindings::rct_tcp_buckets(table.as_ptr()),
                Self::Udp(table) => bindings::rct_udp_buckets(table.as_ptr()),
            }
        }
    }

    fn first(self, bucket: u32) -> *mut bindings::sock {
        // SAFETY: As above; the callers pass a bucket that exists. Without the lock, the
        // answer is good for nothing but to see that there was none.
        unsafe {
            match self {
                Self::Tcp(table) => bindings::rct_tcp_first(table.as_ptr(), bucket),
                Self::Udp(table) => bindings::rct_udp_first(table.as_ptr(), bucket),
            }
        }
    }

    /// # Safety
    ///
    /// `sk` stands in this table, and the caller holds its bucket's lock.
    unsafe fn next(self, sk: *mut bindings::sock) -> *mut bindings::sock {
        // SAFETY: The caller's promise.
        unsafe {
            match self {
                Self::Tcp(_) => bindings::rct_tcp_next(sk),
                Self::Udp(_) => bindings::rct_udp_next(sk),
            }
        }
    }

    fn lock(self, bucket: u32) -> *mut bindings::spinlock_t {
        // SAFETY: As above.
        unsafe {
            match self {
                Self::Tcp(table) => bindings::rct_tcp_lock(table.as_ptr(), bucket),
                Self::Udp(table) => bindings::rct_udp_lock(table.as_ptr(), bucket),
            }
        }
    }

    /// Adds the sockets of a bucket to `batch`, as many as there is room for. Returns how many
    /// are left out.
    fn collect(self, bucket: u32, net: Option<&Net>, batch: &mut KVVec<Socket>) -> usize {
        let mut left_out = 0_usize;
        let bh = BhDisabled::new();
        // SAFETY: Initialised with the table, which stays.
        let _guard = unsafe { lock::from_raw(self.lock(bucket)) }.lock_with(&bh);
        let mut next = self.first(bucket);
        while let Some(sk) = NonNull::new(next) {
            // SAFETY: On the chain, whose lock is held.
            if unsafe { self.is_wanted(sk, net) } {
                if batch.len() == batch.capacity() {
                    left_out = left_out.saturating_add(1);
                // SAFETY: As above.
                } else if let Some(socket) = unsafe { Socket::new(sk) } {
                    // There is room, as just seen.
                    let _ = batch.push_within_capacity(socket);
                }
            }
            // SAFETY: As above.
            next = unsafe { self.next(sk.as_ptr()) };
        }
        left_out
    }

    /// # Safety
    ///
    /// `sk` stands in this table, and the caller holds its bucket's lock.
    unsafe fn is_wanted(self, sk: NonNull<bindings::sock>, net: Option<&Net>) -> bool {
        // SAFETY: The caller's promise.
        let (its, state) = unsafe {
            (
                bindings::rct_sock_net(sk.as_ptr()),
                bindings::rct_sock_state(sk.as_ptr()),
            )
        };
        // Of UDP, the table has those that are connected to nobody as well.
        let connected = match self {
            Self::Tcp(_) => true,
            Self::Udp(_) => state == CONNECTED,
        };
        connected && net.is_none_or(|net| core::ptr::eq(net.raw(), its))
    }
}

/// What is to become of a socket that was shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing more.
    Done,
    /// It is to be shown once more, a little later.
    Again,
}

/// Sockets that are shown together.
const BATCH: usize = 256;
/// Buckets that are passed at most until others may run.
const STRIDE: u32 = 1024;
/// How often a socket is shown at most.
const ATTEMPTS: u32 = 4;

/// Sockets that are shown together.
struct Batch {
    sockets: KVVec<Socket>,
    /// Those of them that are to be shown again; it has the same room.
    again: KVVec<Socket>,
}

impl Batch {
    fn with_room(room: usize) -> Result<Self> {
        Ok(Self {
            sockets: KVVec::with_capacity(room, GFP_KERNEL)?,
            again: KVVec::with_capacity(room, GFP_KERNEL)?,
        })
    }

    /// Shows what is in it, and empties it.
    fn show(&mut self, visit: &mut impl FnMut(&Socket, bool) -> Seen) {
        for attempt in 1..=ATTEMPTS {
            let is_last = attempt == ATTEMPTS;
            while let Some(socket) = self.sockets.pop() {
                if visit(&socket, is_last) == Seen::Again && !is_last {
                    let _ = self.again.push_within_capacity(socket);
                }
                work::cond_resched();
            }
            if self.again.is_empty() {
                return;
            }
            core::mem::swap(&mut self.sockets, &mut self.again);
            // Who is at work on a socket needs the processor for that.
            // SAFETY: Process context, no lock held.
            unsafe { bindings::schedule_timeout_uninterruptible(1) };
        }
    }
}

fn walk(table: Table, net: Option<&Net>, visit: &mut impl FnMut(&Socket, bool) -> Seen) -> Result {
    let mut batch = Batch::with_room(BATCH)?;
    for bucket in 0..table.buckets() {
        if bucket % STRIDE == 0 {
            work::cond_resched();
        }
        if table.first(bucket).is_null() {
            continue;
        }
        loop {
            let before = batch.sockets.len();
            let left_out = table.collect(bucket, net, &mut batch.sockets);
            if left_out == 0 {
                break;
            }
            // The whole bucket once more, with room for it: where one had stopped, a socket
            // that went meanwhile would have moved another one past.
            let mut found = left_out;
            while batch.sockets.len() > before {
                drop(batch.sockets.pop());
                found = found.saturating_add(1);
            }
            batch.show(visit);
            if found >= BATCH / 2 {
                // Some may come meanwhile.
                batch = Batch::with_room(found.saturating_mul(2))?;
            }
        }
    }
    batch.show(visit);
    Ok(())
}

/// Shows `visit` each socket that is connected all the time, of one namespace or of all. May
/// sleep, but not in `visit`, which is told if it will not see the socket again.
///
/// `ENOMEM`: not all were shown.
pub(crate) fn for_each(net: Option<&Net>, mut visit: impl FnMut(&Socket, bool) -> Seen) -> Result {
    let first = net.unwrap_or(Net::init_net());
    for table in Table::of(first.raw()).into_iter().flatten() {
        walk(table, net, &mut visit)?;
    }
    if net.is_some() {
        return Ok(());
    }

    // Some have tables of their own.
    let has_own = |table: &Table| {
        !Table::of(first.raw())
            .into_iter()
            .flatten()
            .any(|shared| shared.address() == table.address())
    };
    let others = net::hold_all(|net| Table::of(net).iter().flatten().any(has_own))?;
    let Some(mut others) = others else {
        return Ok(());
    };
    while let Some(other) = others.pop() {
        for table in Table::of(other.raw()).into_iter().flatten() {
            if has_own(&table) {
                walk(table, Some(&other), &mut visit)?;
            }
        }
    }
    Ok(())
}
