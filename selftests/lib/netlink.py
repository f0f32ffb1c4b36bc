#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Objects that only netlink can make and for which no tool is at hand.

  timeout add|del NAME SECONDS      a policy (nfnetlink_cttimeout): UDP over IPv4,
                                    that long while unreplied
  helper add|del NAME QUEUE         a helper of user space (nfnetlink_cthelper):
                                    UDP over IPv4
  entry FROM PORT TO PORT timeout|shift VALUE
                                    an established TCP connection over IPv4, for 600
                                    seconds: its timeout is fixed, to VALUE seconds, or
                                    the numbers of its client are shifted by VALUE
  ovs add|del NAME FROM TO ZONE MARK
                                    an Open vSwitch datapath with two ports: IPv4
                                    from the first to the second is committed to a
                                    zone, with a mark

In the network namespace of the caller.
"""

import os
import socket
import struct
import sys

NETLINK_NETFILTER, NETLINK_GENERIC = 12, 16
REQUEST, ACK, CREATE = 1, 4, 0x400
NLMSG_ERROR = 2
NESTED = 0x8000
AF_INET, TCP, UDP = 2, 6, 17


def attribute(kind, data):
    if isinstance(data, list):
        kind, data = kind | NESTED, b"".join(data)
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def attributes(data):
    while data:
        size, kind = struct.unpack_from("=HH", data)
        yield kind & ~NESTED, data[4:size]
        data = data[size + 3 & ~3 :]


def text(value):
    return value.encode() + b"\0"


def be32(value):
    return struct.pack("!I", int(value))


def u32(*values):
    return struct.pack(f"={len(values)}I", *values)


class Netlink:
    def __init__(self, protocol):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self.socket.bind((0, 0))

    def send(self, kind, flags, body):
        head = struct.pack("=IHHII", 16 + len(body), kind, REQUEST | flags, 1, 0)
        self.socket.send(head + body)

    def ask(self, kind, flags, body):
        """Returns the first answer that is no error; with ACK alone there is none."""
        self.send(kind, flags, body)
        answer = self.socket.recv(65536)
        kind, = struct.unpack_from("=H", answer, 4)
        if kind == NLMSG_ERROR:
            code, = struct.unpack_from("=i", answer, 16)
            if code:
                raise OSError(-code, os.strerror(-code))
        return answer[16:]


def netfilter(subsystem, message, flags, attributes):
    body = struct.pack("!BBH", AF_INET, 0, 0) + b"".join(attributes)
    Netlink(NETLINK_NETFILTER).ask(subsystem << 8 | message, ACK | flags, body)


def timeout(verb, name, seconds):
    if verb == "del":
        return netfilter(8, 2, 0, [attribute(1, text(name))])
    return netfilter(8, 0, CREATE, [
        attribute(1, text(name)),
        attribute(2, struct.pack("!H", AF_INET)),
        attribute(3, bytes([UDP])),
        attribute(4, [attribute(1, be32(seconds))]),
    ])


def helper(verb, name, queue):
    about = [
        attribute(1, text(name)),
        attribute(2, [attribute(1, struct.pack("!H", AF_INET)), attribute(2, bytes([UDP]))]),
    ]
    if verb == "del":
        return netfilter(9, 2, 0, about)
    policy = [attribute(1, text(name)), attribute(2, be32(1)), attribute(3, be32(60))]
    return netfilter(9, 0, CREATE, about + [
        attribute(3, be32(queue)),
        attribute(4, [attribute(1, be32(1)), attribute(2, policy)]),
        attribute(5, be32(0)),
        attribute(6, be32(1)),
    ])


def entry(source, sport, target, dport, what, value):
    """The numbers of attributes are those of CTA_*."""
    seen_reply, assured, confirmed, fixed = 2, 4, 8, 1 << 10
    def tuple_(source, sport, target, dport):
        ports = [attribute(1, bytes([TCP])), attribute(2, struct.pack("!H", int(sport))),
                 attribute(3, struct.pack("!H", int(dport)))]
        ends = [attribute(1, socket.inet_aton(source)), attribute(2, socket.inet_aton(target))]
        return [attribute(1, ends), attribute(2, ports)]
    # Established; both sides are liberal.
    state = [attribute(1, b"\3"), attribute(4, b"\x08\x08"), attribute(5, b"\x08\x08")]
    shift = [attribute(1, be32(1)), attribute(2, be32(value)), attribute(3, be32(value))]
    status = seen_reply | assured | confirmed | (fixed if what == "timeout" else 0)
    netfilter(1, 0, CREATE, [
        attribute(1, tuple_(source, sport, target, dport)),
        attribute(2, tuple_(target, dport, source, sport)),
        attribute(3, be32(status)),
        attribute(4, [attribute(1, state)]),
        attribute(7, be32(value if what == "timeout" else 600)),
    ] + [attribute(15, shift)] * (what == "shift"))


class Queue:
    """Packets that wait for our verdict (nfnetlink_queue), in the order of their coming."""

    PACKET, VERDICT, CONFIGURE = (3 << 8 | message for message in range(3))
    PACKET_HEAD, VERDICT_HEAD, PAYLOAD = 1, 2, 10
    VERDICTS = {"drop": 0, "accept": 1, "repeat": 4}

    def __init__(self, which):
        self.held = []
        self.netlink = Netlink(NETLINK_NETFILTER)
        self.head = struct.pack("!BBH", 0, 0, which)
        bind, whole = struct.pack("!BxH", 1, 0), struct.pack("!IB", 0xFFFF, 2)
        for configuration in attribute(1, bind), attribute(2, whole):
            self.netlink.ask(self.CONFIGURE, ACK, self.head + configuration)

    def fileno(self):
        return self.netlink.socket.fileno()

    def close(self):
        self.netlink.socket.close()

    def hold(self):
        """Waits for the next packet and keeps it; returns its length."""
        message = self.netlink.socket.recv(1 << 17)
        kind, = struct.unpack_from("=H", message, 4)
        if kind != self.PACKET:
            raise ValueError(f"message {kind}")
        found = dict(attributes(message[20:]))
        self.held.append(found[self.PACKET_HEAD][:4])
        return len(found[self.PAYLOAD])

    def judge(self, verdict):
        """Says what becomes of the packet that was kept for the longest time.

        The kernel's answer is what comes next: no packet may wait unread.
        """
        self.netlink.ask(self.VERDICT, ACK, self.verdict(verdict))

    def accept(self):
        """Waits for a packet and lets it go on; returns its length."""
        size = self.hold()
        self.netlink.send(self.VERDICT, 0, self.verdict("accept"))
        return size

    def verdict(self, verdict):
        value = be32(self.VERDICTS[verdict]) + self.held.pop(0)
        return self.head + attribute(self.VERDICT_HEAD, value)


class OpenVswitch:
    """Generic netlink to one of the families of Open vSwitch."""

    def __init__(self):
        self.netlink = Netlink(NETLINK_GENERIC)

    def family(self, name):
        body = struct.pack("=BBH", 3, 1, 0) + attribute(2, text(name))
        answer = dict(attributes(self.netlink.ask(0x10, 0, body)[4:]))
        return struct.unpack("=H", answer[1])[0]

    def do(self, family, version, command, datapath, attributes):
        body = struct.pack("=BBHi", command, version, 0, datapath) + b"".join(attributes)
        self.netlink.ask(self.family(family), ACK, body)


def ovs(verb, name, source, target, zone, mark):
    switch = OpenVswitch()
    if verb == "del":
        return switch.do("ovs_datapath", 2, 2, socket.if_nametoindex(name), [])
    switch.do("ovs_datapath", 2, 1, 0, [attribute(1, text(name)), attribute(2, u32(0))])
    datapath = socket.if_nametoindex(name)
    for number, port in enumerate((source, target), 1):
        switch.do("ovs_vport", 1, 1, datapath, [
            attribute(1, u32(number)),
            attribute(2, u32(1)),
            attribute(3, text(port)),
            attribute(5, u32(0)),
        ])
    ethertype = struct.pack("!H", 0x0800)
    key = [attribute(3, u32(1)), attribute(4, bytes(12)), attribute(6, ethertype),
           attribute(7, bytes(12))]
    mask = [attribute(3, u32(0xFFFFFFFF)), attribute(4, bytes(12)), attribute(6, b"\xff\xff")]
    track = [attribute(1, b""), attribute(2, struct.pack("=H", int(zone))),
             attribute(3, u32(int(mark), 0xFFFFFFFF))]
    return switch.do("ovs_flow", 1, 1, datapath, [
        attribute(1, key),
        attribute(7, mask),
        attribute(2, [attribute(12, track), attribute(1, u32(2))]),
    ])


def main():
    what, *arguments = sys.argv[1:] or ["--help"]
    commands = {"timeout": timeout, "helper": helper, "entry": entry, "ovs": ovs}
    if what not in commands:
        print(__doc__)
        return 0
    try:
        commands[what](*arguments)
    except OSError as error:
        print(f"{what}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
