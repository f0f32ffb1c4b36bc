// SPDX-License-Identifier: GPL-2.0

//! The original destination of a redirected connection: `getsockopt()` with `SO_ORIGINAL_DST` and
//! `IP6T_SO_ORIGINAL_DST`, which transparent proxies use.
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
    sync::atomic::{
        Atomic,
        Full,
        Release, //
    },
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
    proto::types::{
        family::Family,
        tuple::widen, //
    },
};

/// A source of original destinations.
pub(crate) trait Origin: 'static {
    /// Returns the destination that the peer of a socket connected to. [`None`]: the connection is
    /// not known.
    fn destination(
        net: &Net,
        family: Family,
        protocol: u8,
        local: &Endpoint,
        peer: &Endpoint,
    ) -> Option<Endpoint>;
}

/// Socket options, which the kernel links into its list.
struct Options(Opaque<bindings::nf_sockopt_ops>);

// SAFETY: The kernel changes the links under a lock of its own.
unsafe impl Sync for Options {}

static IPV4: Options = Options(Opaque::zeroed());
static IPV6: Options = Options(Opaque::zeroed());

/// Whether there is an [`OriginRegistration`], or one is being made or dropped.
static IS_REGISTERED: Atomic<bool> = Atomic::new(false);

impl Options {
    /// Registers the option of one family. May sleep.
    fn register(&'static self, family: Family, get: GetSockopt) -> Result {
        // CAST: The number of a socket option is small.
        let number = bindings::SO_ORIGINAL_DST as c_int;
        // SAFETY: The options are not registered: `IS_REGISTERED` admits one registration at a
        // time. They are static, and the kernel holds the module while a call is under way.
        to_result(unsafe {
            let options = self.0.get();
            (*options).pf = family.to_u8();
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

type GetSockopt =
    unsafe extern "C" fn(*mut bindings::sock, c_int, *mut c_void, *mut c_int) -> c_int;

/// Keeps both options registered. There is one registration at a time.
///
/// # Invariants
///
/// Both options are registered, and `IS_REGISTERED` is true.
pub(crate) struct OriginRegistration(());

impl OriginRegistration {
    /// Registers both options, which `O` answers. May sleep.
    ///
    /// `EBUSY`: they are registered already, here or by another module.
    pub(crate) fn new<O: Origin>() -> Result<Self> {
        if IS_REGISTERED.xchg(true, Full) {
            return Err(EBUSY);
        }
        Self::register::<O>()
            .inspect_err(|_| IS_REGISTERED.store(false, Release))
            // INVARIANT: As just registered.
            .map(|()| Self(()))
    }

    /// Registers both options, or none.
    fn register<O: Origin>() -> Result {
        IPV4.register(Family::Ipv4, get::<O, Ipv4>)?;
        IPV6.register(Family::Ipv6, get::<O, Ipv6>)
            .inspect_err(|_| {
                // SAFETY: Registered above.
                unsafe { bindings::nf_unregister_sockopt(IPV4.0.get()) };
            })
    }
}

impl Drop for OriginRegistration {
    fn drop(&mut self) {
        for options in [&IPV6, &IPV4] {
            // SAFETY: By the type invariants.
            unsafe { bindings::nf_unregister_sockopt(options.0.get()) };
        }
        IS_REGISTERED.store(false, Release);
    }
}

/// The socket address of a family.
trait SockAddr {
    const FAMILY: Family;
    /// The size of `struct sockaddr_in` or `struct sockaddr_in6` in bytes.
    const SIZE: usize;

    /// Returns the addresses of a socket: its own, then its peer's.
    ///
    /// # Safety
    ///
    /// `sock` is a locked socket of the family.
    unsafe fn endpoints(sock: *mut bindings::sock) -> [[u8; 16]; 2];

    /// Writes an endpoint as the family's `struct sockaddr`, for a socket.
    ///
    /// # Safety
    ///
    /// `sock` is a socket of the family.
    unsafe fn write(sock: *mut bindings::sock, endpoint: &Endpoint, to: &mut [u8]) -> Option<()>;
}

struct Ipv4;

impl SockAddr for Ipv4 {
    const FAMILY: Family = Family::Ipv4;
    const SIZE: usize = 16;

    unsafe fn endpoints(sock: *mut bindings::sock) -> [[u8; 16]; 2] {
        // SAFETY: By the safety requirements.
        let addresses = unsafe {
            [
                bindings::rct_sock_ipv4(sock),
                bindings::rct_sock_ipv4_peer(sock),
            ]
        };
        addresses.map(|address| widen(address.to_ne_bytes()))
    }

    unsafe fn write(_sock: *mut bindings::sock, endpoint: &Endpoint, to: &mut [u8]) -> Option<()> {
        // CAST: An address family is a small number.
        put(to, 0, &(bindings::RCT_AF_INET as u16).to_ne_bytes())?;
        put(to, 2, &endpoint.port)?;
        put(to, 4, endpoint.address.first_chunk::<4>()?)
    }
}

struct Ipv6;

impl SockAddr for Ipv6 {
    const FAMILY: Family = Family::Ipv6;
    const SIZE: usize = 28;

    unsafe fn endpoints(sock: *mut bindings::sock) -> [[u8; 16]; 2] {
        // SAFETY: By the safety requirements. An address is 16 bytes.
        unsafe {
            [
                core::mem::transmute_copy(&bindings::rct_sock_ipv6(sock)),
                core::mem::transmute_copy(&bindings::rct_sock_ipv6_peer(sock)),
            ]
        }
    }

    unsafe fn write(sock: *mut bindings::sock, endpoint: &Endpoint, to: &mut [u8]) -> Option<()> {
        // SAFETY: By the safety requirements; the address is 16 bytes.
        let (label, scope) = unsafe {
            (
                bindings::rct_sock_flow_label(sock),
                bindings::rct_sock_scope(sock, endpoint.address.as_ptr().cast()),
            )
        };
        // CAST: An address family is a small number.
        put(to, 0, &(bindings::RCT_AF_INET6 as u16).to_ne_bytes())?;
        put(to, 2, &endpoint.port)?;
        put(to, 4, &label.to_ne_bytes())?;
        put(to, 8, &endpoint.address)?;
        put(to, 24, &scope.to_ne_bytes())
    }
}

fn put(to: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    let place = to.get_mut(at..)?.get_mut(..bytes.len())?;
    place.copy_from_slice(bytes);
    Some(())
}

/// Answers the option, as the core calls it.
///
/// # Safety
///
/// For the kernel's `getsockopt()` alone: `sock` is a socket of the family, and `length` points to
/// the size of the user's buffer.
unsafe extern "C" fn get<O: Origin, F: SockAddr>(
    sock: *mut bindings::sock,
    _option: c_int,
    user: *mut c_void,
    length: *mut c_int,
) -> c_int {
    // SAFETY: By the safety requirements.
    let answered = unsafe { get_original_dst::<O, F>(sock, user, *length) };
    from_result(|| answered.map(|()| 0))
}

/// # Safety
///
/// As for [`get`].
unsafe fn get_original_dst<O: Origin, F: SockAddr>(
    sock: *mut bindings::sock,
    user: *mut c_void,
    length: c_int,
) -> Result {
    // SAFETY: By the safety requirements. The addresses change under the socket's lock only.
    let (net, protocol, addresses, ports) = unsafe {
        bindings::rct_lock_sock(sock);
        let facts = (
            Net::from_raw(bindings::rct_sock_net(sock)),
            bindings::rct_sock_protocol(sock),
            F::endpoints(sock),
            [
                bindings::rct_sock_own_port(sock).to_ne_bytes(),
                bindings::rct_sock_peer_port(sock).to_ne_bytes(),
            ],
        );
        bindings::rct_release_sock(sock);
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
        address: addresses[end & 1],
        port: ports[end & 1],
    });
    let original = O::destination(net, F::FAMILY, protocol, &local, &peer).ok_or(ENOENT)?;
    let mut text = [0; 28];
    // SAFETY: By the safety requirements.
    unsafe { F::write(sock, &original, &mut text) }.ok_or(EINVAL)?;
    UserSlice::new(UserPtr::from_ptr(user), F::SIZE)
        .writer()
        .write_slice(text.get(..F::SIZE).ok_or(EINVAL)?)
}
