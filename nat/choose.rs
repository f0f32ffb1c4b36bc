// SPDX-License-Identifier: GPL-2.0

//! The choice of what a connection is to look like: [`choose`] asks the arithmetic of
//! `proto`, and answers what that asks about other connections, and about this machine's
//! sockets.

use kernel::sync::{
    aref::ARef,
    atomic::Relaxed, //
};

use crate::{
    ct::{
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
        entry::conn::Status,
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
        Search, //
    },
};

/// Chooses what packets of an entry, which look like `current` now, are to look like. If it is
/// about the source, the entry's reply tuple is what was tried last.
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
    let mut view = View {
        conn,
        entry,
        state,
        current,
        manip,
        rcu,
    };
    choose::choose(&request, &mut view)
}

/// What was chosen for an entry, which then failed, is free again.
pub(super) fn give_up(conn: &Conn, rcu: Rcu<'_>) {
    reservation::release(conn, rcu);
    forget(conn);
}

/// What an entry looks like is free again.
pub(super) fn forget(conn: &Conn) {
    if pool::any() {
        if let Some(tuple) = conn.tuple(Direction::Reply).invert() {
            pool::forget(&pool_of(conn, &tuple), &tuple);
        }
    }
}

fn pool_of(conn: &Conn, tuple: &Tuple) -> PoolKey {
    let zone_id = conn.zone().id_for(Direction::Reply);
    PoolKey::of(conn.net(), zone_id, tuple)
}

/// Other connections, as one that is to be translated sees them.
struct View<'a, 'e> {
    conn: &'e Conn,
    entry: &'a mut Unconfirmed<'e>,
    state: &'a NatState,
    /// What its packets look like now.
    current: &'a Tuple,
    manip: Manip,
    rcu: Rcu<'a>,
}

impl View<'_, '_> {
    /// The entry that packets like `tuple` belong to.
    fn find(&self, tuple: &Tuple) -> Option<(ARef<Conn>, Direction)> {
        let wanted = LookupKey {
            key: tuple.key(),
            zone: self.conn.zone(),
            net: self.conn.net(),
        };
        wanted.find(self.rcu).0
    }

    /// The connection that has the answers to `tuple`.
    fn holder(&self, tuple: &Tuple) -> Option<ARef<Conn>> {
        // Entries are found by what arrives; what leaves is the inverse of what answers it.
        let answer = tuple.invert()?;
        lookup::reply_tuple_owner(&answer, self.conn, self.rcu)
    }

    /// The same, of which a connection that would not be translated has to be afraid.
    fn holder_untranslated(&self, tuple: &Tuple) -> Option<ARef<Conn>> {
        let holder = self.holder(tuple)?;
        let may_clash = !matches!(tuple.protonum, protocol::TCP | protocol::SCTP);
        if !may_clash || is_changed(self.conn.status()) {
            return Some(holder);
        }
        // Both ends began at once, on two CPUs. Their clash is settled when the second one is
        // confirmed, if neither is translated.
        let (other, _) = self
            .find(tuple)
            .or_else(|| tuple.invert().and_then(|answer| self.find(&answer)))?;
        let is_another = is_changed(other.status())
            || other.tuple(Direction::Original) != self.conn.tuple(Direction::Reply);
        is_another.then_some(holder)
    }

    /// The same, after a connection that is over gave way.
    fn holder_for_good(&self, tuple: &Tuple) -> Option<ARef<Conn>> {
        let Some(old) = self.over(tuple) else {
            return self.holder(tuple);
        };
        // Its packets may pass by us, on a way that ends later.
        let status = old.status();
        let offloaded = status.has(StatusBit::Offload) || status.has(StatusBit::HwOffload);
        if delete::delete(&old, DestroyReason::GaveWay) && !offloaded {
            self.state.gave_way.fetch_add(1, Relaxed);
            return None;
        }
        Some(old)
    }

    /// The connection that has the answers to `tuple`, if it is over, but still remembered, and
    /// may make room for this one.
    ///
    /// The server takes the SYN of the new one only if its numbers lie behind those of the old
    /// one (RFC 9293, section 3.10.7.4; RFC 6191).
    fn over(&self, tuple: &Tuple) -> Option<ARef<Conn>> {
        if tuple.protonum != protocol::TCP {
            return None;
        }
        let (state, begin) = tcp_of(self.conn);
        if state != tcp::State::SynSent {
            return None;
        }
        let (old, dir) = self.find(&tuple.invert()?)?;
        let (old_state, old_end) = tcp_of(&old);
        let status = old.status();
        let gives_way = dir == Direction::Reply
            && matches!(old_state, tcp::State::TimeWait | tcp::State::Close)
            && !status.has(StatusBit::FixedTimeout)
            && !status.has(StatusBit::Dying)
            && status.has(StatusBit::SrcNat)
            && begin.after(old_end);
        gives_way.then_some(old)
    }

    /// Whether packets like `tuple` would come from another address or port than they do.
    fn is_given(&self, tuple: &Tuple) -> bool {
        (tuple.src, tuple.src_key) != (self.current.src, self.current.src_key)
    }

    /// Whether the port is not to be given to anybody.
    fn is_excluded(&self, tuple: &Tuple) -> bool {
        let has_ports = matches!(
            tuple.protonum,
            protocol::TCP | protocol::UDP | protocol::SCTP
        );
        let port = tuple.src_port();
        has_ports
            && (self.state.excluded.contains(port)
                || self.state.avoids_local() && self.conn.net().is_reserved(port))
    }

    /// Whether the port is one that a socket of this machine uses, other than that from which
    /// the packet comes.
    fn is_used_locally(&self, tuple: &Tuple) -> bool {
        let net = self.conn.net();
        let (Some(family), Some(transport)) = (
            Family::from_number(tuple.l3num),
            Transport::of(tuple.protonum),
        ) else {
            return false;
        };
        if !self.state.avoids_local() || !net.is_local(family, &tuple.src, self.rcu) {
            return false;
        }
        let local = Endpoint {
            address: tuple.src,
            port: tuple.src_key,
        };
        let remote = Endpoint {
            address: tuple.dst,
            port: tuple.dst_key,
        };
        let origin = self.conn.tuple(Direction::Original);
        let is_own = |bound: Bound| {
            bound.port == origin.src_key
                && bound.address.is_none_or(|address| address == origin.src)
                && net.is_local(family, &origin.src, self.rcu)
        };
        let is_used =
            local_ports::is_used(net, family, transport, &local, &remote, is_own, self.rcu);
        if is_used {
            self.state.used_locally.fetch_add(1, Relaxed);
        }
        is_used
    }

    /// Promises the entry the answers to `tuple`. Says whether nobody else has that promise.
    fn reserve(&mut self, tuple: &Tuple) -> bool {
        let Some(reply) = tuple.invert() else {
            return true;
        };
        reservation::release(self.conn, self.rcu);
        self.entry.set_reply(&reply);
        reservation::reserve(self.conn, self.rcu)
    }
}

impl Occupancy for View<'_, '_> {
    type Pool = Search;

    fn claim(&mut self, tuple: &Tuple, terms: Terms) -> Claim {
        let is_source = self.manip == Manip::Source;
        let is_given = is_source && self.is_given(tuple);
        if is_given && self.is_excluded(tuple) {
            return Claim::Unavailable;
        }
        let reserves = is_source && self.state.reserves();
        if reserves && !self.reserve(tuple) {
            // It will be in the table, or its packet is dropped: both are told to the pool.
            return Claim::Taken;
        }
        let holder = match terms {
            Terms::MustBeFree => self.holder(tuple),
            Terms::Untranslated => self.holder_untranslated(tuple),
            Terms::TakeOver => self.holder_for_good(tuple),
        };
        let claim = match &holder {
            Some(holder) if holder.has(StatusBit::SrcNatDone) => Claim::Taken,
            // It began before there was NAT, and nobody asks us to forget it.
            Some(_) => Claim::Unavailable,
            None if is_given && self.is_used_locally(tuple) => Claim::Unavailable,
            None => return Claim::Granted,
        };
        if reserves {
            // Who met our promise meanwhile has marked the key as taken. That mark is the
            // holder's to clear, which lives until we let go of it below; or it is ours.
            match claim {
                Claim::Taken => reservation::release(self.conn, self.rcu),
                _ => give_up(self.conn, self.rcu),
            }
        }
        drop(holder);
        claim
    }

    fn find_appropriate_src(
        &mut self,
        tuple: &Tuple,
        suits: impl Fn(&Tuple) -> bool,
    ) -> Option<Tuple> {
        let zone = self.conn.zone();
        bysource::find_appropriate_src(self.conn.net(), zone, tuple, self.rcu, suits)
    }

    fn same_flow_mapping(&mut self, tuple: &Tuple) -> Option<Tuple> {
        // The clash of others ends in the loss of a packet, however they are mapped.
        if matches!(tuple.protonum, protocol::TCP | protocol::SCTP) {
            return None;
        }
        bysource::same_flow_mapping(self.conn, tuple, self.rcu)
    }

    fn random(&mut self) -> u32 {
        random::below(u32::MAX)
    }

    fn pool(&mut self, tuple: &Tuple) -> Option<Search> {
        if !pool::any() {
            return None;
        }
        pool::known(&pool_of(self.conn, tuple))
    }

    fn crowded_pool(&mut self, tuple: &Tuple) -> Option<Search> {
        pool::remember(pool_of(self.conn, tuple))
    }

    fn time_left_if_closed(&mut self, tuple: &Tuple) -> Option<u32> {
        self.over(tuple).map(|old| old.remaining())
    }

    fn oldest_first(&self) -> bool {
        self.state.is_oldest_first()
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
