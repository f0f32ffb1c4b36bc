#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What rust_ct's netlink has and the C tracker's has not, in the network namespace of the caller.

  reasons DEVICE     why entries ended; DEVICE has an address, what leaves there is masqueraded
  full               the same, when the table is limited to a few entries

Prints "ok" or "not ok" and a description, as libctnetlink.py does.
"""

import socket
import struct
import subprocess
import sys
import time

from libctnetlink import (AF_INET, BROADCAST_ERROR, CT, DELETE, MARK, NO_ENOBUFS, SOL_NETLINK, Client,
                          Socket, attributes, be32, check, entry)

WHY = 0x3001
(TIMED_OUT, EARLY_DROP, DELETED, FLUSHED, REPLACED, GAVE_WAY, REOPENED, RESET,
 ADDRESS_GONE) = range(1, 10)


class Ends:
    """Listens to the ends of connections."""

    def __init__(self, room=1 << 22):
        self.listener = Socket(3, room=room)

    def told(self, wait=0.3):
        """The reasons that were told since, None for an event without one."""
        found = []
        self.listener.socket.settimeout(wait)
        try:
            while True:
                for kind, _, _, body in self.listener.receive():
                    assert kind == CT << 8 | DELETE
                    parts = dict(attributes(body[4:]))
                    found.append(parts[WHY][0] if WHY in parts else None)
        except (TimeoutError, socket.timeout):
            return found


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


def reasons(device):
    client, ends = Client(), Ends()
    client.flush()
    ends.told(0.1)

    def expect(what, *wanted):
        told = ends.told()
        check(what, told == list(wanted), f"told {told}, should be {list(wanted)}")

    client.new(entry(sport=1))
    client.ask(CT, DELETE, 0, entry(sport=1)[:1])
    expect("one that was named: deleted", DELETED)
    client.new(entry(sport=1))
    client.new(entry(sport=2, more=[(MARK, be32(5))]))
    client.ask(CT, DELETE, 0, [(MARK, be32(5))], 0)
    expect("one that passes a filter: flushed", FLUSHED)
    client.ask(CT, DELETE, 0, (), 0)
    expect("all: flushed", FLUSHED)
    client.new(entry(timeout=1))
    time.sleep(1.5)
    client.dump()
    expect("one whose time was over: timed out", TIMED_OUT)

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

    sender = socket.socket(AF_INET, socket.SOCK_DGRAM)
    sender.sendto(b"x", ("10.7.9.2", 9))
    subprocess.run(["ip", "addr", "flush", "dev", device], check=True)
    told = ends.told(2)
    check("when the address of a masqueraded one goes: that", told == [ADDRESS_GONE], str(told))

    switch = "/sys/module/rust_ct/parameters/event_reasons"
    write(switch, 0)
    try:
        client.new(entry())
        client.flush()
        expect("no reason where none is wanted", None)
    finally:
        write(switch, 1)
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
    check("when the table is full: early drop", told and set(told) == {EARLY_DROP}, str(told))
    client.flush()


def late(count=200):
    """A reason is not forgotten when the listener is told late."""
    client, ends = Client(), Ends(4096)
    ends.listener.socket.setsockopt(SOL_NETLINK, BROADCAST_ERROR, 1)
    ends.listener.socket.setsockopt(SOL_NETLINK, NO_ENOBUFS, 1)
    for port in range(count):
        assert not client.new(entry(sport=2000 + port))
    client.flush()
    told = []
    while len(told) < count:
        more = ends.told(5)
        if not more:
            break
        told += more
    check("who is told late is told why", told == [FLUSHED] * count, f"{len(told)} {set(told)}")


def main():
    what, *arguments = sys.argv[1:] or ["--help"]
    commands = {"reasons": reasons, "full": full}
    if what not in commands:
        print(__doc__)
        return 0
    commands[what](*arguments)
    print("ok", what)
    return 0


if __name__ == "__main__":
    sys.exit(main())
