// SPDX-License-Identifier: GPL-2.0

//! Key windows: the ports, ICMP identifiers or GRE call IDs that a connection may get.

use super::{
    manip::Manip,
    range::{flag, Range},
};
use crate::proto::types::{protocol, tuple::Tuple};

/// A range of consecutive keys, and their position in a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first key.
    pub min: u16,
    /// Number of keys: 1 to 65536.
    pub size: u32,
    /// Whether the key is the tuple's source key.
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

    /// Returns the keys that a connection may get, or [`None`] if its key must stay.
    ///
    /// Without a range of ports, a source port stays in its class: below 512, where `rsh` takes it
    /// for a proof of identity; below 1024, the privileged ports; or above. A destination port
    /// stays. `expected`: an expectation announced the connection.
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
            // Only a PPTP call, which is always expected, has keys.
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

    /// Returns the key that `tuple` has.
    #[inline]
    pub fn key_of(&self, tuple: &Tuple) -> u16 {
        u16::from_be_bytes(if self.in_source {
            tuple.src_key
        } else {
            tuple.dst_key
        })
    }

    /// Returns the key at `index`; an `index` from `size` to `2 * size - 1` wraps around.
    #[inline]
    pub fn key(&self, index: u32) -> u16 {
        let index = if index >= self.size {
            index.wrapping_sub(self.size)
        } else {
            index
        };
        // For such an index, the sum is below 2^16.
        let [low, high, ..] = u32::from(self.min).wrapping_add(index).to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    /// Stores the key at `index` in `tuple`.
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
