# SPDX-License-Identifier: GPL-2.0
"""What a packet costs in time and caches: with the C tracker, with rust_ct, and without any.

The same scenarios, generator and checks as packets.py, but the kernel is User-Mode Linux: a
program of this machine, whose code runs at the machine's own speed, with its real caches. Three
of them, one a tracker, take turns at each scenario, so that what else the machine does meets
them alike. A round's cost is the median of its batches of packets, in nanoseconds that the
kernel had a processor; shown is the median of the rounds, and of the ratios the quartiles.

Prints a table of the trackers' own costs (with a tracker, less without one), and writes it to
build/bench/native.txt; with matplotlib a plot, too (native.svg). native-functions.txt in the
same folder has where the time goes, by samples. What it cannot see: other processors. The
kernel has one, so atomic instructions are not locked and spin locks are nothing.
"""

import re
import signal
import statistics
import subprocess
import sys

import packets
from common import OUT, ROOT, build_generator, pyplot, save, say

TRACKERS = packets.TRACKERS
BARE = (*packets.BARE, "lookup-many", "lookup-miss-many")

# In the order of packets.sh. Scenario: what it is if packets.py does not say, and the ratio
# that is wanted.
SCENARIOS = {
    "udp-hot": (None, 0.75),
    "tcp-hot": (None, 0.75),
    "udp6-hot": (None, 0.75),
    "tcp6-hot": (None, 0.75),
    "udp-1k": (None, 0.75),
    "udp-many": (None, 0.7),
    "tcp-many": (None, 0.7),
    "udp-counted": (None, 0.75),
    "udp-miss": ("first UDP packet, refused; {connections} connections", 0.5),
    "tcp-miss": ("first TCP packet, refused; {connections} connections", 0.5),
    "stray": (None, 0.5),
    "lookup": ("lookup alone, found; {connections} connections", None),
    "lookup-miss": ("lookup alone, not found; {connections} connections", None),
    "udp-100k": ("UDP packet, 100000 connections", 0.7),
    "udp-miss-1k": ("first UDP packet, refused; 1000 connections", 0.5),
    "udp-miss-100k": ("first UDP packet, refused; 100000 connections", 0.5),
    "udp-miss-many": ("first UDP packet, refused; {flows} connections", 0.5),
    "lookup-many": ("lookup alone, found; {flows} connections", None),
    "lookup-miss-many": ("lookup alone, not found; {flows} connections", None),
    "udp-new": (None, 0.7),
    "tcp-new": (None, 0.7),
    "udp6-new": (None, 0.7),
    "tcp-new-close": (None, None),
    "nat-udp-hot": (None, 0.8),
    "nat-tcp-hot": (None, 0.8),
    "nat-udp-many": ("translated UDP packet, {connections} connections", 0.8),
    "nat-udp-new": (None, None),
    "nat-tcp-new": (None, None),
    "nat-tcp-new-close": (None, None),
}
# What --quick leaves out.
LONG = {"udp-1k", "udp-counted", "lookup", "lookup-miss", "lookup-many", "lookup-miss-many", "nat-udp-new", "nat-tcp-new",
        "nat-tcp-new-close", "collect"}
# Turns that are measured in another way, and before which scenario they come.
OTHERS = {"memory": "udp-hot", "resize": "udp-new", "collect": "nat-udp-hot"}


def usual(options):
    """The scenarios where none is named. (Workers' time is that of a clock that counts in ticks here, which tells
    nothing of an expiry.)"""
    return [name for name in (*SCENARIOS, *OTHERS) if not (options.quick and name in LONG)]


class Guest:
    """A kernel at work on packets.sh, until it asks for its next turn."""

    def __init__(self, tracker, generator, options):
        self.tracker, self.output, self.turns = tracker, "", {}
        sizes = [options.packets, options.connections, options.flows, int(options.functions)]
        self.process = subprocess.Popen(
            [ROOT / "scripts/uml", "--tracker", tracker, "--memory", options.memory, "--timeout", str(options.timeout),
             "--", "env", f"BENCH_ROUNDS={options.rounds}", "BENCH_TURNS=/dev/tty0", "selftests/bench/guest/packets.sh",
             generator, *map(str, sizes), *(options.scenario or usual(options))],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.listen()

    def listen(self):
        self.wants = None
        for line in self.process.stdout:
            if line.startswith("turn "):
                self.wants = line.split()[1]
                return
            self.output += line
        if self.process.wait():
            sys.exit(f"{self.output}\n{self.tracker}: scripts/uml ended with {self.process.returncode}")

    def go(self):
        self.turns[self.wants] = self.turns.get(self.wants, 0) + 1
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.listen()

    def result(self, pattern, convert):
        found = {}
        for name, *values in re.findall(pattern, self.output, re.M):
            found.setdefault(name, []).append(convert(*values))
        return found


def run_all(generator, options):
    """One guest works at a time, and all of them at the same scenario."""
    order = list(SCENARIOS)
    for name, following in OTHERS.items():
        order.insert(order.index(following), name)
    guests = []
    # A program that is ended leaves no guests behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for tracker in TRACKERS:
            say(f"{tracker} …")
            guests.append(Guest(tracker, generator, options))
        shown = None
        while working := [guest for guest in guests if guest.wants]:
            name = min((guest.wants for guest in working), key=order.index)
            if name != shown:
                say(f"{name} …")
                shown = name
            same = [guest for guest in working if guest.wants == name]
            min(same, key=lambda guest: guest.turns.get(name, 0)).go()
    finally:
        for guest in guests:
            if guest.process.poll() is None:
                guest.process.terminate()
    return {guest.tracker: guest for guest in guests}


def own_costs(costs, name):
    """The trackers' own costs in each round."""
    if not all(name in costs[tracker] for tracker in TRACKERS[1:]):
        return None
    stock, ours = costs["stock"][name], costs["rust_ct"][name]
    without = [0] * len(stock) if name in BARE else costs["none"][name]
    return [a - b for a, b in zip(stock, without)], [a - b for a, b in zip(ours, without)]


def ratios(own):
    """Of the medians; then the quartiles of the rounds' own."""
    middle = statistics.median(own[1]) / statistics.median(own[0])
    each = [b / a for a, b in zip(*own) if a > 0]
    if len(each) < 2:
        return middle, middle, middle
    low, _, high = statistics.quantiles(each, n=4)
    return middle, low, high


def describe(name, options):
    text = SCENARIOS[name][0] or packets.SCENARIOS[name][0]
    return text.format(flows=options.flows, connections=options.connections)


def table(guests, costs, options):
    lines = [f"{'nanoseconds':<52} {'without':>8} {'C':>8} {'rust_ct':>8} {'ratio':>6} {'quartiles':>12} {'wanted':>7}"]
    for name in SCENARIOS:
        own = own_costs(costs, name)
        if own is None:
            continue
        middle, low, high = ratios(own)
        without = "" if name in BARE else f"{statistics.median(costs['none'][name]):.0f}"
        wanted = "" if SCENARIOS[name][1] is None else f"≤ {SCENARIOS[name][1]}"
        lines.append(f"{describe(name, options):<52} {without:>8} {statistics.median(own[0]):>8.0f} "
                     f"{statistics.median(own[1]):>8.0f} {middle:>6.2f} {low:>6.2f}-{high:<5.2f} {wanted:>7}")
    memory = [next(map(int, re.findall(r"^memory (\d+)", guests[tracker].output, re.M)), None) for tracker in TRACKERS[1:]]
    if all(memory):
        lines.append(f"{'memory of a connection, bytes':<52} {'':>8} {memory[0]:>8} {memory[1]:>8} {memory[1] / memory[0]:>6.2f} "
                     f"{'':>12} {'≤ 1.0':>7}")
    return "\n".join([*lines, *waiting(guests, costs, options)]) + "\n"


def waiting(guests, costs, options):
    """What a resize and a collection keep waiting."""
    lines = []
    late = {tracker: guests[tracker].result(r"^late (\S+) (\d+) (\d+) (\d+)$", lambda *n: [int(i) / 1000 for i in n])
            for tracker in TRACKERS[1:]}
    if all("resize" in costs[tracker] for tracker in TRACKERS[1:]):
        lines.append(f"\n{f'during a resize of {options.flows} connections':<60} {'C':>10} {'rust_ct':>10} {'wanted':>7}")
        during = {tracker: statistics.median(costs[tracker]["resize"]) / statistics.median(costs[tracker]["resize-without"])
                  for tracker in late}
        lines.append(f"{'a packet (not its tracker alone), to one without a resize':<60} {during['stock']:>10.2f} "
                     f"{during['rust_ct']:>10.2f} {'≤ 1.2':>7}")
        # No goal here: User-Mode Linux maps a new table's memory with interrupts off, which takes milliseconds
        # (um_tlb_sync). For how long the trackers keep a packet waiting, packets.py tells.
        for name, what in (("resize", "packets wait at most, µs (the mapping of the table, too)"),
                           ("resize-without", "the same, no resize (what the machine does)")):
            worst = {tracker: statistics.median(one[0] for one in late[tracker][name]) for tracker in late}
            lines.append(f"{what:<60} {worst['stock']:>10.0f} {worst['rust_ct']:>10.0f}")
    if all("collect" in late[tracker] for tracker in late):
        lines.append(f"\n{f'while {options.flows} connections expire':<60} {'C':>10} {'rust_ct':>10}")
        for index, what in enumerate(("packets wait at most, µs", "tasks wait at most, µs")):
            lines.append(f"{what:<60} {late['stock']['collect'][0][index]:>10.0f} {late['rust_ct']['collect'][0][index]:>10.0f}")
    return lines


def plot(costs, options):
    library = pyplot()
    if not library:
        return
    rows = [(name, *ratios(own)) for name in SCENARIOS if (own := own_costs(costs, name))]
    figure, axes = library.subplots(figsize=(8, 1 + 0.25 * len(rows)))
    places = range(len(rows))
    axes.barh(places, [row[1] for row in rows], color="tab:blue",
              xerr=[[max(0, row[1] - row[2]) for row in rows], [max(0, row[3] - row[1]) for row in rows]])
    wanted = [(place, SCENARIOS[row[0]][1]) for place, row in zip(places, rows) if SCENARIOS[row[0]][1]]
    axes.scatter([ratio for _, ratio in wanted], [place for place, _ in wanted], marker="|", s=90, color="tab:red",
                 zorder=3, label="wanted")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(places, [describe(row[0], options) for row in rows], fontsize=7)
    axes.invert_yaxis()
    axes.set(xlabel="rust_ct's own time, to the C tracker's")
    axes.legend()
    axes.grid(alpha=0.3, axis="x")
    save(figure, "native")


def add_options(parser):
    parser.add_argument("--packets", type=int, help="measured in each round")
    parser.add_argument("--connections", type=int, help="made in each round")
    parser.add_argument("--flows", type=int, help="connections in the scenarios with many")
    parser.add_argument("--rounds", type=int, help="of each scenario, at least 2")
    parser.add_argument("--memory", default="1400M", help="of each of the three kernels (1400M)")
    parser.add_argument("--no-functions", dest="functions", action="store_false", help="no samples")
    parser.add_argument("--instructions", dest="functions", action="store_const", const=2, help="samples by instruction")
    parser.add_argument("--timeout", type=int, default=3000, help="seconds for all (3000)")
    parser.add_argument("scenario", nargs="*", help=" ".join([*SCENARIOS, *OTHERS]))


def main(options):
    sent, connections, flows, rounds = (100000, 20000, 300000, 7) if options.quick else (200000, 50000, 1000000, 21)
    options.packets = options.packets or sent
    options.connections = options.connections or connections
    options.flows = options.flows or flows
    options.rounds = max(2, options.rounds or rounds)
    guests = run_all(build_generator("uml"), options)
    costs = {tracker: guest.result(r"^cost (\S+) (\d+) \d+$", lambda median: int(median) / 1000)
             for tracker, guest in guests.items()}
    text = table(guests, costs, options)
    print(text, end="")
    results = {}
    for tracker, guest in guests.items():
        samples = guest.result(r"^sample (\S+) (\d+) (\S+)", lambda count, function: (function, int(count)))
        results[tracker] = ({name: statistics.median(rounds) for name, rounds in costs[tracker].items()}, None,
                            {name: dict(counts) for name, counts in samples.items()})
    places = packets.functions(results, options, unit="nanoseconds")
    if options.scenario:
        print(places, end="")
        return
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "native.txt").write_text(text)
    (OUT / "native-functions.txt").write_text(places)
    plot(costs, options)
