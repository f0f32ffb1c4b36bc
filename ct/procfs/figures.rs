// SPDX-License-Identifier: GPL-2.0

//! Two files with the figures of a namespace ([`crate::ct::figures`]).
//!
//! - `/proc/net/rust_conntrack.prom`: in the text format of Prometheus; in the first namespace
//!   those of all namespaces, each with its inode number as the label `netns`.
//! - `/proc/net/stat/rust_conntrack`: a name and a value a line, of this namespace alone.
//!
//! What a reader gets is of one moment: the figures are copied when the reading begins.

use core::marker::PhantomData;

use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    prelude::*,
    sync::atomic::Relaxed, //
};

use crate::{
    ct::{
        figures::{
            causes::{
                Group,
                Series, //
            },
            census,
            nat::NatCounts, //
        },
        life::gc,
        netns::NetState,
        table::resize, //
    },
    nf::{
        kernel::{
            net, params,
            seq_file::{
                Out,
                SeqFile, //
            },
        },
        prelude::*, //
    },
};

/// The maximum number of namespaces in a file.
const MAX_NAMESPACES: usize = 4096;

/// A metric: a name, and what it means.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Metric {
    ScanAge,
    Limit,
    Buckets,
    Count,
    Expectations,
    Entries,
    Created,
    Ended,
    Refused,
    Invalid,
    Nat,
    Pools,
}

impl Metric {
    const ALL: [Self; 12] = [
        Self::ScanAge,
        Self::Limit,
        Self::Buckets,
        Self::Count,
        Self::Expectations,
        Self::Entries,
        Self::Created,
        Self::Ended,
        Self::Refused,
        Self::Invalid,
        Self::Nat,
        Self::Pools,
    ];

    /// The name without its common beginning, `rust_conntrack_`.
    const fn name(self) -> &'static str {
        match self {
            Self::ScanAge => "scan_age_seconds",
            Self::Limit => "entries_limit",
            Self::Buckets => "buckets",
            Self::Count => "entries",
            Self::Expectations => "expectations",
            Self::Entries => "state_entries",
            Self::Created => "created_total",
            Self::Ended => "ended_total",
            Self::Refused => "refused_total",
            Self::Invalid => "invalid_total",
            Self::Nat => "nat_total",
            Self::Pools => "nat_crowded_pools",
        }
    }

    const fn help(self) -> &'static str {
        match self {
            Self::ScanAge => "Time since the collector counted the entries by state.",
            Self::Limit => "Number of entries from which on new ones replace others.",
            Self::Buckets => "Number of buckets of the table.",
            Self::Count => "Number of entries now.",
            Self::Expectations => "Number of expectations now.",
            Self::Entries => {
                "Number of entries by protocol and state, when the collector counted them."
            }
            Self::Created => "Entries created.",
            Self::Ended => "Entries freed, by the reason for their end.",
            Self::Refused => "Packets dropped because a connection could not begin or go on.",
            Self::Invalid => "Packets in state INVALID.",
            Self::Nat => "What happened when NAT chose a mapping, or asked its rules again.",
            Self::Pools => {
                "Number of translated addresses and destinations that have few free ports."
            }
        }
    }

    /// Whether the value never falls.
    const fn is_counter(self) -> bool {
        matches!(
            self,
            Self::Created | Self::Ended | Self::Refused | Self::Invalid | Self::Nat
        )
    }

    /// Whether the metric has one value, for all namespaces.
    const fn is_global(self) -> bool {
        matches!(self, Self::ScanAge | Self::Limit | Self::Buckets)
    }
}

/// A value, or the lines that introduce a metric.
#[derive(Clone, Copy)]
pub(super) struct Line {
    metric: Metric,
    /// The inode number of the namespace; 0 for a metric that has one value for all.
    netns: u32,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// The metric's name and meaning.
    Introduction,
    /// The metric's value.
    Value(u64),
    /// The entries of a kind, see [`census::name_of`].
    Kind(usize, u64),
    /// The value of a series, see [`Series::nth`].
    Series(usize, u64),
    /// How often an event of NAT happened, see [`NatCounts::EVENTS`].
    Nat(&'static str, u32),
}

/// Which values there are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    All,
    /// Not the causes, states and protocols that have not occurred: of many namespaces, many are
    /// idle.
    Occurred,
}

/// The lines of a file, in the making.
struct Lines {
    lines: KVVec<Line>,
    /// The number of lines, also of those for which there is no room.
    wanted: usize,
    round: Option<gc::EndedRound>,
}

impl Lines {
    /// Returns none yet, with room for `count`.
    fn with_capacity(count: usize) -> Result<Self> {
        Ok(Self {
            // Counted for the reader: any process may open the file as often as it likes.
            lines: KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?,
            wanted: 0,
            round: gc::last_round(),
        })
    }

    fn add(&mut self, metric: Metric, netns: u32, what: What) {
        self.wanted = self.wanted.saturating_add(1);
        let line = Line {
            metric,
            netns,
            what,
        };
        // Without room it is only counted.
        let _ = self.lines.push_within_capacity(line);
    }

    /// Adds a value that is not of a namespace.
    fn add_global(&mut self, metric: Metric) {
        let value = match metric {
            Metric::ScanAge => match self.round {
                Some(round) => round.age,
                None => return,
            },
            Metric::Limit => params::max_entries().load(Relaxed),
            _ => resize::buckets(),
        };
        self.add(metric, 0, What::Value(value.into()))
    }

    /// Adds what a namespace has of a metric.
    fn add_of(&mut self, metric: Metric, net: &Net, extent: Extent) {
        let (state, netns) = (net.state::<NetState>(), net.inum());
        let is_shown = |value| extent == Extent::All || value != 0;
        let group = match metric {
            Metric::Count => {
                return self.add(metric, netns, What::Value(state.entries().into()));
            }
            Metric::Expectations => {
                let number = state.expectations.load(Relaxed);
                return self.add(metric, netns, What::Value(number.into()));
            }
            Metric::Entries => {
                let Some(round) = self.round else {
                    return;
                };
                for kind in 0..census::KINDS {
                    let number = state.census.read(round.number, kind).into();
                    if is_shown(number) {
                        self.add(metric, netns, What::Kind(kind, number));
                    }
                }
                return;
            }
            Metric::Nat => {
                for (event, count) in
                    Iterator::zip(NatCounts::EVENTS.into_iter(), NatCounts::of(net).events())
                {
                    if is_shown(count.into()) {
                        self.add(metric, netns, What::Nat(event, count));
                    }
                }
                return;
            }
            Metric::Pools => {
                let pools = NatCounts::of(net).pools.load(Relaxed).into();
                if is_shown(pools) {
                    self.add(metric, netns, What::Value(pools));
                }
                return;
            }
            Metric::Created => Group::Created,
            Metric::Ended => Group::Ended,
            Metric::Refused => Group::Refused,
            _ => Group::Invalid,
        };
        for number in 0..Series::COUNT {
            let Some(series) = Series::nth(number).filter(|series| series.group == group) else {
                continue;
            };
            let value = net.figure(series.figure);
            if is_shown(value) {
                self.add(metric, netns, What::Series(number, value));
            }
        }
    }
}

/// How many lines may come to be, while the others are written.
const SPARE: usize = 64;

/// Copies the figures that the reader in `net` sees. May sleep.
///
/// `ENOMEM`: no memory.
fn copy_figures<F: Format>(net: &Net) -> Result<KVVec<Line>> {
    let others = if F::HAS_OTHERS && net.is_init() {
        net::hold_where(|other| !other.is_init())?
    } else {
        None
    };
    let mut room = 0;
    // The first turn counts. A third one is there for many causes that occur for the first time
    // meanwhile.
    for _ in 0..4 {
        let mut lines = Lines::with_capacity(room)?;
        for metric in Metric::ALL {
            if F::HAS_INTRODUCTIONS {
                lines.add(metric, 0, What::Introduction);
            }
            if metric.is_global() {
                lines.add_global(metric);
                continue;
            }
            lines.add_of(metric, net, Extent::All);
            for other in others.iter().flatten().take(MAX_NAMESPACES) {
                lines.add_of(metric, other, Extent::Occurred);
            }
        }
        if lines.wanted <= room {
            return Ok(lines.lines);
        }
        room = lines.wanted.saturating_add(SPARE);
    }
    Err(ENOMEM)
}

/// The format of a file.
pub(super) trait Format: 'static {
    /// Whether the first namespace sees the others' figures.
    const HAS_OTHERS: bool;
    /// Whether each metric is introduced.
    const HAS_INTRODUCTIONS: bool;

    /// Writes a line.
    fn write(line: &Line, out: &mut Out<'_>);
}

/// The file of figures in a format.
pub(super) struct FiguresFile<F>(PhantomData<F>);

/// A reader's copy of the figures, and how many lines of it were read.
#[derive(Default)]
pub(super) struct Figures {
    lines: Option<KVVec<Line>>,
    read: usize,
}

impl<F: Format> SeqFile for FiguresFile<F> {
    type Cursor = Figures;
    type Item = Line;

    fn current(copy: &mut Figures, net: &Net) -> Result<Option<Line>> {
        if copy.lines.is_none() {
            copy.lines = Some(copy_figures::<F>(net)?);
        }
        let lines = copy.lines.as_deref().unwrap_or_default();
        Ok(lines.get(copy.read).copied())
    }

    fn advance(copy: &mut Figures, _line: &Line, net: &Net) -> Result<Option<Line>> {
        copy.read = copy.read.saturating_add(1);
        Self::current(copy, net)
    }

    fn show(line: &Line, _net: &Net, out: &mut Out<'_>) {
        F::write(line, out);
    }
}

/// The text format of Prometheus, version 0.0.4.
pub(super) struct Prometheus;

impl Format for Prometheus {
    const HAS_OTHERS: bool = true;
    const HAS_INTRODUCTIONS: bool = true;

    fn write(line: &Line, out: &mut Out<'_>) {
        let metric = line.metric;
        let name = |out: &mut Out<'_>| {
            out.text("rust_conntrack_");
            out.text(metric.name());
        };
        let (labels, value) = match line.what {
            What::Introduction => {
                out.text("# HELP ");
                name(out);
                out.text(" ");
                out.text(metric.help());
                out.text("\n# TYPE ");
                name(out);
                return out.text(if metric.is_counter() {
                    " counter\n"
                } else {
                    " gauge\n"
                });
            }
            What::Value(value) => ([("", ""); 2], value),
            What::Kind(kind, value) => {
                let (protocol, state) = census::name_of(kind).unwrap_or_default();
                ([("protocol", protocol), ("state", state)], value)
            }
            What::Series(number, value) => (labels_of(number), value),
            What::Nat(event, count) => ([("event", event), ("", "")], count.into()),
        };
        name(out);
        if line.netns != 0 {
            out.text("{netns=\"");
            out.number(line.netns.into());
            out.text("\"");
            for (label, value) in labels {
                if !value.is_empty() {
                    out.text(",");
                    out.text(label);
                    out.text("=\"");
                    out.text(value);
                    out.text("\"");
                }
            }
            out.text("}");
        }
        out.text(" ");
        out.number(value);
        out.text("\n");
    }
}

/// Returns the names and values of the labels of a series; empty where it has none.
fn labels_of(number: usize) -> [(&'static str, &'static str); 2] {
    let Some(series) = Series::nth(number) else {
        return [("", ""); 2];
    };
    let cause = match series.group {
        Group::Ended => "reason",
        _ => "cause",
    };
    [("protocol", series.protocol), (cause, series.cause)]
}

/// A name and a value a line.
pub(super) struct Names;

impl Format for Names {
    const HAS_OTHERS: bool = false;
    const HAS_INTRODUCTIONS: bool = false;

    fn write(line: &Line, out: &mut Out<'_>) {
        let (labels, value) = match line.what {
            What::Introduction => return,
            What::Value(value) => (["", ""], value),
            What::Kind(kind, value) => {
                let (protocol, state) = census::name_of(kind).unwrap_or_default();
                ([protocol, state], value)
            }
            What::Series(number, value) => (labels_of(number).map(|(_, value)| value), value),
            What::Nat(event, count) => ([event, ""], count.into()),
        };
        let name = line.metric.name();
        out.text(name.strip_suffix("_total").unwrap_or(name));
        for label in labels {
            if !label.is_empty() {
                out.text("_");
                out.text(label);
            }
        }
        out.text(" ");
        out.number(value);
        out.text("\n");
    }
}
