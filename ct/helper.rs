// SPDX-License-Identifier: GPL-2.0

//! Helpers: who they are, which connections they have, and when they look at a packet.
//!
//! A rule gives a connection its helper, before it is confirmed; or an expectation does. No
//! port does: what anybody can send must not choose who reads it. From then on the helper
//! looks at every packet that has passed all rules ([`confirm`]).
//!
//! A helper's module may go while connections still have it: its function is taken away first,
//! and what is left, a name and numbers, goes with the last of those connections.

use kernel::{
    pr_warn_once,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
    },
};

use crate::{
    nf::{
        entry::{
            conn::{
                Conn,
                Dir,
                StatusBit, //
            },
            ecache::Requester, //
        },
        expect::{
            helper::{
                Candidate,
                Help,
                Helper,
                Name,
                Unregistered,
                CLASSES,
                MAX_EXPECTED, //
            },
            helper_table::{
                self,
                HelperTable, //
            },
        },
        kernel::{
            mutex,
            net::Stat,
            random,
            rcu::{
                self,
                Rcu,
                RcuGuard, //
            },
        },
        packet::{
            hook::{
                Family,
                Verdict, //
            },
            skb::{
                CtInfo,
                Skb,
                Tracked, //
            },
        },
    },
    proto::{
        hash::{
            jhash2_array,
            reciprocal_scale, //
        },
        tuple::{
            IPV4,
            IPV6, //
        },
    },
};

use super::{
    entry::{
        self,
        seqadj, //
    },
    expect,
    life::confirm,
    packet::parse::Packet, //
};

/// The secret of the table of helpers.
static SEED: Atomic<u32> = Atomic::new(0);

/// Makes the table. May sleep.
pub(super) fn create_table() -> Result<HelperTable> {
    SEED.store(random::below(u32::MAX), Relaxed);
    HelperTable::create()
}

fn bucket(name: &Name, protocol: u8) -> u32 {
    let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3] = *name.bytes();
    let words = [
        u32::from_ne_bytes([a0, a1, a2, a3]),
        u32::from_ne_bytes([b0, b1, b2, b3]),
        u32::from_ne_bytes([c0, c1, c2, c3]),
        u32::from_ne_bytes([d0, d1, d2, d3]),
    ];
    let seed = SEED.load(Relaxed) ^ u32::from(protocol);
    reciprocal_scale(jhash2_array(&words, seed), helper_table::buckets())
}

/// The helper of that name, for a family (`NFPROTO_*`) and a protocol.
pub(super) fn find<'r>(name: &Name, family: u16, protocol: u8, rcu: Rcu<'r>) -> Option<&'r Helper> {
    helper_table::walk(bucket(name, protocol), rcu).find(|helper| {
        helper.name() == *name && helper.is_for(family) && helper.protocol() == protocol
    })
}

/// [`find`], with a reference, and its module kept from going; which is loaded if need be. To
/// be given back with [`put`]. May sleep.
pub(super) fn get(name: &Name, family: u16, protocol: u8) -> Option<ARef<Helper>> {
    let take = || {
        let section = RcuGuard::new();
        let helper = find(name, family, protocol, section.token())?;
        if !helper.take_module() {
            return Some(None);
        }
        let reference = helper.get();
        if reference.is_none() {
            helper.put_module();
        }
        Some(reference)
    };
    match take() {
        Some(found) => found,
        None => {
            helper_table::request_module(name).ok()?;
            take().flatten()
        }
    }
}

/// Gives back what [`get`] gave.
pub(super) fn put(helper: ARef<Helper>) {
    helper.put_module();
    drop(helper);
}

/// Keeps the module from going that translates addresses in what a helper reads; it is loaded
/// if need be. To be given back with [`put_nat`]. May sleep.
pub(super) fn get_nat(name: &Name, family: u16, protocol: u8) -> Result {
    let take = |nat_name: &Name| {
        let section = RcuGuard::new();
        let nat = helper_table::find_nat(nat_name, section.token());
        nat.map(|nat| nat.take_module())
    };
    let nat_name = {
        let section = RcuGuard::new();
        find(name, family, protocol, section.token())
            .ok_or(ENOENT)?
            .nat_name()
    };
    let taken = take(&nat_name).or_else(|| {
        // Whether that worked is seen by what is there afterwards.
        let _ = helper_table::request_nat_module(&nat_name);
        take(&nat_name)
    });
    match taken {
        Some(true) => Ok(()),
        Some(false) | None => Err(ENOENT),
    }
}

/// Undoes [`get_nat`].
pub(super) fn put_nat(helper: &Helper) {
    let section = RcuGuard::new();
    match helper_table::find_nat(&helper.nat_name(), section.token()) {
        Some(nat) => nat.put_module(),
        None => pr_warn_once!("nobody translates addresses for a helper that had somebody\n"),
    }
}

/// Registers a helper: rules find it from now on. May sleep.
///
/// `EINVAL`: what it describes is no helper. `EBUSY`: there is one of that name, family and
/// protocol. `ENOENT`: the tracker is not there, or no longer.
pub(super) fn register(helper: &Unregistered<'_>) -> Result {
    if helper.last_class() as usize >= CLASSES || !helper.has_name() {
        return Err(EINVAL);
    }
    let new = helper.helper();
    for class in 0..=helper.last_class() {
        match new.policy(class).map_or(0, |policy| policy.max_expected) {
            0 => helper.set_max_expected(class, MAX_EXPECTED),
            1..=MAX_EXPECTED => {}
            _ => return Err(EINVAL),
        }
    }

    let name = new.name();
    let bucket = bucket(&name, new.protocol());
    let guard = mutex::helpers();
    let section = RcuGuard::new();
    let taken = helper_table::walk(bucket, section.token()).any(|other| {
        other.name() == name
            && other.is_for(new.family().into())
            && other.protocol() == new.protocol()
    });
    if taken {
        return Err(EBUSY);
    }
    helper_table::insert(helper, bucket, &guard)
}

/// What comes after a helper was taken out of the table: nobody is in its function any more
/// when this returns, nor is there an expectation of its making. May sleep.
pub(super) fn retire(helper: ARef<Helper>) {
    helper.disable();
    rcu::synchronize();
    release(helper);
}

/// Takes away the expectations that a helper made, or that lead to it, and gives it up.
pub(super) fn release(helper: ARef<Helper>) {
    let address = helper.address();
    expect::remove_where(None, Requester::default(), |expectation| {
        expectation.helper_addresses().contains(&address)
    });
    drop(helper);
}

/// Gives an entry the helper that its template asks for, unless it has one.
///
/// `ENOMEM`: there is no memory for it.
pub(super) fn assign(mut entry: Candidate<'_>, template: &Conn, rcu: Rcu<'_>) -> Result {
    if entry.conn().has(StatusBit::Helper) {
        return Ok(());
    }
    let Some(helper) = template
        .extensions()
        .find::<Help>()
        .and_then(|help| help.helper(rcu))
    else {
        return Ok(());
    };
    let help = entry.add_help().ok_or(ENOMEM)?;
    help.set_helper(helper.get());
    Ok(())
}

/// Tells the helper of an entry that this ends.
pub(super) fn clean_up(conn: &Conn, rcu: Rcu<'_>) {
    if let Some(helper) = of(conn, rcu) {
        helper.clean_up(conn, rcu);
    }
}

/// The helper of an entry.
pub(super) fn of<'r>(conn: &Conn, rcu: Rcu<'r>) -> Option<&'r Helper> {
    conn.extensions().find::<Help>()?.helper(rcu)
}

/// A packet of a connection that has a helper, or had one that shifted its numbers.
struct Helped {
    conn: ARef<Conn>,
    info: CtInfo,
    /// Where the transport header begins.
    transport: u32,
    /// Whether sequence numbers are to be shifted.
    shifted: bool,
}

impl Helped {
    /// [`None`]: there is nothing to do for the packet.
    #[inline]
    fn of(skb: &Skb) -> Option<Self> {
        let Tracked::Yes(conn, info) = skb.tracked() else {
            return None;
        };
        let status = conn.status();
        if !status.has(StatusBit::Helper) && !status.has(StatusBit::SeqAdjust) {
            return None;
        }
        Self::of_helped(skb, ARef::from(conn), info)
    }

    fn of_helped(skb: &Skb, conn: ARef<Conn>, info: CtInfo) -> Option<Self> {
        // An ICMP error about the connection is no part of what is said in it.
        if info == CtInfo::RelatedReply {
            return None;
        }
        let family = match entry::tuple(&conn, Dir::Original).l3num {
            IPV4 => Family::Ipv4,
            IPV6 => Family::Ipv6,
            _ => return None,
        };
        let transport = Packet::parse(skb, family, skb.network_offset()?)?.transport;
        let shifted = conn.has(StatusBit::SeqAdjust) && !skb.is_loopback();
        Some(Self {
            conn,
            info,
            transport,
            shifted,
        })
    }

    /// Shows the packet to the helper.
    fn show(&self, skb: &mut Skb, rcu: Rcu<'_>) -> Verdict {
        match of(&self.conn, rcu) {
            Some(helper) => helper.show(skb, self.transport, &self.conn, self.info, rcu),
            None => Verdict::Accept,
        }
    }

    /// Shifts the packet's sequence numbers, where a helper made the stream longer or shorter.
    fn shift(&self, skb: &mut Skb) -> Verdict {
        if !self.shifted {
            return Verdict::Accept;
        }
        match seqadj::adjust(skb, &self.conn, self.info.dir(), self.transport) {
            Some(()) => Verdict::Accept,
            None => {
                self.conn.net().count_one(Stat::Drop);
                Verdict::Drop
            }
        }
    }
}

/// A packet has passed every rule: its helper looks at it, then it is confirmed.
#[inline]
pub(super) fn confirm(skb: &mut Skb, rcu: Rcu<'_>) -> Verdict {
    if let Some(helped) = Helped::of(skb) {
        let verdict = help(&helped, skb, rcu);
        if verdict != Verdict::Accept {
            return verdict;
        }
    }
    confirm::confirm(skb, rcu)
}

#[cold]
fn help(helped: &Helped, skb: &mut Skb, rcu: Rcu<'_>) -> Verdict {
    match helped.show(skb, rcu) {
        Verdict::Accept => helped.shift(skb),
        other => other,
    }
}

/// A packet's helper looks at it, for those who see packets below the hooks and confirm them
/// themselves.
pub(super) fn look(
    skb: &mut Skb,
    conn: &Conn,
    info: CtInfo,
    family: Family,
    rcu: Rcu<'_>,
) -> Verdict {
    let Some(helper) = of(conn, rcu) else {
        return Verdict::Accept;
    };
    if helper.family() != 0 && !helper.is_for(family as u16) {
        return Verdict::Accept;
    }
    let protocol = skb
        .network_offset()
        .and_then(|offset| Packet::parse(skb, family, offset))
        .map(|packet| packet.protocol);
    if protocol != Some(helper.protocol()) {
        return Verdict::Accept;
    }
    match Helped::of_helped(skb, ARef::from(conn), info) {
        Some(helped) => help(&helped, skb, rcu),
        None => Verdict::Accept,
    }
}

/// Gives a template a helper, and keeps the helper's modules from going. Who made the template
/// gives all that back, as [`put`] does: freeing a template does not. May sleep.
///
/// `EINVAL`: there is no such helper. `ENOMEM`: no memory. `ENOENT`: no module translates
/// addresses for it.
pub(super) fn add(
    mut template: Candidate<'_>,
    name: &Name,
    family: u8,
    protocol: u8,
    with_nat: bool,
) -> Result {
    let helper = get(name, family.into(), protocol).ok_or(EINVAL)?;
    let Some(help) = template.add_help() else {
        put(helper);
        return Err(ENOMEM);
    };
    if with_nat {
        if let Err(error) = get_nat(name, family.into(), protocol) {
            put(helper);
            return Err(error);
        }
    }
    help.set_helper(Some(helper));
    Ok(())
}

/// User space gave a packet back that waited for its helper there: what is left to do for it
/// in [`confirm`] is done now.
pub(super) fn resume(skb: &mut Skb, rcu: Rcu<'_>) -> Verdict {
    let Tracked::Yes(conn, info) = skb.tracked() else {
        return Verdict::Accept;
    };
    if !of(conn, rcu).is_some_and(Helper::is_userspace) {
        return Verdict::Accept;
    }
    let conn = ARef::from(conn);
    if let Some(helped) = Helped::of_helped(skb, conn, info) {
        let verdict = helped.shift(skb);
        if verdict != Verdict::Accept {
            return verdict;
        }
    }
    confirm::confirm(skb, rcu)
}
