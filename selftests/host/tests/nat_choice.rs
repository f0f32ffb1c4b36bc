// SPDX-License-Identifier: GPL-2.0

//! NAT's choice of an address and a port, against a model of the tuples that are taken.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::atomic::AtomicU64,
};

use proptest::prelude::*;

use rust_ct_host::proto::{
    nat::{
        choose::{choose, Request},
        occupancy::{Choice, Claim, Occupancy, Pool, Terms},
        pool::{Keys, WORDS},
        range::{flag, Range},
        window::Window,
        Manip,
    },
    types::{
        family::Family,
        protocol,
        tuple::{L4Key, Tuple},
    },
};

/// Ports that are in use, as far as the tests know; what the choice knows of them is its own.
struct Model {
    taken: HashSet<[u8; 2]>,
    /// Those of closed connections, with the time left.
    over: HashMap<[u8; 2], u32>,
    /// Ports that no connection gets.
    barred: HashSet<[u8; 2]>,
    /// Ports that a setting bars: a bit for each.
    excluded: Vec<u64>,
    /// Addresses without a free port.
    full: HashSet<[u8; 16]>,
    in_source: bool,
    known: Option<Tuple>,
    twin: Option<Tuple>,
    marks: Option<Marks>,
    no_memory: bool,
    oldest_first: bool,
    seed: u32,
    asked: u32,
}

#[derive(Clone)]
struct Marks(Rc<Vec<AtomicU64>>);

impl Marks {
    fn new() -> Self {
        Self(Rc::new((0..WORDS).map(|_| AtomicU64::new(0)).collect()))
    }
}

impl Pool for Marks {
    fn next(&self, first: u16, last: u16, barred: impl Fn(u16) -> u64) -> Option<u16> {
        let key = Keys::new(&self.0).unmarked(first, last, barred)?;
        assert!(Keys::new(&self.0).mark(key));
        Some(key)
    }

    fn forget(&self, key: u16) {
        assert!(Keys::new(&self.0).clear(key));
    }
}

impl Model {
    fn new(taken: impl IntoIterator<Item = u16>) -> Self {
        Self {
            taken: taken.into_iter().map(u16::to_be_bytes).collect(),
            over: HashMap::new(),
            barred: HashSet::new(),
            excluded: vec![0; WORDS],
            full: HashSet::new(),
            in_source: true,
            known: None,
            twin: None,
            marks: None,
            no_memory: false,
            oldest_first: true,
            seed: 1,
            asked: 0,
        }
    }

    fn key(&self, tuple: &Tuple) -> [u8; 2] {
        if self.in_source {
            tuple.src_key
        } else {
            tuple.dst_key
        }
    }

    /// The connection with this port ends.
    fn end(&mut self, port: u16) {
        assert!(self.taken.remove(&port.to_be_bytes()));
        if let Some(marks) = &self.marks {
            Keys::new(&marks.0).clear(port);
        }
    }
}

impl Occupancy for Model {
    type Pool = Marks;

    fn claim(&mut self, tuple: &Tuple, terms: Terms) -> Claim {
        self.asked += 1;
        let key = self.key(tuple);
        let port = u16::from_be_bytes(key);
        let is_excluded = self.excluded[usize::from(port >> 6)] & 1 << (port & 63) != 0;
        if is_excluded || self.barred.contains(&key) {
            return Claim::Unavailable;
        }
        if terms == Terms::TakeOver && self.over.remove(&key).is_some() {
            self.taken.remove(&key);
        }
        if self.taken.contains(&key) || self.full.contains(&tuple.src) {
            Claim::Taken
        } else {
            Claim::Granted
        }
    }

    fn find_appropriate_src(&mut self, _: &Tuple, suits: impl Fn(&Tuple) -> bool) -> Option<Tuple> {
        self.known.filter(suits)
    }

    fn same_flow_mapping(&mut self, _: &Tuple) -> Option<Tuple> {
        self.twin
    }

    fn random(&mut self) -> u32 {
        self.seed = self
            .seed
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        self.seed
    }

    fn barred(&self, _: &Tuple, number: u16) -> u64 {
        self.excluded[usize::from(number)]
    }

    fn pool(&mut self, _: &Tuple) -> Option<Marks> {
        self.marks.clone()
    }

    fn crowded_pool(&mut self, _: &Tuple) -> Option<Marks> {
        if !self.no_memory {
            self.marks = Some(Marks::new());
        }
        self.marks.clone()
    }

    fn time_left_if_closed(&mut self, tuple: &Tuple) -> Option<u32> {
        self.over.get(&self.key(tuple)).copied()
    }

    fn oldest_first(&self) -> bool {
        self.oldest_first
    }
}

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [10, 0, 0, 2];
const OUTSIDE: [u8; 16] = [192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn tcp(port: u16) -> Tuple {
    Tuple::ipv4(CLIENT, SERVER, L4Key::ports(port, 80), protocol::TCP)
}

fn ports(first: u16, last: u16) -> Range {
    Range {
        flags: flag::MAP_IPS | flag::PROTO_SPECIFIED,
        min_key: first.to_be_bytes(),
        max_key: last.to_be_bytes(),
        ..Range::address(OUTSIDE)
    }
}

fn source(tuple: Tuple, range: &Range, model: &mut Model) -> Choice {
    ask(tuple, range, model, true)
}

fn ask(tuple: Tuple, range: &Range, model: &mut Model, thorough: bool) -> Choice {
    let request = Request {
        tuple,
        range,
        manip: Manip::Source,
        zone_id: 0,
        expected: false,
        thorough,
    };
    choose(&request, model)
}

fn chosen(choice: Choice) -> Tuple {
    match choice {
        Choice::Found(tuple) | Choice::Exhausted(tuple) => tuple,
    }
}

#[test]
fn a_port_stays_if_it_may() {
    let found = source(tcp(5000), &Range::address(OUTSIDE), &mut Model::new([]));
    assert_eq!(chosen(found).src, OUTSIDE);
    assert_eq!(chosen(found).src_port(), 5000);
    let found = source(tcp(5000), &ports(4000, 6000), &mut Model::new([]));
    assert_eq!(chosen(found).src_port(), 5000);
}

/// An xt target of user space may have anything behind an IPv4 address. Of a tuple, those bytes are
/// zero: with others in it, no reply would be found.
#[test]
fn bytes_behind_an_ipv4_address_of_a_range_are_not_taken_over() {
    let dirty = |host| [192, 0, 2, host, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    let clean = |host| [192, 0, 2, host, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (first, last) in [(1, 1), (1, 9)] {
        let range = |address: fn(u8) -> [u8; 16]| Range {
            max_addr: address(last),
            ..Range::address(address(first))
        };
        for manip in [Manip::Source, Manip::Destination] {
            let answer = |range: &Range| {
                let mut model = Model::new([]);
                model.in_source = manip == Manip::Source;
                let request = Request {
                    tuple: tcp(5000),
                    range,
                    manip,
                    zone_id: 0,
                    expected: false,
                    thorough: true,
                };
                choose(&request, &mut model)
            };
            assert_eq!(answer(&range(dirty)), answer(&range(clean)));
        }
    }
    // The address that a packet has already is one of them.
    let inside = Tuple::ipv4(
        [192, 0, 2, 1],
        SERVER,
        L4Key::ports(5000, 80),
        protocol::TCP,
    );
    let found = source(inside, &Range::address(dirty(1)), &mut Model::new([]));
    assert_eq!(found, Choice::Found(inside));
    // An IPv6 address has no such bytes.
    let range = Range::address(dirty(1)).of_family(Some(Family::Ipv6));
    assert_eq!(range.min_addr, dirty(1));
}

#[test]
fn a_rule_that_names_one_port_is_told_from_a_range() {
    assert!(ports(500, 500).names_key());
    assert!(!ports(500, 501).names_key());
    assert!(!Range::address(OUTSIDE).names_key());
}

#[test]
fn a_taken_port_is_replaced_by_one_of_its_kind() {
    for (port, kind) in [(80, 1..=511), (600, 600..=1023), (5000, 1024..=65535)] {
        let found = source(tcp(port), &Range::address(OUTSIDE), &mut Model::new([port]));
        let Choice::Found(tuple) = found else {
            panic!("{found:?}");
        };
        assert_ne!(tuple.src_port(), port);
        assert!(kind.contains(&tuple.src_port()), "{tuple:?}");
    }
}

#[test]
fn a_known_mapping_is_preferred() {
    let mut model = Model::new([]);
    let mut known = tcp(4711);
    known.src = OUTSIDE;
    model.known = Some(known);
    let range = ports(4000, 5000);
    assert_eq!(source(tcp(4500), &range, &mut model), Choice::Found(known));
    // Not if it is asked for a random one, or if the mapping is no more allowed.
    let random = Range {
        flags: range.flags | flag::PROTO_RANDOM,
        ..range
    };
    let mut differs = false;
    for _ in 0..10 {
        differs |= chosen(source(tcp(4500), &random, &mut model)).src_port() != 4711;
    }
    assert!(differs);
    let found = source(tcp(4500), &ports(4000, 4600), &mut model);
    assert_eq!(chosen(found).src_port(), 4500);
}

#[test]
fn two_packets_of_one_connection_are_mapped_alike() {
    let mut twin = tcp(4711);
    twin.src = OUTSIDE;
    for flags in [flag::PROTO_RANDOM, flag::PROTO_RANDOM_FULLY] {
        let mut model = Model::new([]);
        model.twin = Some(twin);
        let range = ports(4000, 5000);
        let random = Range {
            flags: range.flags | flags,
            ..range
        };
        assert_eq!(source(tcp(4500), &random, &mut model), Choice::Found(twin));
    }
    // Without need for a search there is none for a twin.
    let mut model = Model::new([]);
    model.twin = Some(twin);
    let found = source(tcp(4500), &ports(4000, 5000), &mut model);
    assert_eq!(chosen(found).src_port(), 4500);
    // Not if the rule is another one by now.
    let mut model = Model::new([4500]);
    model.twin = Some(twin);
    let found = source(tcp(4500), &ports(4000, 4600), &mut model);
    assert_ne!(chosen(found).src_port(), 4711);
}

#[test]
fn the_last_port_of_a_small_range_is_found() {
    for free in 7000..7100 {
        let taken = (7000..7100).filter(|&port| port != free);
        let found = source(tcp(1), &ports(7000, 7099), &mut Model::new(taken));
        assert_eq!(chosen(found).src_port(), free);
        assert!(matches!(found, Choice::Found(_)));
    }
}

#[test]
fn a_full_range_is_told() {
    for thorough in [false, true] {
        let mut model = Model::new(7000..7100);
        assert!(matches!(
            ask(tcp(1), &ports(7000, 7099), &mut model, thorough),
            Choice::Exhausted(_)
        ));
    }
    let mut model = Model::new(1..=u16::MAX);
    let full = ask(tcp(5000), &Range::address(OUTSIDE), &mut model, false);
    assert!(matches!(full, Choice::Exhausted(_)));
    assert!(model.asked <= 250, "{} questions", model.asked);
}

#[test]
fn once_it_is_known_a_full_pool_costs_next_to_nothing() {
    let mut model = Model::new(1..=u16::MAX);
    let range = Range::address(OUTSIDE);
    assert!(matches!(
        source(tcp(5000), &range, &mut model),
        Choice::Exhausted(_)
    ));
    model.asked = 0;
    assert!(matches!(
        source(tcp(5000), &range, &mut model),
        Choice::Exhausted(_)
    ));
    assert!(model.asked <= 2, "{} questions", model.asked);
    // And the one that comes free is found at once.
    model.end(33_333);
    model.asked = 0;
    let found = source(tcp(5000), &range, &mut model);
    assert_eq!(chosen(found).src_port(), 33_333);
    assert!(matches!(found, Choice::Found(_)));
    assert!(model.asked <= 2, "{} questions", model.asked);
}

#[test]
fn without_memory_for_a_pool_some_ports_are_tried() {
    let mut model = Model::new(1..=u16::MAX);
    model.no_memory = true;
    assert!(matches!(
        source(tcp(5000), &Range::address(OUTSIDE), &mut model),
        Choice::Exhausted(_)
    ));
    assert!(model.asked <= 150, "{} questions", model.asked);
}

#[test]
fn barred_ports_are_never_given_and_never_forgotten() {
    let mut model = Model::new(7000..7098);
    model.barred = (7098..7200).map(u16::to_be_bytes).collect();
    for _ in 0..3 {
        assert!(matches!(
            source(tcp(7150), &ports(7000, 7199), &mut model),
            Choice::Exhausted(_)
        ));
    }
    model.barred.remove(&7150_u16.to_be_bytes());
    let found = source(tcp(1), &ports(7000, 7199), &mut model);
    assert_eq!(chosen(found).src_port(), 7150);
}

/// Thirty-two addresses: the most that a choice tries.
fn many_addresses() -> Range {
    let mut last = OUTSIDE;
    last[3] = 32;
    Range {
        max_addr: last,
        ..Range::address(OUTSIDE)
    }
}

#[test]
fn excluded_ports_cost_next_to_nothing() {
    let mut model = Model::new([]);
    model.excluded.fill(u64::MAX);
    let none = source(tcp(5000), &many_addresses(), &mut model);
    assert!(matches!(none, Choice::Exhausted(_)));
    assert!(model.asked <= 2, "{} questions", model.asked);
    assert!(model.marks.is_none(), "a pool for nothing");
    // The only port that is not excluded is found, also in a crowded pool.
    model.excluded[500] = !(1 << 7);
    for is_crowded in [false, true] {
        model.marks = is_crowded.then(Marks::new);
        model.asked = 0;
        let found = source(tcp(5000), &many_addresses(), &mut model);
        assert_eq!(chosen(found).src_port(), 500 * 64 + 7);
        assert!(matches!(found, Choice::Found(_)));
        assert!(model.asked <= 4, "{} questions", model.asked);
    }
}

#[test]
fn ports_of_sockets_end_the_search_after_a_while() {
    for taken in [0..0, 1024..40_000] {
        let mut model = Model::new(taken.clone());
        model.barred = (taken.end.max(1)..=u16::MAX)
            .map(u16::to_be_bytes)
            .collect();
        for _ in 0..200 {
            assert!(matches!(
                source(tcp(50_000), &many_addresses(), &mut model),
                Choice::Exhausted(_)
            ));
        }
        // The taken ones are marked once; after that a packet meets no more than the limit.
        model.asked = 0;
        source(tcp(50_000), &many_addresses(), &mut model);
        assert!(model.asked <= 700, "{} questions", model.asked);
    }
}

#[test]
fn an_offset_needs_a_pool_only_when_it_is_crowded() {
    let range = Range {
        flags: flag::MAP_IPS | flag::PROTO_SPECIFIED | flag::PROTO_OFFSET,
        base_key: 5000_u16.to_be_bytes(),
        ..ports(8000, 8999)
    };
    let mut model = Model::new(8000..8005);
    let found = source(tcp(5000), &range, &mut model);
    assert_eq!(chosen(found).src_port(), 8005);
    assert!(model.marks.is_none());
    let mut model = Model::new(8000..8990);
    assert_eq!(
        chosen(source(tcp(5000), &range, &mut model)).src_port(),
        8990
    );
    assert!(model.marks.is_some());
}

#[test]
fn the_next_address_of_a_range_is_tried() {
    let mut last = OUTSIDE;
    last[3] = 9;
    let range = Range {
        max_addr: last,
        ..Range::address(OUTSIDE)
    };
    let mut free = OUTSIDE;
    free[3] = 4;
    let mut model = Model::new([]);
    model.full = (1..=9)
        .filter(|&host| host != 4)
        .map(|host| {
            let mut address = OUTSIDE;
            address[3] = host;
            address
        })
        .collect();
    let found = source(tcp(5000), &range, &mut model);
    assert!(matches!(found, Choice::Found(_)));
    assert_eq!((chosen(found).src, chosen(found).src_port()), (free, 5000));
    // A client that is to keep its address does not get another one.
    let persistent = Range {
        flags: range.flags | flag::PERSISTENT,
        ..range
    };
    let kept = persistent.spread(&tcp(5000), Manip::Source, 0).src;
    model.full.insert(kept);
    assert!(matches!(
        source(tcp(5000), &persistent, &mut model),
        Choice::Exhausted(_)
    ));
}

#[test]
fn who_is_over_gives_way_the_oldest_first() {
    let mut model = Model::new(7000..7020);
    model.over.insert(7007_u16.to_be_bytes(), 500);
    model.over.insert(7011_u16.to_be_bytes(), 100);
    model.over.insert(7003_u16.to_be_bytes(), 900);
    for wanted in [7011_u16, 7007, 7003] {
        let found = source(tcp(1), &ports(7000, 7019), &mut model);
        assert!(matches!(found, Choice::Found(_)));
        assert_eq!(chosen(found).src_port(), wanted);
        model.taken.insert(wanted.to_be_bytes());
    }
    model.over.insert(7007_u16.to_be_bytes(), 500);
    let found = ask(tcp(1), &ports(7000, 7019), &mut model, false);
    assert_eq!(chosen(found).src_port(), 7007);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Connections come and go; each new one gets a port that is free, and gets one whenever there
    /// is one.
    #[test]
    fn a_port_is_found_whenever_one_is_free(
        first in 1024_u16..60_000,
        size in 1_u16..3000,
        steps in prop::collection::vec((any::<bool>(), any::<u16>()), 1..4000),
    ) {
        let last = first + size - 1;
        let range = ports(first, last);
        let mut model = Model::new([]);
        let mut open: Vec<u16> = Vec::new();
        // It begins full but for a few.
        for port in first..=last.saturating_sub(5) {
            model.taken.insert(port.to_be_bytes());
            open.push(port);
        }
        for (opens, number) in steps {
            if opens || open.is_empty() {
                let free = open.len() < usize::from(size);
                let found = source(tcp(number), &range, &mut model);
                prop_assert_eq!(matches!(found, Choice::Found(_)), free);
                if free {
                    let port = chosen(found).src_port();
                    prop_assert!((first..=last).contains(&port));
                    prop_assert!(model.taken.insert(port.to_be_bytes()));
                    open.push(port);
                }
            } else {
                let port = open.swap_remove(usize::from(number) % open.len());
                model.end(port);
            }
        }
    }

    /// A set of keys is a set.
    #[test]
    fn marks_are_a_set(
        changes in prop::collection::vec((any::<bool>(), any::<u16>()), 1..200),
        first: u16,
        last: u16,
    ) {
        let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        let keys = Keys::new(&words);
        let mut model = HashSet::new();
        for (adds, key) in changes {
            if adds {
                prop_assert_eq!(keys.mark(key), model.insert(key));
            } else {
                prop_assert_eq!(keys.clear(key), model.remove(&key));
            }
        }
        let expected = (first..=last).find(|key| !model.contains(key));
        prop_assert_eq!(keys.unmarked(first, last, |_| 0), expected);
    }
}

#[test]
fn an_offset_is_kept() {
    let range = Range {
        flags: flag::MAP_IPS | flag::PROTO_SPECIFIED | flag::PROTO_OFFSET,
        base_key: 5000_u16.to_be_bytes(),
        ..ports(8000, 8099)
    };
    let request = |port| Request {
        tuple: Tuple::ipv4(CLIENT, SERVER, L4Key::ports(1234, port), protocol::TCP),
        range: &range,
        manip: Manip::Destination,
        zone_id: 0,
        expected: false,
        thorough: true,
    };
    for (port, wanted) in [(5000, 8000), (5042, 8042), (5099, 8099), (5100, 8000)] {
        let mut model = Model::new([]);
        model.in_source = false;
        assert_eq!(
            chosen(choose(&request(port), &mut model)).dst_port(),
            wanted
        );
    }
}

#[test]
fn a_destination_port_stays_without_a_range() {
    let mut model = Model::new([80]);
    model.in_source = false;
    let range = Range::address(OUTSIDE);
    let request = Request {
        tuple: tcp(5000),
        range: &range,
        manip: Manip::Destination,
        zone_id: 0,
        expected: false,
        thorough: true,
    };
    let found = choose(&request, &mut model);
    assert_eq!(chosen(found).dst, OUTSIDE);
    assert_eq!(chosen(found).dst_port(), 80);
}

/// A rule that names one destination port leaves no choice: a connection that has this tuple, and
/// is over, is not ended for it. As in C, confirmation finds the clash.
#[test]
fn one_destination_port_ends_no_connection() {
    let range = ports(80, 80);
    for thorough in [false, true] {
        let mut model = Model::new([80]);
        model.in_source = false;
        model.over.insert(80_u16.to_be_bytes(), 5);
        let request = Request {
            tuple: tcp(5000),
            range: &range,
            manip: Manip::Destination,
            zone_id: 0,
            expected: false,
            thorough,
        };
        let found = chosen(choose(&request, &mut model));
        assert_eq!((found.dst, found.dst_port()), (OUTSIDE, 80));
        assert_eq!(
            (model.over.len(), model.asked),
            (1, 0),
            "thorough: {thorough}"
        );
    }
}

#[test]
fn windows() {
    let range = Range::address(OUTSIDE);
    let query = Tuple::ipv4(CLIENT, SERVER, L4Key::icmp([0, 7], 8, 0), protocol::ICMP);
    let window = Window::of(&query, &range, Manip::Source, false).unwrap();
    assert_eq!((window.min, window.size), (0, 65536));
    assert_eq!(window.key(65535), 65535);
    assert_eq!(window.key(65536), 0);
    let call = Tuple::ipv4(CLIENT, SERVER, L4Key::ports(1, 2), protocol::GRE);
    assert!(Window::of(&call, &range, Manip::Source, false).is_none());
    assert!(Window::of(&call, &range, Manip::Source, true).is_some());
    let other = Tuple::ipv4(CLIENT, SERVER, L4Key::NONE, 99);
    assert!(Window::of(&other, &range, Manip::Source, false).is_none());
    // Ends in the wrong order are put right.
    let window = Window::of(&tcp(1), &ports(20, 10), Manip::Source, false).unwrap();
    assert_eq!((window.min, window.size), (10, 11));
}
