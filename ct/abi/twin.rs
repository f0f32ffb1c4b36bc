// SPDX-License-Identifier: GPL-2.0

//! The trackers' records, which have the layout of C types.

use core::mem::{
    offset_of,
    size_of, //
};

use crate::{
    nf::{
        bindings,
        entry::conn::ProtoState,
        kernel::layout::same_layout, //
    },
    proto::{
        gre,
        sctp,
        seqadj::Shift,
        tcp,
        types::protocol,
        udp, //
    },
};

same_layout!(Shift = bindings::nf_ct_seqadj {
    position = correction_pos,
    before = offset_before,
    after = offset_after,
});
same_layout!(tcp::Track = bindings::ip_ct_tcp {
    seen = seen,
    state = state,
    last_dir = last_dir,
    retrans = retrans,
    last_index = last_index,
    last_seq = last_seq,
    last_ack = last_ack,
    last_end = last_end,
    last_win = last_win,
    last_wscale = last_wscale,
    last_flags = last_flags,
});
same_layout!(sctp::Track = bindings::ip_ct_sctp {});
same_layout!(gre::Track = bindings::nf_ct_gre {
    stream_timeout = stream_timeout,
    timeout = timeout,
});
same_layout!(udp::Track = bindings::nf_ct_udp { stream_ts = stream_ts });
// The UDP tracker uses it as one atomic word.
const _: () = assert!(size_of::<udp::Track>() == size_of::<usize>());

// SAFETY: `tcp` is a member of `union nf_conntrack_proto`.
unsafe impl ProtoState for tcp::Track {
    const PROTOCOL: u8 = protocol::TCP;
}
// SAFETY: `sctp` is a member of `union nf_conntrack_proto`.
unsafe impl ProtoState for sctp::Track {
    const PROTOCOL: u8 = protocol::SCTP;
}

// Only the SCTP tracker writes its state; C code finds the fields at these offsets.
const _: () = {
    use bindings::ip_ct_sctp as C;
    assert!(offset_of!(C, state) == 0 && offset_of!(C, vtag) == 4);
    assert!(offset_of!(C, init) == 12 && offset_of!(C, last_dir) == 14);
    assert!(offset_of!(C, flags) == 15);
};
