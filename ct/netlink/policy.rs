// SPDX-License-Identifier: GPL-2.0

//! The policy of the attributes that describe an entry (`ctattr_type`).

use crate::nf::{
    entry::ext::Labels,
    kernel::attr::Policy, //
};

use super::cta::entry as number;

/// What the attributes of a message about entries must look like.
pub(super) static POLICY: [Policy; number::PLACES] = {
    // CAST: a handful.
    const LABELS: Policy = Policy::bytes_up_to((Labels::WORDS * 4) as u16);
    let mut policy = [const { Policy::ANY }; number::PLACES];
    policy[number::ORIGINAL as usize] = Policy::NESTED;
    policy[number::REPLY as usize] = Policy::NESTED;
    policy[number::STATUS as usize] = Policy::U32;
    policy[number::PROTOCOL_INFO as usize] = Policy::NESTED;
    policy[number::HELP as usize] = Policy::NESTED;
    policy[number::NAT_SOURCE as usize] = Policy::NESTED;
    policy[number::TIMEOUT as usize] = Policy::U32;
    policy[number::MARK as usize] = Policy::U32;
    policy[number::ID as usize] = Policy::U32;
    policy[number::NAT_DESTINATION as usize] = Policy::NESTED;
    policy[number::MASTER as usize] = Policy::NESTED;
    policy[number::SHIFT_ORIGINAL as usize] = Policy::NESTED;
    policy[number::SHIFT_REPLY as usize] = Policy::NESTED;
    policy[number::ZONE as usize] = Policy::U16;
    policy[number::MARK_MASK as usize] = Policy::U32;
    policy[number::LABELS as usize] = LABELS;
    policy[number::LABELS_MASK as usize] = LABELS;
    policy[number::FILTER as usize] = Policy::NESTED;
    policy[number::STATUS_MASK as usize] = Policy::U32;
    policy[number::EVENT_TIME as usize] = Policy::REJECTED;
    policy
};
