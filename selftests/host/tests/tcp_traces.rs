// SPDX-License-Identifier: GPL-2.0

//! Life stories of connections; `trace.rs` has the notation.

use rust_ct_host::{
    proto::tcp::{flag, State},
    trace::play,
};

/// A handshake with window scale 7 and SACK on both sides; 1000 and 5000 are the first numbers.
const OPENED: &str = "
    > S  1000            win 64240 sackok ws7    => SYN_SENT 120
    < S. 5000 ack 1001   win 65160 sackok ws7    => SYN_RECV 60
    > .  1001 ack 5001   win 502                 => ESTABLISHED 432000 assured
";

fn after(opened: &str, rest: &str) {
    play(&format!("{opened}{rest}"));
}

#[test]
fn open_talk_close() {
    let entry = play(&format!(
        "{OPENED}
        > P. 1001+100 ack 5001 win 502           => ESTABLISHED 300
        < .  5001 ack 1101 win 509               => ESTABLISHED 432000
        < P. 5001+1000 ack 1101 win 509          => ESTABLISHED 300
        > .  1101 ack 6001 win 501               => ESTABLISHED 432000
        > F. 1101 ack 6001 win 501               => FIN_WAIT 120
        < F. 6001 ack 1102 win 509               => LAST_ACK 30
        > .  1102 ack 6002 win 501               => TIME_WAIT 120"
    ));
    assert!(entry.track.seen[0].has(flag::CLOSE_INIT));
    assert!(!entry.track.seen[1].has(flag::CLOSE_INIT));
    assert_eq!(entry.track.seen.map(|seen| seen.scale), [7, 7]);
}

#[test]
fn half_close() {
    after(
        OPENED,
        "
        > F. 1001 ack 5001 win 502               => FIN_WAIT 120
        < .  5001 ack 1002 win 509               => CLOSE_WAIT 60
        # The server still has much to say.
        < .  5001+1448 ack 1002 win 509          => CLOSE_WAIT 60
        > .  1002 ack 6449 win 502               => CLOSE_WAIT 60
        < F. 6449 ack 1002 win 509               => LAST_ACK 30
        > .  1002 ack 6450 win 502               => TIME_WAIT 120
        # The last ACK was lost after us.
        < F. 6449 ack 1002 win 509               => TIME_WAIT 120
        > .  1002 ack 6450 win 502               => TIME_WAIT 120",
    );
}

#[test]
fn refused() {
    play(
        "
        > S  1000 win 64240                      => SYN_SENT 120
        < R. 0 ack 1001 win 0                    => kill",
    );
}

#[test]
fn repeated_syn_does_not_refresh() {
    play(
        "
        > S  1000 win 64240                      => SYN_SENT 120
        @after 1
        > S  1000 win 64240                      => SYN_SENT keep
        @after 2
        > S  9000 win 64240                      => SYN_SENT keep
        < S. 5000 ack 9001 win 64240             => SYN_RECV 60
        > .  9001 ack 5001 win 64240             => ESTABLISHED 432000 assured",
    );
}

#[test]
fn simultaneous_open() {
    let entry = play(
        "
        > S  1000 win 64240 ws3                  => SYN_SENT 120
        < S  5000 win 64240 ws4                  => SYN_SENT2 keep
        > S. 1000 ack 5001 win 64240 ws3         => SYN_RECV 60
        < S. 5000 ack 1001 win 64240 ws4         => ignore packet ignored
        < .  5001 ack 1001 win 64240             => ESTABLISHED 432000 assured
        > P. 1001+10 ack 5001 win 64240          => ESTABLISHED 300",
    );
    assert_eq!(entry.track.seen.map(|seen| seen.scale), [3, 4]);
}

#[test]
fn scale_needs_both() {
    let entry = play(
        "
        > S  1000 win 64240 ws7                  => SYN_SENT 120
        < S. 5000 ack 1001 win 1000              => SYN_RECV 60
        > .  1001 ack 5001 win 500               => ESTABLISHED 432000 assured
        # I: the window is 1000, and not shifted.
        > P. 1001+1000 ack 5001 win 500          => ESTABLISHED 300
        > P. 2003+10 ack 5001 win 500            => ignore more bytes than expected",
    );
    assert_eq!(entry.track.seen.map(|seen| seen.scale), [0, 0]);
}

#[test]
fn absurd_scale_is_limited() {
    let entry = play(
        "
        > S  1000 win 64240 ws255                => SYN_SENT 120
        < S. 5000 ack 1001 win 1000 ws14         => SYN_RECV 60",
    );
    assert_eq!(entry.track.seen.map(|seen| seen.scale), [14, 14]);
}

#[test]
fn inequality_one() {
    after(
        OPENED,
        "
        # The server's SYN/ACK allows up to 1001 + 65160.
        > .  66161+10 ack 5001 win 502           => ESTABLISHED 300
        > .  66172+10 ack 5001 win 502           => ignore more bytes than expected
        > .  166172+10 ack 5001 win 502          => invalid SEQ is over upper bound",
    );
    let entry = play(&format!(
        "{OPENED}
        # One too far, but the server takes it.
        > .  66162+10 ack 5001 win 502           => ignore more bytes than expected
        < .  5001 ack 66172 win 509              => ESTABLISHED 432000"
    ));
    assert_eq!(entry.track.seen[0].max_end.0, 66172 + 509 * 128);
    // What a peer was seen to accept beyond its window widens the window.
    let entry = play(&format!(
        "{OPENED}
        > .  66161+10 ack 5001 win 502           => ESTABLISHED 300"
    ));
    assert_eq!(entry.track.seen[1].max_window, 65170);
}

#[test]
fn inequality_two() {
    after(
        OPENED,
        "
        > .  1001+60000 ack 5001 win 502         => ESTABLISHED 300
        < .  5001 ack 61001 win 509              => ESTABLISHED 432000
        > .  61001+60000 ack 5001 win 502        => ESTABLISHED 300
        < .  5001 ack 121001 win 509             => ESTABLISHED 432000
        # One window back, 121001 - 65160 = 55841, is the limit.
        > .  55841 ack 5001 win 502              => ESTABLISHED 432000
        > .  55840 ack 5001 win 502              => ignore SEQ is under lower bound",
    );
}

#[test]
fn inequality_three() {
    after(
        OPENED,
        "
        < .  5001 ack 1001 win 509               => ESTABLISHED 432000
        < .  5001 ack 1002 win 509               => invalid ACK is over upper bound
        > .  1001 ack 5002 win 502               => invalid ACK is over upper bound",
    );
}

#[test]
fn inequality_four() {
    after(
        OPENED,
        "
        > .  1001+60000 ack 5001 win 502         => ESTABLISHED 300
        < .  5001 ack 61001 win 509              => ESTABLISHED 432000
        > .  61001+60000 ack 5001 win 502        => ESTABLISHED 300
        # 121001 - 66000 = 55001 is the oldest ACK that may still be under way.
        < .  5001 ack 55001 win 509              => ESTABLISHED 300
        < .  5001 ack 55000 win 509              => ignore ignored ACK under lower bound",
    );
}

#[test]
fn liberal_lets_all_through() {
    after(
        OPENED,
        "
        @liberal
        > .  166172+10 ack 5001 win 502          => ESTABLISHED 432000
        > .  1001 ack 7002 win 502               => ESTABLISHED 432000",
    );
}

#[test]
fn loss_and_sack() {
    let entry = play(&format!(
        "{OPENED}
        > .  1001+1000 ack 5001 win 502          => ESTABLISHED 300
        # The next is lost before us; the two after it arrive.
        > .  3001+1000 ack 5001 win 502          => ESTABLISHED 300
        > .  4001+1000 ack 5001 win 502          => ESTABLISHED 300
        < .  5001 ack 2001 win 500 sack 3001-4001  => ESTABLISHED 300
        < .  5001 ack 2001 win 500 sack 3001-5001  => ESTABLISHED 300
        # III counts the blocks: nobody has sent 6001 yet.
        < .  5001 ack 2001 win 500 sack 5501-6001  => invalid ACK is over
        > .  2001+1000 ack 5001 win 502          => ESTABLISHED 300
        < .  5001 ack 5001 win 500               => ESTABLISHED 432000"
    ));
    // The window counts from the highest block.
    assert_eq!(entry.track.seen[0].max_end.0, 5001 + 500 * 128);
    assert_eq!(entry.track.seen[1].max_window, 500 * 128 + 3000);
}

#[test]
fn sack_counts_only_if_permitted() {
    play(
        "
        > S  1000 win 64240                      => SYN_SENT 120
        < S. 5000 ack 1001 win 65160 sackok      => SYN_RECV 60
        > .  1001 ack 5001 win 502               => ESTABLISHED 432000 assured
        # The client never permitted SACK, so the server's blocks mean nothing.
        < .  5001 ack 1001 win 500 sack 9001-9101  => ESTABLISHED 432000
        # The server did.
        > .  1001 ack 5001 win 502 sack 9001-9101  => invalid ACK is over",
    );
}

#[test]
fn sequence_numbers_wrap() {
    play(
        "
        > S  4294967290 win 64240                => SYN_SENT 120
        < S. 4294967000 ack 4294967291 win 65160 => SYN_RECV 60
        > .  4294967291 ack 4294967001 win 64240 => ESTABLISHED 432000 assured
        > P. 4294967291+100 ack 4294967001 win 64240 => ESTABLISHED 300
        < .  4294967001 ack 95 win 65160         => ESTABLISHED 432000
        < P. 4294967001+1000 ack 95 win 65160    => ESTABLISHED 300
        > .  95 ack 705 win 64240                => ESTABLISHED 432000
        > F. 95 ack 705 win 64240                => FIN_WAIT 120
        < F. 705 ack 96 win 65160                => LAST_ACK 30
        > .  96 ack 706 win 64240                => TIME_WAIT 120",
    );
}

#[test]
fn closed_window_and_probe() {
    after(
        OPENED,
        "
        > .  1001+1000 ack 5001 win 502          => ESTABLISHED 300
        < .  5001 ack 2001 win 0                 => ESTABLISHED 300
        # A probe of one octet beyond the closed window, refused.
        > .  2001+1 ack 5001 win 502             => ESTABLISHED 300
        > .  2002 ack 5001 win 502               => ESTABLISHED 300
        < .  5001 ack 2001 win 0                 => ESTABLISHED 300
        # A keep-alive and its answer.
        > .  2000 ack 5001 win 502               => ESTABLISHED 300
        < .  5001 ack 2002 win 509               => ESTABLISHED 432000",
    );
}

#[test]
fn full_window_and_probe() {
    play(
        "
        > S  1000 win 64240                      => SYN_SENT 120
        < S. 5000 ack 1001 win 1000              => SYN_RECV 60
        > .  1001+1000 ack 5001 win 502          => ESTABLISHED 300 assured
        < .  5001 ack 2001 win 0                 => ESTABLISHED 300
        # The probe, and what follows it, start at the edge of a window of one octet.
        > .  2001+1 ack 5001 win 502             => ESTABLISHED 300
        > .  2002 ack 5001 win 502               => ESTABLISHED 300
        > .  2003 ack 5001 win 502               => ignore more bytes than expected",
    );
}

#[test]
fn repetitions_shorten_life() {
    after(
        OPENED,
        "
        < .  5001 ack 1001 win 509               => ESTABLISHED 432000
        < .  5001 ack 1001 win 509               => ESTABLISHED 432000
        < .  5001 ack 1001 win 509               => ESTABLISHED 432000
        < .  5001 ack 1001 win 509               => ESTABLISHED 300
        > .  1001 ack 5001 win 502               => ESTABLISHED 432000",
    );
}

#[test]
fn reset_in_and_out_of_window() {
    after(
        OPENED,
        "
        > .  1001+100 ack 5001 win 502           => ESTABLISHED 300
        < .  5001 ack 1101 win 509               => ESTABLISHED 432000
        # The server has acknowledged up to 1101; before it, the RST is stale or forged.
        > R  1050 win 0                          => invalid invalid rst
        # Beyond it, the server will challenge (RFC 5961): the connection may live on.
        > R  1200 win 0                          => ESTABLISHED 300
        # The challenge; to us, 1101 to 1200 are unacknowledged.
        < .  5001 ack 1101 win 509               => ESTABLISHED 300
        # Exactly there, it is believed.
        > R  1101 win 0                          => CLOSE 10",
    );
}

#[test]
fn reset_after_data() {
    after(
        OPENED,
        "
        > .  1001+100 ack 5001 win 502           => ESTABLISHED 300
        < .  5001 ack 1101 win 509               => ESTABLISHED 432000
        > P. 1101+10 ack 5001 win 502            => ESTABLISHED 300
        # Follows the last segment, though the server has not acknowledged that.
        > R. 1111 ack 5001 win 0                 => CLOSE 10",
    );
}

#[test]
fn invalid_resets_can_be_let_through() {
    after(
        OPENED,
        "
        @ignore-invalid-rst
        > .  1001+100 ack 5001 win 502           => ESTABLISHED 300
        < .  5001 ack 1101 win 509               => ESTABLISHED 432000
        > R  1050 win 0                          => ESTABLISHED 300",
    );
}

#[test]
fn challenge_ack_in_last_ack() {
    after(
        OPENED,
        "
        > F. 1001 ack 5001 win 502               => FIN_WAIT 120
        < F. 5001 ack 1002 win 509               => LAST_ACK 30
        # The client forgot, and starts over with the same port.
        > S  90000 win 64240                     => ignore packet ignored
        # The server challenges: this is not the last ACK.
        < .  5002 ack 1002 win 509               => ignore challenge-ack ignored
        > R  1002 win 0                          => CLOSE 10
        > S  90000 win 64240                     => reopen
        > S  90000 win 64240                     => SYN_SENT 120",
    );
}

#[test]
fn one_challenge_to_one_syn() {
    after(
        OPENED,
        "
        > F. 1001 ack 5001 win 502               => FIN_WAIT 120
        < F. 5001 ack 1002 win 509               => LAST_ACK 30
        > S  90000 win 64240                     => ignore packet ignored
        < .  5002 ack 1002 win 509               => ignore challenge-ack ignored
        < .  5002 ack 1002 win 509               => TIME_WAIT 120",
    );
}

#[test]
fn reset_answers_an_ignored_syn() {
    after(
        OPENED,
        "
        > S  90000 win 64240                     => ignore packet ignored
        # The server has no such connection at all, and says so in the SYN's terms.
        < R. 0 ack 90001 win 0                   => CLOSE 10",
    );
}

#[test]
fn reset_of_a_half_open_connection() {
    play(
        "
        > S  1000 win 64240                      => SYN_SENT 120
        < .  5000 ack 777 win 509                => ignore packet ignored
        # Acknowledges what we ignored; its own number cannot be judged.
        > R. 123456 ack 5000 win 0               => CLOSE 10",
    );
}

#[test]
fn reset_with_number_zero() {
    play(
        "
        > S  1000 win 64240                      => SYN_SENT 120
        < S. 5000 ack 1001 win 65160             => SYN_RECV 60
        > R  0 win 0                             => CLOSE 10",
    );
}

#[test]
fn reset_with_an_empty_acknowledgment() {
    play(
        "
        > S  1000000 win 64240                   => SYN_SENT 120
        < S. 5000 ack 1000001 win 65160          => SYN_RECV 60
        > .  1000001 ack 5001 win 64240          => ESTABLISHED 432000 assured
        < R. 5001 ack 0 win 0                    => CLOSE 10",
    );
}

#[test]
fn syn_without_options_changes_no_option() {
    let entry = play(
        "
        > S  1000 win 64240 sackok ws7           => SYN_SENT 120
        > S  9000 win 64240                      => SYN_SENT keep
        < S. 5000 ack 9001 win 65160 sackok ws7  => SYN_RECV 60",
    );
    assert_eq!(entry.track.seen[0].end.0, 9001);
    assert!(entry.track.seen[0].has(flag::SACK_PERMITTED | flag::WINDOW_SCALE));
    assert_eq!(entry.track.seen.map(|seen| seen.scale), [7, 7]);
}

#[test]
fn crossing_syns_started_over() {
    let entry = play(
        "
        > S  1000 win 64240                      => SYN_SENT 120
        < S  5000 win 64240                      => SYN_SENT2 keep
        > S. 1000 ack 5001 win 64240             => SYN_RECV 60
        > S. 90000 ack 5001 win 100              => SYN_RECV 60",
    );
    assert_eq!(
        (entry.track.seen[0].end.0, entry.track.seen[0].max_window),
        (90001, 100)
    );
}

#[test]
fn answer_to_a_keep_alive_after_pick_up() {
    let entry = play(
        "
        > .  1000 ack 5001 win 502               => ESTABLISHED 300
        < .  5001 ack 1001 win 509               => ESTABLISHED 300",
    );
    assert_eq!(entry.track.seen[0].end.0, 1001);
}

#[test]
fn liberality_survives_a_new_start() {
    let entry = play(
        "
        > P. 1001+100 ack 5001 win 502           => ESTABLISHED 300
        > S  90000 win 1000 ws2                  => ignore packet ignored
        < S. 70000 ack 90001 win 2000 ws3        => SYN_RECV 60",
    );
    assert!(entry.track.seen[1].has(flag::BE_LIBERAL));
    assert_eq!(entry.track.seen[0].max_window, 1000);
}

#[test]
fn peers_started_over_behind_our_back() {
    let entry = play(&format!(
        "{OPENED}
        # Both rebooted. We still believe in the old connection.
        > S  90000 win 1000 sackok ws2           => ignore packet ignored
        < S. 70000 ack 90001 win 2000 sackok ws3 => SYN_RECV 60
        > .  90001 ack 70001 win 250             => ESTABLISHED 432000
        < P. 70001+100 ack 90001 win 250         => ESTABLISHED 300"
    ));
    assert_eq!(entry.track.seen.map(|seen| seen.scale), [2, 3]);
}

#[test]
fn challenged_client_resets() {
    play(
        "
        > S  1000 win 64240                      => SYN_SENT 120
        # The server has an old connection, and says so.
        < .  5000 ack 3000000 win 509            => ignore packet ignored
        > R  3000000 win 0                       => CLOSE 10",
    );
}

#[test]
fn reopen_after_time_wait() {
    after(
        OPENED,
        "
        > F. 1001 ack 5001 win 502               => FIN_WAIT 120
        < F. 5001 ack 1002 win 509               => LAST_ACK 30
        > .  1002 ack 5002 win 502               => TIME_WAIT 120
        @after 60
        > S  500000 win 64240                    => reopen
        > S  500000 win 64240                    => SYN_SENT 120",
    );
}

#[test]
fn reopen_after_own_reset_only() {
    after(
        OPENED,
        "
        < R  5001 ack 1001 win 0                 => CLOSE 10
        # The other side reset it: is the client's SYN in step? Let the server tell.
        > S  500000 win 64240                    => ignore packet ignored",
    );
    after(
        OPENED,
        "
        > .  1001 ack 5001 win 502               => ESTABLISHED 432000
        > R. 1001 ack 5001 win 0                 => CLOSE 10
        > S  500000 win 64240                    => reopen",
    );
}

#[test]
fn picked_up_in_the_middle() {
    play(
        "
        > P. 1001+100 ack 5001 win 502           => ESTABLISHED 300
        # SEEN_REPLY comes after the first reply.
        < .  5001 ack 1101 win 509               => ESTABLISHED 300
        # Answered, and answered again: assured.
        > .  1101 ack 5001 win 502               => ESTABLISHED 432000 assured",
    );
    play(
        "
        @strict
        > P. 1001+100 ack 5001 win 502           => refused mid-stream",
    );
}

#[test]
fn nothing_else_opens() {
    for flags in ["S.", "F.", "R", "R."] {
        play(&format!(
            "> {flags} 1000 ack 1 win 10 => refused invalid new"
        ));
    }
    for flags in ["-", "SF", "SR", "F", "P", "U", "SF.", "FR."] {
        play(&format!(
            "> {flags} 1000 ack 1 win 10 => refused invalid tcp flag"
        ));
    }
}

#[test]
fn invalid_fin_from_both_lowers_the_timeout() {
    after(
        OPENED,
        "
        # The client answered once more, so the entry lives for days.
        > .  1001 ack 5001 win 502               => ESTABLISHED 432000
        > F. 900001 ack 5001 win 502             => invalid SEQ is over
        < F. 900001 ack 1001 win 502             => invalid SEQ is over upper bound lower 300
        # It has less than that left now.
        > F. 900001 ack 5001 win 502             => invalid SEQ is over",
    );
}

#[test]
fn windows_are_learned_again() {
    after(
        OPENED,
        "
        @forget
        # Whatever passed us meanwhile, this is where they are now.
        > .  800000+10 ack 900000 win 502        => ESTABLISHED 432000
        < .  900000+10 ack 800010 win 509        => ESTABLISHED 432000
        > .  800010 ack 900010 win 502           => ESTABLISHED 432000
        > .  990010 ack 900010 win 502           => invalid SEQ is over",
    );
}

#[test]
fn nat_helper_shifts_acknowledgments() {
    after(
        OPENED,
        "
        > P. 1001+100 ack 5001 win 502           => ESTABLISHED 300
        # The helper made the client's 100 octets 110: the server acknowledges 1111.
        < .  5001 ack 1111 win 509               => invalid ACK is over
        @shift 10
        < .  5001 ack 1111 win 509               => ESTABLISHED 432000",
    );
}

#[test]
fn closing_from_outside() {
    let mut entry = play(OPENED);
    assert!(entry.track.set_closing());
    assert_eq!(entry.track.state(), State::Close);
    assert!(!entry.track.set_closing());
}

#[test]
fn synproxy_keep_alive() {
    use rust_ct_host::{
        proto::{
            step::Step, tcp::State as S, time::Jiffies32, types::direction::Direction,
            wire::tcp::Flags,
        },
        sim::{policy, timeouts, Draft, Outcome},
    };
    let mut entry = play("> S 1000 win 100 => SYN_SENT 120");
    let timeouts = timeouts();
    let mut keep_alive = Draft {
        direction: Direction::Original,
        flags: Flags::ACK,
        seq: 1000,
        ack: 1,
        window: 100,
        options: Vec::new(),
        payload_len: 0,
        ack_offset: 0,
    };
    entry.status.synproxy = true;
    let outcome = entry.feed(&keep_alive, &policy(&timeouts), Jiffies32(0));
    assert_eq!(outcome, Outcome::Step(Step::Ignore(None)));
    keep_alive.seq = 1001;
    let outcome = entry.feed(&keep_alive, &policy(&timeouts), Jiffies32(0));
    assert!(matches!(outcome, Outcome::Step(Step::Invalid { .. })));
    assert_eq!(entry.track.state(), S::SynSent);
}
