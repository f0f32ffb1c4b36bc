// SPDX-License-Identifier: GPL-2.0

//! Inversion: from the tuple of one direction to the tuple of the other.

use super::{
    types::{
        direction::Direction,
        protocol,
        tuple::{Key, L4Key, Tuple},
    },
    wire::{icmp, icmpv6},
};

impl Tuple {
    /// Returns the tuple that a reply to this one carries, in the opposite direction.
    ///
    /// [`None`] for an ICMP or ICMPv6 type that has no reply: it cannot open a connection.
    ///
    /// # Examples
    ///
    /// ```
    /// # use rust_ct_host::proto;
    /// use proto::{
    ///     types::{
    ///         protocol,
    ///         tuple::{L4Key, Tuple},
    ///     },
    ///     wire::icmp::kind,
    /// };
    ///
    /// let (a, b) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    /// let query = Tuple::ipv4(a, b, L4Key::ports(40_000, 53), protocol::UDP);
    /// let reply = Tuple::ipv4(b, a, L4Key::ports(53, 40_000), protocol::UDP);
    /// assert_eq!(query.invert(), Some(reply));
    ///
    /// // An ICMP query and its reply have the same identifier, and different types.
    /// let echo = Tuple::ipv4(a, b, L4Key::icmp([0, 7], kind::ECHO, 0), protocol::ICMP);
    /// let reply = echo.invert().unwrap();
    /// assert_eq!((reply.icmp_id(), reply.icmp_type()), (7, kind::ECHO_REPLY));
    ///
    /// // An error replies to no query.
    /// let error = L4Key::icmp([0, 0], kind::TIME_EXCEEDED, 0);
    /// assert_eq!(Tuple::ipv4(a, b, error, protocol::ICMP).invert(), None);
    /// ```
    #[inline]
    pub const fn invert(&self) -> Option<Self> {
        let key = match self.protonum {
            protocol::ICMP => match icmp::answer(self.icmp_type()) {
                Some(kind) => L4Key::icmp(self.src_key, kind, self.icmp_code()),
                None => return None,
            },
            protocol::ICMPV6 => match icmpv6::answer(self.icmp_type()) {
                Some(kind) => L4Key::icmp(self.src_key, kind, self.icmp_code()),
                None => return None,
            },
            _ => L4Key {
                src: self.dst_key,
                dst: self.src_key,
            },
        };
        let answer = Self::new(self.l3num, self.dst, self.src, key, self.protonum);
        Some(answer.with_direction(self.direction().opposite()))
    }
}

impl Key {
    /// Returns the words of [`Tuple::invert`], the direction included, for the tuple in the
    /// original direction.
    #[inline]
    pub const fn answer(&self) -> Option<[u64; 5]> {
        let [.., last] = self.halves();
        let [_, _, protonum, _] = last.to_ne_bytes();
        if matches!(protonum, protocol::ICMP | protocol::ICMPV6) {
            return self.answer_to_query();
        }
        Some(self.mirror().tuple_words(Direction::Reply))
    }

    #[inline(never)]
    const fn answer_to_query(&self) -> Option<[u64; 5]> {
        match self.tuple().invert() {
            Some(answer) => Some(answer.words()),
            None => None,
        }
    }
}
