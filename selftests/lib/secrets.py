#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What a user namespace could learn of the tracker's secrets, in the network namespace of the caller.
Prints "ok" or "not ok" lines (see ctnetlink.check), and "ok COMMAND" at the end.

  ids STEP         Entries whose tuples differ as the addresses of entries do: by multiples of
                   STEP bytes, in each word. A hash that adds up words and address gives many of
                   them the same id. Also: an entry keeps its id.
  order FILE...    The same entries are made in two orders. A listing shows no order of hashes: the
                   two listings are in the orders in which the entries were made.
  ends NS OTHER    The same entries expire twice, and the collector ends them. Neither the order in
                   which a listener is told, nor which ends come next to each other, is the same. (From
                   the first namespace. NS and OTHER are of "ip netns"; the table is made full in OTHER.)
  zones            Entries of many zones, chosen so that half a hundred or more have the same hash
                   if a constant times the zone's number is mixed into each word. No secret is
                   needed to choose them.
"""

import collections
import os
import random
import socket
import struct
import time

from ctnetlink import (CREATE, CT, DUMP, EXCL, GET, ID, NEW, NLMSG_ERROR, ORIG, REPLIED, SCTP,
                       SCTP_STATE, STATE, TCP, UDP, Client, Socket, check, entry, name_of, pack, run)
from netlink import AF_INET, REQUEST, attributes
from traffic import Inside

PATIENCE = 10 * (4 if os.environ.get("SELFTEST_SCALE") == "small" else 1)


def nest(number, data):
    return struct.pack("=HH", 4 + len(data), 0x8000 | number) + data


def tuple_of(number, proto, src, dst, sport, dport):
    addresses = b"\x08\0\1\0" + src + b"\x08\0\2\0" + dst
    ports = b"\5\0\1\0" + bytes([proto, 0, 0, 0]) + b"\6\0\2\0" + sport + b"\0\0" + b"\6\0\3\0" + dport + b"\0\0"
    return nest(number, nest(1, addresses) + nest(2, ports))


STATES = {UDP: b"", TCP: pack([STATE]), SCTP: pack([SCTP_STATE])}


def request(flow, zone=0, timeout=600):
    """The message that makes an entry. A flow: protocol, source, destination, source port, destination
    port, the latter four as bytes."""
    proto, src, dst, sport, dport = flow
    body = (tuple_of(1, proto, src, dst, sport, dport) + tuple_of(2, proto, dst, src, dport, sport) +
            b"\x08\0\7\0" + struct.pack("!I", timeout) + STATES[proto])
    if zone:
        body += b"\6\0\x12\0" + struct.pack("!H", zone) + b"\0\0"
    body = struct.pack("!BBH", AF_INET, 0, 0) + body
    return struct.pack("=IHHII", 16 + len(body), CT << 8 | NEW, REQUEST | CREATE | EXCL, 0, 0) + body


def make(client, requests):
    """Sends requests, many at a time. Returns how many errors of each kind they had."""
    netlink, errors = client.netlink.socket, collections.Counter()
    for start in range(0, len(requests), 100):
        netlink.send(b"".join(requests[start:start + 100]))
        while True:
            try:
                data = netlink.recv(1 << 20, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            while data:
                size, kind, *_, error = struct.unpack_from("=IHHIIi", data)
                errors[name_of(-error)] += kind == NLMSG_ERROR
                data = data[size + 3 & ~3:]
    return errors


def flow_of(words):
    """Of the three words that the hash of an IPv4 tuple is made of: addresses and ports."""
    src, dst, ports = (struct.pack("=I", word & 0xffffffff) for word in words)
    return UDP, src, dst, ports[:2], ports[2:]


def ids_of(client):
    """The id of each entry, by its original tuple."""
    error, found = client.ask(CT, GET, DUMP, (), 0)
    assert not error
    parts = (dict(attributes(body[4:])) for *_, body in found)
    return {part[ORIG]: part[ID] for part in parts}


def ids(step):
    client, step = Client(), int(step)
    client.flush()
    # The lesser port is the destination's, so that the source comes first in the sum.
    counts = range(0, 0xf000 // step)[:400]
    flows = [flow_of((0x0100000a + step * n, 0x0200000a + 37 * group + step * n, 0x00010100 + step * n))
             for group in range(10) for n in counts]
    errors = make(client, [request(flow) for flow in flows])
    before = ids_of(client)
    check("entries are made", not errors and len(before) == len(flows), f"{len(before)} of {len(flows)}")
    different = len(set(before.values()))
    # By chance two of some thousands have one in a few hundred cases.
    check("their ids have nothing to do with tuples and addresses", different >= len(flows) - 1,
          f"{different} different ids of {len(flows)} entries")
    check("an entry keeps its id", ids_of(client) == before)
    client.flush()


def listing(client, file):
    """The source ports of a listing, in its order."""
    if file == "netlink":
        error, found = client.ask(CT, GET, DUMP, (), 0)
        assert not error
        sources = (dict(attributes(body[4:]))[ORIG] for *_, body in found)
        return [dict(attributes(dict(attributes(source))[2]))[2][:2] for source in sources]
    with open(file) as lines:
        return [struct.pack("!H", int(line.split(" sport=")[1].split()[0])) for line in lines]


def order(*files):
    # The lists of an index have a part for each processor.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    client = Client()
    flows = [(UDP, b"\x0a\7\0\1", b"\x0a\7\0\2", struct.pack("!H", port), b"\0\7") for port in range(1000, 2000)]
    made, listed = [], []
    for seed in 1, 2:
        client.flush()
        random.Random(seed).shuffle(flows)
        make(client, [request(flow) for flow in flows])
        made.append([flow[3] for flow in flows])
        listed.append([listing(client, file) for file in files])
    for file, first, second in zip(files, *listed):
        check(f"{file}: a thousand entries are listed", sorted(first) == sorted(second) == sorted(made[0]))
        check(f"{file}: made in another order, they are listed in another order", first != second)
        check(f"{file}: the order is that in which they were made, the latest first",
              [first, second] == [list(reversed(ports)) for ports in made])
    client.flush()


def call_collector(client):
    """By a new entry in a full table that has no other to drop. A table that is full because of entries
    that have expired does not need the collector."""
    with open("/proc/sys/net/nf_conntrack_max", "r+") as limit:
        was = limit.read()
        limit.seek(0)
        limit.write("1")
        limit.flush()
        try:
            check("a full table refuses an entry", name_of(client.new(entry(sport=2001))) == "ENOMEM")
        finally:
            limit.seek(0)
            limit.write(was)


def ends_of(listener, count):
    """The source ports of ended connections, in the order in which the listener is told."""
    ports = []
    listener.socket.settimeout(PATIENCE)
    try:
        while len(ports) < count:
            for *_, body in listener.receive():
                source = dict(attributes(body[4:]))[ORIG]
                ports.append(dict(attributes(dict(attributes(source))[2]))[2][:2])
    except (TimeoutError, socket.timeout):
        pass
    return ports


def ends(name, other):
    with Inside(name):
        client, listener = Client(), Socket(3)
    with Inside(other):
        full = Client()
    full.flush()
    assert not full.new(entry(more=[REPLIED]))
    flows = [(UDP, b"\x0a\7\0\1", b"\x0a\7\0\2", struct.pack("!H", port), b"\0\7") for port in range(1000, 2000)]
    orders = []
    for seed in 1, 2:
        random.Random(seed).shuffle(flows)
        make(client, [request(flow, timeout=3) for flow in flows])
        time.sleep(4.1)
        call_collector(full)
        orders.append(ends_of(listener, len(flows)))
    everyone = sorted(flow[3] for flow in flows)
    check("a listener is told of each end", all(sorted(order) == everyone for order in orders))
    first, second = ({port: place for place, port in enumerate(order)} for order in orders)
    middle = (len(flows) - 1) / 2
    covariance = sum((first[port] - middle) * (second[port] - middle) for port in first)
    correlation = covariance * 12 / (len(flows) ** 3 - len(flows))
    check("the second time in another order", abs(correlation) < 0.25, f"correlation: {correlation:.3f}")
    neighbours = [{frozenset(pair) for pair in zip(order, order[1:])} for order in orders]
    same = len(neighbours[0] & neighbours[1])
    # By chance two.
    check("... and with other neighbours", same < 20, f"the same neighbours: {same}")
    full.flush()


def colliding():
    """Flows and their zones. For each zone, all words by which the sum can be the same: one of them is."""
    golden, whole = 0x9e3779b9, 0xffffffff
    place = lambda zone, proto: (zone | proto << 16) * golden & whole
    base = (0x0100000a, 0x0200000a, 0x00073419)
    apart = lambda zone, proto: place(zone, proto) ^ place(0, UDP)
    # The top bit has no sign.
    places = sorted(((apart(zone, proto) & whole >> 1).bit_count(), zone, proto)
                    for proto in (UDP, TCP, SCTP) for zone in range(1, 65536))
    for _, zone, proto in places[:250]:
        bits = [1 << n for n in range(32) if apart(zone, proto) >> n & 1]
        sums = {0}
        for bit in bits:
            sums = {sum_ + sign for sum_ in sums for sign in (bit, -bit)}
        for difference in {sum_ & whole for sum_ in sums}:
            words = [word - difference & whole for word in base]
            turned = words[2] >> 16 | words[2] << 16 & whole
            # The hash takes the ports in the order that gives the lesser number.
            if words[2] <= turned:
                yield (proto, *flow_of(words)[1:]), zone


def zones():
    client = Client()
    client.flush()
    requests = [request(flow, zone) for flow, zone in colliding()]
    errors = make(client, requests)
    check("each entry finds room", not errors, f"{len(requests)} entries, refused: {dict(errors)}")
    client.flush()


run(__doc__, ids=ids, order=order, ends=ends, zones=zones)
