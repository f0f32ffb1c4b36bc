// SPDX-License-Identifier: GPL-2.0

//! Connected sockets, as adoption sees them: each one in its turn, and what it knows of its
//! connection in the terms of [`proto::adopt`](crate::proto::adopt).
//!
//! Sockets are visited in batches, with no bucket locked. A socket that a process owns is visited
//! again a little later.

use kernel::{
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    },
};

use crate::{
    nf::{
        kernel::{
            sockets::{
                self,
                Identity,
                Socket,
                SocketState,
                Table,
                TcpRequest,
                TcpSock,
                TcpTimewait, //
            },
            time,
            work, //
        },
        prelude::*, //
    },
    proto::{
        adopt,
        tcp, //
    },
};

/// The number of sockets that are collected before they are visited.
const BATCH: usize = 256;
/// The number of buckets after which another task may run.
const STRIDE: u32 = 1024;
/// The largest number of visits of one socket.
const ATTEMPTS: u32 = 4;
/// The time between two visits of one socket, in which its owner can run.
const PAUSE: Delta = Delta::from_millis(4);

/// What a visitor wants of a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// No other visit.
    Done,
    /// One more visit, a little later.
    Again,
}

/// Calls `visit` with each socket, of one namespace or of all, that stays connected meanwhile; and
/// with whether this is the last visit of the socket. May sleep, but `visit` must not.
///
/// `ENOMEM`: no memory; not all sockets were visited.
pub(super) fn for_each(net: Option<&Net>, mut visit: impl FnMut(&Socket, bool) -> Next) -> Result {
    sockets::for_each_table(net, |table| walk(table, &mut visit))
}

/// Visits the sockets of one table.
fn walk(table: Table<'_>, visit: &mut impl FnMut(&Socket, bool) -> Next) -> Result {
    let mut batch = Batch::with_capacity(BATCH)?;
    for bucket in 0..table.buckets() {
        if bucket % STRIDE == 0 {
            work::cond_resched();
        }
        if table.is_empty(bucket) {
            continue;
        }
        loop {
            let before = batch.sockets.len();
            let left_out = table.collect(bucket, &mut batch.sockets);
            if left_out == 0 {
                break;
            }
            // The whole bucket is collected once more, with room for it. To go on where this one
            // stopped would skip a socket, if one before it was unlinked meanwhile.
            let found = left_out.saturating_add(batch.sockets.len().saturating_sub(before));
            while batch.sockets.len() > before {
                drop(batch.sockets.pop());
            }
            batch.visit(visit);
            if found >= BATCH / 2 {
                // Sockets may be linked meanwhile.
                batch = Batch::with_capacity(found.saturating_mul(2))?;
            }
        }
    }
    batch.visit(visit);
    Ok(())
}

/// Sockets that are visited together.
struct Batch {
    sockets: KVVec<Socket>,
    /// The sockets that are to be visited again. It has the capacity of `sockets`.
    again: KVVec<Socket>,
}

impl Batch {
    fn with_capacity(count: usize) -> Result<Self> {
        Ok(Self {
            sockets: KVVec::with_capacity(count, GFP_KERNEL)?,
            again: KVVec::with_capacity(count, GFP_KERNEL)?,
        })
    }

    /// Visits all sockets, and empties the batch.
    fn visit(&mut self, visit: &mut impl FnMut(&Socket, bool) -> Next) {
        for attempt in 1..=ATTEMPTS {
            let is_last = attempt == ATTEMPTS;
            while let Some(socket) = self.sockets.pop() {
                if visit(&socket, is_last) == Next::Again && !is_last {
                    // There is room for each socket of the batch.
                    let _ = self.again.push_within_capacity(socket);
                }
                work::cond_resched();
            }
            if self.again.is_empty() {
                return;
            }
            core::mem::swap(&mut self.sockets, &mut self.again);
            fsleep(PAUSE);
        }
    }
}

/// Returns what adoption knows of a socket before it is locked.
pub(super) fn identity(socket: &Identity) -> adopt::Socket {
    adopt::Socket {
        local: socket.local.address,
        remote: socket.remote.address,
        local_port: u16::from_be_bytes(socket.local.port),
        remote_port: u16::from_be_bytes(socket.remote.port),
        family: socket.family,
        protocol: socket.protocol,
        state: socket.state,
        ..Default::default()
    }
}

/// Returns what adoption knows of a locked socket.
pub(super) fn state(socket: &Identity, progress: &SocketState) -> adopt::Socket {
    let known = identity(socket);
    match progress {
        SocketState::Tcp {
            sock,
            out_of_order_end,
            is_owned,
        } => adopt::Socket {
            rcv_last: out_of_order_end.unwrap_or(sock.rcv_nxt),
            busy: *is_owned,
            ..of_tcp(known, sock)
        },
        SocketState::Timewait(timewait) => of_timewait(known, timewait),
        SocketState::Request(request) => of_request(known, request),
        SocketState::Other {
            has_received,
            is_owned,
        } => adopt::Socket {
            heard: *has_received,
            busy: *is_owned,
            ..known
        },
    }
}

fn of_tcp(known: adopt::Socket, sock: &TcpSock) -> adopt::Socket {
    let now = time::jiffies32();
    let idle = [sock.lsndtime, sock.rcv_tstamp, sock.lrcvtime]
        .into_iter()
        .map(|stamp| now.wrapping_sub(stamp))
        .fold(u32::MAX, u32::min);
    adopt::Socket {
        snd_una: sock.snd_una,
        snd_nxt: sock.snd_nxt,
        write_seq: sock.write_seq,
        snd_wnd: sock.snd_wnd,
        max_window: sock.max_window,
        rcv_nxt: sock.rcv_nxt,
        rcv_wup: sock.rcv_wup,
        rcv_wnd: sock.rcv_wnd,
        rcv_edge: sock.rcv_mwnd_seq,
        idle,
        snd_scale: sock.snd_wscale,
        rcv_scale: sock.rcv_wscale,
        has_scale: sock.wscale_ok,
        has_sack: sock.sack_ok,
        ..known
    }
}

/// Returns the windows of a socket in TIME_WAIT, which keeps no window scale: the largest (14) is
/// assumed.
fn of_timewait(known: adopt::Socket, timewait: &TcpTimewait) -> adopt::Socket {
    // CAST: a difference of two times, which is negative if `expires` is over.
    let left = timewait.expires.wrapping_sub(time::jiffies()) as isize;
    let left = u32::try_from(left.max(0)).unwrap_or(u32::MAX);
    adopt::Socket {
        state: timewait.substate,
        snd_una: timewait.snd_nxt,
        snd_nxt: timewait.snd_nxt,
        write_seq: timewait.snd_nxt,
        rcv_nxt: timewait.rcv_nxt,
        rcv_last: timewait.rcv_nxt,
        rcv_wup: timewait.rcv_nxt,
        rcv_wnd: timewait.rcv_wnd,
        rcv_edge: timewait.rcv_nxt.wrapping_add(timewait.rcv_wnd),
        idle: sockets::TIMEWAIT_LEN.saturating_sub(left),
        snd_scale: tcp::MAX_SCALE,
        rcv_scale: timewait.rcv_wscale,
        has_scale: true,
        has_sack: true,
        ..known
    }
}

fn of_request(known: adopt::Socket, request: &TcpRequest) -> adopt::Socket {
    let snd_nxt = request.snt_isn.wrapping_add(1);
    adopt::Socket {
        snd_una: request.snt_isn,
        snd_nxt,
        write_seq: snd_nxt,
        rcv_nxt: request.rcv_nxt,
        rcv_last: request.rcv_nxt,
        rcv_wup: request.rcv_nxt,
        rcv_wnd: request.rcv_wnd,
        rcv_edge: request.rcv_nxt.wrapping_add(request.rcv_wnd),
        snd_scale: request.snd_wscale,
        rcv_scale: request.rcv_wscale,
        has_scale: request.wscale_ok,
        has_sack: request.sack_ok,
        ..known
    }
}
