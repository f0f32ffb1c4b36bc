// SPDX-License-Identifier: GPL-2.0

//! The choice of a translated tuple: [`choose`] runs the algorithm of `proto`, and answers its
//! questions about other connections and local sockets.

use kernel::sync::{
    aref::ARef,
    atomic::Relaxed, //
};

use crate::{
    ct::{
        figures::nat::NatCounts,
        life::{
            delete::{
                self,
                DestroyReason, //
            },
            lookup::{
                self,
                LookupKey, //
            },
        },
        table::reservation, //
    },
    nf::{
        entry::conn::{
            Entry,
            Status, //
        },
        kernel::{
            endpoint::Endpoint,
            local_ports::{
                Bound,
                Transport, //
            },
            random, //
        },
        packet::nat::Unconfirmed,
        prelude::*, //
    },
    proto::{
        nat::{
            choose::{
                self,
                Request, //
            },
            occupancy::{
                Choice,
                Claim,
                Occupancy,
                Terms, //
            },
            range::Range,
            Manip, //
        },
        tcp, //
    },
};

use super::{
    bysource, local_ports,
    netns::NatState,
    pool::{
        self,
        PoolKey,
        PoolRef, //
    },
};

/// Chooses the form of an entry's packets after translation; `current` is their form before. The
/// search for a source stores the tuple that it tried last as the reply tuple.
pub(super) fn choose(
    entry: &mut Unconfirmed<'_>,
    current: &Tuple,
    range: &Range,
    manip: Manip,
    rcu: Rcu<'_>,
) -> Choice {
    let conn = entry.conn();
    let state = conn.net().state_in::<NatState>(rcu);
    let request = Request {
        tuple: *current,
        range,
        manip,
        zone_id: conn.zone().id,
        expected: conn.has(StatusBit::Expected),
        thorough: state.is_thorough(),
    };
    let mut view = TableView {
        conn,
        entry,
        state,
        counts: NatCounts::of_in(conn.net(), rcu),
        current,
        manip,
        is_named: range.names_key(),
        rcu,
    };
    choose::choose(&request, &mut view)
}

/// Releases the reservation and the pool's mark of a choice, for an entry that could not be set up.
pub(super) fn release(conn: &Entry, rcu: Rcu<'_>) {
    reservation::release(conn, rcu);
    clear_mark(conn, rcu);
}

/// Clears the mark that the entry's mapping has in a crowded pool.
#[inline]
pub(super) fn clear_mark(conn: &Entry, rcu: Rcu<'_>) {
    if pool::has_pools() {
        clear_mark_in_pool(conn, rcu);
    }
}

#[inline(never)]
fn clear_mark_in_pool(conn: &Entry, rcu: Rcu<'_>) {
    let count = &NatCounts::of_in(conn.net(), rcu).pools;
    if count.load(Relaxed) == 0 {
        return;
    }
    if let Some(tuple) = conn.tuple(Direction::Reply).invert() {
        pool::clear_mark(&pool_of(conn, &tuple), &tuple, count);
    }
}

fn pool_of(conn: &Entry, tuple: &Tuple) -> PoolKey {
    let zone_id = conn.zone().id_for(Direction::Reply);
    PoolKey::of(conn.net(), zone_id, tuple)
}

/// Returns whether the protocol's keys are ports.
fn has_ports(tuple: &Tuple) -> bool {
    matches!(
        tuple.protonum,
        protocol::TCP | protocol::UDP | protocol::SCTP
    )
}

/// The tuples in use, as the choice for one connection sees them.
struct TableView<'a, 'e> {
    conn: &'e Entry,
    entry: &'a mut Unconfirmed<'e>,
    state: &'a NatState,
    counts: &'a NatCounts,
    /// The form of the connection's packets before this translation.
    current: &'a Tuple,
    manip: Manip,
    /// Whether the rule names a single key; local sockets and exclusions are then ignored.
    is_named: bool,
    rcu: Rcu<'a>,
}

impl TableView<'_, '_> {
    /// Returns the entry of packets with the tuple `tuple`, and their direction.
    fn find(&self, tuple: &Tuple) -> Option<(ARef<Conn>, Direction)> {
        let wanted = LookupKey {
            key: tuple.key(),
            zone: self.conn.zone(),
            net: self.conn.net(),
        };
        wanted.find(self.rcu).0
    }

    /// Returns the connection that replies to `tuple` belong to.
    fn owner(&self, tuple: &Tuple) -> Option<ARef<Conn>> {
        // The table has the tuples of arriving packets; replies to `tuple` arrive as its inverse.
        let answer = tuple.invert()?;
        lookup::reply_tuple_owner(&answer, self.conn, self.rcu)
    }

    /// Returns the same, unless it is a second entry for this very connection, which would not be
    /// translated.
    fn conflicting_owner(&self, tuple: &Tuple) -> Option<ARef<Conn>> {
        let owner = self.owner(tuple)?;
        let may_clash = !matches!(tuple.protonum, protocol::TCP | protocol::SCTP);
        if !may_clash || is_changed(self.conn.status()) {
            return Some(owner);
        }
        // Both ends opened the connection at once, on two CPUs. If neither entry is translated, the
        // clash is resolved when the second one is confirmed.
        let (other, _) = self
            .find(tuple)
            .or_else(|| tuple.invert().and_then(|answer| self.find(&answer)))?;
        let is_another = is_changed(other.status())
            || other.tuple(Direction::Original) != self.conn.tuple(Direction::Reply);
        is_another.then_some(owner)
    }

    /// Deletes a closed connection that has `tuple`. Returns the connection that still has it.
    fn evict(&self, tuple: &Tuple) -> Option<ARef<Conn>> {
        let Some(old) = self.closed_owner(tuple) else {
            return self.owner(tuple);
        };
        // The packets of an offloaded connection bypass the hooks until its flow is torn down.
        let status = old.status();
        let offloaded = status.has(StatusBit::Offload) || status.has(StatusBit::HwOffload);
        if delete::delete(&old, DestroyReason::GaveWay) && !offloaded {
            self.counts.gave_way.fetch_add(1, Relaxed);
            return None;
        }
        Some(old)
    }

    /// Returns the connection that replies to `tuple` belong to, if it is closed and may be deleted
    /// in favour of this one.
    ///
    /// The server accepts the new SYN only if its sequence number is after those of the old
    /// connection (RFC 9293, section 3.10.7.4; RFC 6191).
    fn closed_owner(&self, tuple: &Tuple) -> Option<ARef<Conn>> {
        let (state, begin) = tcp_of(self.conn)?;
        if state != tcp::State::SynSent {
            return None;
        }
        let (old, dir) = self.find(&tuple.invert()?)?;
        let (old_state, old_end) = tcp_of(&old)?;
        let status = old.status();
        let may_be_evicted = dir == Direction::Reply
            && matches!(old_state, tcp::State::TimeWait | tcp::State::Close)
            && !status.has(StatusBit::FixedTimeout)
            && !status.has(StatusBit::Dying)
            && status.has(StatusBit::SrcNat)
            && begin.after(old_end);
        may_be_evicted.then_some(old)
    }

    /// Deletes an entry that has `tuple` only because its other end sent a packet there too early:
    /// before this connection, whose replies it takes for its own. Returns whether `owner` was one.
    ///
    /// Two ends that want to meet through their NATs (RFC 5128, section 3.3) send to each other at
    /// the same time. The packet that arrives first at the other end's NAT finds no connection, and
    /// is delivered to the router, where no socket wants it; the entry that it leaves behind was
    /// never replied to.
    fn drop_early(&self, owner: &Conn, tuple: &Tuple) -> bool {
        let status = owner.status();
        let is_early = self.state.drops_early()
            && !status.has(StatusBit::SeenReply)
            && !status.has(StatusBit::FixedTimeout)
            && !is_changed(status)
            && !status.has(StatusBit::Expected)
            && tuple.invert() == Some(owner.tuple(Direction::Original))
            && self.is_orphan(tuple);
        if !is_early || !delete::delete(owner, DestroyReason::GaveWay) {
            return false;
        }
        self.counts.gave_way.fetch_add(1, Relaxed);
        true
    }

    /// Returns whether the source of `tuple` is one of this machine, and no socket has it.
    fn is_orphan(&self, tuple: &Tuple) -> bool {
        let net = self.conn.net();
        let (Some(family), Some(transport)) = (tuple.family(), Transport::of(tuple.protonum))
        else {
            return false;
        };
        let (local, remote) = Endpoint::ends_of(tuple);
        net.is_local(family, &tuple.src, self.rcu)
            && !local_ports::is_used(net, family, transport, &local, &remote, |_| false, self.rcu)
    }

    /// Returns whether `tuple` has another source address or port than the packets have now.
    fn is_new_source(&self, tuple: &Tuple) -> bool {
        (tuple.src, tuple.src_key) != (self.current.src, self.current.src_key)
    }

    /// Returns whether a sysctl excludes the port, which no rule names.
    fn is_excluded(&self, tuple: &Tuple) -> bool {
        if self.is_named {
            return false;
        }
        let port = tuple.src_port();
        has_ports(tuple)
            && (self.state.excluded.contains(port, self.rcu)
                || self.state.avoids_local() && self.conn.net().is_reserved(port))
    }

    /// Returns whether a local socket uses the port, except the socket that the packet comes from.
    /// Of a port that the rule names: whether a TCP socket has the connection itself.
    fn is_used_locally(&self, tuple: &Tuple) -> bool {
        let net = self.conn.net();
        let (Some(family), Some(transport)) = (tuple.family(), Transport::of(tuple.protonum))
        else {
            return false;
        };
        if !self.state.avoids_local() || !net.is_local(family, &tuple.src, self.rcu) {
            return false;
        }
        let (local, remote) = Endpoint::ends_of(tuple);
        if self.is_named {
            return transport == Transport::Tcp
                && net.is_connected(family, &local, &remote, self.rcu);
        }
        let origin = self.conn.tuple(Direction::Original);
        let is_own = |bound: Bound| {
            bound.port == origin.src_key
                && bound.address.is_none_or(|address| address == origin.src)
                && net.is_local(family, &origin.src, self.rcu)
        };
        let is_used =
            local_ports::is_used(net, family, transport, &local, &remote, is_own, self.rcu);
        if is_used {
            self.counts.used_locally.fetch_add(1, Relaxed);
        }
        is_used
    }

    /// Reserves the reply tuple for `tuple`, in place of a former reservation of the entry. Returns
    /// whether no other entry has reserved it.
    fn reserve(&mut self, tuple: &Tuple) -> bool {
        let Some(reply) = tuple.invert() else {
            return true;
        };
        reservation::release(self.conn, self.rcu);
        self.entry.set_reply(&reply);
        reservation::reserve(self.conn, self.rcu)
    }
}

impl<'a> Occupancy for TableView<'a, '_> {
    type Pool = PoolRef<'a>;

    fn claim(&mut self, tuple: &Tuple, terms: Terms) -> Claim {
        let is_source = self.manip == Manip::Source;
        let is_new_source = is_source && self.is_new_source(tuple);
        if is_new_source && self.is_excluded(tuple) {
            return Claim::Unavailable;
        }
        let reserves = is_source && self.state.reserves();
        if reserves && !self.reserve(tuple) {
            // The other entry will be confirmed or freed: in either case it clears the mark in the
            // pool.
            return Claim::Taken;
        }
        let owner = match terms {
            Terms::MustBeFree => self.owner(tuple),
            Terms::Untranslated => self.conflicting_owner(tuple),
            Terms::TakeOver => self.evict(tuple),
        };
        let owner = owner.filter(|owner| !self.drop_early(owner, tuple));
        let claim = match &owner {
            Some(owner) if owner.has(StatusBit::SrcNatDone) => Claim::Taken,
            // The connection is older than NAT, so that no mark is cleared when it ends.
            Some(_) => Claim::Unavailable,
            None if is_new_source && self.is_used_locally(tuple) => Claim::Unavailable,
            None => return Claim::Granted,
        };
        if reserves {
            // Another CPU that met this reservation has marked the key as taken. If there is an
            // owner with a mark, it clears that mark, and lives until it is dropped below; else the
            // mark is this entry's to clear.
            match claim {
                Claim::Taken => reservation::release(self.conn, self.rcu),
                _ => release(self.conn, self.rcu),
            }
        }
        drop(owner);
        claim
    }

    fn find_appropriate_src(
        &mut self,
        tuple: &Tuple,
        suits: impl Fn(&Tuple) -> bool,
    ) -> Option<Tuple> {
        bysource::find_appropriate_src(self.conn, tuple, self.rcu, suits)
    }

    fn same_flow_mapping(&mut self, tuple: &Tuple) -> Option<Tuple> {
        // A clash of two TCP or SCTP entries costs a packet, however they are mapped.
        if matches!(tuple.protonum, protocol::TCP | protocol::SCTP) {
            return None;
        }
        bysource::same_flow_mapping(self.conn, tuple, self.rcu)
    }

    fn random(&mut self) -> u32 {
        random::below(u32::MAX)
    }

    fn barred(&self, tuple: &Tuple, number: u16) -> u64 {
        if self.is_named || !has_ports(tuple) {
            return 0;
        }
        let mut barred = self.state.excluded.word(number, self.rcu);
        if self.state.avoids_local() {
            barred |= self.conn.net().reserved_ports(number);
        }
        barred
    }

    fn pool(&mut self, tuple: &Tuple) -> Option<PoolRef<'a>> {
        if !pool::has_pools() {
            return None;
        }
        pool::lookup(&pool_of(self.conn, tuple), &self.counts.pools)
    }

    fn crowded_pool(&mut self, tuple: &Tuple) -> Option<PoolRef<'a>> {
        pool::get_or_insert(pool_of(self.conn, tuple), &self.counts.pools)
    }

    fn time_left_if_closed(&mut self, tuple: &Tuple) -> Option<u32> {
        self.closed_owner(tuple).map(|old| old.remaining())
    }

    fn oldest_first(&self) -> bool {
        self.state.is_oldest_first()
    }
}

/// Returns whether packets of a connection with this status are changed in any way.
fn is_changed(status: Status) -> bool {
    [StatusBit::SrcNat, StatusBit::DstNat, StatusBit::SeqAdjust]
        .into_iter()
        .any(|bit| status.has(bit))
}

/// Returns the state of a TCP connection, and the end of the sequence space that its opener has
/// sent. [`None`]: it is no TCP connection.
fn tcp_of(conn: &Entry) -> Option<(tcp::State, tcp::SeqNum)> {
    conn.with_proto(|track: &mut tcp::Track| (track.state(), track.seen[0].end))
}
