// SPDX-License-Identifier: GPL-2.0

//! The types of `proto` that have the layout of C types.

use core::mem::{
    align_of,
    offset_of,
    size_of, //
};

use crate::{
    nf::{
        bindings,
        entry::conn::ProtoState,
        kernel::layout::SameLayout,
        prelude::*, //
    },
    proto::{
        gre,
        sctp,
        seqadj::Shift,
        tcp,
        types::mask::TupleMask,
        udp, //
    },
};

/// Declares that a Rust type has the layout of a C type, and checks sizes and offsets.
macro_rules! twin {
    ($rust:ty = $c:ty { $($field:ident = $c_field:ident),* $(,)? }) => {
        const _: () = assert!(size_of::<$rust>() == size_of::<$c>());
        const _: () = assert!(align_of::<$rust>() <= align_of::<$c>());
        $(const _: () = assert!(offset_of!($rust, $field) == offset_of!($c, $c_field));)*
        // SAFETY: Checked above; the type is made of integers alone.
        unsafe impl SameLayout for $rust {
            type C = $c;
        }
    };
}

twin!(Tuple = bindings::nf_conntrack_tuple { src = src, dst = dst });
twin!(Shift = bindings::nf_ct_seqadj {
    position = correction_pos,
    before = offset_before,
    after = offset_after,
});
twin!(Zone = bindings::nf_conntrack_zone { id = id, flags = flags, dir = dir });
twin!(TupleMask = bindings::nf_conntrack_tuple_mask { src = src });
twin!(tcp::Track = bindings::ip_ct_tcp {
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
twin!(sctp::Track = bindings::ip_ct_sctp {});
twin!(gre::Track = bindings::nf_ct_gre { stream_timeout = stream_timeout, timeout = timeout });
twin!(udp::Track = bindings::nf_ct_udp { stream_ts = stream_ts });
// The UDP tracker uses it as one atomic word.
const _: () = assert!(size_of::<udp::Track>() == size_of::<usize>());

const _: () =
    assert!(offset_of!(TupleMask, src_key) == offset_of!(bindings::nf_conntrack_tuple_mask, src.u));

const _: () = {
    use bindings::nf_conntrack_tuple as C;
    assert!(offset_of!(Tuple, src_key) == offset_of!(C, src.u));
    assert!(offset_of!(Tuple, l3num) == offset_of!(C, src.l3num));
    assert!(offset_of!(Tuple, dst_key) == offset_of!(C, dst.u));
    assert!(offset_of!(Tuple, protonum) == offset_of!(C, dst.protonum));
    assert!(offset_of!(Tuple, dir) == offset_of!(C, dst.dir));
};

// SAFETY: `tcp` is a member of `union nf_conntrack_proto`.
unsafe impl ProtoState for tcp::Track {}
// SAFETY: `sctp` is a member of `union nf_conntrack_proto`.
unsafe impl ProtoState for sctp::Track {}

// Only the SCTP tracker writes its state; C code finds the fields at these offsets.
const _: () = {
    use bindings::ip_ct_sctp as C;
    assert!(offset_of!(C, state) == 0 && offset_of!(C, vtag) == 4);
    assert!(offset_of!(C, init) == 12 && offset_of!(C, last_dir) == 14);
    assert!(offset_of!(C, flags) == 15);
};
