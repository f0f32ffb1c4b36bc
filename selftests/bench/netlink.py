# SPDX-License-Identifier: GPL-2.0
"""What it costs to ask for some of many connections over netlink: one zone or one address listed,
counted, deleted; all listed and flushed. With the C tracker and with rust_ct, in the same virtual
machine.

Prints a table, and writes it to build/bench/netlink.txt; with matplotlib a plot, too
(netlink.svg). Costs are instructions of the guest (QEMU's -icount), those of the asking program
included: exact and repeatable, blind to caches. The C tracker does not count: there, counting is
listing.

A second table has the longest time for which softirqs had to wait meanwhile, in instructions
too: for so long bottom halves were off (selftests/bench/generator/softirq_wait.c), and in which
function.
"""

import re

from common import TRACKERS, build_generator, demangle, plot_pairs, run_vm, run_vms, write

TASKS = {"make": "make one entry", "list-zone": "list one zone", "count-zone": "count one zone",
          "list-address": "list by address", "flush-zone": "flush one zone",
          "delete-address": "delete by address", "list-all": "list all", "flush-all": "flush all"}


def run(tracker, probe, options):
    machine = ["--icount", "--memory", options.memory, "--timeout", options.timeout]
    if tracker == "rust_ct":
        # As many lists as a machine has for which so many entries are usual.
        machine += ["--params", f"hashsize={max(1024, options.zones * options.entries // 8)}"]
    output = run_vm(tracker, machine, ["selftests/bench/guest/netlink.sh", options.zones, options.entries, probe])
    costs = {name: int(cost) for name, _, cost in re.findall(r"^([a-z-]+) (\d+) (\d+)$", output, re.M)}
    waits = re.findall(r"^wait ([a-z-]+) (\d+) \d+ (\S+)$", output, re.M)
    names = demangle([function for _, _, function in waits])
    return costs, {name: (int(wait), names[function]) for name, wait, function in waits}


def add_options(parser):
    parser.add_argument("--zones", type=int, help="zones (1000, with --quick 200)")
    parser.add_argument("--entries", type=int, help="entries in each (500, with --quick 200)")
    parser.add_argument("--memory", default="2G", help="of the machine (2G)")
    parser.add_argument("--timeout", type=int, default=3000, help="seconds for one machine (3000)")


def main(options):
    options.zones = options.zones or (200 if options.quick else 1000)
    options.entries = options.entries or (200 if options.quick else 500)
    probe = build_generator().with_name("softirq_wait.ko")
    results = run_vms(TRACKERS, lambda tracker: run(tracker, probe, options))
    stock, ours = results["stock"][0], results["rust_ct"][0]
    lines = [f"{options.zones} zones of {options.entries} entries; instructions",
             f"{'':<20} {'C tracker':>14} {'rust_ct':>14} {'ratio':>8}"]
    for name, label in TASKS.items():
        lines.append(f"{label:<20} {stock[name]:>14} {ours[name]:>14} {ours[name] / stock[name]:>8.4f}")
    waits = {tracker: waits for tracker, (_, waits) in results.items()}
    lines += ["", "the longest wait of softirqs, instructions"]
    shown = [name for name in TASKS if name != "make"]
    for name in shown:
        pair = [waits[tracker][name] for tracker in TRACKERS]
        lines.append(f"{TASKS[name]:<20} {pair[0][0]:>14} {pair[1][0]:>14} {pair[1][0] / max(1, pair[0][0]):>8.4f}"
                     f"  {pair[0][1]}, {pair[1][1]}")
    data = {name: {"text": label, "stock": stock[name], "rust_ct": ours[name]} for name, label in TASKS.items()}
    data |= {f"wait: {name}": {"text": f"{TASKS[name]}: longest wait", "stock": waits["stock"][name][0],
                               "rust_ct": waits["rust_ct"][name][0]} for name in shown}
    write("netlink", "\n".join(lines) + "\n", data)
    names = [TASKS[name] for name in shown]
    plot_pairs("netlink", names, {tracker: [costs[name] for name in shown] for tracker, (costs, _) in results.items()},
               "instructions", "log")
    plot_pairs("netlink-waits", names, {tracker: [max(1, waits[tracker][name][0]) for name in shown] for tracker in waits},
               "longest wait of softirqs, in instructions", "log")
