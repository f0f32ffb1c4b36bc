// SPDX-License-Identifier: GPL-2.0

//! An entry in a message. Parsers rely on the attributes' sizes, and some on their order.

use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::{
    ct::{
        helper as ct_helper,
        packet::kernel_hook::RustCt, //
    },
    nf::{
        entry::{
            ecache::EventCache,
            ext::{
                Counters,
                Labels,
                SeqAdjust,
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
    attributes::{
        counters,
        entry as number,
        help,
        own,
        shift,
        synproxy,
        times,
        tuple as part, //
    },
    protocol,
    tuple, //
};

/// What an entry's counters were when they were written; both ways.
#[derive(Clone, Copy, Default)]
pub(super) struct Counted([Option<(u64, u64)>; 2]);

impl Counted {
    /// Takes them off: what was counted since stays.
    pub(super) fn take_off(self, conn: &Conn) {
        let Some(part) = conn.extensions().find::<Counters>() else {
            return;
        };
        for (dir, counted) in [Direction::Original, Direction::Reply]
            .into_iter()
            .zip(self.0)
        {
            if let Some((packets, bytes)) = counted {
                part.take_off(dir, packets, bytes);
            }
        }
    }
}

/// Writes an entry.
pub(super) struct Writer<'c, 'm> {
    conn: &'c Conn,
    message: &'c mut Message<'m>,
}

impl<'c, 'm> Writer<'c, 'm> {
    /// Into a message.
    pub(super) fn new(conn: &'c Conn, message: &'c mut Message<'m>) -> Self {
        Self { conn, message }
    }

    /// All that an answer says. `own` references are not counted: the reader's.
    pub(super) fn answer(&mut self, own: u32) -> Result<Counted> {
        self.ends()?;
        self.status()?;
        self.mark()?;
        self.security()?;
        self.id()?;
        let users = self.conn.use_count().saturating_sub(own);
        self.message.put_be32(number::USE, users)?;
        self.master()?;
        if !self.conn.has(StatusBit::Offload) {
            self.timeout()?;
            self.memory(false)?;
        }
        let counted = self.counters()?;
        self.times()?;
        self.help()?;
        self.labels()?;
        self.shifts()?;
        self.synproxy()?;
        Ok(counted)
    }

    /// Both tuples, and the zone: in the tuple of the direction that it is for, or by itself.
    pub(super) fn ends(&mut self) -> Result {
        let conn = self.conn;
        let zone = conn.zone();
        for (place, dir, bit) in [
            (number::ORIGINAL, Direction::Original, Zone::ORIGINAL),
            (number::REPLY, Direction::Reply, Zone::REPLY),
        ] {
            self.message.nest(place, |message| {
                tuple::put(&conn.tuple(dir), message)?;
                put_zone(message, part::ZONE, zone, bit)
            })?;
        }
        put_zone(self.message, number::ZONE, zone, Zone::BOTH)
    }

    pub(super) fn status(&mut self) -> Result {
        let bits = self.conn.status().bits();
        self.message.put_be32(number::STATUS, bits)
    }

    pub(super) fn mark(&mut self) -> Result {
        self.message.put_be32(number::MARK, self.conn.mark())
    }

    /// The number, in the machine's byte order: to user space it is no quantity.
    pub(super) fn id(&mut self) -> Result {
        let id = RustCt::id(self.conn);
        self.message.put(number::ID, &id.to_ne_bytes())
    }

    /// Seconds left.
    fn seconds(&self) -> u32 {
        let jiffies = if self.conn.is_confirmed() {
            self.conn.remaining()
        } else {
            self.conn.timeout()
        };
        jiffies / HZ
    }

    pub(super) fn timeout(&mut self) -> Result {
        let seconds = self.seconds();
        self.message.put_be32(number::TIMEOUT, seconds)
    }

    /// [`Writer::timeout`], if the entry ended before its time.
    pub(super) fn timeout_left(&mut self) -> Result {
        match self.seconds() {
            0 => Ok(()),
            _ => self.timeout(),
        }
    }

    pub(super) fn memory(&mut self, going: bool) -> Result {
        protocol::put_memory(self.conn, going, self.message)
    }

    #[cfg(CONFIG_NF_CONNTRACK_SECMARK)]
    pub(super) fn security(&mut self) -> Result {
        use crate::ct::netlink::attributes::security;

        let Ok(label) = kernel::security::SecurityCtx::from_secid(self.conn.secmark()) else {
            return Ok(());
        };
        // Some security modules count the byte that ends the text.
        let text = label.as_bytes().split(|&byte| byte == 0).next();
        self.message.nest(number::SECURITY, |message| {
            message.put_text(security::NAME, text.unwrap_or_default())
        })
    }

    #[cfg(not(CONFIG_NF_CONNTRACK_SECMARK))]
    pub(super) fn security(&mut self) -> Result {
        Ok(())
    }

    /// The security context, of who has a label.
    pub(super) fn security_if_labelled(&mut self) -> Result {
        #[cfg(CONFIG_NF_CONNTRACK_SECMARK)]
        if self.conn.secmark() != 0 {
            return self.security();
        }
        Ok(())
    }

    /// The original tuple of the connection that announced this one.
    pub(super) fn master(&mut self) -> Result {
        if !self.conn.has(StatusBit::Expected) {
            return Ok(());
        }
        match self.conn.master() {
            Some(master) => {
                let original = master.tuple(Direction::Original);
                tuple::put_nest(number::MASTER, &original, self.message)
            }
            None => Ok(()),
        }
    }

    pub(super) fn counters(&mut self) -> Result<Counted> {
        let mut counted = Counted::default();
        let Some(part) = self.conn.extensions().find::<Counters>() else {
            return Ok(counted);
        };
        let ways = [
            (number::COUNTERS_ORIGINAL, Direction::Original),
            (number::COUNTERS_REPLY, Direction::Reply),
        ];
        for ((place, dir), counted) in ways.into_iter().zip(&mut counted.0) {
            let (packets, bytes) = part.read(dir);
            self.message.nest(place, |message| {
                message.put_be64(counters::PACKETS, packets, counters::PAD)?;
                message.put_be64(counters::BYTES, bytes, counters::PAD)
            })?;
            *counted = Some((packets, bytes));
        }
        Ok(counted)
    }

    pub(super) fn times(&mut self) -> Result {
        let Some(part) = self.conn.extensions().find::<Timestamps>() else {
            return Ok(());
        };
        self.message.nest(number::TIMES, |message| {
            message.put_be64(times::START, part.start().load(Relaxed), times::PAD)?;
            match part.stop().load(Relaxed) {
                0 => Ok(()),
                stop => message.put_be64(times::STOP, stop, times::PAD),
            }
        })
    }

    pub(super) fn help(&mut self) -> Result {
        let section = RcuGuard::new();
        let conn = self.conn;
        let Some(helper) = ct_helper::of(conn, section.token()) else {
            return Ok(());
        };
        self.message.nest(number::HELP, |message| {
            message.put_text(help::NAME, helper.name().text())?;
            helper.to_nlattr(conn, message, section.token());
            Ok(())
        })
    }

    /// Labels, if there are any.
    pub(super) fn labels(&mut self) -> Result {
        let Some(part) = self.conn.extensions().find::<Labels>() else {
            return Ok(());
        };
        let mut bytes = [0; Labels::WORDS * 4];
        for (index, place) in bytes.chunks_exact_mut(4).enumerate() {
            let word = part.word(index).map_or(0, |word| word.load(Relaxed));
            for (place, byte) in place.iter_mut().zip(word.to_ne_bytes()) {
                *place = byte;
            }
        }
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        self.message.put(number::LABELS, &bytes)
    }

    /// How far sequence numbers are shifted.
    pub(super) fn shifts(&mut self) -> Result {
        let conn = self.conn;
        let Some(part) = conn.extensions().find::<SeqAdjust>() else {
            return Ok(());
        };
        if !conn.has(StatusBit::SeqAdjust) {
            return Ok(());
        }
        for (place, dir) in [
            (number::SHIFT_ORIGINAL, Direction::Original),
            (number::SHIFT_REPLY, Direction::Reply),
        ] {
            let mut now = Shift::default();
            part.change(conn, dir, |shift: &mut Shift| now = *shift);
            self.message.nest(place, |message| {
                message.put_be32(shift::POSITION, now.position.0)?;
                message.put(shift::BEFORE, &now.before.to_be_bytes())?;
                message.put(shift::AFTER, &now.after.to_be_bytes())
            })?;
        }
        Ok(())
    }

    pub(super) fn synproxy(&mut self) -> Result {
        let Some(part) = self.conn.extensions().find::<SynProxy>() else {
            return Ok(());
        };
        let [isn, its, offset] = part.words().map(|word| word.load(Relaxed));
        self.message.nest(number::SYNPROXY, |message| {
            message.put_be32(synproxy::ISN, isn)?;
            message.put_be32(synproxy::ITS, its)?;
            message.put_be32(synproxy::OFFSET, offset)
        })
    }

    /// DestroyReason the entry ended, if that is known and told.
    pub(super) fn why(&mut self) -> Result {
        match self.conn.destroy_reason() {
            why if why != 0 && params::event_reasons() => self.message.put(own::WHY, &[why]),
            _ => Ok(()),
        }
    }

    /// When what an event tells happened, where events have a time.
    pub(super) fn event_time(&mut self) -> Result {
        let cache = self.conn.extensions().find::<EventCache>();
        match cache.map_or(0, EventCache::time) {
            0 => Ok(()),
            // Nothing before it: what pads is not defined at this level.
            time => self.message.put(number::EVENT_TIME, &time.to_be_bytes()),
        }
    }
}

fn put_zone(message: &mut Message<'_>, place: u16, zone: Zone, directions: u8) -> Result {
    if zone.id == Zone::DEFAULT_ID || zone.dir != directions {
        return Ok(());
    }
    message.put_be16(place, zone.id)
}

/// Bytes that all of it takes at most, without the messages's head.
pub(super) fn size(conn: &Conn) -> usize {
    const NEST: usize = size_of_attribute(0);
    const WORD: usize = size_of_attribute(4);
    /// And one to align it.
    const LONG: usize = size_of_attribute(8) + NEST;
    const TUPLE: usize = 3 * NEST + size_of_attribute(1) + tuple::ADDRESSES_SIZE;
    const FIXED: usize = 3 * TUPLE
        + size_of_attribute(2)
        // Status, number, uses, mark, timeout.
        + 5 * WORD
        // Counters, times, the event's time.
        + 2 * (NEST + 2 * LONG)
        + NEST + 2 * LONG
        + LONG
        // Memory, helper.
        + 2 * NEST + size_of_attribute(HELPER_NAME_LEN)
        // Shifts, SYNPROXY.
        + 3 * (NEST + 3 * WORD)
        + size_of_attribute(Labels::WORDS * 4)
        // The reason.
        + size_of_attribute(1);
    FIXED
        .wrapping_add(protocol::size(conn.protocol()))
        .wrapping_add(security_size(conn))
}

#[cfg(CONFIG_NF_CONNTRACK_SECMARK)]
fn security_size(conn: &Conn) -> usize {
    const NEST: usize = size_of_attribute(0);
    match kernel::security::SecurityCtx::from_secid(conn.secmark()) {
        Ok(label) => size_of_attribute(label.len().wrapping_add(1)).wrapping_add(NEST),
        Err(_) => 0,
    }
}

#[cfg(not(CONFIG_NF_CONNTRACK_SECMARK))]
fn security_size(_conn: &Conn) -> usize {
    0
}
