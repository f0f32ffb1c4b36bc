# SPDX-License-Identifier: GPL-2.0
"""What a new connection costs through SNAT to one address when most of its ports are used, and
how many connections fail: with the C tracker and with rust_ct, in the same virtual machine.

Prints a table, and writes it to build/bench/nat-ports.txt; with matplotlib a plot, too
(nat-ports.svg). Costs are instructions of the guest (QEMU's -icount), less those of a new
connection without NAT: exact and repeatable, blind to caches.
"""

import re

from common import LABELS, TRACKERS, pyplot, run_vm, run_vms, save, write


def run(tracker, options):
    output = run_vm(tracker, ["--icount", "--timeout", options.timeout],
                    ["env", f"PORTS={options.ports}", "selftests/bench/guest/nat_ports.sh", options.flows, *options.percent])
    plain, = (int(words.split()[-1]) for words in re.findall(r"^none (.*)$", output, re.M))
    rows = {}
    for line in re.findall(r"^\d+ \d+ \d+ \d+ \d+$", output, re.M):
        percent, _, failed, count, cost = map(int, line.split())
        rows[percent] = (100 * failed / count, cost - plain)
    return rows


def plot(results):
    library = pyplot()
    if not library:
        return
    figure, (failures, costs) = library.subplots(1, 2, figsize=(10, 4))
    for tracker, rows in results.items():
        x = [str(percent) for percent in rows]
        failures.plot(x, [failed for failed, _ in rows.values()], marker="o", label=LABELS[tracker])
        costs.plot(x, [cost for _, cost in rows.values()], marker="o", label=LABELS[tracker])
    failures.set(xlabel="ports used, %", ylabel="new connections that fail, %")
    costs.set(xlabel="ports used, %", ylabel="instructions per new connection", yscale="log")
    for axes in failures, costs:
        axes.legend()
        axes.grid(alpha=0.3)
    save(figure, "nat-ports")


def add_options(parser):
    parser.add_argument("--ports", type=int, help="ports of the range (60000, with --quick 10000)")
    parser.add_argument("--flows", type=int, help="new connections at each level (300, with --quick 100)")
    parser.add_argument("--timeout", type=int, default=1800, help="seconds for one machine (1800)")
    parser.add_argument("percent", type=int, nargs="*", help="levels of use, rising (50 90 95 98 99 100, with --quick 50 90 98 100)")


def main(options):
    options.ports = options.ports or (10000 if options.quick else 60000)
    options.flows = options.flows or (100 if options.quick else 300)
    options.percent = options.percent or ([50, 90, 98, 100] if options.quick else [50, 90, 95, 98, 99, 100])
    results = run_vms(TRACKERS, lambda tracker: run(tracker, options))
    stock, ours = results["stock"], results["rust_ct"]
    lines = [f"{'ports used':>10} {'C: fail':>9} {'cost':>8} {'rust_ct: fail':>15} {'cost':>8} {'ratio':>7}"]
    for percent in ours:
        (stock_failed, stock_cost), (our_failed, our_cost) = stock[percent], ours[percent]
        lines.append(f"{percent:>8} % {stock_failed:>7.1f} % {stock_cost:>8} {our_failed:>13.1f} % {our_cost:>8} "
                     f"{our_cost / stock_cost:>7.2f}")
    data = {f"{percent} %": {"text": f"SNAT set-up, {percent} % of the ports used", "stock": stock[percent][1],
                             "rust_ct": ours[percent][1], "failed": {"stock": stock[percent][0], "rust_ct": ours[percent][0]}}
            for percent in ours}
    write("nat-ports", "\n".join(lines) + "\n", data)
    plot(results)
