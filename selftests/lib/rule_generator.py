# SPDX-License-Identifier: GPL-2.0
"""Rules by chance as the kernel takes them, for rule_fuzz.py: messages of nf_tables and of the timeouts'
subsystem, tables of iptables. What has to do with the tracker and with NAT: likely values, then mistakes."""

import ipaddress
import struct

from ctnetlink import be16, be32, pack, u8, u32
from mutations import WORDS, Mutator, some_bytes
from netlink import attribute

NFT, TIMEOUTS, HELPERS = 10, 8, 9
NEW_TABLE, DEL_TABLE, NEW_CHAIN, NEW_RULE, DEL_RULE, GET_GEN, NEW_OBJ, GET_OBJ, DEL_OBJ = 0, 2, 3, 6, 8, 16, 18, 19, 20
IPV4, IPV6, INET = 2, 10, 1
# Registers of 16 bytes.
ONE, TWO, THREE, FOUR = range(1, 5)
BATCH_BEGIN, BATCH_END = 0x10, 0x11

# Tables, as targets of xtables want to be in one of a certain name; chains: hook, priority, type.
CHAINS = {
    b"nat": {b"prerouting": (0, -100, b"nat"), b"input": (1, 100, b"nat"), b"output": (3, -100, b"nat"),
             b"postrouting": (4, 100, b"nat")},
    b"raw": {b"prerouting": (0, -300, b"filter"), b"output": (3, -300, b"filter")},
    b"filter": {b"prerouting": (0, -150, b"filter"), b"forward": (2, 0, b"filter"), b"output": (3, 0, b"filter")},
}
FAMILIES = IPV4, IPV6, INET

# Name, revision, size, table (None: any), hooks, and whether it is for IPv6.
EACH, FOR_ANY = range(5), (False, True)
TARGETS = (
    (b"SNAT", 0, 24, b"nat", (1, 4), (False,)), (b"SNAT", 1, 40, b"nat", (1, 4), FOR_ANY),
    (b"SNAT", 2, 48, b"nat", (1, 4), FOR_ANY), (b"DNAT", 0, 24, b"nat", (0, 3), (False,)),
    (b"DNAT", 1, 40, b"nat", (0, 3), FOR_ANY), (b"DNAT", 2, 48, b"nat", (0, 3), FOR_ANY),
    (b"MASQUERADE", 0, 24, b"nat", (4,), (False,)), (b"MASQUERADE", 0, 40, b"nat", (4,), (True,)),
    (b"REDIRECT", 0, 24, b"nat", (0, 3), (False,)), (b"REDIRECT", 0, 40, b"nat", (0, 3), (True,)),
    (b"NETMAP", 0, 24, b"nat", EACH, (False,)), (b"NETMAP", 0, 40, b"nat", EACH, (True,)),
    (b"CT", 0, 40, b"raw", EACH, FOR_ANY), (b"CT", 1, 72, b"raw", EACH, FOR_ANY), (b"CT", 2, 72, b"raw", EACH, FOR_ANY),
    (b"NOTRACK", 0, 0, b"raw", EACH, FOR_ANY), (b"CONNMARK", 1, 16, None, EACH, FOR_ANY),
    (b"CONNMARK", 2, 16, None, EACH, FOR_ANY), (b"CONNSECMARK", 0, 8, b"mangle", EACH, FOR_ANY),
    (b"SYNPROXY", 0, 8, b"filter", (1, 2), FOR_ANY),
)
HELPER_NAMES = (b"ftp", b"tftp", b"sip", b"irc", b"pptp", b"Q.931", b"RAS", b"amanda", b"netbios-ns", b"snmp", b"sane",
                b"sip-0", b"nat-follow-master", b"callforward", b"", b"x" * 40)


def address(text):
    return ipaddress.ip_address(text).packed


ADDRESSES = {
    IPV4: [address(f"10.0.{net}.{last}") for net in (1, 2) for last in (1, 2, 9, 10, 12, 100)] +
          [bytes(4), b"\xff" * 4, b"\x7f\0\0\1", b"\xe0\0\0\1"],
    IPV6: [address(f"fd00:{net}::{last}") for net in (1, 2) for last in (1, 2, 9, "a", "c", 100)] +
          [bytes(16), b"\xff" * 16, bytes(15) + b"\1"],
}
PORTS = (0, 1, 7, 53, 80, 1023, 1024, 2000, 2001, 2003, 5060, 40000, 65535)


def nul(name):
    return name + b"\0"


class Rules(Mutator):
    # --- values

    def number(self):
        return self.chance.choice(WORDS)

    def two(self, values):
        """The two ends of a range: mostly in order."""
        ends = [self.chance.choice(values), self.chance.choice(values)]
        if self.chance.random() < 0.8:
            ends.sort()
        if self.chance.random() < 0.4:
            ends[1] = ends[0]
        return ends

    def flags(self):
        """Of a range of NAT."""
        if self.chance.random() < 0.15:
            return self.chance.choice((32, 64, 65, 67, 0x7F, 0x80, self.number()))
        return self.chance.choice((0, 0, 1, 2, 3, 4, 6, 8, 16, 18, 20))

    # --- expressions of nf_tables: [name, data]

    @staticmethod
    def expression(name, *data):
        return [1, [[1, nul(name)], [2, list(data)]]]

    def immediate(self, register, value):
        return self.expression(b"immediate", [1, be32(register)], [2, [[1, value]]])

    def verdict(self):
        code = self.chance.choice((1, 1, 0, 0xFFFFFFFF, 0xFFFFFFFB, 0xFFFFFFFE, 5, self.number()))
        return self.expression(b"immediate", [1, be32(0)], [2, [[2, [[1, be32(code)]]]]])

    def payload(self, register, base, offset, size):
        return self.expression(b"payload", [1, be32(register)], [2, be32(base)], [3, be32(offset)], [4, be32(size)])

    def meta(self, register, key):
        return self.expression(b"meta", [1, be32(register)], [2, be32(key)])

    def compare(self, register, value, operation=0):
        return self.expression(b"cmp", [1, be32(register)], [2, be32(operation)], [3, [[1, value]]])

    def match(self):
        """A part of the packets only."""
        chance = self.chance
        kind = chance.randrange(6)
        if kind == 0:
            return [self.meta(ONE, 16), self.compare(ONE, u8(chance.choice((6, 17, 1, 58, 132, 47))))]
        if kind == 1:
            return [self.meta(ONE, 15), self.compare(ONE, u8(chance.choice((2, 10))))]
        if kind == 2:
            return [self.payload(ONE, 2, 2, 2), self.compare(ONE, be16(chance.choice((21, 53, 80, 5060, 69, 7, 9))))]
        if kind == 3:
            return self.of_connection()
        if kind == 4:
            return [self.compat()]
        return []

    def of_connection(self):
        """ct KEY, compared."""
        chance = self.chance
        key = chance.choice((*range(24), self.number()))
        data = [[1, be32(ONE)], [2, be32(key)]]
        if key in (7, 8, 9, 10, 11, 12, 14, 15, 16, 19, 20, 21, 22) or chance.random() < 0.2:
            data.append([3, u8(chance.choice((0, 1, 1, 2)))])
        size = {6: 16, 13: 16, 8: 16, 9: 16, 21: 16, 22: 16, 14: 8, 15: 8, 16: 8, 10: 1, 7: 1, 1: 1, 17: 2,
                11: 2, 12: 2}
        value = chance.choice((bytes(size.get(key, 4)), chance.randbytes(size.get(key, 4))))
        return [self.expression(b"ct", *data), self.compare(ONE, value, chance.randrange(6))]

    def set_connection(self):
        """ct KEY set"""
        chance = self.chance
        key = chance.choice((3, 3, 4, 13, 17, 17, 18, 18, 6, 1, self.number()))
        size = 16 if key == 13 else 2 if key == 17 else 4
        value = chance.choice((chance.randbytes(size), bytes(size), b"\xff" * size, u32(5)[:size]))
        data = [[2, be32(key)], [4, be32(ONE)]]
        if chance.random() < 0.3:
            data.append([3, u8(chance.choice((0, 1, 2)))])
        source = self.meta(ONE, chance.choice((0, 3, 16))) if chance.random() < 0.2 else self.immediate(ONE, value)
        return [source, self.expression(b"ct", *data)]

    def addresses_into(self, family):
        """Registers ONE and TWO: constants, or what stands in the packet."""
        low, high = self.two(ADDRESSES[family])
        out = [self.immediate(ONE, low), self.immediate(TWO, high)]
        if self.chance.random() < 0.2:
            at = {IPV4: (12, 16), IPV6: (8, 24)}[family]
            out[self.chance.randrange(2)] = self.payload(self.chance.choice((ONE, TWO)), 1, self.chance.choice(at),
                                                              len(low))
            out.insert(0, self.immediate(ONE, low))
            out.insert(0, self.immediate(TWO, high))
        return out

    def ports_into(self):
        """Registers THREE and FOUR."""
        low, high = self.two(PORTS)
        out = [self.immediate(THREE, be16(low)), self.immediate(FOUR, be16(high))]
        if self.chance.random() < 0.2:
            out.append(self.payload(self.chance.choice((THREE, FOUR)), 2, self.chance.choice((0, 2)), 2))
        return out

    def translation(self, family):
        """snat, dnat, masquerade, redirect"""
        chance = self.chance
        ports = [[2, be32(THREE)], [3, be32(FOUR)]][:chance.choice((0, 1, 2, 2))]
        kind = chance.randrange(5)
        if kind == 0:
            data = ([[1, be32(self.flags())]] if chance.random() < 0.5 else []) + ports
            return self.ports_into() + [self.expression(b"masq", *data)]
        if kind == 1:
            data = [[number - 1, value] for number, value in ports]
            data += [[3, be32(self.flags())]] if chance.random() < 0.5 else []
            return self.ports_into() + [self.expression(b"redir", *data)]
        family = chance.choice((IPV4, IPV6)) if family == INET else family
        data = [[1, be32(chance.choice((0, 1, 1)))], [2, be32(family)]]
        data += [[3, be32(ONE)], [4, be32(TWO)]][:chance.choice((0, 1, 2, 2, 2))]
        data += [[number + 3, value] for number, value in ports]
        data += [[7, be32(self.flags())]] if chance.random() < 0.5 else []
        before = []
        if chance.random() < 0.8:
            before = [self.meta(ONE, 15), self.compare(ONE, u8(family))]
        return before + self.addresses_into(family) + self.ports_into() + [self.expression(b"nat", *data)]

    # --- xtables

    def range_of(self, size):
        """nf_nat_range2, and the shorter one; or (24 bytes) IPv4's of old."""
        chance = self.chance
        family = chance.choice((IPV4, IPV6))
        low, high = self.two(PORTS)
        if size == 24:
            first, last = self.two(ADDRESSES[IPV4])
            return struct.pack("=II", chance.choice((1,) * 12 + (0, 2, self.number())), self.flags()) + first + last + \
                be16(low) + be16(high)
        first, last = (value.ljust(16, b"\0") for value in self.two(ADDRESSES[family]))
        return u32(self.flags()) + first + last + be16(low) + be16(high) + be16(chance.choice(PORTS))

    def ct_info(self, timeout):
        chance = self.chance
        flags = chance.choice((0, 0, 0, 0, 1, 2, 4, 8, 16, 20, self.number() & 0xFFFF))
        info = struct.pack("=HHII", flags, chance.choice((0, 5, 7, 0xFFFF)), self.number(), self.number())
        info += chance.choice(HELPER_NAMES + (b"",) * 12).ljust(16, b"\0")[:16]
        return info + (chance.choice((b"", b"", b"t0", b"t1", b"none", b"y" * 32)).ljust(32, b"\0") if timeout else b"")

    def target(self, table, hook, v6):
        """(name, revision, information): mostly one that may stand there."""
        chance = self.chance
        fitting = [one for one in TARGETS if one[3] in (None, table) and hook in one[4] and v6 in one[5]]
        name, revision, size, *_ = chance.choice(fitting if fitting and chance.random() < 0.9 else TARGETS)
        if name in (b"CT", b"NOTRACK"):
            info = self.ct_info(size == 72)[:size]
        elif size >= 24:
            info = self.range_of(size)[:size]
        else:
            info = chance.randbytes(size)
            if name == b"CONNMARK":
                info = struct.pack("=III", self.number(), self.number(), self.number()) + bytes(
                    (chance.randrange(3), chance.randrange(33), chance.randrange(4)))
        return name, revision, info.ljust(size, b"\0")

    def xt_match(self):
        """(name, revision, information)"""
        chance = self.chance
        name, revision, size = chance.choice((
            (b"conntrack", 1, 152), (b"conntrack", 2, 160), (b"conntrack", 3, 168), (b"connlimit", 1, 32),
            (b"connbytes", 0, 24), (b"connmark", 1, 16), (b"helper", 0, 40), (b"connlabel", 0, 8),
            (b"state", 0, 8), (b"cluster", 0, 16)))
        if name == b"helper":
            info = struct.pack("=i", chance.choice((0, 1))) + chance.choice(HELPER_NAMES)[:30]
        elif name == b"connlimit":
            info = chance.choice((b"\xff" * 16, bytes(16), b"\xff\xff\xff" + bytes(13))) + struct.pack(
                "=II", chance.choice((0, 1, 5, self.number())), chance.randrange(4))
        elif name == b"connbytes":
            info = struct.pack("=QQBB", chance.choice((0, 1, 100)), chance.choice((0, 1000, 1 << 60)),
                               chance.randrange(4), chance.randrange(4))
        elif name == b"connlabel":
            info = struct.pack("=HH", chance.choice((0, 1, 127, 128, 0xFFFF)), chance.randrange(4))
        elif name == b"cluster":
            info = struct.pack("=IIII", chance.choice((0, 1, 2, 32, 33)), chance.choice((1, 2, 3, 0xFFFFFFFF)), 7,
                               chance.randrange(4))
        else:
            info = chance.randbytes(size)
        return name, revision, info.ljust(size, b"\0")

    def blemish(self, info):
        """Some bytes of the information are others, now and then."""
        info = bytearray(info)
        while info and self.chance.random() < 0.12:
            at = self.chance.randrange(len(info))
            info[at] = self.chance.choice((0, 1, 0x7F, 0x80, 0xFF, self.chance.randrange(256)))
        if self.chance.random() < 0.02:
            info += bytes(8)
        return bytes(info)

    def compat(self, *place):
        """A match; or the target for a table, hook and family."""
        name, revision, info = self.target(*place) if place else self.xt_match()
        return self.expression(b"target" if place else b"match", [1, nul(name)], [2, be32(revision)],
                               [3, self.blemish(info)])

    # --- messages of nf_tables

    def place(self, table=None, hooks=EACH):
        """(family, table, chain)"""
        if table:
            fitting = [chain for chain, (hook, _, _) in CHAINS[table].items() if hook in hooks]
            return self.chance.choice(FAMILIES), table, self.chance.choice(fitting)
        table = self.chance.choice((b"nat", b"nat", b"nat", b"raw", b"filter"))
        return self.chance.choice(FAMILIES), table, self.chance.choice(list(CHAINS[table]))

    def rule(self):
        """(family, tree)"""
        chance = self.chance
        family, table, chain = self.place()
        kind = chance.random()
        if kind < 0.45 and table == b"nat":
            translation = self.translation(family)
            if chance.random() < 0.9:
                name = translation[-1][1][0][1]
                source = name == nul(b"masq") or name == nul(b"nat") and translation[-1][1][1][1][0][1] == be32(0)
                _, _, chain = self.place(table, (4,) if source else (0, 3))
            expressions = self.match() + translation
        elif kind < 0.7 and family != INET:
            expressions = self.match() + [self.compat(table, CHAINS[table][chain][0], family == IPV6)]
        elif kind < 0.8:
            name, number = chance.choice(((b"h", 3), (b"t", 7), (b"e", 9), (b"p", 10), (b"c", 5)))
            expressions = self.match() + [self.expression(b"objref", [1, be32(number)],
                                                          [2, nul(name + b"%d" % chance.randrange(4))])]
        elif kind < 0.95:
            expressions = self.match() + self.set_connection()
        else:
            expressions = self.match() + [chance.choice((
                self.expression(b"notrack"), self.expression(b"connlimit", [1, be32(self.number())], [2, be32(0)]),
                self.expression(b"synproxy", [1, be16(1460)], [2, u8(7)], [3, be32(chance.randrange(8))]),
                self.verdict()))]
        if chance.random() < 0.1:
            expressions.append(self.verdict())
        tree = [[1, nul(table)], [2, nul(chain)], [4, expressions]]
        if chance.random() < 0.2:
            tree.append([5, [[1, be32(chance.choice((6, 17, 1, 0, 300)))], [2, be32(chance.choice((0, 0, 2)))]]])
        return family, tree

    def timeouts(self, protocol):
        most = {6: 11, 17: 2, 132: 9, 33: 7, 47: 2}.get(protocol, 1)
        return [[number, be32(self.chance.choice((0, 1, 3, 60, 432000, 0x7FFFFFFF, 0xFFFFFFFF)))]
                for number in range(1, most + 1) if self.chance.random() < 0.7]

    def object(self):
        """(family, tree): a helper, timeouts, an expectation, a count of connections, a SYN proxy."""
        chance = self.chance
        family, table, _ = self.place()
        l3, l4 = chance.choice((2, 2, 10, self.number() & 0xFFFF)), chance.choice((6, 6, 17, 17, 132, 1, 0, 255))
        letter, kind = chance.choice(((b"h", 3), (b"h", 3), (b"t", 7), (b"t", 7), (b"e", 9), (b"p", 10), (b"c", 5)))
        data = {
            3: [[1, nul(chance.choice(HELPER_NAMES))], [2, be16(l3)], [3, u8(l4)]],
            7: [[1, be16(l3)], [2, u8(l4)], [3, self.timeouts(l4)]],
            9: [[1, be16(l3)], [2, u8(l4)], [3, be16(chance.choice(PORTS))], [4, u32(self.number())],
                [5, u8(chance.choice((0, 1, 4, 255)))]],
            10: [[1, be16(chance.choice(PORTS))], [2, u8(chance.randrange(20))], [3, be32(chance.randrange(9))]],
            5: [[1, be32(self.number())], [2, be32(chance.randrange(3))]],
        }[kind]
        if chance.random() < 0.2:
            data = data[:chance.randrange(len(data))]
        return family, [[1, nul(table)], [2, nul(letter + b"%d" % chance.randrange(4))], [3, be32(kind)], [4, data]]

    def message(self):
        """(number, flags, family, bytes)"""
        chance = self.chance
        kind = chance.random()
        if kind < 0.7:
            (family, tree), number, flags = self.rule(), NEW_RULE, chance.choice((0xC00, 0xC00, 0x400))
        elif kind < 0.9:
            (family, tree), number = self.object(), chance.choice((NEW_OBJ, NEW_OBJ, NEW_OBJ, DEL_OBJ))
            flags = chance.choice((0x400, 0x600, 0x400, 0x500))
        else:
            family, table, chain = self.place()
            tree, number, flags = [[1, nul(table)], [2, nul(chain)]], DEL_RULE, 0
        for _ in range(chance.choice((0, 0, 0, 0, 1, 1, 2, 4))):
            self.change(tree, {1: some_bytes(8), 2: some_bytes(8), 3: some_bytes(8), 4: some_bytes(20)})
        return number, flags, family, self.pack(tree)

    @staticmethod
    def tables():
        """Messages that make the tables with their chains."""
        for family in FAMILIES:
            for table, chains in CHAINS.items():
                yield NEW_TABLE, 0x400, family, attribute(1, nul(table))
                for chain, (hook, priority, kind) in chains.items():
                    place = attribute(1, be32(hook)) + attribute(2, struct.pack("!i", priority + (family != INET)))
                    yield NEW_CHAIN, 0x400, family, attribute(1, nul(table)) + attribute(3, nul(chain)) + \
                        attribute(0x8004, place) + attribute(7, nul(kind))
                l3 = [1, be16(family if family != INET else IPV4)]
                for name, number, data in ((b"h0", 3, [[1, nul(b"ftp")], [3, u8(6)]]),
                                           (b"h1", 3, [[1, nul(b"tftp")], [3, u8(17)]]),
                                           (b"t0", 7, [l3, [2, u8(6)], [3, [[1, be32(3)], [3, be32(9)]]]]),
                                           (b"e0", 9, [l3, [2, u8(17)], [3, be16(9)], [4, u32(3000)], [5, u8(4)]]),
                                           (b"c0", 5, [[1, be32(5)], [2, be32(0)]])):
                    yield NEW_OBJ, 0x400, family, pack([(1, nul(table)), (2, nul(name)), (3, be32(number)), (4, data)])

    def timeout_message(self):
        """(number, flags, bytes) for the timeouts' subsystem."""
        chance = self.chance
        number = chance.choice((0, 0, 0, 1, 2, 3, 3, 4))
        l4 = chance.choice((6, 17, 132, 1, 58, 47, 0, 255))
        tree = [[2, be16(chance.choice((2, 10, self.number() & 0xFFFF)))], [3, u8(l4)], [4, self.timeouts(l4)]]
        if number < 3:
            tree.insert(0, [1, nul(chance.choice((b"t0", b"t1", b"t2", b"z" * 40)))])
        if chance.random() < 0.3:
            self.change(tree, {1: some_bytes(8), 4: {1: some_bytes(8)}})
        return number, chance.choice((0, 0x100, 0x300, 0x400, 0x600)), self.pack(tree)

    # --- tables of iptables

    def legacy(self, v6, table, hooks, counters):
        """What replaces a table, as ipt_replace and ip6t_replace, but for the counters' address."""
        chance, head, address_size = self.chance, 168 if v6 else 112, 16 if v6 else 4
        out, starts, policies = b"", [0] * 5, [0] * 5

        def entry(matches, target):
            source = chance.choice(ADDRESSES[IPV6 if v6 else IPV4]) if chance.random() < 0.1 else bytes(address_size)
            mask = b"\xff" * address_size if any(source) else bytes(address_size)
            ip = source + bytes(address_size) + mask + bytes(address_size) + bytes(64)
            protocol = chance.choice((0, 0, 6, 17)) if matches or target[:2] != struct.pack("=H", 40) else 0
            ip += struct.pack("=HBBB", protocol, 0, bool(protocol), 0) if v6 else struct.pack("=HBB", protocol, 0, 0)
            ip = ip.ljust(136 if v6 else 84, b"\0")
            sizes = struct.pack("=IHHI", 0, head + len(matches), head + len(matches) + len(target), 0)
            return (ip + sizes).ljust(head - 16, b"\0") + bytes(16) + matches + target

        def part(name, revision, info):
            info = info.ljust(len(info) + 7 & ~7, b"\0")
            return struct.pack("=H29sB", 32 + len(info), name[:29], revision) + info

        accept = struct.pack("=H29sBi4x", 40, b"", 0, -2)
        rules = 0
        for hook in hooks:
            starts[hook] = len(out)
            for _ in range(chance.choice((0, 1, 2))):
                matches = part(*self.xt_match()) if chance.random() < 0.3 else b""
                name, revision, info = self.target(table, hook, v6)
                out += entry(matches, part(name, revision, self.blemish(info)))
                rules += 1
            policies[hook] = len(out)
            out += entry(b"", accept)
            rules += 1
        out += entry(b"", struct.pack("=H29sB30s2x", 64, b"ERROR", 0, b"ERROR"))
        rules += 1
        if chance.random() < 0.1:
            out = bytearray(out)
            for _ in range(chance.choice((1, 2, 5))):
                out[chance.randrange(len(out))] = chance.choice((0, 1, 0x7F, 0xFF, 8, 32, 112))
            out = bytes(out)
        valid = sum(1 << hook for hook in hooks)
        return struct.pack("=32s3I5I5II", table, valid, rules, len(out), *starts, *policies, counters), out


LEGACY = {b"nat": (0, 1, 3, 4), b"raw": (0, 3), b"mangle": (0, 1, 2, 3, 4), b"filter": (1, 2, 3)}
