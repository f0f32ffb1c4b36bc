// SPDX-License-Identifier: GPL-2.0

//! Every entry point of `proto`, under its own name, so that the compiler generates code for it.
//! `no-panic.sh` builds this as the kernel builds modules and looks for panics in the object.

#![no_std]
#![allow(missing_docs)]

#[path = "../../../proto/mod.rs"]
pub mod proto;

use core::sync::atomic::AtomicU64;

use proto::{
    generic, gre, hash, icmp, icmpv6,
    nat::{
        checksum,
        choose::{choose, Request},
        occupancy::{Choice, Claim, Occupancy, Pool, Terms},
        pool::Keys,
        rewrite::{set_ipv4_len, set_ipv6_len, ChecksumField, ChecksumFixup, Refused, Rewrite},
        share::{admit, Admission, Other},
        Manip,
    },
    permutation, sctp,
    step::{Reason, Status, Step, Update},
    tcp,
    time::Jiffies32,
    types::{
        direction::Direction,
        family::Family,
        tuple::{Key, L4Key, Tuple},
        zone::Zone,
    },
    udp, wire,
};

type Read = fn(u32) -> Option<[u8; 4]>;
type Sctp = wire::sctp::Packet<Read>;

/// A view of occupied tuples that the optimiser cannot see through.
pub struct Others(
    fn(&Tuple) -> Claim,
    fn(&Tuple) -> Option<Tuple>,
    fn() -> u32,
    fn() -> Option<Marks>,
);

/// The marks of a crowded pool.
pub struct Marks(&'static [AtomicU64]);

impl Pool for Marks {
    fn next(&self, first: u16, last: u16, barred: impl Fn(u16) -> u64) -> Option<u16> {
        let keys = Keys::new(self.0);
        keys.unmarked(first, last, barred)
            .filter(|&key| keys.mark(key))
    }

    fn forget(&self, key: u16) {
        Keys::new(self.0).clear(key);
    }
}

impl Occupancy for Others {
    type Pool = Marks;

    fn claim(&mut self, tuple: &Tuple, _terms: Terms) -> Claim {
        self.0(tuple)
    }

    fn find_appropriate_src(
        &mut self,
        tuple: &Tuple,
        suits: impl Fn(&Tuple) -> bool,
    ) -> Option<Tuple> {
        self.1(tuple).filter(suits)
    }

    fn same_flow_mapping(&mut self, tuple: &Tuple) -> Option<Tuple> {
        self.1(tuple)
    }

    fn random(&mut self) -> u32 {
        self.2()
    }

    fn barred(&self, _tuple: &Tuple, number: u16) -> u64 {
        u64::from(self.2()) << (number & 31)
    }

    fn pool(&mut self, _tuple: &Tuple) -> Option<Marks> {
        self.3()
    }

    fn crowded_pool(&mut self, _tuple: &Tuple) -> Option<Marks> {
        self.3()
    }

    fn time_left_if_closed(&mut self, _tuple: &Tuple) -> Option<u32> {
        Some(self.2())
    }

    fn oldest_first(&self) -> bool {
        self.2() != 0
    }
}

/// Declares a function that calls an entry point.
macro_rules! entries {
    ($($name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)? $body:block)*) => {
        $(
            #[no_mangle]
            pub fn $name($($arg: $type),*) $(-> $out)? $body
        )*
    };
}

entries! {
    entry_direction(n: u8) -> Option<Direction> { Direction::from_u8(n) }
    entry_index(d: Direction) -> usize { d.opposite().index() }
    entry_jiffies(a: Jiffies32, b: Jiffies32, n: u32) -> (u32, u32, bool, bool, bool) {
        let c = a.add(n);
        (c.since(b), c.remaining(b), c.is_expired(b), c.before(b), c.after(b))
    }
    entry_zone(z: Zone, d: Direction, mark: u32) -> u16 { z.for_mark(mark).id_for(d) }
    entry_tuple_ports(ports: &[u8; 4], t: &Tuple) -> Tuple {
        Tuple::new(t.l3num, t.src, t.dst, L4Key::from_wire(ports), t.protonum)
    }
    entry_tuple_v4(src: [u8; 4], dst: [u8; 4], key: L4Key) -> Tuple {
        Tuple::ipv4(src, dst, key, 6)
    }
    entry_tuple_read(t: &Tuple) -> (u16, u16, u16, u8, u8, [u8; 4], [u8; 4], Direction) {
        (t.src_port(), t.dst_port(), t.icmp_id(), t.icmp_type(), t.icmp_code(), t.src_ipv4(),
            t.dst_ipv4(), t.direction())
    }
    entry_invert(t: &Tuple) -> Option<Tuple> { t.invert() }
    entry_tuple_eq(a: &Tuple, b: &Tuple) -> bool { a == b }
    entry_key(t: &Tuple) -> Key { t.key() }
    entry_key_eq(a: &Key, words: [u64; 5]) -> bool { *a == Key::from_words(words) }
    entry_jhash2(key: &[u32], initval: u32) -> u32 { hash::jhash2(key, initval) }
    entry_jhash2_10(key: &[u32; 10], initval: u32) -> u32 { hash::jhash2_array(key, initval) }
    entry_scale(h: u32, n: u32) -> u32 { hash::reciprocal_scale(h, n) }
    entry_permutation(limit: u32, key: [u64; 4], i: u32) -> Option<u32> {
        permutation::Permutation::new(limit, key).at(i)
    }
    entry_tuple_hash(k: &Key, zone: u16, net: u32, seed: [u64; 3]) -> u32 {
        hash::tuple_hash(k, zone, net, &hash::Seed::new(seed))
    }
    entry_ipv4(b: &[u8; 20], n: u32) -> (Result<(), wire::Error>, Result<u32, wire::Error>) {
        let h = wire::ipv4::Header::parse(b);
        (h.check(n), h.transport_offset(n))
    }
    entry_ipv4_read(h: &wire::ipv4::Header) -> (u8, u32, u32, u16, bool, u8, u8, [u8; 4], [u8; 4]) {
        (h.version(), h.header_len(), h.total_len(), h.fragment_offset(), h.more_fragments(),
            h.ttl(), h.protocol(), h.source(), h.destination())
    }
    entry_ipv6(b: &[u8; 40], n: u32) -> Result<wire::ipv6::Header, wire::Error> {
        let h = wire::ipv6::Header::parse(b);
        h.check(n)?;
        Ok(h)
    }
    entry_extensions(first: u8, start: u32, read: fn(u32) -> Option<[u8; 2]>)
        -> Result<wire::ipv6::Transport, wire::Error>
    {
        wire::ipv6::skip_extensions(first, start, read)
    }
    entry_udp_header(b: &[u8; 8], n: u32, gso: bool) -> Result<(), Reason> {
        udp::check(&wire::udp::Header::parse(b), n, gso)
    }
    entry_icmp_header(b: &[u8; 8]) -> (wire::icmp::Class, L4Key) {
        let h = wire::icmp::Header::parse(b);
        (h.class(), h.key())
    }
    entry_icmpv6_header(b: &[u8; 8]) -> (wire::icmpv6::Class, L4Key) {
        let h = wire::icmpv6::Header::parse(b);
        (h.class(), h.key())
    }
    entry_redirected(hops: u8, src: &[u8; 16], message: &[u8]) -> Result<Option<u32>, Reason> {
        Ok(wire::icmpv6::redirected(hops, src, message)?)
    }
    entry_tcp_header(b: &[u8; 20], n: u32) -> Result<wire::tcp::Header, Reason> {
        let h = wire::tcp::Header::parse(b);
        tcp::check(&h, n)?;
        Ok(h)
    }
    entry_tcp_options(b: &[u8]) -> Option<wire::tcp::TcpOption<'_>> {
        wire::tcp::Options::new(b).last()
    }
    entry_tcp_open(t: &mut tcp::Track, s: &tcp::Segment<'_>, p: &tcp::Config<'_>)
        -> Result<(), Reason>
    {
        tcp::open(t, s, p)
    }
    entry_tcp_packet(
        t: &mut tcp::Track, s: &tcp::Segment<'_>, d: Direction, st: &Status, p: &tcp::Config<'_>,
        now: Jiffies32
    ) -> Step {
        tcp::packet(t, s, d, st, p, now)
    }
    entry_tcp_begin(s: &tcp::Segment<'_>, to: &tcp::Timeouts, n: u8) -> Option<(tcp::Track, u32)> {
        tcp::open_syn(s, to, n)
    }
    entry_tcp_complete_handshake(
        t: &mut tcp::Track, s: &tcp::Segment<'_>, d: Direction, to: &tcp::Timeouts, n: u8
    ) -> Option<u32> {
        tcp::complete_handshake(t, s, d, to, n)
    }
    entry_tcp_usual(
        t: &mut tcp::Track, s: &tcp::Segment<'_>, d: Direction, to: &tcp::Timeouts, n: u8
    ) -> Option<u32> {
        tcp::fast_path(t, s, d, to, n)
    }
    entry_tcp_closing(t: &mut tcp::Track) -> bool { t.forget_windows(); t.set_closing() }
    entry_tcp_name(t: &tcp::Track) -> (&'static str, bool) {
        (t.state().name(), t.state().may_be_dropped_early())
    }
    entry_udp_packet(t: &mut udp::Track, s: &Status, to: &udp::Timeouts, now: usize, hz: usize)
        -> Update
    {
        udp::packet(t, s, to, now, hz)
    }
    entry_icmp_packet(family: Family, t: &Tuple, timeout: u32) -> Step {
        icmp::packet(family, t, timeout)
    }
    entry_icmpv6_packet(family: Family, t: &Tuple, s: &Status, timeout: u32) -> Step {
        icmpv6::packet(family, t, s, timeout)
    }
    entry_sctp_parse(b: &[u8; 12], n: u32, read: Read) -> Result<Sctp, Reason> {
        sctp::parse(wire::sctp::Header::parse(b), n, read)
    }
    entry_sctp_ports(b: &[u8; 12]) -> (u16, u16) {
        let h = wire::sctp::Header::parse(b);
        (h.source(), h.destination())
    }
    entry_sctp_open(t: &mut sctp::Track, p: &Sctp) -> Result<(), Reason> { sctp::open(t, p) }
    entry_sctp_packet(
        t: &mut sctp::Track, p: &Sctp, d: Direction, s: &Status, to: &sctp::Timeouts
    ) -> Step {
        sctp::packet(t, p, d, s, to)
    }
    entry_sctp_name(t: &mut sctp::Track, n: u32, tag: wire::sctp::Tag, d: Direction)
        -> (&'static str, bool)
    {
        t.set_state(sctp::State::from_u32(n));
        t.set_tag(d, tag);
        (t.state().name(), t.state().may_be_dropped_early())
    }
    entry_gre_header(b: &[u8; 8]) -> (Result<wire::gre::Class, wire::Error>, [u8; 2]) {
        (wire::gre::classify(&[b[0], b[1], b[2], b[3]]), wire::gre::call_id(b))
    }
    entry_gre_packet(t: &mut gre::Track, s: &Status, to: &gre::Timeouts) -> Step {
        *t = gre::open(to);
        gre::packet(t, s)
    }
    entry_generic_packet(timeout: u32) -> Step { generic::packet(timeout) }
    entry_nat_rewrite(
        t: &Tuple, m: Manip, src: &[u8; 16], dst: &[u8; 16], n: u8, b: &mut [u8], f: ChecksumField
    ) -> Result<ChecksumFixup, Refused> {
        let rewrite = Rewrite::new(t, m, src, dst);
        let len = rewrite.transport_len(n, 99);
        let (transport, network) = b.split_at_mut_checked(len).ok_or(Refused)?;
        rewrite.ipv4(network)?;
        rewrite.ipv6(network)?;
        rewrite.transport(n, transport, f)
    }
    entry_nat_lengths(b: &mut [u8], n: u16) -> Result<(), Refused> {
        set_ipv4_len(b, n)?;
        set_ipv6_len(b, n)
    }
    entry_nat_sums(b: &[u8], src: &[u8; 16], dst: &[u8; 16], n: u32) -> (u16, [u8; 2]) {
        (checksum::add(checksum::sum(b), 1), checksum::pseudo_header(src, dst, 6, n))
    }
    entry_nat_share(o: &[Other]) -> Admission { admit(o.iter().copied()) }
    entry_nat_choose(r: &Request<'_>, others: &mut Others) -> Choice { choose(r, others) }
    entry_message(r: Reason) -> (&'static str, Option<u32>, bool) {
        (r.message(), r.value(), r.is_logged())
    }
}
