// SPDX-License-Identifier: GPL-2.0

//! The keys (ports, ICMP identifiers, GRE call IDs) that a connection may get.

use super::{
    manip::Manip,
    range::{flag, Range},
};
use crate::proto::types::{protocol, tuple::Tuple};

/// A row of keys, and where in a tuple they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first key.
    pub min: u16,
    /// How many there are: 1 to 65536.
    pub size: u32,
    /// Whether the tuple's source has it.
    in_source: bool,
}

impl Window {
    fn new(min: u16, max: u16, in_source: bool) -> Self {
        let (min, max) = if min <= max { (min, max) } else { (max, min) };
        Self {
            min,
            size: u32::from(max.wrapping_sub(min)).wrapping_add(1),
            in_source,
        }
    }

    /// The keys that a connection may get. [`None`]: its key has to stay.
    ///
    /// Without a range, a source port stays among those of its kind: below 512, where a port
    /// proves who one is; below 1024, which only a privileged process gets; or above. A
    /// destination port stays. `expected`: the connection was announced by another one.
    pub fn of(tuple: &Tuple, range: &Range, manip: Manip, expected: bool) -> Option<Self> {
        let in_source = manip == Manip::Source;
        let given = range.has(flag::PROTO_SPECIFIED).then(|| {
            (
                u16::from_be_bytes(range.min_key),
                u16::from_be_bytes(range.max_key),
            )
        });
        match tuple.protonum {
            protocol::ICMP | protocol::ICMPV6 => {
                let (min, max) = given.unwrap_or((0, u16::MAX));
                Some(Self::new(min, max, true))
            }
            // Only a PPTP call, which has a master, has keys.
            protocol::GRE if expected => {
                let (min, max) = given.unwrap_or((1, u16::MAX));
                Some(Self::new(min, max, in_source))
            }
            protocol::TCP | protocol::UDP | protocol::SCTP => {
                let (min, max) = match given {
                    Some(given) => given,
                    None if !in_source => return None,
                    None => match tuple.src_port() {
                        0..=511 => (1, 511),
                        512..=1023 => (600, 1023),
                        1024.. => (1024, u16::MAX),
                    },
                };
                Some(Self::new(min, max, in_source))
            }
            _ => None,
        }
    }

    /// The key that `tuple` has.
    #[inline]
    pub fn key_of(&self, tuple: &Tuple) -> u16 {
        u16::from_be_bytes(if self.in_source {
            tuple.src_key
        } else {
            tuple.dst_key
        })
    }

    /// The key at `index`, which is taken modulo the size if it is less than twice that.
    #[inline]
    pub fn key(&self, index: u32) -> u16 {
        let index = if index >= self.size {
            index.wrapping_sub(self.size)
        } else {
            index
        };
        // The sum is a key: the low half of it is all there is.
        let [low, high, ..] = u32::from(self.min).wrapping_add(index).to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// Puts the key at `index` into `tuple`.
    #[inline]
    pub fn put(&self, tuple: &mut Tuple, index: u32) {
        let key = self.key(index).to_be_bytes();
        if self.in_source {
            tuple.src_key = key;
        } else {
            tuple.dst_key = key;
        }
    }
}
