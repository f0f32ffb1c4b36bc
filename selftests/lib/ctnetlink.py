# SPDX-License-Identifier: GPL-2.0
"""ctnetlink in the network namespace of the caller: messages and their attributes, sockets, events,
and what a program does that tests with them.
"""

import errno
import socket
import struct
import sys

from netlink import (ACK, AF_INET, CREATE, NESTED, NETLINK_NETFILTER, NLMSG_ERROR, REQUEST,
                     attribute, attributes, be32)

AF_INET6, EXCL, DUMP, ECHO = 10, 0x200, 0x300, 8
DUMP_INTR, DUMP_FILTERED = 0x10, 0x20
NLMSG_DONE = 3
SOL_NETLINK, ADD_MEMBERSHIP, BROADCAST_ERROR, NO_ENOBUFS = 270, 1, 4, 5
CT, EXP = 1, 2
NEW, GET, DELETE, CTRZERO, STATS_CPU, STATS, DYING, UNCONFIRMED = range(8)
EXP_NEW, EXP_GET, EXP_DELETE, EXP_STATS = range(4)
TCP, UDP, ICMP, GRE, ICMPV6, SCTP = 6, 17, 1, 47, 58, 132

# Numbers of attributes.
(ORIG, REPLY, STATUS, PROTOINFO, HELP, NAT_SRC, TIMEOUT, MARK, CNT_ORIG, CNT_REPLY, USE, ID,
 NAT_DST, MASTER, SEQ_ORIG, SEQ_REPLY, SECMARK, ZONE, SECCTX, TIMESTAMP, MARK_MASK, LABELS,
 LABELS_MASK, SYNPROXY, FILTER, STATUS_MASK, EVENT_TIME) = range(1, 28)
(E_MASTER, E_TUPLE, E_MASK, E_TIMEOUT, E_ID, E_HELP, E_ZONE, E_FLAGS, E_CLASS, E_NAT,
 E_FN) = range(1, 12)

# From here on they are rust_ct's own: see netlink_own.py.
OWN = 0x3000

# Of an entry, those that are nested, and the sizes of numbers.
TREES = {ORIG, REPLY, PROTOINFO, HELP, NAT_SRC, NAT_DST, CNT_ORIG, CNT_REPLY, MASTER, SEQ_ORIG,
         SEQ_REPLY, SECCTX, TIMESTAMP, SYNPROXY, FILTER}
SIZES = {STATUS: 4, TIMEOUT: 4, MARK: 4, USE: 4, ID: 4, ZONE: 2, MARK_MASK: 4, EVENT_TIME: 8}

SEEN_REPLY, ASSURED, CONFIRMED = 2, 4, 8


def u8(value):
    return bytes([value])


def be16(value):
    return struct.pack("!H", value)


def u32(value):
    return struct.pack("=I", value)


def pack(tree):
    """A tree is a list of (number, bytes or tree); a third member: flags of the number."""
    out = []
    for number, value, *flags in tree:
        if isinstance(value, list):
            value, number = pack(value), number | (flags[0] if flags else NESTED)
        out.append(attribute(number, value))
    return b"".join(out)


def address(text):
    return socket.inet_pton(AF_INET6 if ":" in text else AF_INET, text)


def tuple_(src, dst, proto, sport=0, dport=0, zone=None):
    six = len(address(src)) == 16
    ip = [(3 if six else 1, address(src)), (4 if six else 2, address(dst))]
    if proto in (ICMP, ICMPV6):
        first = 4 if proto == ICMP else 7
        ports = [(first, be16(sport)), (first + 1, u8(dport)), (first + 2, u8(0))]
    else:
        ports = [(2, be16(sport)), (3, be16(dport))]
    tree = [(1, ip), (2, [(1, u8(proto))] + ports)]
    if zone is not None:
        tree.append((3, be16(zone)))
    return tree


def narrow(data):
    """The attributes of an entry as a reader sees them that keeps eight bits of a type, as Go's
    ti-mo/conntrack does, and that ends when what it knows is not as it should be."""
    found = {}
    for number, value in attributes(data):
        number &= 0xFF
        if number in found:
            raise ValueError(f"attribute {number} comes twice")
        if number in TREES:
            rest = value
            while rest:
                size = int.from_bytes(rest[:2], sys.byteorder)
                if len(rest) < 4 or not 4 <= size <= len(rest):
                    raise ValueError(f"attribute {number} is not nested: {value.hex()}")
                rest = rest[size + 3 & ~3:]
        if number in SIZES and len(value) != SIZES[number]:
            raise ValueError(f"attribute {number} has {len(value)} bytes")
        found[number] = value
    return found


class Socket:
    """A netlink socket. Messages are (kind, flags, portid, body)."""

    def __init__(self, *groups, room=1 << 22):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, 33, room)  # SO_RCVBUFFORCE
        except PermissionError:
            # Of a user namespace's root.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.socket.bind((0, 0))
        for group in groups:
            self.socket.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, group)
        self.sequence = 0

    def receive(self):
        data = self.socket.recv(1 << 20)
        while len(data) >= 16:
            size, kind, flags, _, portid = struct.unpack_from("=IHHII", data)
            yield kind, flags, portid, data[16:size]
            data = data[size + 3 & ~3:]

    def send(self, subsystem, message, flags, body, family, version, resource=0):
        self.sequence += 1
        body = struct.pack("!BBH", family, version, resource) + body
        head = struct.pack("=IHHII", 16 + len(body), subsystem << 8 | message, REQUEST | flags,
                           self.sequence, 0)
        self.socket.send(head + body)

    def ask(self, subsystem, message, flags=0, tree=(), family=AF_INET, version=0):
        """(error number, messages); the end of the answer is told by ACK or DONE."""
        body = tree if isinstance(tree, bytes) else pack(tree)
        self.send(subsystem, message, flags | ACK, body, family, version)
        found = []
        while True:
            for kind, flags, portid, body in self.receive():
                if kind == NLMSG_ERROR:
                    return -struct.unpack_from("=i", body)[0], found
                if kind == NLMSG_DONE:
                    self.done_flags = flags
                    return -struct.unpack_from("=i", body)[0], found
                found.append((kind, flags, portid, body))


def name_of(error):
    return errno.errorcode.get(error, str(error)) if error else "ok"


# The last are the longest that there can be, with a tick of 4 ms and of 10 ms.
ROUNDED = (0, 10, 30, 60, 100, 120, 180, 300, 432000, 1 << 24, 1 << 25)


def render(data, subsystem=CT, path=()):
    out = []
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        value, number = data[4:size], kind & ~NESTED
        data = data[size + 3 & ~3:]
        here = path + (number,)
        if number >= OWN:
            continue
        if kind & NESTED:
            text = "{" + render(value, subsystem, here) + "}"
        elif here in ((ID,), (EVENT_TIME,)) and subsystem == CT or here == (E_ID,) and \
                subsystem == EXP or subsystem == CT and path == (TIMESTAMP,):
            text = f"={len(value)}"
        elif here == (TIMEOUT,) and subsystem == CT or here == (E_TIMEOUT,) and subsystem == EXP:
            left = struct.unpack("!I", value)[0]
            text = str(min((r for r in ROUNDED if r >= left), default=left))
        else:
            text = value.hex()
        out.append(f"{number}:{text}")
    return " ".join(out)


def show(message, own=None):
    kind, flags, portid, body = message
    family, version, resource = struct.unpack_from("!BBH", body)
    sender = "" if own is None else " ours" if portid == own else " kernel" if not portid else " ?"
    return (f"{kind >> 8}/{kind & 255} flags={flags:#x}{sender} {family} v{version} {resource} "
            + render(body[4:], kind >> 8))


PROTOCOLS = {TCP: "tcp", UDP: "udp", ICMP: "icmp", GRE: "gre", ICMPV6: "icmpv6", SCTP: "sctp"}
STATES = ("NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK",
          "TIME_WAIT", "CLOSE", "SYN_SENT2")
FLAGS = ("EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED", "SRC_NAT", "DST_NAT", "SEQ_ADJUST",
         "SRC_NAT_DONE", "DST_NAT_DONE", "DYING", "FIXED_TIMEOUT", "TEMPLATE", "NAT_CLASH",
         "HELPER", "OFFLOAD", "HW_OFFLOAD")


def flow_of(data):
    """A tuple's protocol, its source, and its way, which includes ports or the like, as texts."""
    parts = dict(attributes(data))
    _, source = min(attributes(parts[1]))
    _, target = max(attributes(parts[1]))
    (_, proto), *ports = attributes(parts[2])
    family = AF_INET if len(source) == 4 else AF_INET6
    source, target = (socket.inet_ntop(family, end) for end in (source, target))
    way = f"{source}>{target}"
    if ports:
        way += " " + "/".join(str(int.from_bytes(value, "big")) for _, value in ports)
    return PROTOCOLS.get(proto[0], f"proto {proto[0]}"), source, way


class Events:
    """Records what a namespace tells of its connections.

    Of each connection the order is kept, and all that is neither by chance nor by the clock.
    HOSTS are addresses whose kernels send what they like: of TCP between them packets are not
    counted, nor is it told whether data were unacknowledged at the time of an event.
    """

    # What is told in words, and what is by the clock or by chance.
    IN_WORDS = ORIG, REPLY, STATUS, PROTOINFO, MARK, CNT_ORIG, CNT_REPLY
    IGNORED = ID, TIMEOUT, TIMESTAMP, EVENT_TIME

    def __init__(self, *hosts):
        self.hosts = hosts
        self.client = Client()
        # So large that nothing is lost. (If it is, receive() fails with ENOBUFS.)
        self.listener = Socket(1, 2, 3, room=1 << 25)
        self.told, self.ids, self.counts = {}, {}, {}

    def finish(self):
        """Ends the connections that are left. Which of them ended before, since their time was
        over, is by the clock: one end looks like the other."""
        self.read()
        self.client.flush()
        self.read(flushed=True)

    def read(self, flushed=False):
        """Reads until nothing comes any more."""
        self.listener.socket.settimeout(0.5)
        try:
            while True:
                for kind, flags, _, body in self.listener.receive():
                    narrow(body[4:])
                    self.add(kind & 255, flags, dict(attributes(body[4:])), flushed)
        except (TimeoutError, socket.timeout):
            pass

    def add(self, message, flags, parts, flushed):
        proto, source, way = flow_of(parts[ORIG])
        key = f"{proto} {way}, answers {flow_of(parts[REPLY])[2]}"
        what = "DESTROY" if message == DELETE else "NEW" if flags & CREATE else "UPDATE"
        status = int.from_bytes(parts[STATUS], "big")
        if proto == "udp" and status & ASSURED:
            # It becomes so by a packet two seconds after the first one: which packet that is, if
            # any, depends on the machine.
            if what == "UPDATE":
                return
            status &= ~ASSURED
        by_chance = proto == "tcp" and source in self.hosts
        words = [what]
        if what == "DESTROY" and TIMEOUT in parts and not flushed:
            words.append("before its time")
        if PROTOINFO in parts:
            words += self.tcp_state(parts[PROTOINFO], by_chance)
        words += [name for bit, name in enumerate(FLAGS) if status >> bit & 1]
        if MARK in parts:
            words.append(f"mark={int.from_bytes(parts[MARK], 'big')}")
        words += [f"{number}:{value.hex()}" for number, value in parts.items()
                  if number not in self.IN_WORDS + self.IGNORED and number < OWN]
        if not by_chance:
            words += ["/".join(str(int.from_bytes(count, "big")) for _, count in
                               sorted(attributes(parts[number]))[:2])
                      for number in (CNT_ORIG, CNT_REPLY) if number in parts]
        if self.ids.setdefault(key, parts[ID]) != parts[ID]:
            words.append("(of another entry)")
        if what == "DESTROY":
            del self.ids[key]
        self.counts[what] = self.counts.get(what, 0) + 1
        self.told.setdefault(key, []).append(" ".join(words))

    @staticmethod
    def tcp_state(data, by_chance):
        (_, about), = attributes(data)
        state, *rest = (value for _, value in attributes(about))
        yield STATES[state[0]]
        if rest and not by_chance:
            yield "/".join(value.hex() for value in rest)


def detail(key, value):
    print(f"~ {key}: {value}")


def check(what, condition, why=""):
    print(("ok " if condition else "not ok ") + what + (f" ({why})" if why else ""), flush=True)


class Client:
    def __init__(self):
        self.netlink = Socket()

    def ask(self, *arguments, **options):
        return self.netlink.ask(*arguments, **options)

    def dump(self, subsystem=CT, message=GET, tree=(), family=0):
        error, found = self.ask(subsystem, message, DUMP, tree, family)
        return [f"error {name_of(error)}"] if error else sorted(map(show, found))

    def told(self, key, *arguments, **options):
        """What a request is answered."""
        error, found = self.ask(*arguments, **options)
        detail(key, " | ".join([name_of(error)] + list(map(show, found))))
        return error

    def flush(self):
        for subsystem in EXP, CT:
            error, _ = self.ask(subsystem, DELETE, 0, (), 0)
            assert not error, name_of(error)

    def listing(self, key):
        for line in self.dump() + self.dump(EXP, EXP_GET):
            detail(key + " / " + line.split(" 1:", 1)[-1][:110], line)

    def new(self, tree, flags=CREATE | EXCL, family=AF_INET):
        return self.ask(CT, NEW, flags, tree, family)[0]


def entry(proto=UDP, src="10.7.0.1", dst="10.7.0.2", sport=1000, dport=2000, timeout=100, more=(),
          zone=(None, None)):
    back = {ICMP: 0, ICMPV6: 129}.get(proto)
    reply = (sport, back) if back is not None else (dport, sport)
    if back is not None:
        dport = {ICMP: 8, ICMPV6: 128}[proto]
    return [(ORIG, tuple_(src, dst, proto, sport, dport, zone[0])),
            (REPLY, tuple_(dst, src, proto, *reply, zone=zone[1])),
            (TIMEOUT, be32(timeout))] + list(more)


STATE = (PROTOINFO, [(1, [(1, u8(3)), (2, u8(7)), (3, u8(5)), (4, b"\x0a\x0a"),
                          (5, b"\x0b\x0b")])])
SCTP_STATE = (PROTOINFO, [(3, [(1, u8(4)), (2, be32(0x11223344)), (3, be32(0x55667788))])])
SHIFT = [(1, be32(1)), (2, be32(5)), (3, be32(7))]
REPLIED = (STATUS, be32(SEEN_REPLY | ASSURED | CONFIRMED))
FTP = (HELP, [(1, b"ftp\0")])
NAT = [(1, address("10.7.0.77")), (3, [(1, be16(5000)), (2, be16(5000))])]

MADE = {
    "udp": entry(),
    "udp, assured": entry(more=[REPLIED]),
    "udp6": (entry(UDP, "fd07::1", "fd07::2"), AF_INET6),
    "tcp": entry(TCP, more=[STATE, REPLIED, (MARK, be32(0x1234))]),
    "tcp, without a state": entry(TCP),
    "sctp": entry(SCTP, more=[SCTP_STATE, REPLIED]),
    "gre": entry(GRE),
    "protocol 99": entry(99),
    "ping": entry(ICMP),
    "ping6": (entry(ICMPV6, "fd07::1", "fd07::2"), AF_INET6),
    "zone": entry(more=[(ZONE, be16(9))]),
    "zone of the original direction": entry(zone=(9, None)),
    "zone of the reply direction": entry(zone=(None, 9)),
    "labels": entry(more=[(LABELS, b"\1" + bytes(14) + b"\x80")]),
    "labels, masked": entry(more=[(LABELS, bytes(range(16))), (LABELS_MASK, b"\x0f" * 16)]),
    "shifted numbers": entry(TCP, more=[STATE, REPLIED, (SEQ_ORIG, SHIFT), (SEQ_REPLY, SHIFT)]),
    "synproxy": entry(TCP, more=[STATE, (SYNPROXY, SHIFT)]),
    "helper": entry(TCP, more=[STATE, FTP]),
    "helper and NAT": entry(TCP, more=[STATE, FTP, (NAT_SRC, NAT)]),
    "source NAT": entry(more=[(NAT_SRC, NAT)]),
    "destination NAT": entry(more=[(NAT_DST, NAT)]),
    "both": entry(more=[(NAT_DST, NAT), (NAT_SRC, NAT)]),
    "fixed timeout": entry(more=[(STATUS, be32(CONFIRMED | 1 << 10))]),
    "no time left": entry(timeout=0),
    "a very long time": entry(timeout=0xFFFFFFFF),
    "mark, masked": entry(more=[(MARK, be32(0xFF)), (MARK_MASK, be32(0xF0))]),
}


FTP_EXPECTED = (E_HELP, b"ftp\0")


def expectation(master=None, more=(), timeout=60):
    return [(E_TUPLE, tuple_("0.0.0.0", "10.7.0.2", TCP, 0, 3000)),
            (E_MASK, tuple_("0.0.0.0", "255.255.255.255", TCP, 0, 65535)),
            (E_MASTER, master or tuple_("10.7.0.1", "10.7.0.2", TCP, 1000, 2000)),
            (E_TIMEOUT, be32(timeout))] + list(more)


def run(usage, **commands):
    """The main function of a program that takes one of the commands as its first argument. It prints
    "ok" and that command's name at the end."""
    what, *arguments = sys.argv[1:] or ["--help"]
    if what not in commands:
        print(usage)
        return
    commands[what](*arguments)
    print("ok", what)
