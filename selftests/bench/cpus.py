# SPDX-License-Identifier: GPL-2.0
"""Several processors send packets at once, on connections of their own and on the same ones: how
often one of them finds a lock taken, has to search again, or loses a connection; with the C
tracker, with rust_ct, and without any.

Prints a table, and writes it to build/bench/cpus.txt; with matplotlib a plot, too
(cpus.svg). The processors are emulated, by as many as the machine has: what is counted are
events for each million packets, medians over some rounds and the least and the most, and no time
is measured. Where locks are found taken is in cpus-places.txt.
"""

import re
import statistics

from common import LABELS, OUT, build_generator, demangle, plot_pairs, run_vm, write

TRACKERS = ("none", "stock", "rust_ct")
SCENARIOS = {
    "udp-own": "UDP packets, 1000 connections each",
    "tcp-own": "TCP packets, 1000 connections each",
    "udp-one": "UDP packets, one connection for all",
    "tcp-one": "TCP packets, one connection for all",
    "udp-new": "new UDP connections of their own",
    "tcp-new": "new TCP connections of their own",
    "udp-new-same": "the same new UDP connections",
    "nat-udp-new": "new UDP connections of their own, SNAT",
}
EVENTS = {"contention": "lock taken", "search_restart": "searched again", "clashres": "clash, resolved",
          "insert_failed": "not inserted", "lost": "packet lost"}


def run(tracker, folder, options):
    sizes = [options.packets, options.connections, options.rounds, *options.cpus]
    output = run_vm(tracker, ["--cpus", max(options.cpus), "--timeout", options.timeout, "--memory", "2G"],
                    ["selftests/bench/guest/cpus.sh", folder, *sizes])
    events, places = {}, {}
    for name, cpus, packets, rest in re.findall(r"^race (\S+) (\d+) (\d+) (.*)$", output, re.M):
        for event, count in re.findall(r"(\w+)=(\d+)", rest):
            events.setdefault((name, int(cpus)), {}).setdefault(event, []).append(int(count) * 1e6 / int(packets))
    for name, cpus, count, function in re.findall(r"^at (\S+) (\d+) (\d+) (\S+)", output, re.M):
        counts = places.setdefault((name, int(cpus)), {})
        counts[function] = counts.get(function, 0) + int(count)
    return events, places


def show(values):
    """Of the rounds: the median, and how far they are apart."""
    middle = statistics.median(values)
    spread = "" if len(values) == 1 or max(values) == min(values) else f" ({min(values):.0f}-{max(values):.0f})"
    return f"{middle:.0f}{spread}"


def table(results, options):
    lines = ["events for each million packets: the median of the rounds (the least - the most)",
             f"{'':<42}{'cpus':>4}  {'event':<16}" + "".join(f"{LABELS[tracker]:>24}" for tracker in results)]
    for name, text in SCENARIOS.items():
        for cpus in options.cpus:
            label = f"{text:<42}{cpus:>4}"
            for event, what in EVENTS.items():
                found = {tracker: events[name, cpus][event] for tracker, (events, _) in results.items()}
                # Contention always; of the others those that happened.
                if event == "contention" or any(map(any, found.values())):
                    lines.append(f"{label:<46}  {what:<16}" + "".join(f"{show(values):>24}" for values in found.values()))
                    label = ""
    return "\n".join(lines) + "\n"


def where(results, options, most=8):
    names = demangle(sorted({function for _, places in results.values() for counts in places.values() for function in counts}))
    lines = ["where locks were found taken: the most frequent callers, all rounds", ""]
    for name in SCENARIOS:
        for cpus in options.cpus:
            for tracker, (_, places) in results.items():
                counts = places.get((name, cpus))
                if counts:
                    lines.append(f"{name}, {cpus} processors, {LABELS[tracker]}: {sum(counts.values())}")
                    lines += [f"  {count:>8}  {names[function]}"
                              for function, count in sorted(counts.items(), key=lambda item: -item[1])[:most]]
    return "\n".join(lines) + "\n"


def add_options(parser):
    parser.add_argument("--packets", type=int, help="of each processor, in scenarios of packets")
    parser.add_argument("--connections", type=int, help="of each processor, in scenarios of new connections")
    parser.add_argument("--rounds", type=int, help="of each scenario")
    parser.add_argument("--timeout", type=int, default=1800, help="seconds for one machine (1800)")
    parser.add_argument("--cpus", type=int, nargs="*", choices=[1, 2, 3, 4],
                        help="processors at work (1 2 4, with --quick 2 4)")


def main(options):
    packets, connections, rounds = (50000, 5000, 1) if options.quick else (200000, 20000, 3)
    # Alone, none meets another.
    options.cpus = options.cpus or ([2, 4] if options.quick else [1, 2, 4])
    options.packets = options.packets or packets
    options.connections = options.connections or connections
    options.rounds = options.rounds or rounds
    folder = build_generator().parent
    # One after the other: they are to have the machine's processors for themselves.
    results = {tracker: run(tracker, folder, options) for tracker in TRACKERS}
    data = {f"{name}/{cpus}": {"text": f"{SCENARIOS[name]}, {cpus} CPUs", "event": event,
                               **{tracker: statistics.median(results[tracker][0][name, cpus][event]) for tracker in results}}
            for name in SCENARIOS for cpus in options.cpus for event in ("contention",)}
    write("cpus", table(results, options), data)
    (OUT / "cpus-places.txt").write_text(where(results, options))
    shown = max(options.cpus)
    plot_pairs("cpus", list(SCENARIOS.values()),
               {tracker: [statistics.median(results[tracker][0][name, shown]["contention"]) for name in SCENARIOS]
                for tracker in TRACKERS[1:]}, f"locks found taken, a million packets of {shown} processors")
