// SPDX-License-Identifier: GPL-2.0

//! `IPCTNL_MSG_CT_DELETE`: user space deletes an entry, or all that pass a filter.

use kernel::prelude::*;

use crate::{
    ct::{
        life::delete::{
            self,
            DestroyReason, //
        },
        netns::NetState,
        packet::kernel_hook::ConntrackHook,
        table::index, //
    },
    nf::{
        kernel::{
            attr::Policy,
            nfnetlink::{
                Handler,
                Request, //
            }, //
        },
        packet::tracker::Tracker, //
    }, //
};

use super::{
    cta::*,
    filter::{
        self,
        Filter, //
    },
    get,
    policy,
    tuple, //
};

/// Deletes entries. `ENOENT`: the request names one that does not exist.
pub(super) struct Delete;

impl Handler for Delete {
    const POLICY: &'static [Policy] = &policy::ENTRY;

    fn handle(request: &Request<'_>) -> Result {
        let names_one =
            request.get(CTA_TUPLE_ORIG).is_some() || request.get(CTA_TUPLE_REPLY).is_some();
        if names_one && request.get(CTA_FILTER).is_none() {
            delete_named(request)
        } else {
            delete_filtered(request)
        }
    }
}

/// Deletes the entry that the request names by a tuple; `ENOENT` if it has another id.
fn delete_named(request: &Request<'_>) -> Result {
    let conn = get::find_named(request)?;
    if let Some(id) = request.get(CTA_ID) {
        if id.bytes()? != ConntrackHook::id(&conn).to_ne_bytes() {
            return Err(ENOENT);
        }
    }
    delete::delete_for(&conn, DestroyReason::Deleted, request.requester());
    Ok(())
}

/// Deletes all entries that pass the request's filter.
fn delete_filtered(request: &Request<'_>) -> Result {
    tuple::get_zone(request.get(CTA_ZONE))?;
    // Old clients do not initialise the family in a request without a filter.
    let has_family = request.version() != 0 || request.get(CTA_FILTER).is_some();
    let family = if has_family { request.family() } else { 0 };
    let filter = Filter::of(&request.attributes(), family)?;
    if request.net().state::<NetState>().entries() == 0 {
        return Ok(());
    }
    index::for_each(request.net(), filter::scope(&filter), |conn| {
        if filter::passes(&filter, conn) {
            delete::delete_for(conn, DestroyReason::Flushed, request.requester());
        }
    });
    Ok(())
}
