// SPDX-License-Identifier: GPL-2.0

//! The end of PPTP calls: the GRE connections that a control connection announced.

use kernel::sync::atomic::Relaxed;

use crate::{
    ct::{
        entry::gre_keymap,
        expect, //
    },
    nf::{
        expect::gre_keymap::PptpMaster,
        prelude::*, //
    },
    proto::types::tuple::L4Key, //
};

use super::{
    delete::{
        self,
        DestroyReason, //
    },
    lookup::LookupKey, //
};

/// Ends the calls of a control connection: maps, and the connection or expectation of either
/// direction.
pub(in crate::ct) fn end_calls(control: &PptpMaster<'_>) {
    let conn = control.conn();
    gre_keymap::remove(control);
    let [server, concentrator] = control.call_ids();
    for (dir, src, dst) in [
        (Direction::Original, server, concentrator),
        (Direction::Reply, concentrator, server),
    ] {
        let way = conn.tuple(dir);
        let key = L4Key { src, dst };
        end_call(
            conn,
            &Tuple::new(way.l3num, way.src, way.dst, key, protocol::GRE),
        );
    }
}

fn end_call(conn: &Conn, tuple: &Tuple) {
    let (net, zone) = (conn.net(), conn.zone());
    let rcu = RcuGuard::new();
    let wanted = LookupKey {
        key: tuple.key(),
        zone,
        net,
    };
    if let (Some((call, _)), _) = wanted.find(rcu.token()) {
        // Packets that still hold it must not bring it back to life.
        call.proto_half::<0>().store(0, Relaxed);
        call.proto_half::<1>().store(0, Relaxed);
        delete::delete(&call, DestroyReason::ParentGone);
        return;
    }
    let expected = expect::find(net, zone, tuple, rcu.token(), |seen| seen.get());
    if let Some(expectation) = expected.flatten() {
        expect::withdraw(&expectation);
    }
}
