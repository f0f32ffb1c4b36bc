// SPDX-License-Identifier: GPL-2.0

//! What user space wants an entry to be. Everything is read and checked before anything is
//! changed.

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::{
    ct::{
        entry::labels,
        helper, //
    },
    nf::{
        entry::{
            conn::Status,
            ext::{
                Labels,
                SeqAdjust,
                SynProxy, //
            },
            help::Help, //
        },
        expect::helper_name::{
            HelperName,
            HELPER_NAME_LEN, //
        },
        kernel::{
            attr::{
                Attribute,
                Attributes,
                Policy, //
            },
            time::{
                self,
                HZ, //
            },
        },
        prelude::*, //
    },
    proto::{
        seqadj::Shift,
        tcp::SeqNum, //
    },
};

use super::{
    attributes::{
        entry as number,
        help,
        shift,
        synproxy, //
    },
    protocol::ProtoInfo, //
};

static HELP_POLICY: [Policy; help::PLACES] = {
    let mut policy = [const { Policy::ANY }; help::PLACES];
    // CAST: a handful.
    policy[help::NAME as usize] = Policy::text_up_to(HELPER_NAME_LEN as u16 - 1);
    policy
};

static SHIFT_POLICY: [Policy; shift::PLACES] = [Policy::ANY, Policy::U32, Policy::U32, Policy::U32];

static SYNPROXY_POLICY: [Policy; synproxy::PLACES] =
    [Policy::ANY, Policy::U32, Policy::U32, Policy::U32];

/// A helper by name, and what it is to be told.
pub(super) struct Helped<'a> {
    pub(super) name: HelperName,
    pub(super) info: Option<Attribute<'a>>,
}

impl<'a> Helped<'a> {
    /// `EINVAL`: without a name.
    pub(super) fn get(attribute: Attribute<'a>) -> Result<Self> {
        let nest = attribute.nest(&HELP_POLICY)?;
        let name = nest.attributes().get(help::NAME).ok_or(EINVAL)?;
        Ok(Self {
            name: HelperName::from_attribute(name).ok_or(EINVAL)?,
            info: nest.get(help::INFO),
        })
    }

    /// Whether an entry may go on with it: only if it has it. `EBUSY`: it has another, or one by
    /// its master's will. `EOPNOTSUPP`: there is none of the name, or the entry has no part for
    /// one.
    pub(super) fn check(&self, conn: &Conn, rcu: Rcu<'_>) -> Result {
        let own = helper::of(conn, rcu);
        if conn.master().is_some() {
            return match own {
                Some(own) if own.name() == self.name => Ok(()),
                _ => Err(EBUSY),
            };
        }
        let original = conn.tuple(Direction::Original);
        let wanted =
            helper::find(&self.name, original.l3num, original.protonum, rcu).ok_or(EOPNOTSUPP)?;
        if conn.extensions().find::<Help>().is_none() {
            return Err(EOPNOTSUPP);
        }
        match own {
            Some(own) if core::ptr::eq(own, wanted) => Ok(()),
            _ => Err(EBUSY),
        }
    }

    /// Tells the helper of an entry what it is to be told.
    pub(super) fn apply(&self, conn: &Conn) {
        if conn.master().is_some() {
            return;
        }
        let section = RcuGuard::new();
        if let Some(own) = helper::of(conn, section.token()) {
            own.from_nlattr(conn, self.info, section.token());
        }
    }
}

/// A time in jiffies.
pub(super) fn timeout(attribute: Attribute<'_>) -> Result<u32> {
    // CAST: not negative.
    let seconds = attribute.be32()?;
    Ok(seconds.saturating_mul(HZ).min(i32::MAX as u32))
}

/// The bits that an entry with this status gets. `EBUSY`: those that the tracker alone decides
/// about are to change, or those to go that never do.
pub(super) fn status(now: Status, attribute: Attribute<'_>) -> Result<u32> {
    const FIXED: u32 = 1 << StatusBit::Expected as u32
        | 1 << StatusBit::Confirmed as u32
        | 1 << StatusBit::Dying as u32;
    let wanted = attribute.be32()?;
    if (now.bits() ^ wanted) & FIXED != 0 {
        return Err(EBUSY);
    }
    stays_set(now, wanted)?;
    Ok(wanted)
}

/// `EBUSY`: a bit is to go that never does.
pub(super) fn stays_set(now: Status, wanted: u32) -> Result {
    const STICKY: u32 = 1 << StatusBit::SeenReply as u32 | 1 << StatusBit::Assured as u32;
    if now.bits() & !wanted & STICKY != 0 {
        return Err(EBUSY);
    }
    Ok(())
}

/// A change of a mark.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    keep: u32,
    flip: u32,
}

impl Mark {
    /// If there is to be one.
    pub(super) fn get(attributes: &Attributes<'_>) -> Result<Option<Self>> {
        let Some(mark) = attributes.get(number::MARK) else {
            return Ok(None);
        };
        let keep = match attributes.get(number::MARK_MASK) {
            Some(mask) => !mask.be32()?,
            None => 0,
        };
        let flip = mark.be32()?;
        Ok(Some(Self { keep, flip }))
    }

    pub(super) fn apply(self, conn: &Conn) {
        conn.change_mark(|old| (old & self.keep) ^ self.flip);
    }
}

/// How far sequence numbers are to be shifted, each way.
pub(super) struct Shifts([Option<Shift>; 2]);

impl Shifts {
    /// For an entry that can have them; for another they mean nothing.
    pub(super) fn get(attributes: &Attributes<'_>, can: bool) -> Result<Self> {
        let one = |place| match attributes.get(place) {
            Some(attribute) if can => one_shift(attribute).map(Some),
            _ => Ok(None),
        };
        Ok(Self([
            one(number::SHIFT_ORIGINAL)?,
            one(number::SHIFT_REPLY)?,
        ]))
    }

    pub(super) fn apply(&self, conn: &Conn) {
        let Some(part) = conn.extensions().find::<SeqAdjust>() else {
            return;
        };
        for (dir, wanted) in [Direction::Original, Direction::Reply]
            .into_iter()
            .zip(self.0)
        {
            if let Some(wanted) = wanted {
                part.change(conn, dir, |shift: &mut Shift| *shift = wanted);
                conn.set(StatusBit::SeqAdjust);
            }
        }
    }
}

fn one_shift(attribute: Attribute<'_>) -> Result<Shift> {
    let nest = attribute.nest(&SHIFT_POLICY)?;
    let bytes = |place| nest.get(place).ok_or(EINVAL)?.bytes();
    Ok(Shift {
        position: SeqNum(u32::from_be_bytes(bytes(shift::POSITION)?)),
        before: i32::from_be_bytes(bytes(shift::BEFORE)?),
        after: i32::from_be_bytes(bytes(shift::AFTER)?),
    })
}

/// What SYNPROXY is to keep.
pub(super) struct Synproxy(Option<[u32; 3]>);

impl Synproxy {
    /// For an entry that it keeps something for; for another it means nothing.
    pub(super) fn get(attributes: &Attributes<'_>, can: bool) -> Result<Self> {
        let Some(attribute) = attributes.get(number::SYNPROXY).filter(|_| can) else {
            return Ok(Self(None));
        };
        let nest = attribute.nest(&SYNPROXY_POLICY)?;
        let need = |place| nest.get(place).ok_or(EINVAL);
        let parts = (
            need(synproxy::ISN)?,
            need(synproxy::ITS)?,
            need(synproxy::OFFSET)?,
        );
        Ok(Self(Some([
            parts.0.be32()?,
            parts.1.be32()?,
            parts.2.be32()?,
        ])))
    }

    pub(super) fn apply(&self, conn: &Conn) {
        let (Some(wanted), Some(part)) = (&self.0, conn.extensions().find::<SynProxy>()) else {
            return;
        };
        for (word, wanted) in part.words().into_iter().zip(wanted) {
            word.store(*wanted, Relaxed);
        }
    }
}

/// Labels to be set, and which of them.
pub(super) struct LabelBits {
    data: [u32; Labels::WORDS],
    mask: [u32; Labels::WORDS],
    words: usize,
}

impl LabelBits {
    /// If there are to be some. `EINVAL`: no whole words, or a mask of another length.
    pub(super) fn get(attributes: &Attributes<'_>) -> Result<Option<Self>> {
        let Some(data) = attributes.get(number::LABELS) else {
            return Ok(None);
        };
        let len = data.payload().len();
        if len % size_of::<u32>() != 0 {
            return Err(EINVAL);
        }
        let mask = match attributes.get(number::LABELS_MASK) {
            Some(mask) if len == 0 || mask.payload().len() != len => return Err(EINVAL),
            Some(mask) => words(mask.payload()),
            None => [u32::MAX; Labels::WORDS],
        };
        Ok(Some(Self {
            data: words(data.payload()),
            mask,
            words: len / size_of::<u32>(),
        }))
    }

    /// `ENOSPC`: the entry has no labels.
    pub(super) fn apply(&self, conn: &Conn) -> Result {
        let at = |words: &[u32; Labels::WORDS], index| words.get(index).copied().unwrap_or(0);
        labels::replace(
            conn,
            |index| at(&self.data, index),
            |index| at(&self.mask, index),
            self.words,
        )
    }
}

fn words(bytes: &[u8]) -> [u32; Labels::WORDS] {
    let mut words = [0; Labels::WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        if let Some(bytes) = bytes.first_chunk() {
            *word = u32::from_ne_bytes(*bytes);
        }
    }
    words
}

/// What is to change of an entry that is in the table.
pub(super) struct Changes<'a> {
    help: Option<Helped<'a>>,
    timeout: Option<u32>,
    status: Option<u32>,
    told: Option<ProtoInfo>,
    mark: Option<Mark>,
    shifts: Shifts,
    synproxy: Synproxy,
    labels: Option<LabelBits>,
}

impl<'a> Changes<'a> {
    /// Reads and checks them. The first mistake, in this order, is the one that is told.
    ///
    /// `EOPNOTSUPP`: only a new entry can have what is wanted. `EPERM`: its time is fixed.
    /// `ETIME`: it is going. `ENOSPC`: it has no labels.
    pub(super) fn get(attributes: &Attributes<'a>, conn: &Conn) -> Result<Self> {
        let get = |place| attributes.get(place);
        let only_new = [number::NAT_SOURCE, number::NAT_DESTINATION, number::MASTER];
        if only_new.into_iter().any(|place| get(place).is_some()) {
            return Err(EOPNOTSUPP);
        }
        let parts = conn.extensions();
        // Fields are evaluated in the order in which they stand here.
        Ok(Self {
            help: match get(number::HELP).map(Helped::get).transpose()? {
                Some(help) => {
                    help.check(conn, RcuGuard::new().token())?;
                    Some(help)
                }
                None => None,
            },
            timeout: get(number::TIMEOUT)
                .map(|timeout| wanted_timeout(timeout, conn))
                .transpose()?,
            status: get(number::STATUS)
                .map(|attribute| status(conn.status(), attribute))
                .transpose()?,
            told: get(number::PROTOCOL_INFO)
                .map(|attribute| ProtoInfo::get(attribute, conn.protocol()))
                .transpose()?,
            mark: Mark::get(attributes)?,
            shifts: Shifts::get(attributes, parts.find::<SeqAdjust>().is_some())?,
            synproxy: Synproxy::get(attributes, parts.find::<SynProxy>().is_some())?,
            labels: match LabelBits::get(attributes)? {
                Some(_) if parts.find::<Labels>().is_none() => return Err(ENOSPC),
                labels => labels,
            },
        })
    }

    /// Makes them.
    pub(super) fn apply(&self, conn: &Conn) {
        if let Some(help) = &self.help {
            help.apply(conn);
        }
        if let Some(timeout) = self.timeout {
            conn.set_timeout(time::jiffies32().wrapping_add(timeout));
        }
        if let Some(status) = self.status {
            conn.change_status(status, 0);
        }
        if let Some(told) = &self.told {
            told.set(conn);
        }
        if let Some(mark) = self.mark {
            mark.apply(conn);
        }
        self.shifts.apply(conn);
        self.synproxy.apply(conn);
        if let Some(labels) = &self.labels {
            // Checked above: parts of an entry in the table stay.
            let _ = labels.apply(conn);
        }
    }
}

/// A time for an entry that is in the table, or waits in a queue.
pub(super) fn wanted_timeout(attribute: Attribute<'_>, conn: &Conn) -> Result<u32> {
    let wanted = timeout(attribute)?;
    let status = conn.status();
    if status.has(StatusBit::FixedTimeout) {
        return Err(EPERM);
    }
    if status.has(StatusBit::Dying) {
        return Err(ETIME);
    }
    Ok(wanted)
}
