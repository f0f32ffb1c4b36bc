#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What rust_ct's netlink has and the C tracker's has not, in the network namespace of the caller.

  reasons DEVICE OTHER
                     why entries ended; DEVICE has an address, what leaves there or through OTHER
                     is masqueraded. "told N" says that an event had the reason N
  full               the same, when the table is limited to a few entries
  replaced           the same, of an entry with a wrong direction; nothing is tracked before
  ends               says of each connection that ends "REASON PROTOCOL", until it is killed
  index              what is listed, counted and deleted by zone and by address
  slow NUMBER        such listings while entries come and go
  cost NUMBER        that asking for a few among so many is quick
  fill NUMBER        makes entries; "still NUMBER" finds them again

Prints "ok" or "not ok" and a description, as netlink_messages.py does.
"""

import os
import random
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

from ctnetlink import (ACK, AF_INET, AF_INET6, BROADCAST_ERROR, CREATE, CT, DELETE, DUMP, EXCL,  # noqa: E402
                       FILTER, GET, MARK, NEW, NLMSG_DONE, NO_ENOBUFS, ORIG, REPLY, SOL_NETLINK,
                       STATS, TIMEOUT, UDP, ZONE, Client, Socket, attributes, be16, be32, check,
                       entry, narrow, pack, run, tuple_, u32)
from netlink import REQUEST  # noqa: E402

WHY, MATCHING = 0x30E1, 0x30E2
(TIMED_OUT, EARLY_DROP, DELETED, FLUSHED, REPLACED, GAVE_WAY, REOPENED, RESET,
 ADDRESS_GONE) = range(1, 10)


class Ends:
    """Listens to the ends of connections."""

    def __init__(self, room=1 << 22):
        self.listener = Socket(3, room=room)
        # How many events came, and of how many a reader that keeps eight bits makes sense.
        self.events = self.narrow_reader = 0

    def told(self, wait=0.1, number=0):
        """The reasons that were told since, None for an event without one. Waits longer for the
        first `number` of them."""
        found = []
        try:
            while True:
                self.listener.socket.settimeout(wait if len(found) >= number else 10)
                found += [why for why, _ in self.next()]
        except (TimeoutError, socket.timeout):
            return found

    def next(self):
        """Reasons and protocols of some ends, once there are any."""
        for kind, _, _, body in self.listener.receive():
            assert kind == CT << 8 | DELETE
            parts = dict(attributes(body[4:]))
            try:
                self.narrow_reader += narrow(body[4:])[ORIG] == parts[ORIG]
            except ValueError:
                pass  # it is not counted
            self.events += 1
            protocol = dict(attributes(dict(attributes(parts[ORIG]))[2]))[1]
            yield (parts[WHY][0] if WHY in parts else None), protocol[0]


def write(path, value):
    with open(path, "w") as file:
        file.write(str(value))


def linger(one):
    """Close by a reset."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def tcp(port, to):
    one = socket.socket(AF_INET, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("127.0.0.1", port))
    linger(one)
    one.connect(("127.0.0.1", to))
    return one


def datagram(port, to=9):
    """Sent within the machine, which makes an entry."""
    one = socket.socket(AF_INET, socket.SOCK_DGRAM)
    one.bind(("127.0.0.1", port))
    one.sendto(b"x", ("127.0.0.1", to))


def reasons(device, other):
    client, ends = Client(), Ends()
    # Without a socket at this port, a datagram to it is answered by an error.
    sink = socket.socket(AF_INET, socket.SOCK_DGRAM)
    sink.bind(("127.0.0.1", 9))
    client.flush()
    ends.told(0.1)

    def expect(what, *wanted):
        told = ends.told(number=len(wanted))
        check(what, told == list(wanted), f"told {told}, should be {list(wanted)}")
        for why in filter(None, told):
            print("told", why)

    def named(port):
        return [(ORIG, tuple_("127.0.0.1", "127.0.0.1", UDP, port, 9))]

    datagram(7001)
    client.ask(CT, DELETE, 0, named(7001))
    expect("one that was named: deleted", DELETED)
    datagram(7001)
    datagram(7002)
    client.ask(CT, NEW, 0, named(7002) + [(MARK, be32(5))])
    client.ask(CT, DELETE, 0, [(MARK, be32(5))], 0)
    expect("one that passes a filter: flushed", FLUSHED)
    client.ask(CT, DELETE, 0, (), 0)
    expect("all: flushed", FLUSHED)
    datagram(7001)
    client.ask(CT, NEW, 0, named(7001) + [(TIMEOUT, be32(1))])
    time.sleep(1.5)
    datagram(7001)
    expect("one whose time was over: timed out", TIMED_OUT)
    client.flush()
    ends.told(0.1)

    closed = socket.socket(AF_INET, socket.SOCK_STREAM)
    try:
        closed.connect(("127.0.0.1", 7999))
    except ConnectionRefusedError:
        pass
    expect("one that was refused: reset", RESET)
    server = socket.socket(AF_INET, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", 7001))
    server.listen()
    tcp(7002, 7001).close()
    server.accept()[0].close()
    time.sleep(0.1)
    again = tcp(7002, 7001)
    expect("one whose ports begin anew: reopened", REOPENED)
    again.close()
    client.flush()
    ends.told(0.1)

    def route(via):
        subprocess.run(["ip", "route", "replace", "192.0.2.0/24", "dev", via], check=True)

    route(device)
    # From an address of another device, so that the route does not decide about it.
    sender = socket.socket(AF_INET, socket.SOCK_DGRAM)
    sender.bind(("10.7.8.1", 7003))
    sender.sendto(b"x", ("192.0.2.1", 9))
    route(other)
    try:
        sender.sendto(b"x", ("192.0.2.1", 9))
    except PermissionError:
        pass  # the packet goes with its connection
    expect("when the way of a masqueraded one leads elsewhere: its address is gone", ADDRESS_GONE)
    sender.sendto(b"x", ("10.7.9.2", 9))
    subprocess.run(["ip", "addr", "flush", "dev", device], check=True)
    expect("when the address itself goes: that", ADDRESS_GONE)

    switch = "/sys/module/rust_ct/parameters/event_reasons"
    write(switch, 0)
    try:
        client.new(entry())
        client.flush()
        expect("no reason where none is wanted", None)
    finally:
        write(switch, 1)
    check("a reader that keeps eight bits of an attribute's type understands each end",
          ends.events > 10 and ends.narrow_reader == ends.events,
          f"{ends.narrow_reader} of {ends.events}")
    late()


def full():
    client, ends = Client(), Ends()
    client.flush()
    ends.told(0.1)
    sender = socket.socket(AF_INET, socket.SOCK_DGRAM)
    for port in range(400):
        try:
            sender.sendto(b"x", ("127.0.0.9", 7010 + port))
        except PermissionError:
            pass  # nothing near its place could be dropped
    told = ends.told()
    check("when the table is full: early drop", told and set(told) == {EARLY_DROP}, str(set(told)))
    print("told", EARLY_DROP)
    client.flush()


def replaced():
    client, ends = Client(), Ends()
    client.flush()
    ends.told(0.1)

    def track(yes):
        rules = ["add table ip t; add chain ip t c { type filter hook input priority 0; };"
                 "add rule ip t c ct state new accept"] if yes else ["delete table ip t"]
        subprocess.run(["nft"] + rules, check=True)

    def is_tracked(port):
        before = count(client, [parts(0)])
        datagram(port, 7004)
        return count(client, [parts(0)]) > before

    server = socket.socket(AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 7004))
    with socket.socket(AF_INET, socket.SOCK_DGRAM) as early:
        early.bind(("127.0.0.1", 7005))
        track(True)
        server.sendto(b"x", ("127.0.0.1", 7005))
        track(False)
    # A rule goes in the background.
    port = 7010
    while is_tracked(port) and port < 7100:
        port += 1
        time.sleep(0.1)
    to_server = (ORIG, tuple_("127.0.0.1", "127.0.0.1", UDP, 1, 7004))
    client.ask(CT, DELETE, 0, [parts(1 << 3 | 1 << 5), to_server], AF_INET, 1)
    ends.told()
    found = known(client)
    check("an entry by a server's datagram", len(found) == 1, f"{len(found)}, {port}")
    # A socket that chose its port itself is a client's: the entry has the wrong direction.
    write("/proc/sys/net/ipv4/ip_local_port_range", "7005 7005")
    late_one = socket.socket(AF_INET, socket.SOCK_DGRAM)
    late_one.connect(("127.0.0.1", 7004))
    track(True)
    told = ends.told(number=1)
    check("... goes when the client is known: replaced", told == [REPLACED], str(told))
    now = [e.key for e in known(client)]
    check("... by one of the other direction", len(now) == 1 and now != [found[0].key], str(now))
    track(False)


def tell_ends():
    listener = Ends()
    print("listening", flush=True)
    while True:
        for why, protocol in listener.next():
            print(why, protocol, flush=True)


def late(count=200):
    """A reason is not forgotten when the listener is told late."""
    client, ends = Client(), Ends(4096)
    ends.listener.socket.setsockopt(SOL_NETLINK, BROADCAST_ERROR, 1)
    ends.listener.socket.setsockopt(SOL_NETLINK, NO_ENOBUFS, 1)
    for port in range(count):
        assert not client.new(entry(sport=2000 + port))
    client.flush()
    told = ends.told(number=count)
    check("a late event has its reason", told == [FLUSHED] * count, f"{len(told)} {set(told)}")


def bulk(entries):
    """Makes entries, many in one go, without waiting for answers."""
    one, out = Socket(), bytearray()
    for family, body in entries:
        body = struct.pack("!BBH", family, 0, 0) + body
        head = struct.pack("=IHHII", 16 + len(body), CT << 8 | NEW, REQUEST | CREATE | EXCL, 0, 0)
        out += head + body
        if len(out) > 30000:
            one.socket.send(out)
            out.clear()
    if out:
        one.socket.send(out)


def ends(src, dst, reply_src, reply_dst, port, zone=0):
    """Family and attributes of an entry between any four addresses."""
    tree = [(ORIG, tuple_(src, dst, UDP, port, 53)),
            (REPLY, tuple_(reply_src, reply_dst, UDP, 53, port)), (TIMEOUT, be32(100000))]
    return AF_INET6 if ":" in src else AF_INET, pack(tree + ([(ZONE, be16(zone))] if zone else []))


def count(client, tree=(), family=0):
    """What GET_STATS says of entries like that; None: nothing."""
    error, found = client.ask(CT, STATS, 0, tree, family)
    assert not error, error
    parts = dict(attributes(found[0][3][4:]))
    return struct.unpack("!I", parts[MATCHING])[0] if MATCHING in parts else None


def parts(original, answer=None):
    tree = [(1, u32(original))] if original else []
    return (FILTER, tree + ([(2, u32(answer))] if answer else []))


class Known:
    """An entry as a dump tells it."""

    def __init__(self, body):
        self.family, self.body = body[0], body[4:]
        found = dict(attributes(body[4:]))
        self.zone = struct.unpack("!H", found[ZONE])[0] if ZONE in found else 0
        self.mark = found[MARK]
        self.src, self.dst = self.addresses(found[ORIG])
        self.reply_src, self.reply_dst = self.addresses(found[REPLY])
        self.key = (found[ORIG], self.zone)

    @staticmethod
    def addresses(part):
        of = dict(attributes(dict(attributes(part))[1]))
        return (of.get(1) or of[3], of.get(2) or of[4])


def known(client, tree=(), family=0):
    error, found = client.ask(CT, GET, DUMP, tree, family)
    assert not error, error
    return [Known(body) for _, _, _, body in found]


def filters(entries):
    """Names, trees and families of requests, and which entries pass them."""
    v4 = [e for e in entries if e.family == AF_INET]
    zones = sorted({e.zone for e in entries}) + [5000]
    for zone in zones:
        yield f"zone {zone}", [(ZONE, be16(zone))], 0, lambda e, z=zone: e.zone == z
    yield "all", [parts(0)], 0, lambda e: True
    yield "IPv4", [parts(0)], AF_INET, lambda e: e.family == AF_INET
    for family, some in (AF_INET, v4), (AF_INET6, [e for e in entries if e.family == AF_INET6]):
        pool = sorted({a for e in some for a in (e.src, e.dst, e.reply_src, e.reply_dst)})
        for address in pool + [bytes(len(pool[0]))]:
            host = socket.inet_ntop(family, address)
            own = [(ORIG, tuple_(host, host, UDP, 1, 1)), (REPLY, tuple_(host, host, UDP, 1, 1))]
            for name, bits in ("src", (1, 0)), ("dst", (2, 0)), ("reply_src", (0, 1)), ("reply_dst", (0, 2)):
                def same(e, n=name, a=address, f=family):
                    return e.family == f and getattr(e, n) == a
                yield f"{name} {host}", [parts(*bits)] + own, family, same
                yield (f"{name} {host} in zone 1", [parts(*bits), (ZONE, be16(1))] + own, family,
                       lambda e, s=same: s(e) and e.zone == 1)
            yield (f"between {host} and itself", [parts(3)] + own, family,
                   lambda e, f=family, a=address: e.family == f and e.src == e.dst == a)


def index():
    """Dump, count and delete by namespace, zone and address, against a look at all entries."""
    chance, client = random.Random(3), Client()
    client.flush()
    hosts = {AF_INET: [f"10.7.{i}.{j}" for i in (0, 1) for j in (1, 2, 3)],
             AF_INET6: [f"fd07::{i}" for i in range(1, 5)]}

    def some(number):
        for port in range(number):
            pool = hosts[chance.choice((AF_INET, AF_INET, AF_INET6))]
            src, dst = chance.choice(pool), chance.choice(pool)
            kind = chance.randrange(4)
            reply_src = chance.choice(pool) if kind & 1 else dst
            reply_dst = chance.choice(pool) if kind & 2 else src
            yield ends(src, dst, reply_src, reply_dst, 1 + port, chance.choice((0, 0, 1, 70, 4097)))

    bulk(some(600))
    entries = known(client)
    check("the entries are there", len(entries) == 600, str(len(entries)))
    wrong, done = [], 0
    for name, tree, family, passes in filters(entries):
        wanted = sorted(e.key for e in entries if passes(e))
        found = sorted(e.key for e in known(client, tree, family))
        counted = count(client, tree, family)
        done += 1
        if found != wanted or counted != len(wanted):
            wrong.append(f"{name}: {len(found)} listed, {counted} counted, should be {len(wanted)}")
    check("what is listed and counted passes the filter, once, and no more does", not wrong,
          f"{done} filters; " + "; ".join(wrong[:9]))
    wrong = []
    for name, tree, family, passes in list(filters(entries))[::7]:
        error, _ = client.ask(CT, DELETE, 0, tree, family, 1)
        left = sorted(e.key for e in known(client))
        wanted = sorted(e.key for e in entries if not passes(e))
        if error or left != wanted:
            wrong.append(f"{name}: error {error}, {len(left)} left, should be {len(wanted)}")
        bulk((e.family, e.body) for e in entries if passes(e))
    check("what is deleted passes the filter, and nothing else", not wrong, "; ".join(wrong[:9]))
    check("a request that does not ask for the number has none", count(client) is None)
    client.flush()
    check("a flushed namespace is empty", not known(client) and count(client, [parts(0)]) == 0)


def slow(number):
    """Listings by zone and by address, read slowly, while entries come and go."""
    client, other = Client(), Client()
    client.flush()
    number = int(number)
    bulk(ends("10.7.0.1", "10.7.0.2", "10.7.0.2", "10.7.0.1", 1 + port, 1 + port % 2)
         for port in range(number))
    own = [parts(1), (ORIG, tuple_("10.7.0.1", "10.7.0.1", UDP, 1, 1))]
    for name, tree, wanted in (("zone", [(ZONE, be16(1))], number - number // 2),
                               ("source", own, number)):
        client.netlink.send(CT, GET, DUMP | ACK, pack(tree), AF_INET, 0)
        seen, done, rounds = [], False, 0
        while not done:
            for kind, _, _, body in client.netlink.receive():
                done = kind == NLMSG_DONE
                if not done:
                    seen.append(Known(body).key)
            rounds += 1
            # Around the place of the listing, and anywhere.
            bulk(ends("10.7.0.1", "10.8.0.1", "10.8.0.1", "10.7.0.1", 1 + rounds * 50 + i, 1)
                 for i in range(50))
            for i in range(0, 50, 3):
                port = 1 + rounds * 50 + i - 25
                one = tuple_("10.7.0.1", "10.8.0.1", UDP, port, 53)
                other.ask(CT, DELETE, 0, [(ORIG, one), (ZONE, be16(1))])
        lasting = [key for key in seen if b"\x0a\x07\x00\x02" in key[0]]
        check(f"a slow listing by {name} has each entry once",
              len(seen) == len(set(seen)) and len(lasting) == wanted,
              f"{len(seen)} lines, {len(set(seen))} entries, {len(lasting)} of {wanted} lasting, "
              f"{rounds} messages")
    # One that is never read to its end, and one whose reader goes away, must not be in the way.
    client.netlink.send(CT, GET, DUMP | ACK, b"", 0, 0)
    gone = Client()
    gone.netlink.send(CT, GET, DUMP | ACK, pack([(ZONE, be16(1))]), AF_INET, 0)
    gone.netlink.socket.close()
    other.flush()
    check("... and all can be flushed meanwhile", not known(other))


def cost(number):
    """A request for a few entries is quick."""
    client = Client()
    client.flush()
    number, few = int(number), 20
    bulk(ends("10.7.1.1", "10.7.1.2", "10.7.1.2", "10.7.1.1", 1 + port % 60000, 2 + port // 60000)
         for port in range(number))
    bulk(ends("10.7.2.1", "10.7.2.2", "10.7.2.2", "10.7.2.3", 1 + port, 4) for port in range(few))

    def took(tree, family=0):
        best = None
        for _ in range(8):
            began = time.perf_counter()
            found = count(client, tree, family)
            best = min(best or 1e9, time.perf_counter() - began)
        return found, best

    whole, long = took([parts(0)])
    check("all are there", whole == number + few, str(whole))
    def with_address(host, original, answer=0):
        one = tuple_(host, host, UDP, 1, 1)
        return [parts(original, answer), (ORIG, one), (REPLY, one)]

    for name, tree in {
        "zone": [(ZONE, be16(4))],
        "source": with_address("10.7.2.1", 1),
        "destination": with_address("10.7.2.2", 2),
        "source of answers": with_address("10.7.2.2", 0, 1),
        "destination of answers": with_address("10.7.2.3", 0, 2),
    }.items():
        family = 0 if name == "zone" else AF_INET
        found, short = took(tree, family)
        # What looks at all of them takes as long as counting all: some 20 ms for 40,000. What does
        # not takes as long as asking for anything, some 0.5 ms. With few, or on a debug kernel, asking
        # is most of both.
        quick = number < 30000 or short < long / 4
        check(f"counting by {name} costs little", found == few and quick,
              f"{found} entries, {short * 1e6:.0f} us; all {whole}: {long * 1e6:.0f} us")
    client.flush()


def fill(number):
    bulk(ends("10.7.0.1", "10.7.0.2", "10.7.0.2", "10.7.0.1", 1 + port, port % 3)
         for port in range(int(number)))
    check("filled", count(Client(), [parts(0)]) == int(number))


def still(number):
    found = len(known(Client()))
    check("another namespace's entries are not touched", found == int(number), str(found))


if __name__ == "__main__":
    run(__doc__, reasons=reasons, full=full, replaced=replaced, ends=tell_ends, index=index, slow=slow,
        cost=cost, fill=fill, still=still)
