// SPDX-License-Identifier: GPL-2.0

//! What a program may ask of a socket: where its peer wanted to go, before a rule redirected it
//! (`getsockopt()` with `SO_ORIGINAL_DST`, `IP6T_SO_ORIGINAL_DST`). Transparent proxies do.
//!
//! C header: [`include/linux/netfilter.h`](srctree/include/linux/netfilter.h)

use core::ffi::{
    c_int,
    c_void, //
};

use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    types::Opaque,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    ModuleMetadata, //
};

use crate::{
    nf::{
        bindings,
        kernel::{
            endpoint::Endpoint,
            net::Net, //
        },
    },
    proto::types::family::Family, //
};

/// Who knows where a connection wanted to go.
pub(crate) trait Origin: 'static {
    /// Where the peer of a socket wanted to go. [`None`]: nobody knows the connection.
    fn destination(
        net: &Net,
        family: Family,
        protocol: u8,
        local: &Endpoint,
        peer: &Endpoint,
    ) -> Option<Endpoint>;
}

/// What the kernel links into its list.
struct Options(Opaque<bindings::nf_sockopt_ops>);

// SAFETY: The kernel's list of them is locked.
unsafe impl Sync for Options {}

static IPV4: Options = Options(Opaque::zeroed());
static IPV6: Options = Options(Opaque::zeroed());

impl Options {
    /// Registers one option. May sleep.
    fn register(&'static self, family: Family, get: Get) -> Result {
        // CAST: small numbers.
        let number = bindings::SO_ORIGINAL_DST as c_int;
        // SAFETY: Not registered at present: there is one registration at a time. What is
        // registered is static, and as long as it is in use the kernel keeps the module.
        to_result(unsafe {
            let options = self.0.get();
            (*options).pf = family as u8;
            (*options).get_optmin = number;
            (*options).get_optmax = number + 1;
            (*options).get = Some(get);
            (*options).owner = <crate::RustCt as ModuleMetadata>::THIS_MODULE
                .as_ptr()
                .cast();
            bindings::nf_register_sockopt(options)
        })
    }
}

type Get = unsafe extern "C" fn(*mut bindings::sock, c_int, *mut c_void, *mut c_int) -> c_int;

/// Has both options answered.
///
/// # Invariants
///
/// Both are registered.
pub(crate) struct OriginRegistration(());

impl OriginRegistration {
    /// Answers from now on. May sleep. `EBUSY`: somebody else does.
    pub(crate) fn new<O: Origin>() -> Result<Self> {
        IPV4.register(Family::Ipv4, get::<O, Ipv4>)?;
        IPV6.register(Family::Ipv6, get::<O, Ipv6>)
            .inspect_err(|_| {
                // SAFETY: Registered above.
                unsafe { bindings::nf_unregister_sockopt(IPV4.0.get()) };
            })?;
        // INVARIANT: As just done.
        Ok(Self(()))
    }
}

impl Drop for OriginRegistration {
    fn drop(&mut self) {
        for options in [&IPV6, &IPV4] {
            // SAFETY: By the type invariants.
            unsafe { bindings::nf_unregister_sockopt(options.0.get()) };
        }
    }
}

/// How a family writes addresses.
trait Form {
    const FAMILY: Family;
    /// The size of a `struct sockaddr_in`, or `sockaddr_in6`.
    const SIZE: usize;

    /// The two ends of a socket: its own, then its peer's.
    ///
    /// # Safety
    ///
    /// `sock` is a locked socket of the family.
    unsafe fn ends(sock: *mut bindings::sock) -> [[u8; 16]; 2];

    /// Writes an end as a `struct sockaddr_…`, for a socket.
    ///
    /// # Safety
    ///
    /// `sock` is a socket of the family.
    unsafe fn write(sock: *mut bindings::sock, end: &Endpoint, to: &mut [u8]) -> Option<()>;
}

struct Ipv4;

impl Form for Ipv4 {
    const FAMILY: Family = Family::Ipv4;
    const SIZE: usize = 16;

    unsafe fn ends(sock: *mut bindings::sock) -> [[u8; 16]; 2] {
        // SAFETY: The caller's promise.
        let ends = unsafe {
            [
                bindings::rct_sock_ipv4(sock),
                bindings::rct_sock_ipv4_peer(sock),
            ]
        };
        ends.map(|address| {
            let [a, b, c, d] = address.to_ne_bytes();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        })
    }

    unsafe fn write(_sock: *mut bindings::sock, end: &Endpoint, to: &mut [u8]) -> Option<()> {
        // CAST: a small number.
        put(to, 0, &(bindings::RCT_AF_INET as u16).to_ne_bytes())?;
        put(to, 2, &end.port)?;
        put(to, 4, end.address.first_chunk::<4>()?)
    }
}

struct Ipv6;

impl Form for Ipv6 {
    const FAMILY: Family = Family::Ipv6;
    const SIZE: usize = 28;

    unsafe fn ends(sock: *mut bindings::sock) -> [[u8; 16]; 2] {
        // SAFETY: The caller's promise. An address is sixteen bytes.
        unsafe {
            [
                core::mem::transmute_copy(&bindings::rct_sock_ipv6(sock)),
                core::mem::transmute_copy(&bindings::rct_sock_ipv6_peer(sock)),
            ]
        }
    }

    unsafe fn write(sock: *mut bindings::sock, end: &Endpoint, to: &mut [u8]) -> Option<()> {
        // SAFETY: The caller's promise; the address is sixteen bytes.
        let (label, scope) = unsafe {
            (
                bindings::rct_sock_flow_label(sock),
                bindings::rct_sock_scope(sock, end.address.as_ptr().cast()),
            )
        };
        // CAST: a small number.
        put(to, 0, &(bindings::RCT_AF_INET6 as u16).to_ne_bytes())?;
        put(to, 2, &end.port)?;
        put(to, 4, &label.to_ne_bytes())?;
        put(to, 8, &end.address)?;
        put(to, 24, &scope.to_ne_bytes())
    }
}

fn put(to: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    let place = to.get_mut(at..)?.get_mut(..bytes.len())?;
    place.copy_from_slice(bytes);
    Some(())
}

/// Answers the option.
///
/// # Safety
///
/// For the kernel's `getsockopt()` alone: `sock` is a socket of the family, `length` points to
/// the size of the caller's buffer.
unsafe extern "C" fn get<O: Origin, F: Form>(
    sock: *mut bindings::sock,
    _option: c_int,
    user: *mut c_void,
    length: *mut c_int,
) -> c_int {
    // SAFETY: The caller's promise.
    let answered = unsafe { answer::<O, F>(sock, user, *length) };
    from_result(|| answered.map(|()| 0))
}

/// # Safety
///
/// As for [`get`].
unsafe fn answer<O: Origin, F: Form>(
    sock: *mut bindings::sock,
    user: *mut c_void,
    length: c_int,
) -> Result {
    // SAFETY: The caller's promise. The ends change under the lock only.
    let (net, protocol, ends, ports) = unsafe {
        bindings::rct_sock_own(sock);
        let facts = (
            Net::from_raw(bindings::rct_sock_net(sock)),
            bindings::rct_sock_protocol(sock),
            F::ends(sock),
            [
                bindings::rct_sock_own_port(sock).to_ne_bytes(),
                bindings::rct_sock_peer_port(sock).to_ne_bytes(),
            ],
        );
        bindings::rct_sock_disown(sock);
        facts
    };
    let protocol = match u32::from(protocol) {
        bindings::IPPROTO_TCP | bindings::IPPROTO_SCTP => u8::try_from(protocol)?,
        _ => return Err(ENOPROTOOPT),
    };
    if usize::try_from(length).map_or(true, |length| length < F::SIZE) {
        return Err(EINVAL);
    }
    let [local, peer] = [0, 1].map(|end: usize| Endpoint {
        address: ends[end & 1],
        port: ports[end & 1],
    });
    let wanted = O::destination(net, F::FAMILY, protocol, &local, &peer).ok_or(ENOENT)?;
    let mut text = [0; 28];
    // SAFETY: The caller's promise.
    unsafe { F::write(sock, &wanted, &mut text) }.ok_or(EINVAL)?;
    UserSlice::new(UserPtr::from_ptr(user), F::SIZE)
        .writer()
        .write_slice(text.get(..F::SIZE).ok_or(EINVAL)?)
}
