// SPDX-License-Identifier: GPL-2.0

//! NAT's arithmetic: headers and their checksums, ranges; who may reserve how many tuples.

use proptest::{array, collection::vec, prelude::*};

use rust_ct_host::proto::{
    nat::{
        checksum::{self, Delta},
        range::{flag, Range},
        rewrite::{self, ChecksumField, ChecksumFixup, Rewrite},
        share::{admit, Admission, Other, LONG_CHAIN, SHARE},
        Manip,
    },
    types::{
        family::Family,
        protocol,
        tuple::{L4Key, Tuple},
    },
};

/// The one's complement sum of bytes in wire order, the slow way.
fn plain_sum(bytes: &[u8]) -> u32 {
    let mut sum = 0;
    for word in bytes.chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum
}

fn full_checksum(bytes: &[u8]) -> [u8; 2] {
    let sum = plain_sum(bytes);
    (!(((sum & 0xffff) + (sum >> 16)) as u16)).to_be_bytes()
}

fn manips() -> impl Strategy<Value = Manip> {
    prop_oneof![Just(Manip::Source), Just(Manip::Destination)]
}

fn protocols() -> impl Strategy<Value = u8> {
    prop_oneof![
        Just(protocol::TCP),
        Just(protocol::UDP),
        Just(protocol::SCTP),
        Just(protocol::ICMP),
        Just(protocol::ICMPV6),
        Just(protocol::GRE),
        Just(99),
    ]
}

/// A packet: network header (with options or none) and what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Packet {
    family: Family,
    protocol: u8,
    network: Vec<u8>,
    transport: Vec<u8>,
}

const NO_CHECKSUM: usize = usize::MAX;

impl Packet {
    fn checksum_at(&self) -> usize {
        match self.protocol {
            protocol::TCP => 16,
            protocol::UDP => 6,
            protocol::ICMP | protocol::ICMPV6 => 2,
            _ => NO_CHECKSUM,
        }
    }

    fn address(&self, source: bool) -> [u8; 16] {
        let mut address = [0; 16];
        match (self.family, source) {
            (Family::Ipv4, true) => address[..4].copy_from_slice(&self.network[12..16]),
            (Family::Ipv4, false) => address[..4].copy_from_slice(&self.network[16..20]),
            (_, true) => address.copy_from_slice(&self.network[8..24]),
            (_, false) => address.copy_from_slice(&self.network[24..40]),
        }
        address
    }

    fn pseudo_header(&self) -> Vec<u8> {
        if self.protocol == protocol::ICMP {
            return Vec::new();
        }
        let len = if self.family == Family::Ipv4 { 4 } else { 16 };
        let mut bytes = self.address(true)[..len].to_vec();
        bytes.extend(&self.address(false)[..len]);
        bytes.extend([0, self.protocol]);
        bytes.extend((self.transport.len() as u32).to_be_bytes());
        bytes
    }

    /// Puts the checksums in that a sender would.
    fn seal(&mut self) {
        if self.family == Family::Ipv4 {
            self.network[10..12].fill(0);
            let sum = full_checksum(&self.network);
            self.network[10..12].copy_from_slice(&sum);
        }
        let at = self.checksum_at();
        if at != NO_CHECKSUM {
            self.transport[at..at + 2].fill(0);
            let mut all = self.pseudo_header();
            all.extend(&self.transport);
            let mut sum = full_checksum(&all);
            if self.protocol == protocol::UDP && sum == [0; 2] {
                sum = [0xff; 2];
            }
            self.transport[at..at + 2].copy_from_slice(&sum);
        }
    }

    /// Leaves the transport checksum to a device.
    fn seal_partly(&mut self) {
        self.seal();
        let at = self.checksum_at();
        let sum = plain_sum(&self.pseudo_header()) as u16;
        self.transport[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }

    fn rewrite(
        &mut self,
        target: &Tuple,
        manip: Manip,
        field: ChecksumField,
    ) -> Option<ChecksumFixup> {
        let rewrite = Rewrite::new(target, manip, &self.address(true), &self.address(false));
        let available = self.transport.len() as u32;
        let len = rewrite.transport_len(self.protocol, available);
        let left = if len == 0 {
            ChecksumFixup::None
        } else {
            rewrite
                .transport(self.protocol, &mut self.transport[..len], field)
                .ok()?
        };
        if self.family == Family::Ipv4 {
            rewrite.ipv4(&mut self.network).unwrap();
        } else {
            rewrite.ipv6(&mut self.network).unwrap();
        }
        Some(left)
    }

    /// What the packet is: the tuple that translates it to itself.
    fn tuple(&self) -> Tuple {
        let port = |at: usize| [self.transport[at], self.transport[at + 1]];
        let key = match self.protocol {
            protocol::ICMP | protocol::ICMPV6 => L4Key::icmp(port(4), self.transport[0], 0),
            protocol::GRE => L4Key {
                src: [0; 2],
                dst: port(6),
            },
            _ => L4Key {
                src: port(0),
                dst: port(2),
            },
        };
        Tuple::new(
            self.family.to_u16(),
            self.address(true),
            self.address(false),
            key,
            self.protocol,
        )
    }
}

prop_compose! {
    fn packets()(
        v6 in any::<bool>(),
        protocol in protocols(),
        options in 0..=10_usize,
        noise in vec(any::<u8>(), 60),
        transport in vec(any::<u8>(), 20..200),
        query in prop_oneof![Just(8_u8), Just(0), Just(128), Just(129), any::<u8>()],
    ) -> Packet {
        let family = if v6 { Family::Ipv6 } else { Family::Ipv4 };
        // The one of the family.
        let protocol = match protocol {
            protocol::ICMP if v6 => protocol::ICMPV6,
            protocol::ICMPV6 if !v6 => protocol::ICMP,
            other => other,
        };
        let mut network = noise[..if v6 { 40 } else { 20 + 4 * options }].to_vec();
        if !v6 {
            network[0] = 0x45 + options as u8;
        }
        let mut transport = transport;
        match protocol {
            protocol::ICMP | protocol::ICMPV6 => transport[0] = query,
            protocol::GRE => transport[1] = transport[1] & 0xf8 | 1,
            _ => {}
        }
        let mut packet = Packet { family, protocol, network, transport };
        packet.seal();
        packet
    }
}

/// A tuple of the packet's family and protocol.
fn target_for(packet: &Packet, source: [u8; 16], destination: [u8; 16], key: L4Key) -> Tuple {
    let fit = |mut address: [u8; 16]| {
        if packet.family == Family::Ipv4 {
            address[4..].fill(0);
        }
        address
    };
    Tuple::new(
        packet.family.to_u16(),
        fit(source),
        fit(destination),
        key,
        packet.protocol,
    )
}

fn keys() -> impl Strategy<Value = L4Key> {
    array::uniform4(any::<u8>()).prop_map(|bytes| L4Key::from_wire(&bytes))
}

proptest! {
    #[test]
    fn a_change_of_a_sum_is_the_sum_of_the_change(
        mut bytes in vec(any::<u8>(), 2..200),
        at in any::<prop::sample::Index>(),
        new in any::<[u8; 2]>(),
    ) {
        // A checksum over nothing but zeroes is one that no header has.
        bytes.push(1);
        let words = bytes.len() / 2;
        let at = at.index(words) * 2;
        let old = [bytes[at], bytes[at + 1]];
        let before = full_checksum(&bytes);
        bytes[at..at + 2].copy_from_slice(&new);
        let change = Delta::NONE.replace(old, new);
        prop_assert_eq!(change.update(before), full_checksum(&bytes));
        prop_assert_eq!(u16::from_be_bytes(checksum::sum(&bytes).to_ne_bytes()) as u32 % 0xffff,
            plain_sum(&bytes) % 0xffff);
    }

    #[test]
    fn a_rewritten_packet_has_the_checksums_of_a_new_one(
        packet in packets(), source in any::<[u8; 16]>(), destination in any::<[u8; 16]>(),
        key in keys(), manip in manips(),
    ) {
        let target = target_for(&packet, source, destination, key);
        let mut changed = packet.clone();
        let left = changed.rewrite(&target, manip, ChecksumField::Whole).unwrap();
        prop_assert_eq!(left == ChecksumFixup::Crc32c, packet.protocol == protocol::SCTP);
        let mut sealed = changed.clone();
        sealed.seal();
        prop_assert_eq!(&changed, &sealed);
        // It has what was wanted, and nothing else.
        let wanted = match manip { Manip::Source => target.src, Manip::Destination => target.dst };
        prop_assert_eq!(changed.address(manip == Manip::Source), wanted);
        let is_other = manip != Manip::Source;
        prop_assert_eq!(changed.address(is_other), packet.address(is_other));
    }

    #[test]
    fn what_a_device_is_to_finish_is_mended_likewise(
        packet in packets(), source in any::<[u8; 16]>(), destination in any::<[u8; 16]>(),
        key in keys(), manip in manips(),
    ) {
        prop_assume!(matches!(packet.protocol, protocol::TCP | protocol::UDP));
        let target = target_for(&packet, source, destination, key);
        let mut changed = packet.clone();
        changed.seal_partly();
        changed.rewrite(&target, manip, ChecksumField::PseudoHeader).unwrap();
        let mut sealed = changed.clone();
        sealed.seal_partly();
        let at = packet.checksum_at();
        let sum = |packet: &Packet| {
            u16::from_be_bytes([packet.transport[at], packet.transport[at + 1]])
        };
        // Zero has two forms.
        prop_assert_eq!(sum(&changed) % 0xffff, sum(&sealed) % 0xffff);
        let without = |mut packet: Packet| { packet.transport[at..at + 2].fill(0); packet };
        prop_assert_eq!(without(changed), without(sealed));
    }

    #[test]
    fn the_sum_that_a_device_reports_is_mended(
        packet in packets(), source in any::<[u8; 16]>(), destination in any::<[u8; 16]>(),
        key in keys(), manip in manips(),
    ) {
        // Other protocols do not use it.
        prop_assume!(packet.checksum_at() != NO_CHECKSUM);
        let target = target_for(&packet, source, destination, key);
        let mut changed = packet.clone();
        // Of IPv4 the transport part counts, as its header sums up to nothing; of IPv6 all.
        let reported = |packet: &Packet| {
            let mut all = match packet.family {
                Family::Ipv4 => Vec::new(),
                Family::Ipv6 => packet.network.clone(),
            };
            all.extend(&packet.transport);
            plain_sum(&all) % 0xffff
        };
        let before = reported(&packet);
        let less = match changed.rewrite(&target, manip, ChecksumField::Whole).unwrap() {
            ChecksumFixup::Delta(change) => {
                u32::from(u16::from_be_bytes(change.fold().to_ne_bytes()))
            }
            _ => 0,
        };
        prop_assert_eq!((reported(&changed) + less) % 0xffff, before);
    }

    #[test]
    fn back_and_forth_is_as_before(
        packet in packets(), source in any::<[u8; 16]>(), destination in any::<[u8; 16]>(),
        key in keys(), manip in manips(),
    ) {
        let target = target_for(&packet, source, destination, key);
        let mut changed = packet.clone();
        changed.rewrite(&target, manip, ChecksumField::Whole).unwrap();
        changed.rewrite(&packet.tuple(), manip, ChecksumField::Whole).unwrap();
        prop_assert_eq!(changed, packet);
    }

    #[test]
    fn a_quoted_header_may_be_short(
        packet in packets(), key in keys(), manip in manips(), len in 0..20_usize,
    ) {
        let target = target_for(&packet, [1; 16], [2; 16], key);
        let rewrite = Rewrite::new(&target, manip, &packet.address(true), &packet.address(false));
        let mut short = packet.transport[..len].to_vec();
        let wanted = rewrite.transport_len(packet.protocol, len as u32);
        if wanted != 0 && wanted <= len {
            let before = short.clone();
            rewrite.transport(packet.protocol, &mut short[..wanted], ChecksumField::Whole).unwrap();
            if len < 12 && matches!(packet.protocol, protocol::TCP | protocol::SCTP) {
                // Nothing but the port.
                let other = if manip == Manip::Source { 2..8 } else { 4..8 };
                prop_assert_eq!(&short[other.clone()], &before[other]);
            }
        } else if wanted > len {
            let mut all = short.clone();
            // Never a panic; it may refuse.
            let _ = rewrite.transport(packet.protocol, &mut all, ChecksumField::Whole);
        }
    }

    #[test]
    fn lengths_are_set_with_the_checksum(packet in packets(), len in any::<u16>()) {
        let mut changed = packet.clone();
        if packet.family == Family::Ipv4 {
            rewrite::set_ipv4_len(&mut changed.network, len).unwrap();
            let mut sealed = changed.clone();
            sealed.seal();
            prop_assert_eq!(&changed.network, &sealed.network);
            prop_assert_eq!(&changed.network[2..4], &len.to_be_bytes());
        } else {
            rewrite::set_ipv6_len(&mut changed.network, len).unwrap();
            prop_assert_eq!(&changed.network[4..6], &len.to_be_bytes());
        }
    }

    #[test]
    fn a_pseudo_header_is_summed_up(packet in packets(), len in 0..100_000_u32) {
        prop_assume!(packet.protocol != protocol::ICMP);
        let mut other = packet.clone();
        other.transport = vec![0; len as usize];
        let found = checksum::pseudo_header(
            &packet.address(true), &packet.address(false), packet.protocol, len,
        );
        prop_assert_eq!(u32::from(u16::from_be_bytes(found)) % 0xffff,
            plain_sum(&other.pseudo_header()) % 0xffff);
    }

    #[test]
    fn an_address_of_a_range_is_in_it(
        v6 in any::<bool>(), ends in any::<[[u8; 16]; 2]>(), tuple_ends in any::<[[u8; 16]; 2]>(),
        keep in 0..=4_usize, persistent in any::<bool>(), manip in manips(), zone in any::<u16>(),
    ) {
        let [mut first, mut last] = ends;
        // Ranges of words: those before the last word are the same, as rules have it.
        let words = if v6 { 4 } else { 1 };
        let same = keep.min(words - 1) * 4;
        last[..same].copy_from_slice(&first[..same]);
        if !v6 {
            first[4..].fill(0);
            last[4..].fill(0);
        }
        if first > last {
            std::mem::swap(&mut first, &mut last);
        }
        // A word that is not the last of its range lets all of the rest in; so from the
        // second word on the range has to begin with zeroes to be exact.
        if v6 && same < 12 {
            first[same + 4..].fill(0);
        }
        let mut range = Range { min_addr: first, max_addr: last, ..Range::address(first) };
        range.max_addr = last;
        if persistent {
            range.flags |= flag::PERSISTENT;
        }
        let family = if v6 { Family::Ipv6 } else { Family::Ipv4 };
        let fit = |mut address: [u8; 16]| { if !v6 { address[4..].fill(0); } address };
        let (src, dst) = (fit(tuple_ends[0]), fit(tuple_ends[1]));
        let tuple = Tuple::new(family.to_u16(), src, dst, L4Key::NONE, 17);
        let spread = range.spread(&tuple, manip, zone);
        let address = match manip { Manip::Source => spread.src, Manip::Destination => spread.dst };
        prop_assert!(first <= address && address <= last, "{:?} {:?} {:?}", first, address, last);
        prop_assert_eq!(spread, range.spread(&tuple, manip, zone));
        if persistent {
            let mut elsewhere = tuple;
            if manip == Manip::Source {
                elsewhere.dst = fit(tuple_ends[0]);
                prop_assert_eq!(range.spread(&elsewhere, manip, zone).src, spread.src);
            }
        }
    }
}

/// Chains of reservations: of each the namespace and the tuple.
struct Reservations(Vec<Vec<(u32, u32)>>);

impl Reservations {
    fn new(chains: usize) -> Self {
        Self(vec![Vec::new(); chains])
    }

    fn reserve(&mut self, chain: usize, namespace: u32, tuple: u32) -> Admission {
        let chain = &mut self.0[chain];
        let admission = admit(chain.iter().map(|&other| match other {
            other if other == (namespace, tuple) => Other::Conflicting,
            (owner, _) if owner == namespace => Other::Own,
            _ => Other::Foreign,
        }));
        if admission == Admission::Joins {
            chain.push((namespace, tuple));
        }
        admission
    }

    fn longest(&self) -> u32 {
        self.0.iter().map(|chain| chain.len() as u32).max().unwrap()
    }
}

/// Namespaces one after the other have a quarter of a million first packets in queues. What others
/// have to walk over stays short, and each of them has its share.
#[test]
fn no_namespace_makes_reservations_long_for_others() {
    const CHAINS: usize = 1024;
    let mut reservations = Reservations::new(CHAINS);
    for namespace in 0..5 {
        for tuple in 0..1 << 18 {
            let chain = (tuple as usize).wrapping_mul(0x9e37_79b1) >> 7 & (CHAINS - 1);
            let _ = reservations.reserve(chain, namespace, tuple);
        }
        assert_eq!(reservations.longest(), LONG_CHAIN + namespace * SHARE);
    }
    for chain in 0..CHAINS {
        for tuple in 0..SHARE {
            assert_eq!(reservations.reserve(chain, 99, tuple), Admission::Joins);
            assert_eq!(reservations.reserve(chain, 99, tuple), Admission::Taken);
        }
        assert_eq!(
            reservations.reserve(chain, 99, SHARE),
            Admission::Unreserved
        );
    }
}

proptest! {
    /// Whatever comes and goes: a chain is as long as its namespaces' shares at most, a namespace
    /// that has less than its share joins, and what is reserved is not reserved again.
    #[test]
    fn shares_of_reservations_hold(
        steps in vec((0..4_u32, 0..40_u32, 0..3_u8), 0..400),
    ) {
        let mut reservations = Reservations::new(1);
        for (namespace, tuple, kind) in steps {
            let before = reservations.0[0].clone();
            if kind == 0 {
                reservations.0[0].retain(|&other| other != (namespace, tuple));
                continue;
            }
            let own = before.iter().filter(|other| other.0 == namespace).count() as u32;
            let expected = if before.contains(&(namespace, tuple)) {
                Admission::Taken
            } else if own < SHARE || (before.len() as u32) < LONG_CHAIN {
                Admission::Joins
            } else {
                Admission::Unreserved
            };
            prop_assert_eq!(reservations.reserve(0, namespace, tuple), expected);
            prop_assert!(reservations.longest() <= LONG_CHAIN + 3 * SHARE);
        }
    }
}
