# SPDX-License-Identifier: GPL-2.0
"""What whole transfers cost, from one program's socket through a router to another's: iperf3 over
TCP and UDP, and short connections; with the C tracker, with rust_ct, and without any.

Prints a table, and writes it to build/bench/path.txt; with matplotlib a plot, too
(path.svg). Costs are instructions of the guest (QEMU's -icount), of programs and kernel
together: the micro view of packets.py must not hide that a tracker is a small part of it, or
pays elsewhere. Client, router and server are namespaces of one machine, and each packet meets
the tracker on all three.
"""

import re
import subprocess

from common import OUT, ROOT, plot_pairs, run_vm, run_vms, write

TRACKERS = ("none", "stock", "rust_ct")
SCENARIOS = {
    "tcp": "TCP, a megabyte in large packets (GSO)",
    "tcp-small": "TCP, a megabyte in packets of 1500",
    "udp": "UDP, a packet of 1000",
    "connections": "TCP, a short connection",
    "connections-nat": "TCP, a short connection, masqueraded",
}
# How much TCP puts into a large packet depends on when the last one was acknowledged: two runs with the same tracker
# differ by more than a tracker costs.
VARIES = {"tcp"}


def build_program():
    """path.c, as a program that needs no library."""
    program = OUT / "path"
    OUT.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-static", "-o", program,
                    ROOT / "selftests/bench/guest/path.c"], check=True)
    return program


def run(tracker, program, options):
    output = run_vm(tracker, ["--icount", "--timeout", options.timeout],
                    ["selftests/bench/guest/path.sh", program, options.megabytes, options.packets, options.connections])
    return {name: int(cost) for name, cost in re.findall(r"^cost (\S+) (\d+)", output, re.M)}


def add_options(parser):
    parser.add_argument("--megabytes", type=int, help="sent over TCP")
    parser.add_argument("--packets", type=int, help="sent over UDP")
    parser.add_argument("--connections", type=int, help="short ones")
    parser.add_argument("--timeout", type=int, default=1800, help="seconds for one machine (1800)")


def main(options):
    megabytes, packets, connections = (50, 10000, 2000) if options.quick else (300, 100000, 10000)
    options.megabytes = options.megabytes or megabytes
    options.packets = options.packets or packets
    options.connections = options.connections or connections
    program = build_program()
    results = run_vms(TRACKERS, lambda tracker: run(tracker, program, options))
    lines = [f"{'instructions':<42} {'without':>10} {'with C':>10} {'rust_ct':>10} {'ratio':>6}   {'own: C':>8} {'rust_ct':>8} {'ratio':>6}"]
    data = {}
    for name, text in SCENARIOS.items():
        # NAT is what a tracker makes possible: the way without both is what to compare with.
        without = results["none"].get(name, results["none"]["connections"])
        stock, ours = results["stock"][name], results["rust_ct"][name]
        own = stock - without, ours - without
        line = f"{text:<42} {without:>10} {stock:>10} {ours:>10} "
        if name in VARIES:
            line += "(differs from run to run, with each of them)"
        else:
            line += f"{ours / stock:>6.3f}   {own[0]:>8} {own[1]:>8} {own[1] / own[0] if own[0] else 0:>6.2f}"
        lines.append(line)
        data[name] = {"text": text, "none": without, "stock": stock, "rust_ct": ours}
    write("path", "\n".join(lines) + "\n", data)
    plotted = [row for name, row in data.items() if name not in VARIES]
    plot_pairs("path", [row["text"] for row in plotted],
               {tracker: [100 * row[tracker] / row["none"] - 100 for row in plotted] for tracker in TRACKERS[1:]},
               "more than without a tracker, %")
