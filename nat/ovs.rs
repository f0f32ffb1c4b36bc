// SPDX-License-Identifier: GPL-2.0

//! NAT for Open vSwitch and act_ct: their rules run below the hooks, and ask for the translation of
//! each packet.

use crate::{
    nf::{
        packet::{
            hook::InetHook,
            skb::Tracked, //
        },
        prelude::*, //
    },
    proto::nat::{
        range::{
            flag,
            Range, //
        },
        Manip, //
    },
};

use super::{
    hooks, icmp, packet,
    setup::{
        self,
        is_done, //
    },
};

/// A set of the two ends of a packet.
#[derive(Clone, Copy, Default)]
pub(super) struct ManipSet {
    /// The source.
    pub(super) source: bool,
    /// The destination.
    pub(super) destination: bool,
}

impl ManipSet {
    fn add(&mut self, manip: Manip) {
        match manip {
            Manip::Source => self.source = true,
            Manip::Destination => self.destination = true,
        }
    }
}

/// Returns the hook at which this end of a packet from or to this machine is translated.
fn hooknum_of(manip: Manip) -> u32 {
    match manip {
        Manip::Source => InetHook::LocalIn.number(),
        Manip::Destination => InetHook::LocalOut.number(),
    }
}

fn family_of(skb: &Skb) -> Option<Family> {
    Family::from_ethertype(skb.ethernet_protocol())
}

/// Translates one end of a packet. For a connection's first packet the decision is made before.
fn execute(skb: &mut Skb, range: Option<&Range>, manip: Manip, done: &mut ManipSet) -> Verdict {
    let Tracked::Yes(_, info) = skb.tracked() else {
        return Verdict::Drop;
    };
    let verdict = match info {
        CtInfo::Related | CtInfo::RelatedReply => {
            let error =
                family_of(skb).and_then(|family| Some((family, icmp::message_of(skb, family)?)));
            match error {
                Some((family, offset)) => {
                    hooks::translate_error(skb, hooknum_of(manip), manip, family, offset)
                }
                None => decide_and_translate(skb, range, manip),
            }
        }
        CtInfo::New => decide_and_translate(skb, range, manip),
        CtInfo::Established | CtInfo::EstablishedReply => packet::translate(skb, manip),
    };
    if verdict == Verdict::Accept {
        done.add(manip);
    }
    verdict
}

fn decide_and_translate(skb: &mut Skb, range: Option<&Range>, manip: Manip) -> Verdict {
    if let Some(entry) = skb.unconfirmed() {
        if !is_done(entry.conn().status(), manip) {
            let verdict = match range.filter(|range| range.has(flag::MAP_IPS)) {
                Some(range) => setup::setup_info(entry, range, manip),
                None => setup::null_binding(entry, manip),
            };
            if verdict != Verdict::Accept {
                return verdict;
            }
        }
    }
    packet::translate(skb, manip)
}

/// Returns the end of a packet that is translated first.
fn first_manip(conn: &Conn, dir: Direction) -> Manip {
    let original = if conn.has(StatusBit::SrcNat) {
        Manip::Source
    } else {
        Manip::Destination
    };
    match dir {
        Direction::Original => original,
        Direction::Reply => original.opposite(),
    }
}

/// Translates a packet as a rule asks (`nf_ct_nat`). `manips` has the ends that the rule names, and
/// on return those that were translated.
pub(super) fn translate_for_rule(
    skb: &mut Skb,
    manips: &mut ManipSet,
    range: Option<&Range>,
    commit: bool,
) -> Verdict {
    let wanted = core::mem::take(manips);
    if let Some(mut entry) = skb.unconfirmed() {
        if entry.ensure_nat_extension().is_none() {
            return Verdict::Drop;
        }
    }
    let Tracked::Yes(conn, info) = skb.tracked() else {
        return Verdict::Drop;
    };
    let translated = conn.has(StatusBit::SrcNat) || conn.has(StatusBit::DstNat);
    let manip = if info != CtInfo::New && translated && (info != CtInfo::Related || commit) {
        first_manip(conn, info.dir())
    } else if wanted.source {
        Manip::Source
    } else if wanted.destination {
        Manip::Destination
    } else {
        return Verdict::Accept;
    };

    let verdict = execute(skb, range, manip, manips);
    let Tracked::Yes(conn, info) = skb.tracked() else {
        return verdict;
    };
    if verdict != Verdict::Accept || !conn.has(StatusBit::DstNat) {
        return verdict;
    }
    if conn.has(StatusBit::SrcNat) {
        execute(skb, range, manip.opposite(), manips)
    } else if info.dir() == Direction::Original {
        // The source needs a decision as well, as the new destination may cause a clash.
        execute(skb, None, Manip::Source, manips)
    } else {
        verdict
    }
}
