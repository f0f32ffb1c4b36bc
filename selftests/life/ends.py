#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Entries that live on after they left the table: their ends could not be told to a listener that
does not read, or they are the masters of others.

  order NS           the order in which the listener is told, once it reads
  neighbours A B     ends of two namespaces: A's listener never reads, B's reads late
  host A             the same, with the first namespace for B
  teardown A B       B is deleted while A's listener does not read, then a third namespace with veth
  limit NS NUMBER LIMIT
                     so many datagrams within the machine, when the table takes LIMIT entries
  room NS            a listener that reads again: the first connection after that finds room
  deaf NS            listens, does not read, and says so; until it is killed
  chain NS NUMBER LIMIT
                     so many entries, each the master of the next one. (The C tracker panics.)

Namespaces are those of "ip netns". Prints "ok" or "not ok" and a description.
"""

import os
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

from ctnetlink import (BROADCAST_ERROR, CT, DELETE, DUMP, DYING, MASTER, NO_ENOBUFS,  # noqa: E402
                       ORIG, SOL_NETLINK, UDP, Client, Socket, attributes, check, entry, name_of,
                       run, tuple_)
from traffic import Inside  # noqa: E402

RUST_CT = os.path.exists("/proc/net/rust_conntrack")
PATIENCE = 10 * (4 if os.environ.get("SELFTEST_SCALE") == "small" else 1)
COUNT = 300


def until(condition, patience=PATIENCE):
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def source_port(message):
    tuple_of = dict(attributes(dict(attributes(message[3][4:]))[ORIG]))
    return int.from_bytes(dict(attributes(tuple_of[2]))[2], "big")


class Namespace:
    """A namespace with a listener that must be told of each end."""

    def __init__(self, name, flush=True):
        self.name = name
        with Inside(name):
            self.client = Client()
        if flush:
            # What is left from before has no listener.
            self.client.flush()
            assert until(lambda: self.count() == 0), self.count()
        with Inside(name):
            self.listener = Socket(3, room=4096)
        self.listener.socket.setsockopt(SOL_NETLINK, BROADCAST_ERROR, 1)
        self.listener.socket.setsockopt(SOL_NETLINK, NO_ENOBUFS, 1)

    def close(self):
        self.client.netlink.socket.close()
        self.listener.socket.close()

    def make(self, count, first=2000):
        for port in range(first, first + count):
            assert not self.client.new(entry(sport=port))

    def delete(self, count, first=2000):
        for port in range(first, first + count):
            named = [(ORIG, tuple_("10.7.0.1", "10.7.0.2", UDP, port, 2000))]
            assert not self.client.ask(CT, DELETE, 0, named)[0]

    def dying(self):
        """The source ports of the ends that are still to be told."""
        return [source_port(message) for message in self.client.ask(CT, DYING, DUMP, (), 0)[1]]

    def backlog(self, count=COUNT, first=2000):
        """Ends that are told late; returns how many."""
        self.make(count, first)
        self.delete(count, first)
        return len(self.dying())

    def read(self, count, patience=PATIENCE):
        """The source ports of the ends that the listener is told, up to so many."""
        told = []
        self.listener.socket.settimeout(patience)
        try:
            while len(told) < count:
                told += map(source_port, self.listener.receive())
        except (TimeoutError, socket.timeout):
            pass
        return told

    def path(self, name):
        return f"/proc/sys/net/netfilter/nf_conntrack_{name}"

    def count(self):
        with Inside(self.name), open(self.path("count")) as file:
            return int(file.read())


def in_order(told):
    """Whether each is told once, first in, first out. A number that comes again was told twice,
    which a listener has to expect."""
    return list(dict.fromkeys(told)) == sorted(told)


def order(name):
    one = Namespace(name)
    one.make(COUNT)
    one.delete(COUNT)
    dying = one.dying()
    check("ends wait for a listener that does not read", len(dying) > COUNT // 2, str(len(dying)))
    check("... each is listed once", len(set(dying)) == len(dying))
    check("... and counted", one.count() == len(dying))
    told = one.read(COUNT)
    check("the listener is told of each when it reads", len(set(told)) == COUNT, str(len(set(told))))
    if RUST_CT:
        check("... in the order in which they ended", in_order(told), str(told[:20]))
    check("... and none is dying then", until(lambda: not one.dying()))
    check("... nor counted", until(lambda: one.count() == 0), str(one.count()))
    one.close()


def neighbours(first, second):
    one, other = Namespace(first), Namespace(second)
    check("a namespace without ends sees none", not one.dying() and not other.dying())
    waiting = other.backlog()
    check("ends of one wait", waiting > COUNT // 2, str(waiting))
    check("... and the other one sees none of them", not one.dying())
    waiting = one.backlog()
    check("ends of both wait", waiting > COUNT // 2, str(waiting))
    check("... and each sees its own", len(other.dying()) <= COUNT and len(one.dying()) == waiting)
    told = other.read(COUNT)
    check("one listener reads: it is told of each, though the other one does not",
          len(set(told)) == COUNT, str(len(set(told))))
    if RUST_CT:
        check("... in the order in which they ended", in_order(told))
    check("... and none of its namespace is dying then", until(lambda: not other.dying()))
    check("... those of the other one wait", len(one.dying()) == waiting, str(len(one.dying())))
    one.listener.socket.close()
    check("without the listener they are over", until(lambda: one.count() == 0), str(one.count()))
    one.close()
    other.close()


def host(name):
    neighbours(name, "-")


def netns(*arguments):
    subprocess.run(("ip", "netns") + arguments, check=True)


def teardown(first, second):
    one, other = Namespace(first), Namespace(second)
    subprocess.run(["ip", "link", "add", "ct-ends0", "type", "veth", "peer", "name", "v1",
                    "netns", second], check=True)
    check("ends of one wait", other.backlog() > COUNT // 2)
    check("... and, later, of another one", one.backlog() > COUNT // 2)
    other.close()
    netns("del", second)

    def gone(link):
        return lambda: not os.path.exists(f"/sys/class/net/{link}")

    check("the first of these goes, whatever the other one keeps", until(gone("ct-ends0")))
    third = f"{first}-third"
    netns("add", third)
    subprocess.run(["ip", "link", "add", "ct-ends1", "type", "veth", "peer", "name", "v1",
                    "netns", third], check=True)
    netns("del", third)
    check("... and so does a third one", until(gone("ct-ends1")))
    told = one.read(COUNT)
    check("the listener that is left is told of each", len(set(told)) == COUNT, str(len(set(told))))
    if RUST_CT:
        check("... in the order in which they ended", in_order(told))
    one.close()


def datagrams(count, first=0):
    """That many flows within the machine; how many were refused."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    refused = 0
    for number in range(first, first + count):
        try:
            sender.sendto(b"x", (f"127.0.{1 + number // 60000}.1", 1 + number % 60000))
        except PermissionError:
            refused += 1
    return refused


def limit(name, number, most):
    number, most = int(number), int(most)
    one = Namespace(name)
    highest = sent = refused = 0
    while sent < number:
        with Inside(name):
            refused += datagrams(500, sent)
        sent += 500
        highest = max(highest, one.count())
    # What processors have under way.
    slack = os.cpu_count() + 2
    check("a listener that does not read is no way round the limit",
          highest <= most + slack, f"highest {highest}, limit {most}")
    print(f"# {refused} of {number} datagrams were refused, {len(one.dying())} ends wait")
    one.listener.socket.close()
    check("... without it they are over", until(lambda: not one.dying(), 4 * PATIENCE))
    one.close()


def room(name):
    """The table is full, of entries that are not assured."""
    one = Namespace(name)
    with Inside(name):
        datagrams(2000)
    check("with a listener that does not read, new connections are refused",
          len(one.dying()) > 0, str(len(one.dying())))
    entries = one.count() - len(one.dying())
    if RUST_CT:
        check("... and entries are kept, since their ends make no room", entries > 300, str(entries))
    # All that there is; more than this is told only later.
    one.read(1 << 30, 0.01)
    with Inside(name):
        refused = datagrams(1, 50000)
    if RUST_CT:
        check("it reads again: the next connection finds room", not refused)
    one.close()


def deaf(name):
    _listening = Namespace(name, flush=False)
    print("listening", flush=True)
    time.sleep(1000)


def chain(name, number, most):
    """An entry keeps the memory of its master, which keeps that of its own one."""
    with Inside(name):
        client = Client()

    def count():
        with Inside(name), open("/proc/sys/net/netfilter/nf_conntrack_count") as file:
            return int(file.read())

    def named(port):
        return tuple_("10.7.0.1", "10.7.0.2", UDP, port, 2000)

    client.flush()
    lengths, length, highest, refused = set(), 0, 0, set()
    first, end = 2000, 2000 + int(number)
    for port in range(first, end):
        master = [(MASTER, named(port - 1))] if length else []
        error = client.new(entry(sport=port, more=master))
        if error:
            refused.add(name_of(error))
            lengths.add(length)
            # Another chain, if the table is not full.
            length = 0
            error = client.new(entry(sport=port))
        length += not error
        highest = max(highest, count())
    if int(most) > int(number):
        check("a chain of masters has a greatest length", lengths == {9} and refused == {"ELOOP"},
              f"{sorted(lengths)} entries, {sorted(refused)}")
    else:
        check("a chain of masters is no way round the limit", highest <= int(most),
              f"{highest}, limit {most}")
    for port in range(first, end):
        client.ask(CT, DELETE, 0, [(ORIG, named(port))])
    check("deleted oldest first, all of them are freed", until(lambda: count() == 0), str(count()))


if __name__ == "__main__":
    run(__doc__, order=order, neighbours=neighbours, host=host, teardown=teardown, limit=limit,
        room=room, deaf=deaf, chain=chain)
