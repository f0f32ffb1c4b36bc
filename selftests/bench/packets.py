# SPDX-License-Identifier: GPL-2.0
"""What a packet costs: with the C tracker, with rust_ct, and without any, on the same kernel.

Prints a table of the trackers' own costs (with a tracker, less without one) and writes it to
build/bench/packets.txt. Costs are instructions of the guest (QEMU's -icount): exact and
repeatable, blind to caches and to other processors. packets-functions.txt in the same folder has
where they go, by samples: inlined functions count for the one they were inlined into, and what
happens with interrupts off for the place that turns them on again.
"""

import re

from common import OUT, build_generator, demangle, run_vm, run_vms, write

TRACKERS = ("none", "stock", "rust_ct")

# Scenario: what it is, and the ratio that is wanted.
SCENARIOS = {
    "udp-hot": ("UDP packet, one connection", 0.75),
    "tcp-hot": ("TCP packet, one connection", 0.75),
    "udp6-hot": ("UDP packet, one connection, IPv6", 0.75),
    "tcp6-hot": ("TCP packet, one connection, IPv6", 0.75),
    "udp-1k": ("UDP packet, 1000 connections", 0.75),
    "udp-100k": ("UDP packet, 100000 connections", 0.75),
    "udp-many": ("UDP packet, {flows} connections", 0.75),
    "tcp-many": ("TCP packet, {flows} connections", 0.75),
    "udp-counted": ("UDP packet that is counted", 0.75),
    "udp-miss": ("first UDP packet, refused by a rule", 0.5),
    "udp-miss-1k": ("first UDP packet, refused; 1000 connections", 0.5),
    "udp-miss-100k": ("first UDP packet, refused; 100000 connections", 0.5),
    "tcp-miss": ("first TCP packet, refused by a rule", 0.5),
    "stray": ("TCP RST of no connection", 0.5),
    "lookup": ("lookup alone, found", None),
    "lookup-miss": ("lookup alone, not found", None),
    "udp-unreplied": ("UDP packet of a connection without a reply", None),
    "udp-new": ("UDP connection, until confirmed", 0.7),
    "tcp-new": ("TCP connection, three packets", 0.7),
    "udp6-new": ("UDP connection, until confirmed, IPv6", 0.7),
    "tcp-new-close": ("TCP connection's end, three packets", None),
    "expiry": ("connection that expires", None),
    "nat-udp-hot": ("translated UDP packet", 0.8),
    "nat-tcp-hot": ("translated TCP packet", 0.8),
    "nat-udp-unreplied": ("translated UDP packet, without a reply", None),
    "nat-udp-asked": ("the same, shown to NAT's rules again", None),
    "nat-udp-new": ("UDP connection with SNAT, until confirmed", None),
    "nat-tcp-new": ("TCP connection with SNAT, three packets", None),
    "nat-tcp-new-close": ("its end, three packets", None),
}
RESIZE_WANTED = 1.2
# No packet is to wait for 50 µs; an instruction is a nanosecond of this machine.
WAIT_WANTED = 50000
# Where there is nothing to take off: the generator calls the tracker directly, or not at all.
BARE = ("lookup", "lookup-miss", "expiry")


def run(tracker, generator, options):
    """What packets.sh says: costs, memory, samples."""
    sizes = [options.packets, options.connections, options.flows, int(options.functions)]
    output = run_vm(tracker, ["--icount", "--timeout", options.timeout, "--memory", "2G"],
                    ["selftests/bench/guest/packets.sh", generator, *sizes, *options.scenario])
    costs = {name: int(median) / 1000 for name, median in re.findall(r"^cost (\S+) (\d+)", output, re.M)}
    costs |= {"resize-wait": int(longest) for longest in re.findall(r"^late resize (\d+)", output, re.M)}
    memory = next(map(int, re.findall(r"^memory (\d+)", output, re.M)), None)
    samples = {}
    for name, count, function in re.findall(r"^sample (\S+) (\d+) (\S+)", output, re.M):
        samples.setdefault(name, {})[function] = int(count)
    return costs, memory, samples


def has_costs(results, name):
    return all(results[tracker][0].get(name) is not None for tracker in TRACKERS[1:])


def during_resize(results):
    """rust_ct's own costs of a packet, without a resize and during one."""
    costs, without = results["rust_ct"][0], results["none"][0].get("udp-many")
    if without is None or not costs.get("resize"):
        return None
    return costs["resize-without"] - without, costs["resize"] - without


def longest_waits(results):
    """What a packet that arrives amid a resize waits at most, with the C tracker and with rust_ct."""
    waits = [results[tracker][0].get("resize-wait") for tracker in TRACKERS[1:]]
    return None if None in waits else waits


def numbers(results, options):
    """The table's rows, which the report has as well: what packets take with each tracker and without
    any, or (without "none") what they take more; the ratio that is wanted, or the most."""
    rows = {name: {"text": text.format(flows=options.flows), "none": None if name in BARE else results["none"][0][name],
                   "stock": results["stock"][0][name], "rust_ct": results["rust_ct"][0][name], "wanted": wanted}
            for name, (text, wanted) in SCENARIOS.items() if has_costs(results, name)}
    own = during_resize(results)
    if own:
        # While the C tracker resizes its table, no packet gets on.
        rows["resize"] = {"text": "rust_ct: packet in a resize, to one without", "stock": own[0], "rust_ct": own[1],
                          "wanted": RESIZE_WANTED}
    waits = longest_waits(results)
    if waits:
        rows["resize-wait"] = {"text": "a packet waits at most, in a resize", "stock": waits[0], "rust_ct": waits[1],
                               "most": WAIT_WANTED}
    if results["stock"][1] and results["rust_ct"][1]:
        rows["memory"] = {"text": "memory of a connection, bytes", "stock": results["stock"][1],
                          "rust_ct": results["rust_ct"][1], "wanted": 1.0}
    return rows


def table(rows):
    lines = [f"{'instructions':<44} {'without':>8} {'C':>9} {'rust_ct':>8} {'ratio':>6} {'wanted':>7}"]
    for row in rows.values():
        none = row.get("none") or 0
        stock, ours = row["stock"] - none, row["rust_ct"] - none
        without = f"{none:.0f}" if none else ""
        ratio, wanted = f"{ours / stock:.2f}", row.get("wanted")
        if "most" in row:
            ratio, wanted = "", row["most"]
        wanted = "" if wanted is None else f"≤ {wanted}"
        lines.append(f"{row['text']:<44} {without:>8} {stock:>9.0f} {ours:>8.0f} {ratio:>6} {wanted:>7}")
    return "\n".join(lines) + "\n"


def functions(results, options, most=24, unit="instructions"):
    """For each scenario the functions that take the most of a packet, harness and all."""
    seen = {function for result in results.values() for counts in result[2].values() for function in counts}
    names = demangle(sorted(seen))
    lines = []
    for name in dict.fromkeys(name for _, _, samples in results.values() for name in samples):
        for tracker in TRACKERS:
            costs, _, samples = results[tracker]
            counts = samples.get(name)
            if not counts:
                continue
            total = sum(counts.values())
            lines.append(f"{name}, {tracker}: {costs[name]:.0f} {unit}, {total} samples")
            ranked = sorted(counts.items(), key=lambda item: -item[1])
            for function, count in ranked[:most]:
                lines.append(f"  {count * costs[name] / total:>8.0f}  {names[function]}")
            lines.append("")
    return "\n".join(lines)


def add_options(parser):
    parser.add_argument("--packets", type=int, help="measured for each scenario")
    parser.add_argument("--connections", type=int, help="made for each scenario")
    parser.add_argument("--flows", type=int, help="connections in the scenarios with many")
    parser.add_argument("--no-functions", dest="functions", action="store_false", help="no samples")
    parser.add_argument("--timeout", type=int, default=1500, help="seconds for one machine (1500)")
    parser.add_argument("scenario", nargs="*", help=" ".join(SCENARIOS))


def main(options):
    packets, connections, flows = (20000, 5000, 100000) if options.quick else (100000, 50000, 1000000)
    options.packets = options.packets or packets
    options.connections = options.connections or connections
    options.flows = options.flows or flows
    generator = build_generator()
    results = run_vms(TRACKERS, lambda tracker: run(tracker, generator, options))
    rows = numbers(results, options)
    if options.scenario:
        print(table(rows) + functions(results, options), end="")
        return
    write("packets", table(rows), rows)
    (OUT / "packets-functions.txt").write_text(functions(results, options))
