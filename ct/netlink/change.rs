// SPDX-License-Identifier: GPL-2.0

//! Attributes that change an entry.
//!
//! Everything is read and checked (`get`) before anything is changed (`apply`), so that a message
//! that is refused has changed nothing.

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
            conn::{
                Entry,
                Status, //
            },
            ext::{
                Labels,
                SeqAdjust,
                SynProxy, //
            },
            help::Help, //
        },
        expect::helper_name::HelperName,
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
    cta::*,
    policy,
    protocol::ProtoInfo, //
};

static HELP_POLICY: [Policy; CTA_HELP_MAX + 1] =
    Policy::table([(CTA_HELP_NAME, policy::HELPER_NAME)]);

static SEQADJ_POLICY: [Policy; CTA_SEQADJ_MAX + 1] = Policy::table([
    (CTA_SEQADJ_CORRECTION_POS, Policy::U32),
    (CTA_SEQADJ_OFFSET_BEFORE, Policy::U32),
    (CTA_SEQADJ_OFFSET_AFTER, Policy::U32),
]);

static SYNPROXY_POLICY: [Policy; CTA_SYNPROXY_MAX + 1] = Policy::table([
    (CTA_SYNPROXY_ISN, Policy::U32),
    (CTA_SYNPROXY_ITS, Policy::U32),
    (CTA_SYNPROXY_TSOFF, Policy::U32),
]);

/// The reason why an entry was not changed.
pub(super) enum ChangeError {
    /// An attribute is malformed or incomplete; the errno is that of the first mistake.
    Malformed(Error),
    /// `EOPNOTSUPP`: only a new entry can get NAT and a master.
    OnlyNew,
    /// `EOPNOTSUPP`: no helper has this name, or the entry has no helper extension.
    NoHelper,
    /// `EBUSY`: the entry has another helper or none, and keeps it.
    OtherHelper,
    /// `EBUSY`: only the tracker changes this status bit, or the bit is never cleared.
    FixedStatus,
    /// `EPERM`: the timeout is fixed (`IPS_FIXED_TIMEOUT`).
    FixedTimeout,
    /// `ETIME`: the entry is dying.
    Dying,
    /// `ENOSPC`: the entry has no labels extension.
    NoLabels,
}

impl From<Error> for ChangeError {
    fn from(error: Error) -> Self {
        Self::Malformed(error)
    }
}

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Malformed(error) => error,
            ChangeError::OnlyNew | ChangeError::NoHelper => EOPNOTSUPP,
            ChangeError::OtherHelper | ChangeError::FixedStatus => EBUSY,
            ChangeError::FixedTimeout => EPERM,
            ChangeError::Dying => ETIME,
            ChangeError::NoLabels => ENOSPC,
        }
    }
}

/// `CTA_HELP`: a helper by name, and a nest for the helper itself.
pub(super) struct HelpAttr<'a> {
    pub(super) name: HelperName,
    pub(super) info: Option<Attribute<'a>>,
}

impl<'a> HelpAttr<'a> {
    /// Reads it. `EINVAL`: it has no name.
    pub(super) fn get(attribute: Attribute<'a>) -> Result<Self> {
        let nest = attribute.nest(&HELP_POLICY)?;
        let name = nest.attributes().get(CTA_HELP_NAME).ok_or(EINVAL)?;
        Ok(Self {
            name: HelperName::from_attribute(name).ok_or(EINVAL)?,
            info: nest.get(CTA_HELP_INFO),
        })
    }

    /// Checks that the entry has this helper: an entry in the table keeps the helper it has.
    pub(super) fn check(&self, conn: &Conn, rcu: Rcu<'_>) -> Result<(), ChangeError> {
        let own = helper::of(conn, rcu);
        if conn.master().is_some() {
            return match own {
                Some(own) if own.name() == self.name => Ok(()),
                _ => Err(ChangeError::OtherHelper),
            };
        }
        let original = conn.tuple(Direction::Original);
        let wanted = helper::find(&self.name, original.l3num, original.protonum, rcu)
            .ok_or(ChangeError::NoHelper)?;
        if conn.extensions().find::<Help>().is_none() {
            return Err(ChangeError::NoHelper);
        }
        match own {
            Some(own) if core::ptr::eq(own, wanted) => Ok(()),
            _ => Err(ChangeError::OtherHelper),
        }
    }

    /// Passes the nest to the entry's helper (`from_nlattr`), except where the master chose it.
    pub(super) fn apply(&self, conn: &Conn) {
        if conn.master().is_some() {
            return;
        }
        let section = RcuGuard::new();
        if let Some(own) = conn.helping(section.token()) {
            own.from_nlattr(self.info);
        }
    }
}

/// Reads a timeout, which is in seconds, and returns it in jiffies: at most `i32::MAX`.
pub(super) fn timeout(attribute: Attribute<'_>) -> Result<u32> {
    let seconds = attribute.be32()?;
    Ok(seconds.saturating_mul(HZ).min(i32::MAX.unsigned_abs()))
}

/// Reads the status bits that an entry with the status `now` gets.
pub(super) fn status(now: Status, attribute: Attribute<'_>) -> Result<u32, ChangeError> {
    // CAST: The numbers of the bits.
    const FIXED: u32 = 1 << StatusBit::Expected as u32
        | 1 << StatusBit::Confirmed as u32
        | 1 << StatusBit::Dying as u32;
    let wanted = attribute.be32()?;
    if (now.bits() ^ wanted) & FIXED != 0 {
        return Err(ChangeError::FixedStatus);
    }
    check_sticky_bits(now, wanted)?;
    Ok(wanted)
}

/// Checks that the bits that are never cleared stay set.
pub(super) fn check_sticky_bits(now: Status, wanted: u32) -> Result<(), ChangeError> {
    // CAST: The numbers of the bits.
    const STICKY: u32 = 1 << StatusBit::SeenReply as u32 | 1 << StatusBit::Assured as u32;
    if now.bits() & !wanted & STICKY != 0 {
        return Err(ChangeError::FixedStatus);
    }
    Ok(())
}

/// `CTA_MARK` and `CTA_MARK_MASK`: the new mark is `(old & keep) ^ flip`.
#[derive(Clone, Copy)]
pub(super) struct MarkChange {
    keep: u32,
    flip: u32,
}

impl MarkChange {
    /// Reads it; [`None`]: the message has no mark.
    pub(super) fn get(attributes: &Attributes<'_>) -> Result<Option<Self>> {
        let Some(mark) = attributes.get(CTA_MARK) else {
            return Ok(None);
        };
        let keep = match attributes.get(CTA_MARK_MASK) {
            Some(mask) => !mask.be32()?,
            None => 0,
        };
        let flip = mark.be32()?;
        Ok(Some(Self { keep, flip }))
    }

    /// Changes the entry's mark.
    pub(super) fn apply(self, conn: &Entry) {
        conn.change_mark(|old| (old & self.keep) ^ self.flip);
    }
}

/// `CTA_SEQ_ADJ_ORIG` and `CTA_SEQ_ADJ_REPLY`: the sequence adjustment of each direction.
pub(super) struct SeqAdjChange([Option<Shift>; 2]);

impl SeqAdjChange {
    /// Reads it. For an entry without the extension (`has_extension`) the attributes are ignored.
    pub(super) fn get(attributes: &Attributes<'_>, has_extension: bool) -> Result<Self> {
        let one = |number| match attributes.get(number) {
            Some(attribute) if has_extension => shift(attribute).map(Some),
            _ => Ok(None),
        };
        Ok(Self([one(CTA_SEQ_ADJ_ORIG)?, one(CTA_SEQ_ADJ_REPLY)?]))
    }

    /// Sets the entry's sequence adjustment.
    pub(super) fn apply(&self, conn: &Entry) {
        let Some(seq_adjust) = conn.seq_adjust() else {
            return;
        };
        for (dir, wanted) in [Direction::Original, Direction::Reply]
            .into_iter()
            .zip(self.0)
        {
            if let Some(wanted) = wanted {
                seq_adjust.change(dir, |shift: &mut Shift| *shift = wanted);
                conn.set(StatusBit::SeqAdjust);
            }
        }
    }
}

fn shift(attribute: Attribute<'_>) -> Result<Shift> {
    let nest = attribute.nest(&SEQADJ_POLICY)?;
    let bytes = |number| nest.get(number).ok_or(EINVAL)?.bytes();
    Ok(Shift {
        position: SeqNum(u32::from_be_bytes(bytes(CTA_SEQADJ_CORRECTION_POS)?)),
        before: i32::from_be_bytes(bytes(CTA_SEQADJ_OFFSET_BEFORE)?),
        after: i32::from_be_bytes(bytes(CTA_SEQADJ_OFFSET_AFTER)?),
    })
}

/// `CTA_SYNPROXY`: the state of SYNPROXY.
pub(super) struct SynproxyChange(Option<[u32; 3]>);

impl SynproxyChange {
    /// Reads it. For an entry without the extension (`has_extension`) the attribute is ignored.
    pub(super) fn get(attributes: &Attributes<'_>, has_extension: bool) -> Result<Self> {
        let Some(attribute) = attributes.get(CTA_SYNPROXY).filter(|_| has_extension) else {
            return Ok(Self(None));
        };
        let nest = attribute.nest(&SYNPROXY_POLICY)?;
        let need = |number| nest.get(number).ok_or(EINVAL);
        let words = (
            need(CTA_SYNPROXY_ISN)?,
            need(CTA_SYNPROXY_ITS)?,
            need(CTA_SYNPROXY_TSOFF)?,
        );
        Ok(Self(Some([
            words.0.be32()?,
            words.1.be32()?,
            words.2.be32()?,
        ])))
    }

    /// Sets the entry's SYNPROXY state.
    pub(super) fn apply(&self, conn: &Entry) {
        let (Some(wanted), Some(synproxy)) = (&self.0, conn.extensions().find::<SynProxy>()) else {
            return;
        };
        for (word, wanted) in synproxy.words().into_iter().zip(wanted) {
            word.store(*wanted, Relaxed);
        }
    }
}

/// `CTA_LABELS` and `CTA_LABELS_MASK`: labels, and a mask of those that change.
pub(super) struct LabelChange {
    data: [u32; Labels::WORDS],
    mask: [u32; Labels::WORDS],
    words: usize,
}

impl LabelChange {
    /// Reads it; [`None`]: the message has no labels.
    ///
    /// `EINVAL`: the labels are no whole words, or have another length than the mask.
    pub(super) fn get(attributes: &Attributes<'_>) -> Result<Option<Self>> {
        let Some(data) = attributes.get(CTA_LABELS) else {
            return Ok(None);
        };
        let len = data.payload().len();
        if len % size_of::<u32>() != 0 {
            return Err(EINVAL);
        }
        let mask = match attributes.get(CTA_LABELS_MASK) {
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

    /// Changes the entry's labels. `ENOSPC`: the entry has no labels extension.
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

/// The changes of an entry in the table that a message asks for.
///
/// # Examples
///
/// ```ignore
/// let changes = Changes::get(&request.attributes(), &conn)?; // Or nothing is changed.
/// changes.apply(&conn);
/// ```
pub(super) struct Changes<'a> {
    help: Option<HelpAttr<'a>>,
    /// In jiffies.
    timeout: Option<u32>,
    status: Option<u32>,
    proto_info: Option<ProtoInfo>,
    mark: Option<MarkChange>,
    seq_adj: SeqAdjChange,
    synproxy: SynproxyChange,
    labels: Option<LabelChange>,
}

impl<'a> Changes<'a> {
    /// Reads and checks the changes. The error is that of the first mistake, in the order of the
    /// fields.
    pub(super) fn get(attributes: &Attributes<'a>, conn: &Conn) -> Result<Self, ChangeError> {
        let get = |number| attributes.get(number);
        let only_new = [CTA_NAT_SRC, CTA_NAT_DST, CTA_TUPLE_MASTER];
        if only_new.into_iter().any(|number| get(number).is_some()) {
            return Err(ChangeError::OnlyNew);
        }
        let extensions = conn.extensions();
        // Rust evaluates fields in this order.
        Ok(Self {
            help: match get(CTA_HELP).map(HelpAttr::get).transpose()? {
                Some(help) => {
                    help.check(conn, RcuGuard::new().token())?;
                    Some(help)
                }
                None => None,
            },
            timeout: get(CTA_TIMEOUT)
                .map(|timeout| wanted_timeout(timeout, conn))
                .transpose()?,
            status: get(CTA_STATUS)
                .map(|attribute| status(conn.status(), attribute))
                .transpose()?,
            proto_info: get(CTA_PROTOINFO)
                .map(|attribute| ProtoInfo::get(attribute, conn.protocol()))
                .transpose()?,
            mark: MarkChange::get(attributes)?,
            seq_adj: SeqAdjChange::get(attributes, extensions.find::<SeqAdjust>().is_some())?,
            synproxy: SynproxyChange::get(attributes, extensions.find::<SynProxy>().is_some())?,
            labels: match LabelChange::get(attributes)? {
                Some(_) if extensions.find::<Labels>().is_none() => {
                    return Err(ChangeError::NoLabels);
                }
                labels => labels,
            },
        })
    }

    /// Changes the entry.
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
        if let Some(proto_info) = &self.proto_info {
            proto_info.set(conn);
        }
        if let Some(mark) = self.mark {
            mark.apply(conn);
        }
        self.seq_adj.apply(conn);
        self.synproxy.apply(conn);
        if let Some(labels) = &self.labels {
            // `get` found the extension, and an entry in the table keeps its extensions.
            let _ = labels.apply(conn);
        }
    }
}

/// Reads a timeout, in jiffies, for an entry in the table, or of a packet in a queue.
pub(super) fn wanted_timeout(attribute: Attribute<'_>, conn: &Conn) -> Result<u32, ChangeError> {
    let wanted = timeout(attribute)?;
    let status = conn.status();
    if status.has(StatusBit::FixedTimeout) {
        return Err(ChangeError::FixedTimeout);
    }
    if status.has(StatusBit::Dying) {
        return Err(ChangeError::Dying);
    }
    Ok(wanted)
}
