// SPDX-License-Identifier: GPL-2.0

//! The choice of what a connection is to look like: [`choose`] asks the arithmetic of
//! `proto`, and answers what that asks about other connections.

use crate::{
    ct::{
        delete, entry,
        table::{
            self,
            Wanted, //
        },
    },
    nf::{
        conn::{
            Conn,
            Dir,
            Status,
            StatusBit, //
        },
        random,
        rcu::Rcu, //
    },
    proto::{
        nat::{
            choose::{
                self,
                Choice,
                Occupancy,
                Request, //
            },
            range::Range,
            Manip, //
        },
        tcp,
        tuple::{
            protocol,
            Tuple, //
        },
    },
};

use kernel::sync::aref::ARef;

/// Chooses what packets of `conn`, which look like `current` now, are to look like.
pub(super) fn choose(
    conn: &Conn,
    current: &Tuple,
    range: &Range,
    manip: Manip,
    rcu: Rcu<'_>,
) -> Choice {
    let request = Request {
        tuple: *current,
        range,
        manip,
        zone_id: entry::zone(conn).id,
        expected: conn.has(StatusBit::Expected),
    };
    choose::choose(&request, &mut View { conn, rcu })
}

/// Other connections, as one that is to be translated sees them.
struct View<'a> {
    conn: &'a Conn,
    rcu: Rcu<'a>,
}

impl View<'_> {
    fn find(&self, tuple: &Tuple) -> Option<(ARef<Conn>, Dir)> {
        let wanted = Wanted {
            key: tuple.key(),
            zone: entry::zone(self.conn),
            net: self.conn.net(),
        };
        wanted.find(self.rcu).0
    }
}

impl Occupancy for View<'_> {
    fn is_taken(&mut self, tuple: &Tuple) -> bool {
        // Entries are found by what arrives; what leaves is the inverse of what answers it.
        tuple
            .invert()
            .is_none_or(|answer| table::is_taken(&answer, self.conn, self.rcu))
    }

    fn is_taken_untranslated(&mut self, tuple: &Tuple) -> bool {
        if !self.is_taken(tuple) {
            return false;
        }
        let may_clash = !matches!(tuple.protonum, protocol::TCP | protocol::SCTP);
        if !may_clash || is_changed(self.conn.status()) {
            return true;
        }
        // Both ends began at once, on two CPUs. Their clash is settled when the second one is
        // confirmed, if neither is translated.
        let found = self
            .find(tuple)
            .or_else(|| tuple.invert().and_then(|answer| self.find(&answer)));
        let Some((other, _)) = found else {
            return false;
        };
        is_changed(other.status())
            || entry::tuple(&other, Dir::Original) != entry::tuple(self.conn, Dir::Reply)
    }

    fn is_taken_for_good(&mut self, tuple: &Tuple) -> bool {
        if tuple.protonum != protocol::TCP || tcp_of(self.conn).0 != tcp::State::SynSent {
            return self.is_taken(tuple);
        }
        let Some((other, dir)) = tuple.invert().and_then(|answer| self.find(&answer)) else {
            return false;
        };
        dir == Dir::Original || !gives_way(&other, self.conn)
    }

    fn mapping(&mut self, tuple: &Tuple, suits: impl Fn(&Tuple) -> bool) -> Option<Tuple> {
        let zone = entry::zone(self.conn);
        super::sources::mapping(self.conn.net(), zone, tuple, self.rcu, suits)
    }

    fn random(&mut self) -> u32 {
        random::below(u32::MAX)
    }
}

/// Whether packets of the connection are changed in any way.
fn is_changed(status: Status) -> bool {
    [StatusBit::SrcNat, StatusBit::DstNat, StatusBit::SeqAdjust]
        .into_iter()
        .any(|bit| status.has(bit))
}

/// The state of a TCP connection, and the end of what the side that opened it has sent.
fn tcp_of(conn: &Conn) -> (tcp::State, tcp::SeqNum) {
    conn.with_proto(|track: &mut tcp::Track| (track.state(), track.seen[0].end))
}

/// Has a TCP connection that is over, but still remembered, make room for a new one.
///
/// The server takes the SYN of the new one only if its numbers lie behind those of the old
/// one (RFC 9293, section 3.10.7.4; RFC 6191).
fn gives_way(old: &Conn, new: &Conn) -> bool {
    let (state, old_end) = tcp_of(old);
    let status = old.status();
    if !matches!(state, tcp::State::TimeWait | tcp::State::Close)
        || status.has(StatusBit::FixedTimeout)
        || status.has(StatusBit::Dying)
        || !status.has(StatusBit::SrcNat)
        || !tcp_of(new).1.after(old_end)
    {
        return false;
    }
    // Its packets may pass by us, on a way that ends later.
    let offloaded = status.has(StatusBit::Offload) || status.has(StatusBit::HwOffload);
    delete::delete(old) && !offloaded
}
