#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What asking for some of many entries costs, in the network namespace of the caller.

  netlink_requests.py ZONES PER_ZONE [wait]

Makes PER_ZONE entries in each of ZONES zones, those of a zone with a source address of their
own; then prints lines "OPERATION ENTRIES NANOSECONDS" (with -icount: instructions), and one of
"make", for each entry. What the C tracker cannot count is counted as a listing comes in.

With "wait" it prints for how long softirqs had to wait at most during each operation, as
generator/softirq_wait.c measures it: lines "wait OPERATION NANOSECONDS TIMES FUNCTION".
"""

import os
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../lib"))

from ctnetlink import (ACK, AF_INET, CREATE, CT, DELETE, DUMP, FILTER, GET, NEW, NLMSG_DONE,  # noqa: E402
                       NLMSG_ERROR, ORIG, REPLY, STATS, TIMEOUT, UDP, ZONE, Socket,
                       attributes, be16, be32, pack, tuple_, u32)
from netlink import REQUEST  # noqa: E402

MATCHING = 0x30E2
TOGETHER = 200
PROBE = "/proc/softirq_wait"


def source(zone):
    return f"10.{zone >> 8 & 255}.{zone & 255}.1"


def message(zone, port):
    tree = [(ORIG, tuple_(source(zone), "192.0.2.1", UDP, port, 53)),
            (REPLY, tuple_("192.0.2.1", source(zone), UDP, 53, port)),
            (TIMEOUT, be32(100000)), (ZONE, be16(zone))]
    body = struct.pack("!BBH", AF_INET, 0, 0) + pack(tree)
    return struct.pack("=IHHII", 16 + len(body), CT << 8 | NEW, REQUEST | CREATE, 0, 0) + body


def fill(netlink, zones, per_zone):
    """Takes the messages from a few, and finds out where the port stands in them."""
    took = 0
    for zone in range(1, zones + 1):
        one, other = message(zone, 0), message(zone, 0xFFFF)
        places = [i for i in range(0, len(one), 2) if one[i:i + 2] != other[i:i + 2]]
        size = len(one)
        for first in range(0, per_zone, TOGETHER):
            many = min(TOGETHER, per_zone - first)
            data = bytearray(one * many)
            for index in range(many):
                port = struct.pack("!H", 1024 + first + index)
                for place in places:
                    at = index * size + place
                    data[at:at + 2] = port
            began = time.monotonic_ns()
            netlink.socket.send(data)
            took += time.monotonic_ns() - began
    return took


def answer(netlink):
    """Bytes of an answer up to its end."""
    total, buffer = 0, bytearray(1 << 17)
    while True:
        size = netlink.socket.recv_into(buffer)
        total += size
        for end in 20, 24, 36:
            if size >= end:
                length, kind = struct.unpack_from("=IH", buffer, size - end)
                if length == end and kind in (NLMSG_DONE, NLMSG_ERROR):
                    return total


class Instructions:
    """What something costs."""

    def __enter__(self):
        self.began = time.monotonic_ns()
        return self

    def __exit__(self, *_):
        self.took = time.monotonic_ns() - self.began

    def tell(self, what, entries):
        print(what, entries, self.took, flush=True)


def order(text):
    with open(PROBE, "w") as file:
        file.write(text + "\n")


class Wait:
    """For how long softirqs waited meanwhile."""

    def __enter__(self):
        order("start")
        return self

    def __exit__(self, *_):
        order("stop")

    def tell(self, what, entries):
        with open(PROBE) as file:
            *waits, sums = (line.split() for line in file)
        times, least = int(sums[1]), int(sums[3])
        # The function may have its module behind it.
        longest, function = max((int(ns), function) for _, ns, function, *_ in waits)
        print("wait", what, longest - least, times, function, flush=True)


def measure(gauge, netlink, what, entries, command, flags, trees, family=AF_INET):
    """One request after the other."""
    bodies = [pack(tree) for tree in trees]
    with gauge:
        for body in bodies:
            netlink.send(CT, command, flags | ACK, body, family, 1)
            answer(netlink)
    gauge.tell(what, entries)


def counts(netlink, tree):
    """Whether the tracker counts."""
    error, found = netlink.ask(CT, STATS, 0, tree)
    return not error and MATCHING in dict(attributes(found[0][3][4:]))


def main():
    zones, per_zone = map(int, sys.argv[1:3])
    gauge = Wait() if sys.argv[3:] == ["wait"] else Instructions()
    netlink = Socket()
    took = fill(netlink, zones, per_zone)
    with open("/proc/sys/net/netfilter/nf_conntrack_count") as file:
        there = int(file.read())
    assert there == zones * per_zone, there
    if isinstance(gauge, Instructions):
        print("make", there, took // there, flush=True)

    # A wait is found by chance, so what is short is done to some zones.
    some = range(1, 1 + (min(10, zones // 2) if isinstance(gauge, Wait) else 1))
    of_zones = [[(ZONE, be16(number))] for number in some]
    counted = STATS, 0
    if not counts(netlink, of_zones[0]):
        counted = GET, DUMP

    def of_addresses(numbers):
        return [[(FILTER, [(1, u32(1))]), (ORIG, tuple_(source(number), "0.0.0.0", UDP, 1, 1))] for number in numbers]

    measure(gauge, netlink, "list-zone", per_zone, GET, DUMP, of_zones)
    measure(gauge, netlink, "count-zone", per_zone, *counted, of_zones)
    measure(gauge, netlink, "list-address", per_zone, GET, DUMP, of_addresses(some))
    measure(gauge, netlink, "list-all", there, GET, DUMP, [[]], 0)
    measure(gauge, netlink, "flush-zone", per_zone, DELETE, 0, of_zones, 0)
    others = [number + len(some) for number in some]
    measure(gauge, netlink, "delete-address", per_zone, DELETE, 0, of_addresses(others))
    with open("/proc/sys/net/netfilter/nf_conntrack_count") as file:
        left = int(file.read())
    assert left == there - 2 * len(some) * per_zone, left
    measure(gauge, netlink, "flush-all", left, DELETE, 0, [[]], 0)


if __name__ == "__main__":
    main()
