// SPDX-License-Identifier: GPL-2.0

//! Helpers: their registration, and their assignment to connections.

use core::{
    ffi::{
        c_int,
        c_uint,
        c_void, //
    },
    ptr::{
        null_mut,
        NonNull, //
    },
};

use kernel::{
    error::from_result,
    prelude::*,
    sync::aref::ARef, //
};

use crate::{
    ct::{
        expect,
        helper, //
    },
    nf::{
        bindings,
        c_export::c_export,
        entry::help::{
            Help,
            Helper,
            HelperTarget, //
        },
        expect::{
            expectfn,
            helper as nf_helper,
            helper::{
                LoadedHelper,
                Unregistered,
                MAX_CLASSES, //
            },
            helper_name::HelperName,
            helper_table,
            lock::ExpectGuard, //
        },
        kernel::{
            log::pr_warn_once,
            nfnetlink::Requester,
            refcount::Counted, //
        },
        prelude::*, //
    },
    proto::types::num::u32_as_usize, //
};

/// The function of a helper that sees packets (`help`).
type Function = Option<
    unsafe extern "C" fn(
        *mut bindings::sk_buff,
        c_uint,
        *mut bindings::nf_conn,
        bindings::ip_conntrack_info,
    ) -> c_int,
>;

/// The function of a helper for `CTA_HELP_INFO` (`from_nlattr`).
type FromNetlink =
    Option<unsafe extern "C" fn(*mut bindings::nlattr, *mut bindings::nf_conn) -> c_int>;

/// Takes over the caller's reference.
///
/// # Safety
///
/// The caller gives up a reference to `helper`.
unsafe fn reference(helper: *mut bindings::nf_conntrack_helper) -> ARef<Counted<Helper>> {
    // SAFETY: By the safety requirements of this function.
    unsafe { ARef::from_raw(NonNull::new_unchecked(helper).cast()) }
}

/// Registers a copy of a helper. Returns the copy, which is the registered one.
///
/// # Safety
///
/// `original` points to an initialised helper.
unsafe fn register_copy(
    original: *const bindings::nf_conntrack_helper,
) -> Result<*mut bindings::nf_conntrack_helper> {
    // SAFETY: By the safety requirements of this function.
    let copy = unsafe { Unregistered::copy_of(original) }?;
    let raw = copy.raw();
    helper::register(copy)?;
    Ok(raw)
}

/// Unregisters a helper.
///
/// # Safety
///
/// `helper` is registered, and the caller gives it up.
unsafe fn unregister(helper: *mut bindings::nf_conntrack_helper) {
    // SAFETY: By the safety requirements of this function.
    let helper = unsafe {
        let helper = NonNull::new_unchecked(helper);
        helper_table::REGISTRY.lock().remove(helper)
    };
    helper::retire(helper);
}

c_export! {
    /// Registers a helper that the caller allocated.
    fn __nf_conntrack_helper_register(me: *mut bindings::nf_conntrack_helper) -> c_int {
        // SAFETY: The caller passes a helper that no other code uses yet.
        let helper = unsafe { Unregistered::from_raw(NonNull::new_unchecked(me)) };
        from_result(|| {
            helper::register(helper)?;
            Ok(0)
        })
    }
}

c_export! {
    /// Registers a copy of a helper.
    fn nf_conntrack_helper_register(
        me: *mut bindings::nf_conntrack_helper,
        helper_ptr: *mut *mut bindings::nf_conntrack_helper
    ) -> c_int {
        // SAFETY: The caller passes a helper, and a pointer for the copy.
        unsafe {
            let result = register_copy(me);
            *helper_ptr = *result.as_ref().unwrap_or(&null_mut());
            from_result(|| result.map(|_| 0))
        }
    }
}

c_export! {
    /// Registers copies of `n` helpers, or of none.
    fn nf_conntrack_helpers_register(
        helper: *mut bindings::nf_conntrack_helper,
        n: c_uint,
        helper_ptr: *mut *mut bindings::nf_conntrack_helper
    ) -> c_int {
        for index in 0..n {
            let at = u32_as_usize(index);
            // SAFETY: The caller passes `n` helpers, and as many pointers.
            match unsafe { register_copy(helper.add(at)) } {
                // SAFETY: As above.
                Ok(copy) => unsafe { *helper_ptr.add(at) = copy },
                Err(error) => {
                    // SAFETY: As above; the first `index` are registered.
                    unsafe {
                        *helper_ptr.add(at) = null_mut();
                        nf_conntrack_helpers_unregister(helper_ptr, index);
                    }
                    return error.to_errno();
                }
            }
        }
        0
    }
}

c_export! {
    /// Unregisters a helper. When this returns, no CPU runs the helper's function.
    fn nf_conntrack_helper_unregister(me: *mut bindings::nf_conntrack_helper) {
        // SAFETY: The caller registered it.
        unsafe { unregister(me) };
    }
}

c_export! {
    /// Unregisters helpers.
    fn nf_conntrack_helpers_unregister(
        helper: *mut *mut bindings::nf_conntrack_helper,
        n: c_uint
    ) {
        for index in (0..u32_as_usize(n)).rev() {
            // SAFETY: The caller registered `n` helpers, and put the pointers there.
            unsafe {
                unregister(*helper.add(index));
                *helper.add(index) = null_mut();
            }
        }
    }
}

c_export! {
    /// Drops the creator's reference to a helper that is not registered.
    fn nf_conntrack_helper_release(me: *mut bindings::nf_conntrack_helper) {
        // SAFETY: The caller has the first reference.
        helper::release(unsafe { reference(me) });
    }
}

/// Initialises a helper, whose module is that of `help`.
///
/// # Safety
///
/// `helper` is valid for writes, and not used otherwise; `name` is a C string; `policies` points to
/// one for each class up to `last_class`.
#[allow(clippy::too_many_arguments)]
unsafe fn initialise(
    helper: *mut bindings::nf_conntrack_helper,
    kind: (u8, u8, u16),
    name: *const c_char,
    policies: *const bindings::nf_conntrack_expect_policy,
    last_class: u32,
    help: Function,
    from_nlattr: FromNetlink,
    module: *mut bindings::module,
) {
    let (family, protocol, port) = kind;
    // SAFETY: By the function's contract; a module's address is that of its functions.
    unsafe {
        nf_helper::initialise(helper, family, protocol, port, name);
        (*helper).help = help;
        (*helper).from_nlattr = from_nlattr;
        (*helper).me = module;
        let class_max = u32_as_usize(last_class);
        if class_max >= MAX_CLASSES {
            pr_warn_once!("a helper has more classes than there may be\n");
            return;
        }
        core::ptr::copy_nonoverlapping(
            policies,
            core::ptr::addr_of_mut!((*helper).expect_policy).cast(),
            class_max + 1,
        );
        (*helper).expect_class_max = last_class;
    }
}

#[cfg(not(rct_has_helper_tuple))]
c_export! {
    /// Initialises a helper.
    fn nf_ct_helper_init(
        helper: *mut bindings::nf_conntrack_helper,
        l3num: u8,
        protonum: u16,
        name: *const c_char,
        exp_pol: *const bindings::nf_conntrack_expect_policy,
        expect_class_max: u32,
        help: Function,
        from_nlattr: FromNetlink,
        module: *mut bindings::module
    ) {
        // CAST: Protocol numbers have 8 bits.
        let kind = (l3num, protonum as u8, 0);
        // SAFETY: The caller passes room for a helper, a C string, and as many policies as it
        // says.
        unsafe {
            initialise(helper, kind, name, exp_pol, expect_class_max, help, from_nlattr, module);
        }
    }
}

// Until Linux 7.2.
#[cfg(rct_has_helper_tuple)]
c_export! {
    /// Initialises a helper for a port. If it is not the usual one, the name ends in `id`.
    fn nf_ct_helper_init(
        helper: *mut bindings::nf_conntrack_helper,
        l3num: u16,
        protonum: u16,
        name: *const c_char,
        default_port: u16,
        spec_port: u16,
        id: u32,
        exp_pol: *const bindings::nf_conntrack_expect_policy,
        expect_class_max: u32,
        help: Function,
        from_nlattr: FromNetlink,
        module: *mut bindings::module
    ) {
        // CAST: Families and protocol numbers have 8 bits.
        let kind = (l3num as u8, protonum as u8, spec_port);
        // SAFETY: The caller passes room for a helper, a C string, and as many policies as it
        // says.
        unsafe {
            initialise(helper, kind, name, exp_pol, expect_class_max, help, from_nlattr, module);
            if spec_port != default_port {
                nf_helper::number(helper, id);
            }
        }
    }
}

c_export! {
    /// Finds a helper by name, after loading its module if necessary, and takes a reference to the
    /// helper and its module.
    fn nf_conntrack_helper_try_module_get(
        name: *const c_char,
        l3num: u16,
        protonum: u8
    ) -> *mut bindings::nf_conntrack_helper {
        // SAFETY: The caller passes a C string.
        unsafe { HelperName::from_c_string(name) }
            .and_then(|name| helper::get(&name, l3num, protonum))
            .map_or(null_mut(), LoadedHelper::into_raw)
    }
}

c_export! {
    /// Drops the references that `nf_conntrack_helper_try_module_get()` took.
    fn nf_conntrack_helper_put(helper: *mut bindings::nf_conntrack_helper) {
        // SAFETY: The caller has the references, and gives them up.
        drop(unsafe { LoadedHelper::from_raw(NonNull::new_unchecked(helper)) });
    }
}

c_export! {
    /// Finds a helper by name. Takes no reference: the result is valid while the caller is under
    /// RCU.
    fn __nf_conntrack_helper_find(
        name: *const c_char,
        l3num: u16,
        protonum: u8
    ) -> *mut bindings::nf_conntrack_helper {
        // SAFETY: The caller passes a C string, under `rcu_read_lock()`.
        let (name, rcu) = unsafe { (HelperName::from_c_string(name), Rcu::assume_held()) };
        name.and_then(|name| helper::find(&name, l3num, protonum, rcu))
            .map_or(null_mut(), Helper::raw)
    }
}

c_export! {
    /// Adds the helper extension to an unconfirmed entry or a template.
    fn nf_ct_helper_ext_add(
        ct: *mut bindings::nf_conn,
        gfp: bindings::gfp_t
    ) -> *mut bindings::nf_conn_help {
        // SAFETY: The caller passes an entry that only its packet refers to.
        unsafe { HelperTarget::from_raw(ct, gfp) }
            .add_help()
            .map_or(null_mut(), Help::raw)
    }
}

c_export! {
    /// Assigns the helper of a template to an unconfirmed entry.
    fn __nf_ct_try_assign_helper(
        ct: *mut bindings::nf_conn,
        tmpl: *mut bindings::nf_conn,
        flags: bindings::gfp_t
    ) -> c_int {
        if tmpl.is_null() {
            return 0;
        }
        // SAFETY: The caller passes an entry that only its packet refers to, and a template,
        // under `rcu_read_lock()`.
        let (entry, template, rcu) = unsafe {
            (HelperTarget::from_raw(ct, flags), Conn::from_raw(tmpl), Rcu::assume_held())
        };
        from_result(|| helper::assign(entry, template, rcu).map(|()| 0))
    }
}

c_export! {
    /// Registers a function that expectations can name (`expectfn`).
    fn nf_ct_helper_expectfn_register(n: *mut bindings::nf_ct_helper_expectfn) {
        let guard = ExpectGuard::new();
        // SAFETY: The caller keeps it until a grace period after unregistering it.
        unsafe { expectfn::insert(n, guard.locked()) };
    }
}

c_export! {
    /// Unregisters a function of expectations.
    fn nf_ct_helper_expectfn_unregister(n: *mut bindings::nf_ct_helper_expectfn) {
        let guard = ExpectGuard::new();
        // SAFETY: The caller registered it.
        unsafe { expectfn::remove(n, guard.locked()) };
    }
}

c_export! {
    /// Removes the expectations that have this function.
    fn nf_ct_helper_expectfn_destroy(n: *const bindings::nf_ct_helper_expectfn) {
        // SAFETY: The caller passes a valid pointer.
        let function = unsafe { (*n).expectfn }.map(|function| function as usize);
        expect::remove_where(None, Requester::default(), |expectation| {
            expectation.expectfn_address() == function
        });
    }
}

c_export! {
    /// Finds a registered function by name. The result is valid while the caller is under RCU.
    fn nf_ct_helper_expectfn_find_by_name(
        name: *const c_char
    ) -> *mut bindings::nf_ct_helper_expectfn {
        // SAFETY: The caller is under `rcu_read_lock()`.
        let rcu = unsafe { Rcu::assume_held() };
        expectfn::walk(rcu)
            // SAFETY: The caller passes a C string.
            .find(|function| unsafe { function.is_named(name) })
            .map_or(null_mut(), |function| function.raw())
    }
}

c_export! {
    /// Finds a registered function by address. The result is valid while the caller is under RCU.
    fn nf_ct_helper_expectfn_find_by_symbol(
        symbol: *const c_void
    ) -> *mut bindings::nf_ct_helper_expectfn {
        // SAFETY: The caller is under `rcu_read_lock()`.
        let rcu = unsafe { Rcu::assume_held() };
        expectfn::walk(rcu)
            .find(|function| function.address() == Some(symbol as usize))
            .map_or(null_mut(), |function| function.raw())
    }
}

c_export! {
    /// Registers a NAT helper: the module that translates addresses in the payload for a helper.
    fn nf_nat_helper_register(nat: *mut bindings::nf_conntrack_nat_helper) {
        // SAFETY: The caller keeps it until a grace period after unregistering it.
        unsafe { helper_table::REGISTRY.lock().insert_nat(nat) };
    }
}

c_export! {
    /// Unregisters a NAT helper.
    fn nf_nat_helper_unregister(nat: *mut bindings::nf_conntrack_nat_helper) {
        // SAFETY: The caller registered it.
        unsafe { helper_table::REGISTRY.lock().remove_nat(nat) };
    }
}

c_export! {
    /// Takes a reference to the module of a NAT helper, after loading it if necessary.
    fn nf_nat_helper_try_module_get(
        name: *const c_char,
        l3num: u16,
        protonum: u8
    ) -> c_int {
        // SAFETY: The caller passes a C string.
        let name = unsafe { HelperName::from_c_string(name) }.ok_or(ENOENT);
        from_result(|| {
            let module = helper::get_nat(&name?, l3num, protonum)?;
            module.leave_to_c();
            Ok(0)
        })
    }
}

c_export! {
    /// Drops the reference that `nf_nat_helper_try_module_get()` took.
    fn nf_nat_helper_put(helper: *mut bindings::nf_conntrack_helper) {
        // SAFETY: The caller has a reference.
        let name = unsafe { Helper::from_raw(helper) }.nat_module_name();
        let section = RcuGuard::new();
        match helper_table::find_nat(&name, section.token()) {
            // SAFETY: The caller gives up the reference that it got as it got the helper's NAT.
            Some(nat) => drop(unsafe { nat.module_from_c() }),
            None => pr_warn_once!("no NAT module is registered for a helper that had one\n"),
        }
    }
}

c_export! {
    /// Logs the message of `nf_ct_helper_log()`, which is variadic and therefore in C.
    fn rct_helper_log(
        skb: *mut bindings::sk_buff,
        ct: *const bindings::nf_conn,
        message: *const c_void
    ) {
        // SAFETY: The caller, in `exports.c`, passes on what it got, and a `struct va_format`.
        unsafe { nf_helper::log(skb, Conn::from_raw(ct.cast_mut()), message) };
    }
}
