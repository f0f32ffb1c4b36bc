#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Netlink messages by chance, in the network namespace of the caller.

  netlink_fuzz.py [--seconds N] [--seed N] [--messages N] [--queue] [--nobody] [--full] [--stock]
                  [--watch FOLDER]
  netlink_fuzz.py --message HEX

A message is made of the grammar of ctnetlink: any attribute, at its place and elsewhere, nested,
with likely and unlikely values; then it is changed: attributes go, come twice, are cut, stretched,
swapped, in another order, nested too deep; lengths lie; single bytes are others. It goes to one
of the two subsystems, or (--queue) with the verdict on a packet that waits in queue 5, where a
rule puts UDP to port 7103.

Each message must be answered; what is refused must have changed nothing, neither connections nor
expectations; and in the end each attribute must have been sent, and a part of the messages taken.
With --nobody they are those of a user without any rights: all are refused, and nothing changes.
(--stock: not the C tracker's, which changes what stands before a mistake.) With --full others keep
the table full: only established and assured connections are compared then, since the others give way
to new ones. --watch stops as soon as something fails beside (surroundings.py).

A failure prints the seed, the number of the message, and the message, which --message sends
again.
"""

import errno
import os
import random
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

from ctnetlink import (ASSURED, CREATE, CT, DUMP, ECHO, EXCL, EXP, EXP_GET, EXP_NEW, E_CLASS, E_FLAGS,  # noqa: E402
                       E_MASK, E_MASTER, E_TIMEOUT, E_TUPLE, E_ZONE, FILTER, FTP, FTP_EXPECTED, GET, MADE, MARK,
                       ORIG, PROTOINFO, REPLIED, STATE, STATS, STATUS, TCP, TIMEOUT, UDP, USE, ZONE, Client, Socket,
                       address, attributes, be16, be32, check, entry, expectation, name_of, tuple_, u8, u32)
from mutations import Mutator, among, some_bytes, words  # noqa: E402
from netlink import ACK, AF_INET, NESTED, NLMSG_ERROR, REQUEST, attribute  # noqa: E402
from surroundings import Failed, choose_seed, fuzzer_arguments, watch  # noqa: E402

AF_INET6, NLMSG_DONE, MULTI = 10, 3, 2
QUEUE, VERDICT = 3, 1
LEAST = 150
NAMES = (b"ftp\0", b"ftp", b"tftp\0", b"sip-0\0", b"nat-follow-master\0", b"callforward\0", b"", b"\0", b"x" * 40)
FOUR = [address(f"10.7.0.{i}") for i in (1, 2, 3, 77)] + [bytes(4), b"\xff" * 4]
SIX = [address(f"fd07::{i}") for i in (1, 2, 3)] + [bytes(16), b"\xff" * 16]


# Attributes: numbers, and what is in them: a dictionary (nested) or a function that makes a value.
BE16, BE32, BE64, BYTE, NAME = words(2), words(4), words(8), words(1), among(NAMES)
PORTS = among([be16(port) for port in (0, 1000, 1001, 2000, 3000, 5000, 65535)])
SECONDS = among([be32(seconds) for seconds in (0, 1, 60, 100, 300, 432000, 0x7FFFFFFF, 0xFFFFFFFF)])
PROTOCOL = among([u8(protocol) for protocol in (0, 1, 6, 6, 6, 17, 17, 17, 33, 47, 50, 58, 132, 136, 255)])
TUPLE = {1: {1: among(FOUR), 2: among(FOUR), 3: among(SIX), 4: among(SIX)},
         2: {1: PROTOCOL, 2: PORTS, 3: PORTS, 4: PORTS, 5: BYTE, 6: BYTE, 7: PORTS, 8: BYTE, 9: BYTE},
         3: BE16}
TRANSLATION = {1: among(FOUR), 2: among(FOUR), 3: {1: PORTS, 2: PORTS}, 4: among(SIX), 5: among(SIX)}
THREE = {1: BE32, 2: BE32, 3: BE32}
COUNTERS = {1: BE64, 2: BE64, 3: BE32, 4: BE32}
ENTRY = {
    1: TUPLE, 2: TUPLE, 3: BE32, 5: {1: NAME, 2: some_bytes(40)}, 6: TRANSLATION, 7: SECONDS, 8: BE32,
    4: {1: {1: BYTE, 2: BYTE, 3: BYTE, 4: some_bytes(2), 5: some_bytes(2)}, 2: {1: BYTE, 2: BYTE, 3: BE64},
        3: {1: BYTE, 2: BE32, 3: BE32}},
    9: COUNTERS, 10: COUNTERS, 11: BE32, 12: BE32, 13: TRANSLATION, 14: TUPLE, 15: THREE, 16: THREE, 17: BE32,
    18: among([be16(zone) for zone in (0, 0, 7, 9, 0xFFFF)]), 19: {1: NAME}, 20: {1: BE64, 2: BE64}, 21: BE32,
    22: some_bytes(20), 23: some_bytes(20), 24: THREE, 25: {1: words(4, "little"), 2: words(4, "little")}, 26: BE32,
    27: BE64, 0x30E1: BYTE, 0x30E2: BE32,
}
EXPECTATION = {1: TUPLE, 2: TUPLE, 3: TUPLE, 4: SECONDS, 5: BE32, 6: NAME, 7: BE16, 8: BE32, 9: BE32,
               10: {1: BE32, 2: TUPLE}, 11: NAME}
GRAMMAR = {CT: ENTRY, EXP: EXPECTATION}
COMMANDS = {CT: range(10), EXP: range(6)}
FLAGS = (0, 0, CREATE, CREATE, CREATE | EXCL, EXCL, ECHO, CREATE | ECHO, DUMP, 0x100, 0x200, 0x800, 0xF00)


def places(grammar, path=()):
    for number, what in grammar.items():
        yield path + (number,)
        if isinstance(what, dict):
            yield from places(what, path + (number,))


class Messages(Mutator):
    """Makes them."""

    def __init__(self, seed):
        super().__init__(random.Random(seed))
        self.sent = {CT: set(), EXP: set()}
        # Each attribute once, among the first messages.
        self.tour = {subsystem: list(places(GRAMMAR[subsystem])) for subsystem in (CT, EXP)}
        for tour in self.tour.values():
            self.chance.shuffle(tour)
        templates = [tree if isinstance(tree, list) else tree[0] for tree in MADE.values()]
        templates += [entry(TCP, more=[STATE, REPLIED, FTP]), entry(TCP)[:1], entry()[:1], entry()[:2],
                      entry()[:2] + [(MARK, be32(9))], [(MARK, be32(9))], [(ZONE, be16(7))],
                      [(FILTER, [(1, u32(1))]), (ORIG, tuple_("10.7.0.1", "10.7.0.2", UDP, 1, 2))]]
        self.templates = {CT: templates, EXP: [expectation(), expectation(more=[(E_FLAGS, be32(1))]),
                                               expectation(more=[(E_CLASS, be32(0)), FTP_EXPECTED]),
                                               expectation()[:1], [FTP_EXPECTED]]}

    def likely(self, subsystem):
        def copy(tree):
            return [[part[0], copy(part[1]) if isinstance(part[1], list) else part[1]] for part in tree]

        tree = copy(self.chance.choice(self.templates[subsystem]))
        for part in self.grow(GRAMMAR[subsystem], self.chance.choice((0, 0, 0.05, 0.1))):
            if part[0] not in [number for number, _ in tree]:
                tree.append(part)
        return tree

    def note(self, subsystem, tree, path=()):
        for number, value in tree:
            self.sent[subsystem].add(path + (number,))
            if isinstance(value, list) and len(path) < 5:
                self.note(subsystem, value, path + (number,))

    def tree(self, subsystem):
        chance = self.chance
        if self.tour[subsystem]:
            tree = self.likely(subsystem)
            for place in self.tour[subsystem][-6:]:
                self.put(tree, GRAMMAR[subsystem], place)
            del self.tour[subsystem][-6:]
            self.note(subsystem, tree)
            return tree
        tree = self.likely(subsystem) if chance.random() < 0.7 else \
            self.grow(GRAMMAR[subsystem], chance.choice((0.1, 0.3, 0.8)))
        for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
            self.change(tree, GRAMMAR[subsystem])
        self.note(subsystem, tree)
        return tree

    def body(self, subsystem):
        """Bytes of attributes."""
        chance, data = self.chance, bytearray(self.pack(self.tree(subsystem)))
        if data and chance.random() < 0.15:
            for _ in range(chance.choice((1, 1, 3, 20))):
                # Each attribute begins at a multiple of four, with its length.
                at = chance.randrange(len(data)) & chance.choice((~0, ~3))
                data[at] = chance.choice((0, 1, 3, 4, 5, 255, chance.randrange(256)))
        if data and chance.random() < 0.05:
            del data[chance.randrange(len(data)):]
        return bytes(data)

    def message(self, sequence):
        """(whether its length is right, bytes)"""
        chance = self.chance
        subsystem = chance.choice((CT, CT, EXP))
        command = chance.choice((0, 0, 1, 2, chance.choice(COMMANDS[subsystem])))
        body = struct.pack("!BBH", chance.choice((2, 2, 2, 10, 0, chance.randrange(256))),
                           chance.choice((0, 0, 1, 255)), chance.choice((0, 0, 5, 0xFFFF)))
        body += self.body(subsystem)
        flags, size, honest = chance.choice(FLAGS), 16 + len(body), True
        if chance.random() < 0.02:
            size, honest = chance.choice((0, 15, 16, 17, 19, 20, size - 1, size + 4, 0xFFFFFFFF)), False
        head = struct.pack("=IHHII", size, subsystem << 8 | command, REQUEST | ACK | flags, sequence, 0)
        return honest, head + body


class Line:
    """A netlink socket for messages that may be wrong."""

    def __init__(self):
        self.socket = Socket()
        self.socket.socket.settimeout(60)
        self.sequence = 0

    def number(self):
        self.sequence += 1
        return self.sequence

    def exchange(self, message):
        """Sends it, and a question that is always answered behind it; returns the errors."""
        sentinel = self.number()
        question = struct.pack("=IHHIIBBH", 20, CT << 8 | STATS, REQUEST | ACK, sentinel, 0, 0, 0, 0)
        self.socket.socket.send(message)
        self.socket.socket.send(question)
        errors, asked, listing = [], False, False
        try:
            while not asked or listing:
                data = self.socket.socket.recv(1 << 20)
                while len(data) >= 16:
                    size, kind, flags, sequence = struct.unpack_from("=IHHI", data)
                    if kind in (NLMSG_ERROR, NLMSG_DONE):
                        error = -struct.unpack_from("=i", data, 16)[0]
                        if sequence == sentinel:
                            asked = True
                        else:
                            errors.append(error)
                            listing = False
                    elif flags & MULTI and sequence != sentinel:
                        listing = True
                    data = data[size + 3 & ~3:]
        except (TimeoutError, socket.timeout):
            raise Failed("no answer")
        return errors


class State:
    """Connections and expectations as they are told, but for the time that they have left."""

    def __init__(self, client, full=False):
        self.at, self.parts = time.monotonic(), {}
        for subsystem, message, names, left in (
                (CT, GET, (ORIG, ZONE), TIMEOUT),
                (EXP, EXP_GET, (E_MASTER, E_TUPLE, E_MASK, E_ZONE), E_TIMEOUT)):
            error, found = client.ask(subsystem, message, DUMP, (), 0)
            if error:
                raise Failed(f"a listing fails: {name_of(error)}")
            for _, _, _, body in found:
                parts = list(attributes(body[4:]))
                if full and not (subsystem == CT and self.stays(dict(parts))):
                    continue
                key = subsystem, body[0], *(value for number, value in parts if number in names)
                if key in self.parts:
                    raise Failed(f"listed twice: {key}")
                time_left, = (struct.unpack("!I", value)[0] for number, value in parts if number == left)
                rest = [part for part in parts if part[0] != left and (subsystem, part[0]) != (CT, USE)]
                self.parts[key] = time_left, rest

    @staticmethod
    def stays(parts):
        """Whether a full table keeps it: of UDP or TCP, assured, and established."""
        status, protocol = parts[STATUS], dict(attributes(dict(attributes(parts[ORIG]))[2]))[1][0]
        if not int.from_bytes(status, "big") & ASSURED or protocol not in (UDP, TCP):
            return False
        return protocol == UDP or dict(attributes(dict(attributes(parts[PROTOINFO]))[1]))[1] == u8(3)

    def changes(self, later):
        """What is different later, and not for the time that has passed."""
        passed = later.at - self.at + 2
        # With a connection go its expectations.
        some_end = any(key[0] == CT and left <= passed for key, (left, _) in self.parts.items())
        for key in {**self.parts, **later.parts}:
            if key not in self.parts:
                yield f"new: {key}"
                continue
            left, rest = self.parts[key]
            if key not in later.parts:
                if left > passed and not (key[0] == EXP and some_end):
                    yield f"gone: {key}, {left} s left"
                continue
            left_then, rest_then = later.parts[key]
            if rest != rest_then:
                yield f"changed: {key}: {rest} {rest_then}"
            elif not left - passed <= left_then <= left:
                yield f"time left: {key}: {left} {left_then}"


class Verdicts:
    """Packets that wait, and what verdicts say of their connections."""

    def __init__(self):
        self.line, self.sender, self.receiver = Line(), None, None
        configuration = ((1, struct.pack("!BxH", 1, 0)), (2, struct.pack("!IB", 0xFFFF, 2)), (4, be32(2)),
                         (5, be32(2)))
        for parts in configuration[:1], configuration[1:]:
            if any(self.line.exchange(self.packed(2, b"".join(attribute(*part) for part in parts)))):
                raise Failed("no queue")
        self.sender, self.receiver = (socket.socket(AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self.sender.bind(("127.0.0.1", 7102))
        self.receiver.bind(("127.0.0.1", 7103))
        self.receiver.settimeout(1)

    def packed(self, command, body):
        body = struct.pack("!BBH", 0, 0, 5) + body
        return struct.pack("=IHHII", 16 + len(body), QUEUE << 8 | command, REQUEST | ACK, self.line.number(),
                           0) + body

    def once(self, connection, expected):
        """A packet is queued and accepted with these attributes."""
        self.sender.sendto(b"x", ("127.0.0.1", 7103))
        data = self.line.socket.socket.recv(1 << 17)
        number = dict(attributes(data[20:]))[1][:4]
        verdict = attribute(2, be32(1) + number)
        extra = attribute(11 | NESTED, connection) + (attribute(15 | NESTED, expected) if expected else b"")
        errors = self.line.exchange(self.packed(VERDICT, verdict + extra))
        if any(errors):
            self.line.exchange(self.packed(VERDICT, verdict))
        try:
            self.receiver.recv(9)
        except (TimeoutError, socket.timeout):
            pass  # it may have become one that is dropped


def furnish(client):
    """What can be changed, deleted and expected from the start."""
    for tree in entry(TCP, more=[STATE, REPLIED, FTP]), entry(), entry(sport=1001, more=[(ZONE, be16(7))]):
        client.new(tree)
    client.ask(EXP, EXP_NEW, CREATE, expectation(timeout=600))


class Fuzz:
    def __init__(self, options):
        self.options, self.client, self.messages, self.line = options, Client(), Messages(options.seed), Line()
        self.verdicts = Verdicts() if options.queue else None
        self.client.flush()
        furnish(self.client)
        self.before = self.state()
        self.count = self.taken = self.refused = self.queued = self.spoiled = 0

    def state(self):
        return State(self.client, self.options.full)

    def verdict(self):
        connection = self.messages.body(CT)
        expected = self.messages.chance.choice((b"", self.messages.body(EXP)))
        self.sent = connection + expected
        self.verdicts.once(connection, expected)
        self.queued += 1
        self.before = self.state()

    def message(self):
        honest, self.sent = self.messages.message(self.line.number())
        errors = self.line.exchange(self.sent)
        bad = [error for error in errors if error]
        self.taken, self.refused = self.taken + (not bad), self.refused + bool(bad)
        if self.options.nobody:
            if any(error != errno.EPERM for error in errors):
                raise Failed(f"nobody is answered {[name_of(error) for error in errors]}")
            return
        after = self.state()
        changes = list(self.before.changes(after)) if bad and honest and len(errors) == 1 else []
        self.spoiled += bool(changes)
        if changes and not self.options.stock:
            raise Failed(f"refused with {name_of(bad[0])}, and yet:\n# " + "\n# ".join(changes[:5]))
        self.before = after
        if len(after.parts) > 12 or self.messages.chance.random() < 0.005:
            self.client.flush()
            self.client.new(entry(TCP, more=[STATE, REPLIED, FTP]))
            self.before = self.state()

    def run(self):
        """Whether nothing was found."""
        end = time.monotonic() + self.options.seconds
        # On a slow machine a few more, so that there is something to judge.
        least = LEAST if not self.options.full else LEAST / 3
        while (time.monotonic() < end or self.count < least) and self.count < self.options.messages:
            self.count += 1
            self.sent = b""
            try:
                if self.verdicts and self.messages.chance.random() < 0.05:
                    self.verdict()
                else:
                    self.message()
                watch(self.options.watch)
            except (Failed, OSError, struct.error) as problem:
                print(f"# seed {self.options.seed}, message {self.count}: {problem}\n# {self.sent.hex()}")
                return False
        more = f", {self.queued} with verdicts" if self.verdicts else ""
        more += f", {self.spoiled} of these changed something" if self.options.stock else ""
        print(f"# {self.count} messages, {self.taken} taken, {self.refused} refused{more}", flush=True)
        return True

    def run_as_nobody(self):
        pid = os.fork()
        if not pid:
            status = 1
            try:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                status = not (self.run() and self.refused > self.count * 0.9 and self.count > 20)
                sys.stdout.flush()
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        check("whatever a user without rights sends is refused", not status)
        changes = list(self.before.changes(self.state()))
        check("... and changes nothing", not changes, " ".join(changes[:5]))

    def judge(self):
        check("each message is answered, and what is refused has changed nothing", self.run())
        if self.options.full:
            return
        missing = [(subsystem, *place) for subsystem in (CT, EXP) for place in places(GRAMMAR[subsystem])
                   if place not in self.messages.sent[subsystem]]
        check("each attribute was sent", not missing, f"missing {missing[:9]}, {self.count} messages")
        check("some are taken, and some are not", min(self.taken, self.refused) > self.count / 20,
              f"{self.taken}, {self.refused}")
        self.client.flush()
        check("nothing is left of them", not self.state().parts)


def again(message):
    """Sends one message, with the entries that it may be about."""
    client, line = Client(), Line()
    furnish(client)
    before = State(client)
    print("answered:", [name_of(error) for error in line.exchange(bytes.fromhex(message))])
    for change in before.changes(State(client)):
        print(change)


def main():
    parser = fuzzer_arguments(__doc__, "messages")
    parser.add_argument("--queue", action="store_true")
    parser.add_argument("--nobody", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--stock", action="store_true")
    parser.add_argument("--message")
    options = parser.parse_args()
    if options.message:
        return again(options.message)
    choose_seed(options)
    if options.nobody:
        Fuzz(options).run_as_nobody()
    else:
        Fuzz(options).judge()
    print("ok fuzz")


if __name__ == "__main__":
    sys.exit(main())
