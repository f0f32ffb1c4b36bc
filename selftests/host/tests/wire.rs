// SPDX-License-Identifier: GPL-2.0

//! Headers, mostly of captured packets.

use rust_ct_host::proto::{
    icmp, icmpv6,
    step::{Reason, Status, Step, Update},
    tcp::{self, SeqNum},
    types::{
        family::Family,
        protocol,
        timeout::Timeout,
        tuple::{L4Key, Tuple},
    },
    udp,
    wire::{
        icmp as icmp_wire, icmpv6 as icmpv6_wire, ipv4,
        ipv6::{self, is_extension, is_link_local, skip_extensions, Transport},
        tcp::{is_timestamp_only, Flags, Header, Options, TcpOption},
        udp as udp_wire, Error,
    },
};

/// A SYN from Linux: 192.0.2.1:43210 to 198.51.100.7:443.
const SYN: [u8; 60] = [
    0x45, 0x00, 0x00, 0x3c, 0x1c, 0x46, 0x40, 0x00, 0x40, 0x06, 0xb1, 0xe6, 192, 0, 2, 1, 198, 51,
    100, 7, 0xa8, 0xca, 0x01, 0xbb, 0x5f, 0x2d, 0x1b, 0x6a, 0x00, 0x00, 0x00, 0x00, 0xa0, 0x02,
    0xfa, 0xf0, 0x3a, 0x1c, 0x00, 0x00, 0x02, 0x04, 0x05, 0xb4, 0x04, 0x02, 0x08, 0x0a, 0x9b, 0x3a,
    0x2f, 0x01, 0x00, 0x00, 0x00, 0x00, 0x01, 0x03, 0x03, 0x07,
];

#[test]
fn captured_syn() {
    let ip = ipv4::Header::parse(SYN.first_chunk().unwrap());
    assert_eq!(ip.check(60), Ok(()));
    assert_eq!(ip.check(59), Err(Error::Truncated));
    assert_eq!(ip.transport_offset(60), Ok(20));
    assert_eq!((ip.version(), ip.header_len(), ip.total_len()), (4, 20, 60));
    assert_eq!(
        (ip.ttl(), ip.protocol(), ip.more_fragments()),
        (64, protocol::TCP, false)
    );
    assert_eq!(
        (ip.source(), ip.destination()),
        ([192, 0, 2, 1], [198, 51, 100, 7])
    );

    let tcp_bytes = &SYN[20..];
    let header = Header::parse(tcp_bytes.first_chunk().unwrap());
    assert_eq!(tcp::check(&header, 40), Ok(()));
    assert_eq!(
        tcp::check(&header, 39),
        Err(Reason::Malformed(Error::Truncated))
    );
    assert_eq!((header.source(), header.destination()), (43210, 443));
    assert_eq!(
        (header.seq(), header.ack()),
        (SeqNum(0x5f2d_1b6a), SeqNum(0))
    );
    assert_eq!((header.header_len(), header.options_len()), (40, 20));
    assert_eq!((header.flags(), header.window()), (Flags::SYN, 64240));

    let options: Vec<_> = Options::new(&tcp_bytes[20..]).collect();
    assert_eq!(
        options,
        [
            TcpOption::Other(2),
            TcpOption::SackPermitted,
            TcpOption::Other(8),
            TcpOption::WindowScale(7),
        ]
    );
}

#[test]
fn broken_options() {
    let read = |bytes: &'static [u8]| Options::new(bytes).collect::<Vec<_>>();
    assert_eq!(read(&[]), []);
    assert_eq!(read(&[1, 1, 1]), []);
    // After the end, nothing counts.
    assert_eq!(read(&[0, 4, 2]), []);
    // A length that reaches past the end, or not over its own head.
    assert_eq!(read(&[4, 2, 3, 4, 7]), [TcpOption::SackPermitted]);
    assert_eq!(read(&[4, 2, 3, 1, 7]), [TcpOption::SackPermitted]);
    assert_eq!(read(&[4, 0, 3, 3, 7]), []);
    assert_eq!(read(&[3]), []);
    // Known kinds with impossible lengths.
    assert_eq!(read(&[3, 4, 7, 7]), [TcpOption::Other(3)]);
    assert_eq!(read(&[4, 3, 0]), [TcpOption::Other(4)]);
    assert_eq!(read(&[5, 2]), [TcpOption::Other(5)]);
    assert_eq!(read(&[5, 9, 0, 0, 0, 0, 0, 0, 0]), [TcpOption::Other(5)]);
    assert_eq!(
        read(&[5, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
        [TcpOption::Sack(&[0, 0, 0, 1, 0, 0, 0, 2])]
    );
}

#[test]
fn timestamp_layout() {
    let bytes = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    assert!(is_timestamp_only(&bytes));
    assert!(!is_timestamp_only(&bytes[..11]));
    assert!(!is_timestamp_only(&[&bytes[..], &[1, 1, 1, 1]].concat()));
}

#[test]
fn tcp_header_too_short() {
    let mut bytes: [u8; 20] = *SYN[20..].first_chunk().unwrap();
    for words in 0..=15_u8 {
        bytes[12] = words << 4;
        let header = Header::parse(&bytes);
        assert_eq!(tcp::check(&header, 60).is_ok(), words >= 5);
        assert_eq!(header.options_len(), u32::from(words.saturating_sub(5)) * 4);
    }
}

#[test]
fn ipv4_fragments_and_lengths() {
    let mut bytes: [u8; 20] = *SYN.first_chunk().unwrap();
    bytes[6..8].copy_from_slice(&[0x20, 0x00]);
    assert_eq!(ipv4::Header::parse(&bytes).transport_offset(60), Ok(20));
    assert!(ipv4::Header::parse(&bytes).more_fragments());
    bytes[6..8].copy_from_slice(&[0x00, 0x01]);
    assert_eq!(
        ipv4::Header::parse(&bytes).transport_offset(60),
        Err(Error::Fragment)
    );
    bytes[6..8].copy_from_slice(&[0, 0]);
    bytes[0] = 0x4f;
    assert_eq!(
        ipv4::Header::parse(&bytes).transport_offset(59),
        Err(Error::Truncated)
    );
    assert_eq!(ipv4::Header::parse(&bytes).check(60), Ok(()));
    bytes[0] = 0x44;
    assert_eq!(ipv4::Header::parse(&bytes).check(60), Err(Error::Truncated));
    bytes[0] = 0x65;
    assert_eq!(ipv4::Header::parse(&bytes).check(60), Err(Error::Version));
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&[0, 19]);
    assert_eq!(ipv4::Header::parse(&bytes).check(60), Err(Error::Truncated));
}

#[test]
fn ipv6_header() {
    let mut bytes = [0; 40];
    bytes[0] = 0x60;
    bytes[4..8].copy_from_slice(&[0, 8, 17, 64]);
    bytes[8..24].copy_from_slice(&[0x20; 16]);
    bytes[24..40].copy_from_slice(&[0xfe; 16]);
    let header = ipv6::Header::parse(&bytes);
    assert_eq!((header.version(), header.payload_len()), (6, 8));
    assert_eq!((header.next_header(), header.hop_limit()), (17, 64));
    assert_eq!(
        (header.source(), header.destination()),
        (&[0x20; 16], &[0xfe; 16])
    );
    assert_eq!(header.check(48), Ok(()));
    assert_eq!(header.check(47), Err(Error::Truncated));
    assert_eq!(header.check(39), Err(Error::Truncated));
    bytes[0] = 0x40;
    assert_eq!(ipv6::Header::parse(&bytes).check(48), Err(Error::Version));

    let mut address = [0; 16];
    for (first, second, local) in [
        (0xfe, 0x80, true),
        (0xfe, 0xbf, true),
        (0xfe, 0xc0, false),
        (0x20, 0x80, false),
    ] {
        address[..2].copy_from_slice(&[first, second]);
        assert_eq!(is_link_local(&address), local);
    }
}

fn walk(first: u8, bytes: &[u8]) -> Result<Transport, Error> {
    skip_extensions(first, 0, |at| {
        bytes
            .get(usize::try_from(at).unwrap()..)?
            .first_chunk()
            .copied()
    })
}

#[test]
fn ipv6_extensions() {
    let at = |protocol, offset| Ok(Transport { protocol, offset });
    assert_eq!(walk(6, &[]), at(6, 0));
    // Hop-by-hop of 8 bytes, destination options of 16, then TCP at the very end.
    let mut bytes = vec![60, 0, 0, 0, 0, 0, 0, 0, 6, 1];
    bytes.resize(24, 0);
    assert_eq!(walk(0, &bytes), at(6, 24));
    // Authentication: in words, minus two.
    let mut bytes = vec![17, 4];
    bytes.resize(24, 0);
    assert_eq!(walk(51, &bytes), at(17, 24));
    // The first fragment has a transport header, the others do not.
    assert_eq!(walk(44, &[17, 0, 0, 1, 0, 0, 0, 0]), at(17, 8));
    assert_eq!(walk(44, &[17, 0, 0, 8, 0, 0, 0, 0]), Err(Error::Fragment));
    assert_eq!(walk(44, &[17, 0, 0]), Err(Error::Extensions));
    assert_eq!(walk(59, &[]), Err(Error::Extensions));
    assert_eq!(walk(0, &[6]), Err(Error::Extensions));
    // Twelve are walked, a thirteenth is not.
    let mut bytes = [60, 0, 0, 0, 0, 0, 0, 0].repeat(12);
    bytes[11 * 8] = 6;
    assert_eq!(walk(60, &bytes), at(6, 96));
    let mut bytes = [60, 0, 0, 0, 0, 0, 0, 0].repeat(13);
    bytes[12 * 8] = 6;
    assert_eq!(walk(60, &bytes), Err(Error::Extensions));
    // An offset that does not fit.
    assert_eq!(
        skip_extensions(0, u32::MAX - 4, |_| Some([6, 0])),
        Err(Error::Extensions)
    );
}

#[test]
fn what_is_no_ipv6_extension_is_not_walked() {
    for number in 0..=255 {
        let ends_there = Ok(Transport {
            protocol: number,
            offset: 0,
        });
        assert_eq!(walk(number, &[]) == ends_there, !is_extension(number));
    }
}

#[test]
fn udp_length() {
    let check = |len: u16, available, gso| {
        let [high, low] = len.to_be_bytes();
        udp::check(
            &udp_wire::Header::parse(&[0, 53, 0, 99, high, low, 0, 0]),
            available,
            gso,
        )
    };
    let bad = Err(Reason::Malformed(Error::Truncated));
    assert_eq!(check(8, 8, false), Ok(()));
    assert_eq!(check(8, 100, false), Ok(()));
    assert_eq!(check(9, 8, false), bad);
    assert_eq!(check(7, 100, false), bad);
    assert_eq!(check(0, 100, false), bad);
    assert_eq!(check(0, 100_000, true), Ok(()));
    let header = udp_wire::Header::parse(&[0, 53, 0, 99, 0, 8, 0, 0]);
    assert_eq!((header.source(), header.destination()), (53, 99));
    assert_eq!((header.len_field(), header.has_checksum()), (8, false));
}

#[test]
fn udp_becomes_a_stream() {
    let timeouts = [7500, 30_000].map(Timeout::new);
    let hz = 250;
    let mut track = udp::Track::default();
    let mut status = Status::default();
    let short = Update::refresh(7500);
    let long = Update::refresh(30_000);
    let assured = Update {
        assured: true,
        ..Update::refresh(30_000)
    };
    // The clock wraps within the first two seconds.
    let start = usize::MAX - 100;
    let mut step = |status: &Status, after: usize| {
        udp::packet(&mut track, status, &timeouts, start.wrapping_add(after), hz)
    };
    assert_eq!(step(&status, 0), short);
    status.confirmed = true;
    assert_eq!(step(&status, 10), short);
    status.seen_reply = true;
    assert_eq!(step(&status, 20), short);
    assert_eq!(step(&status, 500), short);
    assert_eq!(step(&status, 501), assured);
    status.nat_clash = true;
    assert_eq!(step(&status, 501), long);
    status.nat_clash = false;
    status.assured = true;
    assert_eq!(step(&status, 600), long);
}

#[test]
fn icmp_classes() {
    use icmp_wire::{classify, Class};
    for kind in 0..=255 {
        let class = match kind {
            8 | 13 | 15 | 17 => Class::Request,
            0 | 14 | 16 | 18 => Class::Reply,
            3 | 4 | 5 | 11 | 12 => Class::Error,
            1 | 2 | 6 | 7 | 9 | 10 => Class::Other,
            _ => Class::Unknown,
        };
        assert_eq!(classify(kind), class, "{kind}");
        assert_eq!(
            icmp_wire::answer(kind).is_some(),
            matches!(class, Class::Request | Class::Reply)
        );
    }
    let header = icmp_wire::Header::parse(&[8, 0, 0, 0, 0x12, 0x34, 0, 1]);
    assert_eq!(header.key(), L4Key::icmp([0x12, 0x34], 8, 0));
    assert_eq!(header.class(), Class::Request);
}

#[test]
fn icmpv6_classes() {
    use icmpv6_wire::{classify, Class};
    for kind in 0..=255 {
        let class = match kind {
            0..=127 => Class::Error,
            128 | 139 => Class::Request,
            129 | 140 => Class::Reply,
            130..=136 | 143 | 151 | 152 => Class::Untracked,
            137 => Class::Redirect,
            _ => Class::Other,
        };
        assert_eq!(classify(kind), class, "{kind}");
        assert_eq!(
            icmpv6_wire::answer(kind).is_some(),
            matches!(class, Class::Request | Class::Reply)
        );
    }
}

#[test]
fn icmp_trackers() {
    let accept = Step::Accept(Update::refresh(30));
    let refuse = Step::invalid(Reason::IcmpNew);
    let v4 = |kind| Tuple::ipv4([1; 4], [2; 4], L4Key::icmp([0; 2], kind, 0), protocol::ICMP);
    assert_eq!(icmp::packet(Family::Ipv4, &v4(8), 30), accept);
    assert_eq!(icmp::packet(Family::Ipv4, &v4(0), 30), refuse);
    assert_eq!(
        icmp::packet(Family::Ipv6, &v4(8), 30),
        Step::invalid(Reason::IcmpFamily)
    );

    let v6 = |kind| {
        Tuple::ipv6(
            [1; 16],
            [2; 16],
            L4Key::icmp([0; 2], kind, 0),
            protocol::ICMPV6,
        )
    };
    let new = Status::default();
    let old = Status {
        confirmed: true,
        ..new
    };
    assert_eq!(icmpv6::packet(Family::Ipv6, &v6(128), &new, 30), accept);
    assert_eq!(icmpv6::packet(Family::Ipv6, &v6(129), &new, 30), refuse);
    assert_eq!(icmpv6::packet(Family::Ipv6, &v6(129), &old, 30), accept);
    assert_eq!(
        icmpv6::packet(Family::Ipv4, &v6(128), &new, 30),
        Step::invalid(Reason::IcmpFamily)
    );
}

#[test]
fn redirects() {
    // As the caller takes it: an error is a reason.
    let redirected = |hop_limit, source: &[u8; 16], message: &[u8]| {
        icmpv6_wire::redirected(hop_limit, source, message).map_err(Reason::from)
    };
    let mut source = [0; 16];
    source[..2].copy_from_slice(&[0xfe, 0x80]);
    let mut message = [0; 42];
    message[0] = 137;
    message[40..].copy_from_slice(&[4, 6]);
    assert_eq!(redirected(255, &source, &message), Ok(Some(48)));
    assert_eq!(
        redirected(254, &source, &message),
        Err(Reason::RedirectSource)
    );
    assert_eq!(
        redirected(255, &[0x20; 16], &message),
        Err(Reason::RedirectSource)
    );
    let short = Reason::Malformed(Error::Short);
    assert_eq!(redirected(255, &source, &message[..39]), Err(short));
    for len in [40, 41] {
        assert_eq!(
            redirected(255, &source, &message[..len]),
            Err(Reason::RedirectOptions)
        );
    }
    message[41] = 0;
    assert_eq!(
        redirected(255, &source, &message),
        Err(Reason::RedirectOptions)
    );
    // Target link-layer address first: not a quotation.
    message[40..].copy_from_slice(&[2, 1]);
    assert_eq!(redirected(255, &source, &message), Ok(None));
    message[1] = 1;
    assert_eq!(redirected(1, &source, &message), Ok(None));
}

#[test]
fn texts() {
    let reasons = [
        Reason::Malformed(Error::Short),
        Reason::Malformed(Error::Checksum),
        Reason::TcpFlags,
        Reason::TcpReset,
        Reason::TcpSeqOver(7),
        Reason::IcmpType,
    ];
    for reason in reasons {
        assert!(!reason.message().is_empty());
        assert!(reason.is_logged());
    }
    assert_eq!(Reason::TcpSeqOver(7).value(), Some(7));
    assert_eq!(Reason::TcpReset.value(), None);
    assert!(!Reason::TcpMidStream.is_logged());
}
