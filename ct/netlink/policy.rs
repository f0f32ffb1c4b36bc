// SPDX-License-Identifier: GPL-2.0

//! Policies of attributes: what the kernel's parser checks before a message is read.

use crate::{
    nf::{
        entry::ext::Labels,
        expect::helper_name::HELPER_NAME_LEN,
        kernel::attr::Policy, //
    },
    proto::types::num::usize_into_u16, //
};

use super::cta::*;

/// The policy of the name of a helper.
pub(super) const HELPER_NAME: Policy =
    Policy::text_up_to(usize_into_u16::<{ HELPER_NAME_LEN - 1 }>());

/// The policies of messages about entries (`ctattr_type`).
pub(super) static ENTRY: [Policy; CTA_MAX + 1] = {
    const LABELS: Policy = Policy::bytes_up_to(usize_into_u16::<{ Labels::WORDS * 4 }>());
    Policy::table([
        (CTA_TUPLE_ORIG, Policy::NESTED),
        (CTA_TUPLE_REPLY, Policy::NESTED),
        (CTA_STATUS, Policy::U32),
        (CTA_PROTOINFO, Policy::NESTED),
        (CTA_HELP, Policy::NESTED),
        (CTA_NAT_SRC, Policy::NESTED),
        (CTA_TIMEOUT, Policy::U32),
        (CTA_MARK, Policy::U32),
        (CTA_ID, Policy::U32),
        (CTA_NAT_DST, Policy::NESTED),
        (CTA_TUPLE_MASTER, Policy::NESTED),
        (CTA_SEQ_ADJ_ORIG, Policy::NESTED),
        (CTA_SEQ_ADJ_REPLY, Policy::NESTED),
        (CTA_ZONE, Policy::U16),
        (CTA_MARK_MASK, Policy::U32),
        (CTA_LABELS, LABELS),
        (CTA_LABELS_MASK, LABELS),
        (CTA_FILTER, Policy::NESTED),
        (CTA_STATUS_MASK, Policy::U32),
        (CTA_TIMESTAMP_EVENT, Policy::REJECTED),
    ])
};
