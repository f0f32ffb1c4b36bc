// SPDX-License-Identifier: GPL-2.0

//! Rust types that have the layout of C types.

use core::mem::offset_of;

use crate::{
    nf::bindings,
    proto::types::{
        mask::TupleMask,
        tuple::Tuple,
        zone::Zone, //
    },
};

/// A type that has the layout of a C type.
///
/// # Safety
///
/// `Self` has the size of `Self::C`, an alignment that is not larger, and every sequence of bytes
/// is a valid `Self`.
pub(crate) unsafe trait SameLayout: Copy {
    /// The C type.
    type C;
}

/// Declares that a Rust type, which is made of integers alone, has the layout of a C type. Size,
/// alignment and the offsets of the named fields are checked at build time.
///
/// # Examples
///
/// ```ignore
/// same_layout!(Zone = bindings::nf_conntrack_zone { id = id, flags = flags, dir = dir });
/// ```
macro_rules! same_layout {
    ($rust:ty = $c:ty { $($field:ident = $c_field:ident),* $(,)? }) => {
        const _: () = {
            assert!(core::mem::size_of::<$rust>() == core::mem::size_of::<$c>());
            assert!(core::mem::align_of::<$rust>() <= core::mem::align_of::<$c>());
            $(assert!(
                core::mem::offset_of!($rust, $field) == core::mem::offset_of!($c, $c_field)
            );)*
        };
        // SAFETY: Checked above; the type is made of integers alone.
        unsafe impl $crate::nf::kernel::layout::SameLayout for $rust {
            type C = $c;
        }
    };
}

pub(crate) use same_layout;

same_layout!(Tuple = bindings::nf_conntrack_tuple { src = src, dst = dst });
same_layout!(TupleMask = bindings::nf_conntrack_tuple_mask { src = src });
same_layout!(Zone = bindings::nf_conntrack_zone { id = id, flags = flags, dir = dir });

// Fields inside of the C types' structs and unions.
const _: () = {
    use bindings::nf_conntrack_tuple as C;
    assert!(offset_of!(Tuple, src_key) == offset_of!(C, src.u));
    assert!(offset_of!(Tuple, l3num) == offset_of!(C, src.l3num));
    assert!(offset_of!(Tuple, dst_key) == offset_of!(C, dst.u));
    assert!(offset_of!(Tuple, protonum) == offset_of!(C, dst.protonum));
    assert!(offset_of!(Tuple, dir) == offset_of!(C, dst.dir));
    use bindings::nf_conntrack_tuple_mask as Mask;
    assert!(offset_of!(TupleMask, src_key) == offset_of!(Mask, src.u));
};
