// SPDX-License-Identifier: GPL-2.0

//! What the tracker has learned at the end of stories of `selftests/traces`, and stories that only
//! the host can tell. `traces.rs` plays them all.

use rust_ct_host::{
    player::Player,
    proto::{
        step::Step,
        tcp::{flag, State, Track},
        time::Jiffies32,
    },
    sim::{policy, timeouts, Outcome},
    trace::{segment, Protocol},
};

/// The record at the end of a story.
fn after(title: &str) -> Track {
    Player::of(title).tcp.track
}

fn scales(title: &str) -> [u8; 2] {
    after(title).seen.map(|seen| seen.scale)
}

#[test]
fn the_first_fin_is_remembered() {
    let seen = after("open, talk, close").seen;
    assert!(seen[0].has(flag::CLOSE_INIT));
    assert!(!seen[1].has(flag::CLOSE_INIT));
}

#[test]
fn scales_are_agreed_on() {
    assert_eq!(scales("open, talk, close"), [7, 7]);
    assert_eq!(scales("SYNs cross"), [3, 4]);
    assert_eq!(scales("a scale needs both sides"), [0, 0]);
    assert_eq!(scales("an absurd scale is limited"), [14, 14]);
    assert_eq!(scales("both peers started over"), [2, 3]);
}

#[test]
fn acknowledged_beyond_the_window() {
    let track = after("inequality I, but the server takes it");
    assert_eq!(track.seen[0].max_end.0, 66172 + 509 * 128);
    // What a peer was seen to accept beyond its window widens the window.
    let mut player = Player::of("handshake");
    player.play("> . 66161+10 ack 5001 win 502 => ESTABLISHED unacknowledged");
    assert_eq!(player.tcp.track.seen[1].max_window, 65170);
}

#[test]
fn the_window_counts_from_the_highest_block() {
    let track = after("loss and SACK");
    assert_eq!(track.seen[0].max_end.0, 5001 + 500 * 128);
    assert_eq!(track.seen[1].max_window, 500 * 128 + 3000);
}

#[test]
fn syn_without_options_changes_no_option() {
    let seen = after("SYN without options changes no option").seen;
    assert_eq!(seen[0].end.0, 9001);
    assert!(seen[0].has(flag::SACK_PERMITTED | flag::WINDOW_SCALE));
    assert_eq!(seen.map(|seen| seen.scale), [7, 7]);
}

#[test]
fn a_new_start_is_learned() {
    let [client, _] = after("SYNs cross, and one starts over").seen;
    assert_eq!((client.end.0, client.max_window), (90001, 100));
    let [client, server] = after("picked up, then started over").seen;
    assert!(server.has(flag::BE_LIBERAL));
    assert_eq!(client.max_window, 1000);
}

#[test]
fn answer_to_a_keep_alive_after_pick_up() {
    let track = after("picked up at a keep-alive");
    assert_eq!(track.seen[0].end.0, 1001);
}

#[test]
fn windows_are_learned_again() {
    let mut player = Player::of("handshake");
    player.tcp.track.forget_windows();
    // Whatever passed the tracker meanwhile, this is where the peers are now.
    player.play(
        "> .  800000+10 ack 900000 win 502        => ESTABLISHED
         < .  900000+10 ack 800010 win 509        => ESTABLISHED
         > .  800010 ack 900010 win 502           => ESTABLISHED
         > .  990010 ack 900010 win 502           => invalid \"SEQ is over upper bound\"",
    );
}

#[test]
fn nat_helper_shifts_acknowledgments() {
    let mut player = Player::of("handshake");
    // The helper makes the client's 100 bytes 110: the server acknowledges 1111.
    player.play(
        "> P. 1001+100 ack 5001 win 502           => ESTABLISHED unacknowledged
         < .  5001 ack 1111 win 509               => invalid \"ACK is over upper bound\"",
    );
    player.ack_offset = 10;
    player.play("< . 5001 ack 1111 win 509 => ESTABLISHED");
}

#[test]
fn closing_from_outside() {
    let mut track = after("handshake");
    assert!(track.set_closing());
    assert_eq!(track.state(), State::Close);
    assert!(!track.set_closing());
}

#[test]
fn synproxy_keep_alive() {
    let mut player = Player::new(Protocol::Tcp);
    player.play("> S 1000 win 100 => SYN_SENT");
    let mut entry = player.tcp;
    let timeouts = timeouts();
    let mut keep_alive = segment("> . 1000 ack 1 win 100");
    entry.status.synproxy = true;
    let outcome = entry.feed(&keep_alive, &policy(&timeouts), Jiffies32(0));
    assert_eq!(outcome, Outcome::Step(Step::Ignore(None)));
    keep_alive.seq = 1001;
    let outcome = entry.feed(&keep_alive, &policy(&timeouts), Jiffies32(0));
    assert!(matches!(outcome, Outcome::Step(Step::Invalid { .. })));
    assert_eq!(entry.track.state(), State::SynSent);
}
