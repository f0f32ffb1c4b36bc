// SPDX-License-Identifier: GPL-2.0

//! The GRE tracker and its headers.

use rust_ct_host::proto::{
    gre::{self, Track},
    step::{Status, Step, Update},
    types::timeout::Timeout,
    wire::{
        gre::{call_id, classify, Class},
        Error,
    },
};

#[test]
fn headers() {
    // Version 0 with IPv4 inside; with checksum, key and sequence number.
    assert_eq!(classify(&[0x00, 0x00, 0x08, 0x00]), Ok(Class::Plain));
    assert_eq!(classify(&[0xb0, 0x00, 0x08, 0x00]), Ok(Class::Plain));
    // PPTP: key and sequence number present, and an acknowledgment in the third.
    let pptp = [0x30, 0x01, 0x88, 0x0b, 0x00, 0x20, 0x12, 0x34];
    assert_eq!(classify(pptp.first_chunk().unwrap()), Ok(Class::Enhanced));
    assert_eq!(classify(&[0x30, 0x81, 0x88, 0x0b]), Ok(Class::Enhanced));
    assert_eq!(call_id(&pptp), [0x12, 0x34]);
    assert_eq!(classify(&[0x30, 0x01, 0x08, 0x00]), Err(Error::Version));
    for version in 2..8 {
        assert_eq!(classify(&[0x30, version, 0x88, 0x0b]), Ok(Class::Plain));
    }
}

#[test]
fn life() {
    let track = gre::open(&[30, 180].map(Timeout::new));
    assert_eq!(
        track,
        Track {
            stream_timeout: 180,
            timeout: 30,
        }
    );
    let fresh = Status::default();
    assert_eq!(
        gre::packet(&track, &fresh),
        Step::Accept(Update::refresh(30))
    );
    let answered = Status {
        seen_reply: true,
        ..fresh
    };
    let expected = Update {
        assured: true,
        ..Update::refresh(180)
    };
    assert_eq!(gre::packet(&track, &answered), Step::Accept(expected));
    for quiet in [
        Status {
            assured: true,
            ..answered
        },
        Status {
            nat_clash: true,
            ..answered
        },
    ] {
        assert_eq!(
            gre::packet(&track, &quiet),
            Step::Accept(Update::refresh(180))
        );
    }
}
