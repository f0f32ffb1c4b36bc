// SPDX-License-Identifier: GPL-2.0

//! Records that are made of a socket: from then on they are as good as those of a tracker that
//! has seen everything.

use proptest::prelude::*;

use rust_ct_host::{
    chaos::Random,
    peers::{is_over, Peers},
    proto::{
        adopt::{state, tcp_opener, udp_opener, Endpoints, Hints, Opener, Side, Socket},
        step::{Status, Step},
        tcp::{self, adopt as of_tcp, flag, SeqNum, State},
        time::Jiffies32,
        types::{
            direction::Direction,
            family::Family,
            protocol,
            timeout::Timeout,
            tuple::{L4Key, Tuple},
        },
        udp,
    },
    sim::{policy, timeouts, Draft, Entry, Outcome, HZ},
};

fn v4(last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[10, 0, 0, last]);
    address
}

fn mapped(last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    address[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, last]);
    address
}

fn v6(last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    address[0] = 0xfd;
    address[15] = last;
    address
}

/// A quiet connection; the last segment was the peer's.
fn idle() -> Socket {
    Socket {
        local: v4(1),
        remote: v4(2),
        local_port: 80,
        remote_port: 40_000,
        family: Family::Ipv4.to_u16(),
        protocol: protocol::TCP,
        state: state::ESTABLISHED,
        snd_una: 1000,
        snd_nxt: 1000,
        write_seq: 1000,
        snd_wnd: 60_000,
        max_window: 64_000,
        rcv_nxt: 5000,
        rcv_last: 5000,
        rcv_wup: 5000,
        rcv_wnd: 30_000,
        rcv_edge: 36_000,
        snd_scale: 7,
        rcv_scale: 5,
        has_scale: true,
        has_sack: true,
        ..Socket::default()
    }
}

#[test]
fn ends_and_tuples() {
    let socket = idle();
    let ends = socket.endpoints().unwrap();
    let key = L4Key::ports(40_000, 80);
    let from_peer = Tuple::ipv4([10, 0, 0, 2], [10, 0, 0, 1], key, protocol::TCP);
    assert_eq!(ends.tuple(Side::Remote, protocol::TCP), from_peer);
    assert_eq!(
        ends.tuple(Side::Local, protocol::TCP),
        from_peer.invert().unwrap()
    );

    let dual = Socket {
        family: Family::Ipv6.to_u16(),
        local: mapped(1),
        remote: mapped(2),
        ..socket
    };
    assert_eq!(dual.endpoints(), Some(ends));
    let six = Socket {
        family: Family::Ipv6.to_u16(),
        local: v6(1),
        remote: v6(2),
        ..socket
    };
    let from_peer = Tuple::ipv6(v6(2), v6(1), key, protocol::TCP);
    let tuple = six.endpoints().unwrap().tuple(Side::Remote, protocol::TCP);
    assert_eq!(tuple, from_peer);
    assert_eq!(tuple.direction(), Direction::Original);

    for not_connected in [
        Socket {
            remote_port: 0,
            ..socket
        },
        Socket {
            local: [0; 16],
            ..socket
        },
        Socket {
            family: Family::Ipv6.to_u16(),
            local: mapped(1),
            remote: v6(2),
            ..socket
        },
        Socket {
            family: 1,
            ..socket
        },
    ] {
        assert_eq!(not_connected.endpoints(), None);
    }
}

#[test]
fn who_opened_it() {
    const SURE: bool = true;
    const LIKELY: bool = false;
    let range = [32_768, 60_999];
    let none = Hints {
        chosen: false,
        bound: false,
        listener: false,
        range,
    };
    let ends = |local_port, remote_port| Endpoints {
        family: Family::Ipv4,
        local: v4(1),
        remote: v4(2),
        local_port,
        remote_port,
    };
    let by = |side, certain| Opener { side, certain };
    let chosen = Hints {
        chosen: true,
        ..none
    };
    let bound = Hints {
        bound: true,
        ..none
    };
    let listener = Hints {
        listener: true,
        ..none
    };
    let (server, client) = (ends(80, 40_000), ends(40_000, 80));
    let tcp = |hints: Hints, ends| tcp_opener(state::ESTABLISHED, &hints, &ends);

    assert_eq!(
        tcp_opener(state::SYN_SENT, &listener, &server),
        by(Side::Local, SURE)
    );
    assert_eq!(
        tcp_opener(state::REQUEST, &chosen, &client),
        by(Side::Remote, SURE)
    );
    assert_eq!(tcp(chosen, server), by(Side::Local, SURE));
    assert_eq!(
        tcp(
            Hints {
                listener: true,
                ..bound
            },
            server
        ),
        by(Side::Local, SURE)
    );
    assert_eq!(tcp(listener, client), by(Side::Remote, SURE));
    assert_eq!(tcp(none, server), by(Side::Remote, LIKELY));
    assert_eq!(tcp(none, client), by(Side::Local, LIKELY));
    // Both from the range, or none of them; both sockets agree.
    assert_eq!(tcp(none, ends(40_000, 50_000)), by(Side::Remote, LIKELY));
    assert_eq!(tcp(none, ends(50_000, 40_000)), by(Side::Local, LIKELY));
    assert_eq!(tcp(none, ends(80, 1023)), by(Side::Remote, LIKELY));
    assert_eq!(tcp(none, ends(1023, 80)), by(Side::Local, LIKELY));

    assert_eq!(udp_opener(&none, &server), by(Side::Local, SURE));
    let both = Hints {
        listener: true,
        ..bound
    };
    assert_eq!(udp_opener(&both, &client), by(Side::Remote, SURE));
    assert_eq!(udp_opener(&bound, &server), by(Side::Remote, LIKELY));
    assert_eq!(udp_opener(&bound, &client), by(Side::Local, LIKELY));
}

#[test]
fn an_idle_connection() {
    let track = of_tcp::track(&idle(), Side::Remote).unwrap();
    assert_eq!(track.state(), State::Established);
    let [peer, own] = track.seen;
    assert_eq!(
        (peer.end, peer.max_end, peer.max_window, peer.scale),
        (SeqNum(5000), SeqNum(36_000), 64_000, 7)
    );
    // The window was larger once, and may be so again.
    assert_eq!(
        (own.end, own.max_end, own.max_window, own.scale),
        (SeqNum(1000), SeqNum(61_000), 31_000, 5)
    );
    let flags = flag::WINDOW_SCALE | flag::SACK_PERMITTED | flag::MAX_ACK_SET;
    assert_eq!((peer.flags, own.flags), (flags, flags));
    assert!(!track.is_picked_up());

    let turned = of_tcp::track(&idle(), Side::Local).unwrap();
    assert_eq!(turned.seen, [own, peer]);
}

#[test]
fn states() {
    let cases = [
        (state::SYN_SENT, State::SynSent, None),
        (state::SYN_RECEIVED, State::SynRecv, None),
        (state::REQUEST, State::SynRecv, None),
        (state::ESTABLISHED, State::Established, None),
        (state::FIN_WAIT_1, State::FinWait, Some(1)),
        (state::FIN_WAIT_2, State::CloseWait, Some(1)),
        (state::TIME_WAIT, State::TimeWait, Some(1)),
        (state::CLOSE_WAIT, State::CloseWait, Some(0)),
        (state::LAST_ACK, State::LastAck, Some(0)),
        (state::CLOSING, State::TimeWait, Some(1)),
    ];
    for (number, should, closer) in cases {
        let socket = Socket {
            state: number,
            ..idle()
        };
        let track = of_tcp::track(&socket, Side::Remote).unwrap();
        assert_eq!(track.state(), should, "{number}");
        for (index, seen) in track.seen.iter().enumerate() {
            assert_eq!(
                seen.has(flag::CLOSE_INIT),
                closer == Some(index),
                "{number}"
            );
        }
    }
    // Closed, listening, and what does not exist.
    for number in [0, 7, 10, 13, 255] {
        let socket = Socket {
            state: number,
            ..idle()
        };
        assert_eq!(of_tcp::track(&socket, Side::Local), None);
    }
    // The FIN waits behind data.
    for (number, should) in [
        (state::FIN_WAIT_1, State::Established),
        (state::LAST_ACK, State::CloseWait),
        (state::CLOSING, State::CloseWait),
    ] {
        let socket = Socket {
            state: number,
            write_seq: 9000,
            ..idle()
        };
        let track = of_tcp::track(&socket, Side::Remote).unwrap();
        assert_eq!(track.state(), should);
    }
}

#[test]
fn lifetimes() {
    let timeouts = timeouts();
    let policy = policy(&timeouts);
    let left = |socket: &Socket| {
        let track = of_tcp::track(socket, Side::Remote).unwrap();
        of_tcp::remaining(&track, socket, &policy) / HZ
    };
    let with = |state, idle_for: u32| Socket {
        state,
        idle: idle_for.saturating_mul(HZ),
        ..idle()
    };
    assert_eq!(left(&with(state::ESTABLISHED, 0)), 432_000);
    assert_eq!(left(&with(state::ESTABLISHED, 3600)), 428_400);
    assert_eq!(left(&with(state::ESTABLISHED, 1_000_000)), 300);
    assert_eq!(left(&with(state::TIME_WAIT, 20)), 100);
    assert_eq!(left(&with(state::CLOSE_WAIT, 5000)), 10);
    assert_eq!(left(&with(state::SYN_SENT, 1_000_000)), 120);
    // Data under way, from either side, and a closed window.
    let sent = Socket {
        snd_nxt: 1500,
        write_seq: 1500,
        ..idle()
    };
    assert_eq!(left(&sent), 300);
    let got = Socket {
        rcv_nxt: 5500,
        rcv_last: 5500,
        ..idle()
    };
    assert_eq!(left(&got), 300);
    let closed = Socket {
        snd_wnd: 0,
        ..idle()
    };
    assert_eq!(left(&closed), 300);

    let socket = idle();
    let udp = udp::DEFAULT_SECONDS.map(Timeout::new);
    assert_eq!(udp::adopt(&socket, Side::Local, &udp), (false, 30));
    assert_eq!(udp::adopt(&socket, Side::Remote, &udp), (true, 120));
    let heard = Socket {
        heard: true,
        ..socket
    };
    assert_eq!(udp::adopt(&heard, Side::Local, &udp), (true, 120));
}

/// A record of a socket takes over what an entry saw that a packet had made before.
#[test]
fn what_was_seen_meanwhile() {
    let mut picked_up = tcp::Track::default();
    picked_up.seen[0].end = SeqNum(5600);
    picked_up.seen[0].max_window = 1;
    // Beyond what the receiver allows: no peer sends that.
    picked_up.seen[1].end = SeqNum(1_000_000);
    picked_up.seen[1].max_window = 1;
    let before = of_tcp::track(&idle(), Side::Remote).unwrap();

    let mut track = before;
    track.catch_up(&picked_up, false);
    assert_eq!(track.seen[0].end, SeqNum(5600));
    assert!(track.seen[0].has(flag::DATA_UNACKNOWLEDGED));
    assert_eq!(track.seen[1].end, before.seen[1].end);
    // An acknowledgment may have opened the window of either.
    assert_eq!(track.seen[0].max_end, SeqNum(36_000 + 31_000));
    assert_eq!(track.seen[1].max_end, SeqNum(61_000 + 64_000));

    picked_up.seen.reverse();
    let mut turned = before;
    turned.catch_up(&picked_up, true);
    assert_eq!(turned, track);
}

/// The entry of a socket.
fn entry_of(socket: &Socket, opener: Side) -> Entry {
    Entry {
        track: of_tcp::track(socket, opener).unwrap(),
        status: Status {
            confirmed: true,
            seen_reply: true,
            assured: true,
            expires: Jiffies32(1_000_000),
            ..Status::default()
        },
    }
}

/// Two peers that keep to the rules, over a network that loses and repeats. After some segments,
/// one of the two asks a socket. `unseen` more pass before it makes the entry: that it can say
/// of a socket which is at work, or of what was under way to it.
fn goes_on(
    seed: u64,
    loss: u32,
    after: u32,
    turned: bool,
    unseen: u32,
) -> Result<(), TestCaseError> {
    let mut random = Random::new(seed);
    let timeouts = timeouts();
    let policy = policy(&timeouts);
    let mut peers = Peers::new(&mut random);
    let here = random.pick(&[Direction::Original, Direction::Reply]);
    let is_opener = (here == Direction::Original) != turned;
    let opener = if is_opener { Side::Local } else { Side::Remote };

    for _ in 0..after {
        let draft = peers.send(&mut random);
        if !random.once_in(loss) {
            peers.receive(&draft);
        }
        if peers.is_closed() {
            return Ok(());
        }
    }
    let Some(mut socket) = peers.socket(here) else {
        return Ok(());
    };
    socket.busy = unseen != 0;

    // All of this is under way while it is asked.
    let mut waiting: Vec<Draft> = Vec::new();
    for _ in 0..unseen {
        let draft = peers.send(&mut random);
        if !random.once_in(loss) {
            waiting.push(draft);
        }
    }
    let mut entry = entry_of(&socket, opener);
    for draft in &waiting {
        peers.receive(draft);
    }

    for now in 0..2000 {
        let draft = peers.send(&mut random);
        if draft.direction != here && random.once_in(loss) {
            continue; // Lost before the tracker.
        }
        let mut shown = draft.clone();
        if turned {
            shown.direction = draft.direction.opposite();
        }
        let outcome = entry.feed(&shown, &policy, Jiffies32(now));
        let legal = matches!(outcome, Outcome::Step(Step::Accept(_) | Step::Ignore(_)));
        prop_assert!(
            legal,
            "{:?}\n{:?}\n{:?}\n{:?}\n{:?}",
            outcome,
            draft,
            entry,
            socket,
            peers
        );
        if draft.direction == here && random.once_in(loss) {
            continue; // Lost behind the tracker.
        }
        peers.receive(&draft);
        if peers.is_closed() {
            let over = is_over(entry.track.state());
            prop_assert!(unseen != 0 || over, "{:?}\n{:?}", entry, socket);
            return Ok(());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn what_follows_is_valid(
        seed in any::<u64>(), loss in 2..20_u32, after in 3..200_u32, turned in any::<bool>(),
    ) {
        goes_on(seed, loss, after, turned, 0)?;
    }

    #[test]
    fn what_follows_a_socket_at_work_is_valid(
        seed in any::<u64>(), loss in 2..20_u32, after in 3..200_u32, unseen in 1..20_u32,
    ) {
        goes_on(seed, loss, after, false, unseen)?;
    }

    /// Whatever a socket says: no panic, and an end.
    #[test]
    fn any_socket(
        words in any::<[u32; 11]>(), bytes in any::<[u8; 3]>(), bits in any::<[bool; 5]>(),
    ) {
        let [snd_una, snd_nxt, write_seq, snd_wnd, max_window, rcv_nxt, rcv_last, rcv_wup, rcv_wnd,
            rcv_edge, idle] = words;
        let [state, snd_scale, rcv_scale] = bytes;
        let [has_scale, has_sack, heard, busy, local] = bits;
        let socket = Socket {
            state: state % 14,
            snd_una, snd_nxt, write_seq, snd_wnd, max_window, rcv_nxt, rcv_last, rcv_wup, rcv_wnd,
            rcv_edge, idle, snd_scale, rcv_scale, has_scale, has_sack, heard, busy,
            ..Socket::default()
        };
        let opener = if local { Side::Local } else { Side::Remote };
        let timeouts = timeouts();
        if let Some(track) = of_tcp::track(&socket, opener) {
            let left = of_tcp::remaining(&track, &socket, &policy(&timeouts));
            prop_assert!(left > 0 && left <= timeouts[3].get());
        }
    }
}
