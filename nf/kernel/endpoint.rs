// SPDX-License-Identifier: GPL-2.0

//! Endpoints of connections, for lookups of sockets.

use crate::{
    nf::bindings,
    proto::types::tuple::Tuple, //
};

/// An address and a port, both in network byte order. An IPv4 address is followed by zeroes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(4))]
pub(crate) struct Endpoint {
    /// The address.
    pub(crate) address: [u8; 16],
    /// The port.
    pub(crate) port: [u8; 2],
}

impl Endpoint {
    /// The unspecified endpoint: no socket is connected to it.
    pub(in crate::nf) const UNSPECIFIED: Self = Self {
        address: [0; 16],
        port: [0; 2],
    };

    /// Returns the source and the destination of a tuple with ports.
    pub(crate) fn ends_of(tuple: &Tuple) -> (Self, Self) {
        let source = Self {
            address: tuple.src,
            port: tuple.src_key,
        };
        let destination = Self {
            address: tuple.dst,
            port: tuple.dst_key,
        };
        (source, destination)
    }

    /// Returns the bytes of an IPv6 address.
    pub(in crate::nf) fn address_of_ipv6(address: bindings::in6_addr) -> [u8; 16] {
        // SAFETY: The type is sixteen initialised bytes.
        unsafe { core::mem::transmute(address) }
    }

    /// Returns the IPv4 address, for C code.
    pub(in crate::nf) fn ipv4(&self) -> u32 {
        let [a, b, c, d, ..] = self.address;
        u32::from_ne_bytes([a, b, c, d])
    }

    /// Returns the IPv6 address, for C code: aligned to four bytes, and valid as long as `self`.
    pub(in crate::nf) fn ipv6(&self) -> *const bindings::in6_addr {
        self.address.as_ptr().cast()
    }

    /// Returns the port, in network byte order.
    pub(in crate::nf) fn network_port(&self) -> u16 {
        u16::from_ne_bytes(self.port)
    }

    /// Returns the port, in host byte order.
    pub(crate) fn host_port(&self) -> u16 {
        u16::from_be_bytes(self.port)
    }
}
