// SPDX-License-Identifier: GPL-2.0

//! The end of PPTP calls: the GRE connections of a PPTP control connection.

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

/// Ends the calls of a control connection: removes the GRE key maps, and the connection or
/// expectation of each direction.
pub(in crate::ct) fn end_calls(control: &PptpMaster<'_>) {
    let conn = control.conn();
    gre_keymap::remove(control);
    let [server, concentrator] = control.call_ids();
    for (dir, src, dst) in [
        (Direction::Original, server, concentrator),
        (Direction::Reply, concentrator, server),
    ] {
        let tuple = conn.tuple(dir);
        let key = L4Key { src, dst };
        end_call(
            conn,
            &Tuple::new(tuple.l3num, tuple.src, tuple.dst, key, protocol::GRE),
        );
    }
}

/// Ends one direction of a call: deletes its connection, or withdraws its expectation.
fn end_call(conn: &Conn, tuple: &Tuple) {
    let (net, zone) = (conn.net(), conn.zone());
    let rcu = RcuGuard::new();
    let wanted = LookupKey {
        key: tuple.key(),
        zone,
        net,
    };
    if let (Some((call, _)), _) = wanted.find(rcu.token()) {
        // The timeouts are cleared, so that packets that still hold a reference cannot extend its
        // life.
        call.set_proto_half::<0>(0);
        call.set_proto_half::<1>(0);
        delete::delete(&call, DestroyReason::ParentGone);
        return;
    }
    let expected = expect::find(net, zone, tuple, rcu.token(), |seen| seen.get());
    if let Some(expectation) = expected.flatten() {
        expect::withdraw(&expectation);
    }
}
