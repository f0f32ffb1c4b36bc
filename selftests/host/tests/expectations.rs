// SPDX-License-Identifier: GPL-2.0

//! What an expectation stands for, and when two are in each other's way.

use rust_ct_host::proto::{
    expect::{Announcement, Pattern},
    types::{
        family::Family,
        mask::TupleMask,
        protocol,
        tuple::{L4Key, Tuple},
    },
};

const ANY: TupleMask = mask([0; 4], 0);
const HOST: TupleMask = mask([255; 4], 0);
const PORT: TupleMask = mask([255; 4], 0xffff);

const fn mask([a, b, c, d]: [u8; 4], key: u16) -> TupleMask {
    TupleMask::new(
        [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        key.to_be_bytes(),
    )
}

/// From 10.0.0.`host`, port `port`, to 10.0.1.1, port `to`.
const fn tuple(host: u8, port: u16, to: u16) -> Tuple {
    let key = L4Key::ports(port, to);
    Tuple::ipv4([10, 0, 0, host], [10, 0, 1, 1], key, protocol::TCP)
}

const fn pattern(tuple: Tuple, mask: TupleMask) -> Pattern {
    Pattern {
        tuple,
        mask,
        zone_id: 0,
    }
}

#[test]
fn unknown_parts_of_the_source_do_not_count() {
    let from_host = pattern(tuple(2, 0, 2000), HOST);
    assert!(from_host.matches(&tuple(2, 4711, 2000), 0));
    assert!(!from_host.matches(&tuple(3, 4711, 2000), 0));
    let from_anywhere = pattern(tuple(0, 0, 2000), ANY);
    assert!(from_anywhere.matches(&tuple(3, 4711, 2000), 0));
    let from_port = pattern(tuple(2, 20, 2000), PORT);
    assert!(from_port.matches(&tuple(2, 20, 2000), 0));
    assert!(!from_port.matches(&tuple(2, 21, 2000), 0));
    let from_net = pattern(tuple(0, 0, 2000), mask([255, 255, 255, 0], 0));
    assert!(from_net.matches(&tuple(9, 1, 2000), 0));
}

#[test]
fn destination_protocol_family_and_zone_count() {
    let expected = pattern(tuple(0, 0, 2000), ANY);
    assert!(!expected.matches(&tuple(2, 1, 2001), 0));
    assert!(!expected.matches(&tuple(2, 1, 2000), 7));
    let mut other = tuple(2, 1, 2000);
    other.dst = Tuple::ipv4([0; 4], [10, 0, 1, 2], L4Key::NONE, 0).dst;
    assert!(!expected.matches(&other, 0));
    let mut other = tuple(2, 1, 2000);
    other.protonum = protocol::UDP;
    assert!(!expected.matches(&other, 0));
    let mut other = tuple(2, 1, 2000);
    other.l3num = 10;
    assert!(!expected.matches(&other, 0));
}

#[test]
fn the_direction_does_not_count() {
    let mut seen = tuple(2, 1, 2000);
    seen.dir = 1;
    assert!(pattern(tuple(2, 0, 2000), HOST).matches(&seen, 0));
}

#[test]
fn two_clash_if_some_tuple_fits_both() {
    let anywhere = pattern(tuple(0, 0, 2000), ANY);
    let from_2 = pattern(tuple(2, 0, 2000), HOST);
    let from_3 = pattern(tuple(3, 0, 2000), HOST);
    let from_2_port = pattern(tuple(2, 20, 2000), PORT);
    assert!(anywhere.clashes(&from_2) && from_2.clashes(&anywhere));
    assert!(from_2.clashes(&from_2_port) && from_2_port.clashes(&from_2));
    assert!(!from_2.clashes(&from_3));
    assert!(!from_3.clashes(&from_2_port));
    let elsewhere = Pattern {
        zone_id: 1,
        ..from_2
    };
    assert!(!from_2.clashes(&elsewhere));
}

#[test]
fn equal_is_more_than_clashing() {
    let anywhere = pattern(tuple(2, 0, 2000), ANY);
    let from_2 = pattern(tuple(2, 0, 2000), HOST);
    assert!(from_2.equals(&from_2));
    assert!(!from_2.equals(&anywhere));
    assert!(!from_2.equals(&pattern(tuple(2, 0, 2001), HOST)));
    // The contents of the padding, which C code does not clear, do not matter.
    let mut padded = from_2;
    padded.mask.unused = [0xaa; 2];
    assert!(from_2.equals(&padded));
}

#[test]
fn an_announcement_masks_what_is_known_of_the_source() {
    let to = Tuple::ipv4([0; 4], [10, 0, 1, 1], L4Key::NONE, 0).dst;
    let announce = |family: Family, src, src_key| {
        Announcement {
            l3num: family.to_u16(),
            protonum: protocol::TCP,
            src,
            src_key,
            dst: to,
            dst_key: 2000_u16.to_be_bytes(),
        }
        .tuple_and_mask()
    };
    let host = tuple(2, 20, 2000).src;
    let port = 20_u16.to_be_bytes();

    assert_eq!(
        announce(Family::Ipv4, Some(host), Some(port)),
        (tuple(2, 20, 2000), PORT)
    );
    assert_eq!(
        announce(Family::Ipv4, Some(host), None),
        (tuple(2, 0, 2000), HOST)
    );
    let (any, mask) = announce(Family::Ipv4, None, Some(port));
    assert_eq!((any.src, any.src_key), ([0; 16], port));
    assert_eq!(mask, TupleMask::new([0; 16], [u8::MAX; 2]));
    let (six, mask) = announce(Family::Ipv6, Some([7; 16]), None);
    assert_eq!((six.src, six.family()), ([7; 16], Some(Family::Ipv6)));
    assert_eq!(mask, TupleMask::new([u8::MAX; 16], [0; 2]));
}
