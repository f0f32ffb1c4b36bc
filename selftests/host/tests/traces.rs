// SPDX-License-Identifier: GPL-2.0

//! Plays every story of `selftests/traces`: a test each.
//!
//! An argument that is not an option selects the stories with that text in them, as the usual
//! test harness does.

use std::{env, process::ExitCode};

use rust_ct_host::{player::Player, trace::stories};

fn main() -> ExitCode {
    let wanted: Vec<String> = env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let stories = stories();
    let (mut passed, mut failed) = (0, 0);
    for story in &stories {
        let name = story.to_string();
        if !wanted.is_empty() && !wanted.iter().any(|text| name.contains(text)) {
            continue;
        }
        match Player::play_story(story) {
            Ok(_) => {
                passed += 1;
                println!("test {name} ... ok");
            }
            Err(why) => {
                failed += 1;
                println!("test {name} ... FAILED\n{why}");
            }
        }
    }
    let is_complete = stories.len() > 100;
    if !is_complete {
        println!("only {} stories were found", stories.len());
    }
    let result = if failed == 0 && is_complete {
        "ok"
    } else {
        "FAILED"
    };
    println!("\ntest result: {result}. {passed} passed; {failed} failed");
    ExitCode::from(u8::from(failed > 0 || !is_complete))
}
