#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""New connections through SNAT to one address, towards one destination, with most ports used.

  nat_ports.py NS DEV MAC ROUTERMAC SADDR DADDR ROUTER FIRST SIZE FLOWS PERCENT...

ROUTER's rules translate to ports FIRST to FIRST+SIZE-1 at random. For each PERCENT, in
rising order: fills that part of the range, then FLOWS times ends a connection by random and
opens a new one. Says in a line each: the percentage, how many of the FLOWS got no entry, and
the nanoseconds of one (with -icount: instructions), without those of ending one.

At 100 % none is ended: every one of FLOWS must fail.
"""

import os
import random
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../lib"))

from netlink import ACK, NETLINK_NETFILTER, Netlink, attribute  # noqa: E402
from traffic import ETH_P_IP, Inside, Packet, Side, flood  # noqa: E402

DELETE = 1 << 8 | 2
DPORT = 7
PER_ADDRESS = 60000


def tuple_of(saddr, daddr, sport):
    addresses = [attribute(1, socket.inet_aton(saddr)), attribute(2, socket.inet_aton(daddr))]
    ports = [attribute(1, b"\x11"), attribute(2, struct.pack("!H", sport)), attribute(3, struct.pack("!H", DPORT))]
    return attribute(1, [attribute(1, addresses), attribute(2, ports)])


class Flows:
    """One source port after the other, of two addresses: a range of ports is not enough."""

    def __init__(self, side, addresses, daddr, router):
        self.side, self.addresses, self.daddr, self.router = side, addresses, daddr, router
        self.opened, self.open = 0, []
        with Inside(router):
            self.netlink = Netlink(NETLINK_NETFILTER)

    def count(self):
        with Inside(self.router), open("/proc/sys/net/netfilter/nf_conntrack_count") as file:
            return int(file.read())

    def next(self):
        """Source address and port of the next one."""
        index, port = divmod(self.opened, PER_ADDRESS)
        self.opened += 1
        self.open.append((self.addresses[index], 1024 + port))
        return self.open[-1]

    def many(self, count):
        """Opens some."""
        while count > 0:
            index, first = divmod(self.opened, PER_ADDRESS)
            size = min(count, PER_ADDRESS - first)
            flood(self.side, size, self.addresses[index], self.daddr, first=first, dport=DPORT)
            for _ in range(size):
                self.next()
            count -= size

    def one(self):
        """Opens one; says how long that took."""
        saddr, sport = self.next()
        packet = Packet(["udp", f"{saddr},{sport}", f"{self.daddr},{DPORT}", "len=8", "csum=zero"]).bytes
        began = time.monotonic_ns()
        self.side.send(ETH_P_IP, packet)
        return time.monotonic_ns() - began

    def end_one(self):
        """Ends one that has an entry."""
        while self.open:
            index = random.randrange(len(self.open))
            self.open[index], self.open[-1] = self.open[-1], self.open[index]
            saddr, sport = self.open.pop()
            body = struct.pack("!BBH", socket.AF_INET, 0, 0) + tuple_of(saddr, self.daddr, sport)
            try:
                self.netlink.ask(DELETE, ACK, body)
                return
            except FileNotFoundError:
                pass  # it had no entry


def main():
    ns, dev, mac, router_mac, saddr, daddr, router, _, size, count = sys.argv[1:11]
    size, count = int(size), int(count)
    random.seed(1)
    head, _, last = saddr.rpartition(".")
    addresses = [f"{head}.{int(last) + i}" for i in range(4)]
    flows = Flows(Side(ns, dev, mac, router_mac, "0.0.0.0", "0.0.0.0"), addresses, daddr, router)
    before = flows.count()
    for percent in map(int, sys.argv[11:]):
        wanted = size * percent // 100
        # The C engine fails on the way, too.
        for _ in range(1000):
            missing = wanted - (flows.count() - before)
            if missing <= 0:
                break
            flows.many(missing)
        filled = flows.count() - before
        failed, spent = 0, []
        for _ in range(count):
            if filled >= wanted and percent < 100:
                flows.end_one()
            had = flows.count()
            spent.append(flows.one())
            failed += flows.count() == had
        print(percent, filled, failed, count, sum(spent) // count, flush=True)


if __name__ == "__main__":
    main()
