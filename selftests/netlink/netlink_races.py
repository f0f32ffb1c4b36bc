#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Everything that netlink can do to connections, at once, for some time.

  netlink_races.py SECONDS LASTING NS OTHER_NS

LASTING connections of NS are there all the time, while other ones are made, changed and deleted,
by name, zone, address and mark; while all of OTHER_NS are flushed again and again, the table gets
other sizes, listeners read what happens, or do not, and namespaces begin and end. Each listing, of
all, by zone, by address, read at once or slowly, must have each lasting connection, once; a count
has at least those. (Another one may go and come back at its old place, and be listed each time.)

Prints what each did, and "ok" or "not ok" and a description.
"""

import ctypes
import multiprocessing
import os
import random
import socket
import struct
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

from ctnetlink import (ACK, AF_INET, BROADCAST_ERROR, CREATE, CT, DELETE, DUMP, DYING, EXCL, GET, MARK,  # noqa: E402
                       NLMSG_DONE, NLMSG_ERROR, NO_ENOBUFS, ORIG, REPLY, SOL_NETLINK, STATS, TIMEOUT, UDP, ZONE,
                       Client, Socket, address, attributes, be16, be32, check, pack, tuple_)
from netlink_own import MATCHING, bulk, ends, parts  # noqa: E402

ZONES = (0, 1, 2, 4097)
SIZES = (1024, 8192, 2048, 32768, 512)
LASTS, PASSES = "10.7.0.1", "10.8.0.1"
LASTING_BYTES = address(LASTS)
SETTING = "/sys/module/rust_ct/parameters/hashsize"


def enter(ns):
    with open(f"/run/netns/{ns}" if ns else "/proc/1/ns/net") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")


def flow(port, zone=0, more=()):
    return [(ORIG, tuple_(PASSES, "10.7.0.2", UDP, port, 53)), (REPLY, tuple_("10.7.0.2", PASSES, UDP, 53, port)),
            (ZONE, be16(zone)), *more]


class Worker:
    """Does its turn again and again until time is over. A problem is an exception."""

    def __init__(self, ns, lasting, seed):
        self.lasting, self.chance, self.turns = lasting, random.Random(seed), 0
        enter(ns)
        self.begin()

    def begin(self):
        self.client = Client()

    def end(self):
        pass

    def told(self):
        return f"{self.turns} turns"


class Changes(Worker):
    """Connections are made, changed and deleted by name."""

    def turn(self):
        port, zone = self.chance.randrange(1, 3000), self.chance.choice(ZONES)
        life = (TIMEOUT, be32(self.chance.choice((0, 1, 100, 100, 100))))
        self.client.new(flow(port, zone, [life]), self.chance.choice((CREATE, CREATE | EXCL)))
        port = self.chance.randrange(1, 3000)
        self.client.new(flow(port, zone, [(MARK, be32(self.chance.randrange(4)))]), 0)
        self.client.ask(CT, DELETE, 0, flow(self.chance.randrange(1, 3000), zone)[:1] + [(ZONE, be16(zone))])


class Floods(Worker):
    """Many at once."""

    def turn(self):
        first = self.chance.randrange(3000, 6000)
        bulk(ends(PASSES, "10.7.0.2", "10.7.0.2", self.chance.choice((PASSES, "10.9.0.1")), first + i,
                  self.chance.choice(ZONES)) for i in range(50))


class Flushes(Worker):
    """Some are flushed: by address, by what they were translated to, by mark, by zone and address."""

    def turn(self):
        source = [parts(1), (ORIG, tuple_(PASSES, PASSES, UDP, 1, 1))]
        translated = [parts(0, 2), (REPLY, tuple_("10.9.0.1", "10.9.0.1", UDP, 1, 1))]
        marked = [(MARK, be32(self.chance.randrange(1, 4)))]
        tree, family = self.chance.choice(((source, AF_INET), (translated, AF_INET), (marked, 0),
                                           (source + [(ZONE, be16(self.chance.choice(ZONES)))], AF_INET)))
        error, _ = self.client.ask(CT, DELETE, 0, tree, family, 1)
        assert not error, error
        time.sleep(0.05)


class FlushesAll(Worker):
    """In a namespace without lasting ones: made, listed, flushed."""

    def turn(self):
        bulk(ends(LASTS, "10.7.0.2", "10.7.0.2", LASTS, 1 + i, i % 3) for i in range(100))
        self.client.ask(CT, DELETE, 0, self.chance.choice(((), [(ZONE, be16(1))])), 0)


class Lists(Worker):
    """Listings in which each lasting connection is once."""

    def turn(self):
        own = [(ORIG, tuple_(LASTS, LASTS, UDP, 1, 1))]
        zone = self.chance.choice(ZONES)
        kinds = ([], self.lasting), ([(ZONE, be16(zone))], self.of(zone)), ([parts(1)] + own, self.lasting), \
            ([parts(1)] + own + [(ZONE, be16(zone))], self.of(zone))
        tree, wanted = self.chance.choice(kinds)
        slow = self.chance.choice((0, 0, 0.01))
        netlink, seen, done = self.client.netlink, [], False
        netlink.send(CT, GET, DUMP | ACK, pack(tree), AF_INET, 0)
        while not done:
            for kind, _, _, body in netlink.receive():
                if kind == NLMSG_ERROR:
                    raise AssertionError(f"a listing fails: {struct.unpack_from('=i', body)}")
                done = kind == NLMSG_DONE
                if not done:
                    found = dict(attributes(body[4:]))
                    seen.append((found[ORIG], found.get(ZONE)))
            time.sleep(slow)
        lasting = [key for key in seen if LASTING_BYTES in key[0]]
        assert len(lasting) == len(set(lasting)) == wanted, \
            f"{tree}: {len(lasting)} lines, {len(set(lasting))} of {wanted} lasting ones"

    def of(self, zone):
        return len(range(ZONES.index(zone), self.lasting, len(ZONES)))


class Counts(Worker):
    """Counts have at least the lasting ones."""

    def turn(self):
        _, found = self.client.ask(CT, STATS, 0, [parts(0)], AF_INET)
        count, = struct.unpack("!I", dict(attributes(found[0][3][4:]))[MATCHING])
        assert count >= self.lasting, f"{count} counted, of {self.lasting} lasting ones"
        with open("/proc/net/nf_conntrack") as file:
            file.read()


class Breaks(Worker):
    """Listings that are not read to their end, and whose reader goes away."""

    def turn(self):
        one = Socket()
        one.send(CT, GET, DUMP | ACK, b"", 0, 0)
        next(one.receive())
        one.socket.close()


class Reads(Worker):
    """A listener that reads all."""

    def begin(self):
        self.netlink = Socket(1, 2, 3, 4, 5)
        self.netlink.socket.settimeout(0.1)
        self.messages = self.lost = 0

    def turn(self):
        try:
            self.messages += len(list(self.netlink.receive()))
        except (TimeoutError, socket.timeout):
            pass
        except OSError:
            self.lost += 1  # no room: it is told so

    def told(self):
        return f"{self.messages} events, {self.lost} times too slow"


class Reliable(Reads):
    """One with little room, that must not miss ends and reads slowly."""

    def begin(self):
        super().begin()
        self.netlink = Socket(3, room=8192)
        self.netlink.socket.settimeout(0.1)
        self.netlink.socket.setsockopt(SOL_NETLINK, BROADCAST_ERROR, 1)
        self.netlink.socket.setsockopt(SOL_NETLINK, NO_ENOBUFS, 1)

    def turn(self):
        super().turn()
        time.sleep(0.01)


class Deaf(Worker):
    """Listeners that do not read, and go away."""

    def turn(self):
        one = [Socket(1, 2, 3, 4, 5, room=4096) for _ in range(3)]
        one[0].socket.setsockopt(SOL_NETLINK, BROADCAST_ERROR, 1)
        time.sleep(0.2)
        for each in one:
            each.socket.close()


class Resizes(Worker):
    """Other sizes of the table."""

    def begin(self):
        with open(SETTING) as file:
            self.was = file.read()

    def turn(self):
        self.set(str(self.chance.choice(SIZES)))
        time.sleep(0.05)

    def set(self, size):
        with open(SETTING, "w") as file:
            file.write(size)

    def end(self):
        self.set(self.was)


class Namespaces(Worker):
    """Namespaces with connections, while they are listed."""

    def begin(self):
        self.libc = ctypes.CDLL(None, use_errno=True)

    def turn(self):
        # The one before ends, as soon as what is left of its sockets does.
        if self.libc.unshare(0x40000000):
            raise OSError(ctypes.get_errno(), "unshare")
        bulk(ends(LASTS, "10.7.0.2", "10.7.0.2", LASTS, 1 + i, i % 3) for i in range(100))
        client, listener = Client(), Socket(1, 2, 3)
        client.netlink.send(CT, GET, DUMP | ACK, b"", 0, 0)
        if self.chance.random() < 0.5:
            client.netlink.socket.close()
        listener.socket.close()


class Packets(Worker):
    """Traffic: datagrams of new and old flows, to and fro."""

    def begin(self):
        self.sockets = []
        for port in range(6000, 6050):
            one = socket.socket(AF_INET, socket.SOCK_DGRAM)
            one.bind(("127.0.0.1", port))
            one.setblocking(False)
            self.sockets.append(one)

    def turn(self):
        for _ in range(50):
            try:
                self.chance.choice(self.sockets).sendto(b"x", ("127.0.0.1", self.chance.randrange(6000, 6050)))
                self.chance.choice(self.sockets).recv(9)
            except OSError:
                pass


WORKERS = (Changes, Floods, Flushes, FlushesAll, Lists, Lists, Counts, Breaks, Reads, Reliable, Deaf, Resizes,
           Namespaces, Packets)


def work(kind, ns, lasting, seed, until, results):
    try:
        worker = kind(ns, lasting, seed)
        try:
            # Once in any case, however slow the machine is.
            while time.monotonic() < until or not worker.turns:
                worker.turn()
                worker.turns += 1
        finally:
            worker.end()
        results.put((kind.__name__, worker.turns, worker.told(), ""))
    except BaseException:
        results.put((kind.__name__, 0, "", traceback.format_exc()))


def main():
    if len(sys.argv) != 5:
        print(__doc__)
        return
    seconds, lasting, ns, other = float(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
    enter(ns)
    client = Client()
    client.flush()
    bulk(ends(LASTS, "10.7.0.2", "10.7.0.2", LASTS, 1 + i, ZONES[i % len(ZONES)]) for i in range(lasting))
    results, until = multiprocessing.Queue(), time.monotonic() + seconds
    places = {FlushesAll: other, Resizes: None, Namespaces: None}
    workers = [multiprocessing.Process(target=work, args=(kind, places.get(kind, ns), lasting, seed, until, results))
               for seed, kind in enumerate(WORKERS)]
    for worker in workers:
        worker.start()
    for _ in workers:
        name, turns, text, problem = results.get(timeout=seconds + 300)
        check(f"{name}: without a problem", turns and not problem, problem.replace("\n", " | ") or text)
    for worker in workers:
        worker.join()
    Lists(ns, lasting, 1).turn()
    client.flush()
    check("all are flushed in the end", not client.dump())
    wait = time.monotonic() + 20
    while client.ask(CT, DYING, DUMP, (), 0)[1] and time.monotonic() < wait:
        time.sleep(0.2)
    check("and none waits for a listener", not client.ask(CT, DYING, DUMP, (), 0)[1])
    print("ok races")


if __name__ == "__main__":
    main()
