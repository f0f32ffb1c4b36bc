// SPDX-License-Identifier: GPL-2.0

//! Entries that user space takes away: one, or all that pass a filter.

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

/// Takes entries away.
pub(super) struct Delete;

impl Handler for Delete {
    const POLICY: &'static [Policy] = &policy::ENTRY;

    fn handle(request: &Request<'_>) -> Result {
        let names_one =
            request.get(CTA_TUPLE_ORIG).is_some() || request.get(CTA_TUPLE_REPLY).is_some();
        if names_one && request.get(CTA_FILTER).is_none() {
            one(request)
        } else {
            some(request)
        }
    }
}

/// The entry that the request names, unless it has another number by now.
fn one(request: &Request<'_>) -> Result {
    let conn = get::find_named(request)?;
    if let Some(id) = request.get(CTA_ID) {
        if id.bytes()? != ConntrackHook::id(&conn).to_ne_bytes() {
            return Err(ENOENT);
        }
    }
    delete::delete_for(&conn, DestroyReason::Deleted, request.requester());
    Ok(())
}

/// All entries that pass the request's filter.
fn some(request: &Request<'_>) -> Result {
    tuple::get_zone(request.get(CTA_ZONE))?;
    // Old clients leave something there that they do not mean.
    let means_family = request.version() != 0 || request.get(CTA_FILTER).is_some();
    let family = if means_family { request.family() } else { 0 };
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
