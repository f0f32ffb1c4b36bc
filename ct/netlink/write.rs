// SPDX-License-Identifier: GPL-2.0

//! The attributes of an entry in a message. Programs rely on their sizes, and some on their order.
//!
//! # Examples
//!
//! An answer of one message, with a nest in it. If `put_text` finds no room, the nest, the message
//! and the answer end with its error:
//!
//! ```ignore
//! request.answer(|messages| {
//!     messages.add(&head, |message| {
//!         message.nest(CTA_HELP, |message| message.put_text(CTA_HELP_NAME, b"ftp"))
//!     })
//! })
//! ```

use core::array::from_fn;

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::{
    ct::packet::kernel_hook::ConntrackHook,
    nf::{
        entry::{
            ecache::EventCache,
            ext::{
                Counters,
                Labels,
                SynProxy,
                Timestamps, //
            },
        },
        expect::helper_name::HELPER_NAME_LEN,
        kernel::{
            attr::{
                size_of_attribute,
                Message, //
            },
            params,
            time::HZ, //
        },
        packet::tracker::Tracker,
        prelude::*, //
    },
    proto::seqadj::Shift, //
};

use super::{
    cta::*,
    protocol,
    tuple, //
};

/// The packets and bytes of each direction that a message reports.
#[derive(Clone, Copy, Default)]
pub(super) struct ReportedCounters([Option<(u64, u64)>; 2]);

impl ReportedCounters {
    /// Subtracts them from the entry's counters: what was counted after the report stays.
    pub(super) fn subtract_from(self, conn: &Conn) {
        let Some(counters) = conn.extensions().find::<Counters>() else {
            return;
        };
        for (dir, reported) in [Direction::Original, Direction::Reply]
            .into_iter()
            .zip(self.0)
        {
            if let Some((packets, bytes)) = reported {
                counters.take_off(dir, packets, bytes);
            }
        }
    }
}

/// Writes attributes of an entry into a message.
///
/// A method without a comment writes the attribute of its name. Each writes nothing if the entry
/// does not have the attribute; `EMSGSIZE`: the message is full.
///
/// # Examples
///
/// ```ignore
/// messages.add(&head, |message| {
///     let mut writer = Writer::new(conn, message);
///     writer.tuples()?;
///     writer.timeout()
/// })?;
/// ```
pub(super) struct Writer<'c, 'm> {
    conn: &'c Conn,
    message: &'c mut Message<'m>,
}

impl<'c, 'm> Writer<'c, 'm> {
    /// Returns a writer for an entry and a message.
    pub(super) fn new(conn: &'c Conn, message: &'c mut Message<'m>) -> Self {
        Self { conn, message }
    }

    /// Writes all attributes of an answer to a request. `CTA_USE` is the reference count without
    /// the `own_references` of the reader.
    pub(super) fn answer(&mut self, own_references: u32) -> Result<ReportedCounters> {
        self.tuples()?;
        self.status()?;
        self.mark()?;
        self.secctx()?;
        self.id()?;
        let users = self.conn.use_count().saturating_sub(own_references);
        self.message.put_be32(CTA_USE, users)?;
        self.master()?;
        // The C tracker leaves it out for an offloaded entry, though its events have it. Clients
        // that read listings expect it of each entry.
        self.timeout()?;
        // What the tracker knew when the entry was offloaded says nothing about the connection.
        if !self.conn.has(StatusBit::Offload) {
            self.proto_info(false)?;
        }
        let reported = self.counters()?;
        self.timestamps()?;
        self.help()?;
        self.labels()?;
        self.seq_adj()?;
        self.synproxy()?;
        Ok(reported)
    }

    /// Writes both tuples and the zone. A zone for one direction is in the tuple of that direction,
    /// a zone for both is an attribute of its own.
    pub(super) fn tuples(&mut self) -> Result {
        let conn = self.conn;
        let zone = conn.zone();
        for (number, dir, bit) in [
            (CTA_TUPLE_ORIG, Direction::Original, Zone::ORIGINAL),
            (CTA_TUPLE_REPLY, Direction::Reply, Zone::REPLY),
        ] {
            self.message.nest(number, |message| {
                tuple::put(&conn.tuple(dir), message)?;
                put_zone(message, CTA_TUPLE_ZONE, zone, bit)
            })?;
        }
        put_zone(self.message, CTA_ZONE, zone, Zone::BOTH)
    }

    pub(super) fn status(&mut self) -> Result {
        let bits = self.conn.status().bits();
        self.message.put_be32(CTA_STATUS, bits)
    }

    pub(super) fn mark(&mut self) -> Result {
        self.message.put_be32(CTA_MARK, self.conn.mark())
    }

    /// Writes the id, in the machine's byte order: to user space it is no number.
    pub(super) fn id(&mut self) -> Result {
        let id = ConntrackHook::id(self.conn);
        self.message.put(CTA_ID, &id.to_ne_bytes())
    }

    /// Returns the remaining lifetime in seconds.
    fn seconds_left(&self) -> u32 {
        // Before confirmation the timeout is relative.
        let jiffies = if self.conn.is_confirmed() {
            self.conn.remaining()
        } else {
            self.conn.timeout()
        };
        jiffies / HZ
    }

    pub(super) fn timeout(&mut self) -> Result {
        let seconds = self.seconds_left();
        self.message.put_be32(CTA_TIMEOUT, seconds)
    }

    /// Writes the timeout, unless the entry timed out.
    pub(super) fn timeout_if_left(&mut self) -> Result {
        match self.seconds_left() {
            0 => Ok(()),
            _ => self.timeout(),
        }
    }

    /// Writes the state of the protocol's tracker; of an entry that was destroyed, less of it.
    pub(super) fn proto_info(&mut self, destroyed: bool) -> Result {
        protocol::put_proto_info(self.conn, destroyed, self.message)
    }

    #[cfg(CONFIG_NF_CONNTRACK_SECMARK)]
    pub(super) fn secctx(&mut self) -> Result {
        let Ok(label) = kernel::security::SecurityCtx::from_secid(self.conn.secmark()) else {
            return Ok(());
        };
        // The length that some security modules give includes the terminating zero byte.
        let text = label.as_bytes().split(|&byte| byte == 0).next();
        self.message.nest(CTA_SECCTX, |message| {
            message.put_text(CTA_SECCTX_NAME, text.unwrap_or_default())
        })
    }

    #[cfg(not(CONFIG_NF_CONNTRACK_SECMARK))]
    pub(super) fn secctx(&mut self) -> Result {
        Ok(())
    }

    /// Writes the security context, if the entry's secmark is set.
    pub(super) fn secctx_if_set(&mut self) -> Result {
        #[cfg(CONFIG_NF_CONNTRACK_SECMARK)]
        if self.conn.secmark() != 0 {
            return self.secctx();
        }
        Ok(())
    }

    /// Writes the original tuple of the master.
    pub(super) fn master(&mut self) -> Result {
        if !self.conn.has(StatusBit::Expected) {
            return Ok(());
        }
        match self.conn.master() {
            Some(master) => {
                let original = master.tuple(Direction::Original);
                tuple::put_nest(CTA_TUPLE_MASTER, &original, self.message)
            }
            None => Ok(()),
        }
    }

    /// Writes the packets and bytes of each direction, and returns what was written.
    pub(super) fn counters(&mut self) -> Result<ReportedCounters> {
        let mut reported = ReportedCounters::default();
        let Some(counters) = self.conn.extensions().find::<Counters>() else {
            return Ok(reported);
        };
        let nests = [
            (CTA_COUNTERS_ORIG, Direction::Original),
            (CTA_COUNTERS_REPLY, Direction::Reply),
        ];
        for ((number, dir), reported) in nests.into_iter().zip(&mut reported.0) {
            let (packets, bytes) = counters.read(dir);
            self.message.nest(number, |message| {
                message.put_be64(CTA_COUNTERS_PACKETS, packets, CTA_COUNTERS_PAD)?;
                message.put_be64(CTA_COUNTERS_BYTES, bytes, CTA_COUNTERS_PAD)
            })?;
            *reported = Some((packets, bytes));
        }
        Ok(reported)
    }

    /// Writes the times of start and end, in nanoseconds since 1970.
    pub(super) fn timestamps(&mut self) -> Result {
        let Some(timestamps) = self.conn.extensions().find::<Timestamps>() else {
            return Ok(());
        };
        self.message.nest(CTA_TIMESTAMP, |message| {
            message.put_be64(
                CTA_TIMESTAMP_START,
                timestamps.start().load(Relaxed),
                CTA_TIMESTAMP_PAD,
            )?;
            match timestamps.stop().load(Relaxed) {
                0 => Ok(()),
                stop => message.put_be64(CTA_TIMESTAMP_STOP, stop, CTA_TIMESTAMP_PAD),
            }
        })
    }

    pub(super) fn help(&mut self) -> Result {
        let section = RcuGuard::new();
        let Some(helper) = self.conn.helping(section.token()) else {
            return Ok(());
        };
        self.message.nest(CTA_HELP, |message| {
            message.put_text(CTA_HELP_NAME, helper.name().text())?;
            helper.to_nlattr(message);
            Ok(())
        })
    }

    /// Writes the labels, if one is set.
    pub(super) fn labels(&mut self) -> Result {
        let Some(labels) = self.conn.extensions().find::<Labels>() else {
            return Ok(());
        };
        let words: [[u8; 4]; Labels::WORDS] = from_fn(|index| {
            let word = labels.word(index).map_or(0, |word| word.load(Relaxed));
            word.to_ne_bytes()
        });
        let bytes = words.as_flattened();
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        self.message.put(CTA_LABELS, bytes)
    }

    /// Writes the sequence adjustment of each direction.
    pub(super) fn seq_adj(&mut self) -> Result {
        let conn = self.conn;
        let Some(seq_adjust) = conn.seq_adjust() else {
            return Ok(());
        };
        if !conn.has(StatusBit::SeqAdjust) {
            return Ok(());
        }
        for (number, dir) in [
            (CTA_SEQ_ADJ_ORIG, Direction::Original),
            (CTA_SEQ_ADJ_REPLY, Direction::Reply),
        ] {
            let mut now = Shift::default();
            seq_adjust.change(dir, |shift: &mut Shift| now = *shift);
            self.message.nest(number, |message| {
                message.put_be32(CTA_SEQADJ_CORRECTION_POS, now.position.0)?;
                message.put(CTA_SEQADJ_OFFSET_BEFORE, &now.before.to_be_bytes())?;
                message.put(CTA_SEQADJ_OFFSET_AFTER, &now.after.to_be_bytes())
            })?;
        }
        Ok(())
    }

    pub(super) fn synproxy(&mut self) -> Result {
        let Some(synproxy) = self.conn.extensions().find::<SynProxy>() else {
            return Ok(());
        };
        let [isn, its, offset] = synproxy.words().map(|word| word.load(Relaxed));
        self.message.nest(CTA_SYNPROXY, |message| {
            message.put_be32(CTA_SYNPROXY_ISN, isn)?;
            message.put_be32(CTA_SYNPROXY_ITS, its)?;
            message.put_be32(CTA_SYNPROXY_TSOFF, offset)
        })
    }

    /// Writes the reason for which the entry was destroyed, if the module reports reasons.
    pub(super) fn destroy_reason(&mut self) -> Result {
        match self.conn.destroy_reason() {
            reason if reason != 0 && params::event_reasons() => {
                self.message.put(CTA_RCT_DESTROY_REASON, &[reason])
            }
            _ => Ok(()),
        }
    }

    /// Writes the time of the event, in nanoseconds since 1970, if events have times.
    pub(super) fn event_time(&mut self) -> Result {
        let cache = self.conn.extensions().find::<EventCache>();
        match cache.map_or(0, EventCache::time) {
            0 => Ok(()),
            // Without padding before it: the level of entries has no padding attribute.
            time => self.message.put(CTA_TIMESTAMP_EVENT, &time.to_be_bytes()),
        }
    }
}

fn put_zone(message: &mut Message<'_>, number: u16, zone: Zone, directions: u8) -> Result {
    if zone.id == Zone::DEFAULT_ID || zone.dir != directions {
        return Ok(());
    }
    message.put_be16(number, zone.id)
}

/// Returns an upper bound of the bytes that the attributes of an entry take in a message.
pub(super) fn size(conn: &Conn) -> usize {
    const NEST: usize = size_of_attribute(0);
    const WORD: usize = size_of_attribute(4);
    /// With the attribute that aligns it.
    const LONG: usize = size_of_attribute(8) + NEST;
    const TUPLE: usize = 3 * NEST + size_of_attribute(1) + tuple::ADDRESSES_SIZE;
    const FIXED: usize = 3 * TUPLE
        + size_of_attribute(2)
        // Status, id, references, mark, timeout.
        + 5 * WORD
        // Counters, timestamps, the event's time.
        + 2 * (NEST + 2 * LONG)
        + NEST + 2 * LONG
        + LONG
        // Protocol state, helper.
        + 2 * NEST + size_of_attribute(HELPER_NAME_LEN)
        // Sequence adjustment, SYNPROXY.
        + 3 * (NEST + 3 * WORD)
        + size_of_attribute(Labels::WORDS * 4)
        // The destroy reason.
        + size_of_attribute(1);
    FIXED
        .wrapping_add(protocol::size(conn.protocol()))
        .wrapping_add(secctx_size(conn))
}

#[cfg(CONFIG_NF_CONNTRACK_SECMARK)]
fn secctx_size(conn: &Conn) -> usize {
    const NEST: usize = size_of_attribute(0);
    match kernel::security::SecurityCtx::from_secid(conn.secmark()) {
        Ok(label) => size_of_attribute(label.len().wrapping_add(1)).wrapping_add(NEST),
        Err(_) => 0,
    }
}

#[cfg(not(CONFIG_NF_CONNTRACK_SECMARK))]
fn secctx_size(_conn: &Conn) -> usize {
    0
}
