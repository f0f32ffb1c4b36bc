# SPDX-License-Identifier: GPL-2.0
"""Packets by chance, for packet_fuzz.py and rule_fuzz.py: a Generator makes them, and is shown what came
out of the router. Addresses are those of setup_router() in lib.sh, and neighbours of theirs."""

import collections
import ipaddress
import random
import struct

import packet_payloads
from traffic import ETH_P_IP, ETH_P_IPV6, checksum, crc32c

TCP, UDP, UDPLITE, ICMP, ICMPV6, SCTP, DCCP, GRE, FRAGMENT = 6, 17, 136, 1, 58, 132, 33, 47, 44
PORTED = TCP, UDP, UDPLITE, SCTP, DCCP
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
NUMBERS = (0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 20, 40, 63, 64, 127, 128, 255)
MTU = 1480
# Protocol and port of the server, as the rules give helpers.
SERVICES = packet_payloads.SERVICES


def side_addresses(net):
    four = [ipaddress.ip_address(f"10.0.{net}.{last}").packed for last in (9, 10, 11, 12, 2)]
    six = [ipaddress.ip_address(f"fd00:{net}::{last}").packed for last in ("9", "a", "b", "c", "2")]
    return {4: four, 16: six}


CLIENTS, SERVERS = side_addresses(1), side_addresses(2)
ROUTER = {4: [ipaddress.ip_address(f"10.0.{net}.1").packed for net in (1, 2)],
          16: [ipaddress.ip_address(f"fd00:{net}::1").packed for net in (1, 2)]}
ODD = {4: [bytes(4), b"\xff" * 4, b"\x7f\0\0\1", b"\xe0\0\0\5"],
       16: [bytes(16), bytes(15) + b"\1", b"\xff\2" + bytes(13) + b"\5", bytes(10) + b"\xff\xff\x0a\0\1\x09"]}


class Packet:
    """What is in one, before its headers are made: addresses, protocol, and the transport's bytes with
    the place of its checksum (None: it has none)."""

    def __init__(self, source, target, protocol, data, sum_at=None):
        self.source, self.target, self.protocol = source, target, protocol
        self.data, self.sum_at = data, sum_at

    def finish(self):
        """The transport's bytes with a right checksum."""
        data, at = self.data, self.sum_at
        if at is None or len(data) < at + 2:
            return data
        if self.protocol == SCTP:
            if len(data) < 12:
                return data
            data = data[:8] + bytes(4) + data[12:]
            return data[:8] + struct.pack("<I", crc32c(data)) + data[12:]
        pseudo = b""
        if len(self.source) == 16:
            pseudo = self.source + self.target + struct.pack("!II", len(data), self.protocol)
        elif self.protocol != ICMP:
            pseudo = self.source + self.target + struct.pack("!HH", self.protocol, len(data))
        value = checksum(pseudo + data[:at] + bytes(2) + data[at + 2:])
        return data[:at] + struct.pack("!H", value or 0xFFFF) + data[at + 2:]


def tcp(source, target, ports, seq, ack, flags, window=8192, options=b"", data=b""):
    options += bytes(-len(options) % 4)
    head = struct.pack("!HHIIBBHHH", *ports, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 5 + len(options) // 4 << 4,
                       flags, window, 0, 0)
    return Packet(source, target, TCP, head + options + data, 16)


def udp(source, target, ports, data=b"", protocol=UDP):
    size = 8 + len(data) if protocol == UDP else 8
    return Packet(source, target, protocol, struct.pack("!HHHH", *ports, size, 0) + data, 6)


def sctp(source, target, ports, tag, *chunks):
    data = struct.pack("!HHII", *ports, tag, 0)
    for kind, flags, value in chunks:
        data += struct.pack("!BBH", kind, flags, 4 + len(value)) + value + bytes(-len(value) % 4)
    return Packet(source, target, SCTP, data, 8)


def dccp(source, target, ports, kind, data=b""):
    head = struct.pack("!HHBBHBBHI", *ports, 4 + len(data) // 4, 0, 0, kind << 1 | 1, 0, 0, 7) + bytes(8)
    return Packet(source, target, DCCP, head + data, 6)


def gre(source, target, call, data=b""):
    if call is None:
        return Packet(source, target, GRE, struct.pack("!HH", 0, ETH_P_IP) + data)
    return Packet(source, target, GRE, struct.pack("!HHHHI", 0x3001, 0x880B, len(data), call, 1) + data)


def icmp(source, target, kind, code, word, data=b""):
    protocol = ICMP if len(source) == 4 else ICMPV6
    return Packet(source, target, protocol, struct.pack("!BBHI", kind, code, 0, word) + data, 2)


class Parsed:
    """What came out of the router: the same, and what is behind the transport's header."""

    def __init__(self, frame):
        ether = struct.unpack_from("!H", frame, 12)[0]
        self.whole = frame[14:]
        if ether == ETH_P_IP and len(self.whole) >= 20:
            head = (self.whole[0] & 15) * 4
            self.protocol, self.source, self.target = self.whole[9], self.whole[12:16], self.whole[16:20]
            self.data = self.whole[head:struct.unpack_from("!H", self.whole, 2)[0]]
            self.piece = bool(struct.unpack_from("!H", self.whole, 6)[0] & 0x3FFF)
        elif ether == ETH_P_IPV6 and len(self.whole) >= 40:
            self.protocol, self.source, self.target = self.whole[6], self.whole[8:24], self.whole[24:40]
            self.data = self.whole[40:]
            self.piece = self.protocol == FRAGMENT
        else:
            raise ValueError
        self.ports = struct.unpack_from("!HH", self.data) if self.protocol in PORTED and len(self.data) >= 4 else None

    def payload(self):
        if self.protocol == TCP and len(self.data) >= 20:
            return self.data[(self.data[12] >> 4) * 4:]
        return self.data[8:] if self.protocol == UDP else b""


class Generator:
    def __init__(self, seed):
        self.chance = random.Random(seed)
        # What came out at each side, and packets that were made.
        self.seen = {"c": collections.deque(maxlen=60), "s": collections.deque(maxlen=60)}
        self.made = collections.deque(maxlen=60)
        # Ends that a helper's protocol has announced: (side that will begin, protocol, address, port).
        self.announced = collections.deque(maxlen=20)

    def ends(self, side):
        """(here, there) of a flow that a side begins."""
        chance, size = self.chance, self.chance.choice((4, 4, 16))
        here, there = (CLIENTS, SERVERS) if side == "c" else (SERVERS, CLIENTS)
        # The clients' addresses, seen from the server, are often the router's.
        target = chance.choice(there[size] * 3 + ROUTER[size] * (4 if side == "s" else 1))
        source = chance.choice(here[size] * 12 + ODD[size])
        return source, chance.choice([target] * 30 + ODD[size])

    def options(self):
        """Of TCP: likely ones, cut and odd ones."""
        chance, out = self.chance, b""
        for _ in range(chance.choice((0, 1, 1, 2, 4))):
            out += chance.choice((
                b"\2\4\5\xb4", b"\1\3\3\7", b"\3\3\xff", b"\4\2", b"\1\1\x08\x0a" + chance.randbytes(8), b"\0",
                b"\1\1\5\x0a" + chance.randbytes(8), b"\5\x22" + chance.randbytes(32), b"\1" * 3,
                bytes((chance.randrange(256), chance.choice((0, 1, 2, 255)))), b"\x1e\x0c" + chance.randbytes(10)))
        return out[:40]

    def begin(self):
        """The first packet of a flow."""
        chance = self.chance
        side = chance.choice("cccs")
        source, target = self.ends(side)
        # Few ports, so that flows meet again.
        ports = chance.choice((1024, 5060, 40000)) + chance.randrange(40), chance.choice((80, 53, 7, 9))
        protocol = chance.choice((TCP,) * 6 + (UDP,) * 5 + (ICMP,) * 3 + (SCTP, SCTP, DCCP, UDPLITE, GRE, 50, 51, 99,
                                                                          ICMPV6, chance.randrange(256)))
        if chance.random() < 0.4:
            protocol, port = chance.choice(SERVICES)
            ports = ports[0], port
        if self.announced and chance.random() < 0.3:
            side, protocol, target, port = self.announced.popleft()
            same = CLIENTS if side == "c" else SERVERS
            source, ports = chance.choice(same[len(target)]), (ports[0], port)
        return side, self.first(source, target, protocol, ports)

    def first(self, source, target, protocol, ports):
        chance = self.chance
        if protocol == TCP:
            flags = chance.choice((SYN,) * 12 + (ACK, ACK | PSH, SYN | ACK, RST, FIN | ACK, chance.randrange(256)))
            seq = chance.choice((1000, 0xFFFFFFF0, chance.getrandbits(32)))
            data = packet_payloads.make(chance, protocol, ports[1], source, False) if not flags & SYN else b""
            return tcp(source, target, ports, seq, 0, flags, chance.choice((0, 1, 8192, 65535)), self.options(), data)
        if protocol in (UDP, UDPLITE):
            data = packet_payloads.make(chance, protocol, ports[1], source, False)
            return udp(source, target, ports, data, protocol)
        if protocol == SCTP:
            init = struct.pack("!IIHHI", chance.choice((0, 1, 77)), 8192, 1, 1, 1)
            kind = chance.choice((1, 1, 1, 0, 3, 4, 6, 7, 8, 10, 11, 14, 63))
            return sctp(source, target, ports, 0 if kind == 1 else 77, (kind, chance.randrange(2), init))
        if protocol == DCCP:
            return dccp(source, target, ports, chance.choice((0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15)), bytes(4))
        if protocol == GRE:
            return gre(source, target, chance.choice((None, 1, 2, 7)), chance.randbytes(9))
        if protocol in (ICMP, ICMPV6):
            requests = (8, 8, 8, 13, 15, 17, 0, 3, 5, 9, 11) if len(source) == 4 else \
                (128, 128, 128, 129, 133, 135, 1, 2)
            return icmp(source, target, chance.choice(requests), chance.choice((0, 0, 0, 1, 4, 255)),
                        chance.choice((0, 1 << 16, 2 << 16 | 1)), bytes(8))
        return Packet(source, target, protocol, chance.randbytes(chance.choice((0, 1, 8, 40))))

    def answer(self, side):
        """To what came out at this side."""
        chance, got = self.chance, self.chance.choice(self.seen[side])
        source, target, data = got.target, got.source, got.data
        if got.protocol == TCP and len(data) >= 20:
            return side, self.answer_tcp(got)
        if got.ports:
            ports = got.ports[::-1]
            if got.protocol in (UDP, UDPLITE):
                if chance.random() < 0.1:
                    ports = 5000 + chance.randrange(9), ports[1]  # as TFTP's servers do
                payload = packet_payloads.make(chance, UDP, ports[0], source, True)
                return side, udp(source, target, ports, payload, got.protocol)
            if got.protocol == SCTP:
                return side, self.answer_sctp(got, ports)
            if got.protocol == DCCP:
                return side, dccp(source, target, ports, chance.choice((1, 1, 2, 3, 4, 5, 6, 7)), bytes(8))
        if got.protocol in (ICMP, ICMPV6) and len(data) >= 8:
            kind = {8: 0, 13: 14, 15: 16, 17: 18, 128: 129}.get(data[0], chance.randrange(256))
            return side, Packet(source, target, got.protocol, bytes((kind, data[1], 0, 0)) + data[4:], 2)
        return side, Packet(source, target, got.protocol, data)

    def answer_tcp(self, got):
        chance = self.chance
        sport, dport, seq, ack, words, flags, _ = struct.unpack_from("!HHIIBBH", got.data)
        size = len(got.data) - (words >> 4) * 4 + bool(flags & SYN) + bool(flags & FIN)
        payload = b""
        if flags & SYN and not flags & ACK:
            reply, ack = SYN | ACK, chance.choice((5000, ack, chance.getrandbits(32)))
        else:
            reply = chance.choice((ACK, ACK, ACK | PSH, ACK | PSH, ACK | PSH, FIN | ACK, RST | ACK, RST, SYN,
                                   SYN | ACK))
            if reply & PSH:
                served = (TCP, dport) in SERVICES
                payload = packet_payloads.make(chance, TCP, dport if served else sport, got.target, served)
        far = chance.choice((0,) * 20 + (1, -1, 1 << 16, 1 << 31, -5000))
        return tcp(got.target, got.source, (dport, sport), ack + far, seq + size, reply,
                   chance.choice((0, 100, 8192, 65535)), self.options() if chance.random() < 0.3 else b"", payload)

    def answer_sctp(self, got, ports):
        chance = self.chance
        kind = got.data[12] if len(got.data) > 12 else 0
        tag = int.from_bytes(got.data[16:20], "big") if kind in (1, 2) else chance.choice((77, 99))
        init = struct.pack("!IIHHI", 99, 8192, 1, 1, 1)
        follows = {1: 2, 2: 10, 10: 11, 11: 0, 0: 3, 4: 5, 7: 8, 8: 14}.get(kind, 0)
        chunks = [(chance.choice((follows,) * 5 + (6, 7, 4, 9)), chance.randrange(2), init)]
        if chance.random() < 0.2:
            chunks.append((chance.randrange(16), 0, chance.randbytes(chance.choice((0, 4, 12)))))
        return sctp(got.target, got.source, ports, tag, *chunks)

    def error(self, side):
        """About what came out at this side; of a host there, or of the router itself."""
        chance, got = self.chance, self.chance.choice(self.seen[side])
        size = len(got.source)
        source = chance.choice((got.target, chance.choice((SERVERS if side == "s" else CLIENTS)[size]),
                                chance.choice(ODD[size])))
        quoted = bytearray(got.whole[:chance.choice((20, 28, 36, 48, 128, 576))])
        if chance.random() < 0.4:
            self.spoil(quoted)
        if chance.random() < 0.05:
            # An error about an error.
            quoted[:0] = got.whole[:20 if size == 4 else 40] + b"\3\1\0\0\0\0\0\0"
        kind = chance.choice((3, 3, 3, 4, 5, 11, 12) if size == 4 else (1, 1, 2, 3, 4, 137))
        word = chance.choice((0, 1400, 576, 68, 0xFFFF, chance.getrandbits(32)))
        return side, icmp(source, got.source, kind, chance.choice((0, 1, 3, 4, 13)), word, bytes(quoted))

    def spoil(self, data):
        chance = self.chance
        for _ in range(chance.choice((1, 1, 1, 2, 8))):
            if not data:
                return
            at, kind = chance.randrange(len(data)), chance.randrange(5)
            if kind == 0:
                data[at] = chance.choice(NUMBERS)
            elif kind == 1:
                data[at] ^= 1 << chance.randrange(8)
            elif kind == 2:
                del data[at:]
            elif kind == 3:
                data[at:at + 4] = chance.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", chance.randbytes(4)))
            else:
                data += chance.randbytes(chance.choice((1, 4, 60)))

    def wrap4(self, packet, data, identity, ttl):
        chance, options = self.chance, b""
        if chance.random() < 0.03:
            options = chance.choice((b"\1\1\1\1", b"\7\7\4\0\0\0\0\0", b"\x83\7\4\0\0\0\0\0", b"\x94\4\0\0",
                                     b"\x44\4\1\0",
                                     chance.randbytes(4) * 3, b"\1" * 40))
        head = 20 + len(options)
        for piece, offset, more in self.pieces(data, MTU - head):
            flags = offset // 8 | more << 13
            whole = struct.pack("!BBHHHBBH", 0x40 | head // 4, 0, head + len(piece), identity, flags, ttl,
                                packet.protocol, 0) + packet.source + packet.target + options
            if chance.random() < 0.01:
                broken = bytearray(whole)
                self.spoil(broken)
                whole = bytes(broken)
            value = checksum(whole[:10] + bytes(2) + whole[12:])
            yield ETH_P_IP, whole[:10] + struct.pack("!H", value) + whole[12:] + piece

    def wrap6(self, packet, data, identity, ttl):
        chance, kinds, bodies = self.chance, [], []
        if chance.random() < 0.05:
            for _ in range(chance.choice((1, 1, 2, 5))):
                kinds.append(chance.choice((0, 43, 60, 60, 51, 135)))
                bodies.append(chance.choice((b"\0\1\4\0\0\0\0", b"\1\1\x0c" + bytes(12), b"\xff\1\4\0\0\0\0",
                                             b"\0\0\0")))
        for piece, offset, more in self.pieces(data, MTU - 40):
            here, inside = kinds + [packet.protocol], list(bodies)
            if offset or more:
                here.insert(len(kinds), FRAGMENT)
                inside.append(struct.pack("!BHI", 0, offset | more, identity))
            chain = b"".join(bytes([following]) + body for following, body in zip(here[1:], inside)) + piece
            yield ETH_P_IPV6, struct.pack("!IHBB", 6 << 28, len(chain), here[0], ttl) + packet.source + \
                packet.target + chain

    def pieces(self, data, most):
        """(bytes, offset, whether more follow) of a packet that is whole, or in fragments."""
        chance = self.chance
        if not data or len(data) <= most and chance.random() > 0.06:
            return [(data, 0, 0)]
        size, out, at = chance.choice((8, 16, 24, 200, 800)), [], 0
        while at < len(data):
            out.append((data[at:at + size], at, int(at + size < len(data))))
            at += size
        out = out[:40]
        if chance.random() < 0.4:
            at = chance.randrange(len(out))
            piece, offset, more = out[at]
            out[at] = chance.choice(((piece, max(0, offset - 8), more), (piece, offset, 1 - more),
                                     (piece[:-1], offset, more),
                                     (piece, 65528, more), (piece + bytes(16), offset, more), (b"", offset, more)))
            if chance.random() < 0.5:
                out.append((piece, offset, more))
            elif chance.random() < 0.5:
                out.pop(at)
        if chance.random() < 0.5:
            chance.shuffle(out)
        return out

    def packet(self):
        """The next one: its side, and frames (kind, bytes)."""
        chance = self.chance
        kind, side = chance.random(), chance.choice("cs")
        if kind < 0.5 and self.seen[side]:
            side, packet = self.answer(side)
        elif kind < 0.58 and self.seen[side]:
            side, packet = self.error(side)
        elif kind < 0.68 and self.made:
            side, packet = chance.choice(self.made)
        else:
            side, packet = self.begin()
        packet = Packet(packet.source, packet.target, packet.protocol, packet.data, packet.sum_at)
        self.made.append((side, packet))
        data = packet.data
        if chance.random() < 0.15:
            data = bytearray(data)
            self.spoil(data)
            packet.data = bytes(data)
        data = packet.finish() if chance.random() > 0.04 else packet.data
        if chance.random() < 0.02:
            packet.protocol = chance.choice(PORTED + (ICMP, ICMPV6, GRE, 0, 41, 4, 59, 255))
        if len(packet.source) != len(packet.target):
            packet.target = packet.source
        wrap = self.wrap4 if len(packet.source) == 4 else self.wrap6
        return side, list(wrap(packet, data, chance.randrange(1, 40), chance.choice((64,) * 20 + (0, 1, 2, 255))))

    def receive(self, side, frame):
        try:
            got = Parsed(frame)
        except (ValueError, IndexError, struct.error):
            return
        if got.piece:
            return
        self.seen[side].append(got)
        for protocol, address, port in packet_payloads.announcements(got.payload(), got.source):
            # The other end of that flow begins at the side where this was read.
            self.announced.append((side, protocol, address, port))
