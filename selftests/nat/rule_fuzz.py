#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Rules by chance, by root of a user namespace, with packets that meet them.

  rule_fuzz.py [--seconds N] [--seed N] [--steps N] [--watch FOLDER] [--legacy]

It makes the network namespace of the caller a router between two others. Each step is one of: a
batch of messages to nf_tables, with raw attributes (rule_generator.py: expressions of NAT and of the
tracker, targets and matches of xtables, objects); rules as nft writes them (packet_rules.py);
messages of the subsystems of timeouts and of helpers; with --legacy, a table of iptables. A part of
them has mistakes. Behind each step come packets by chance (packet_generator.py).

Each message is answered, and one that is refused has changed nothing: the generation of the rules
is what it was, and the timeouts are. After every few packets the router must answer. A failure
prints the seed, the number of the step, and the last messages.
"""

import collections
import ctypes
import os
import random
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

import packet_rules  # noqa: E402
from ctnetlink import DUMP, NLMSG_DONE, Client, Socket, be16, check, name_of  # noqa: E402
from netlink import ACK, NLMSG_ERROR, REQUEST  # noqa: E402
from nftables import Nftables  # noqa: E402
from packet_generator import MTU, Generator  # noqa: E402
from rule_generator import (BATCH_BEGIN, BATCH_END, GET_GEN, HELPERS, LEGACY, NFT, TIMEOUTS,  # noqa: E402
                            Rules)
from surroundings import PATIENCE, Failed, choose_seed, fuzzer_arguments, new_namespace, watch  # noqa: E402
from traffic import Failure, Side, libc, statistics  # noqa: E402

PACKETS, MOST_RULES = 8, 40
MACS = {"c": ("02:00:00:00:01:02", "02:00:00:00:01:01"), "s": ("02:00:00:00:02:02", "02:00:00:00:02:01")}
GET_INFO, REPLACE = 64, 64
PR_SET_PDEATHSIG = 1


def neighbour():
    """A process in a namespace of its own; it ends with this one."""
    ready, say_ready = os.pipe()
    pid = os.fork()
    if not pid:
        libc.prctl(PR_SET_PDEATHSIG, 9)
        new_namespace()
        os.write(say_ready, b"1")
        while True:
            time.sleep(1000)
    os.read(ready, 1)
    return pid


def batch(*lines, pid=None):
    command = ["ip", "-batch", "-"]
    if pid:
        command = ["nsenter", f"--net=/proc/{pid}/ns/net", *command]
    subprocess.run(command, input="\n".join(lines) + "\n", text=True, check=True)


def router():
    """Devices toc and tos, with hosts behind them as packet_generator.py wants them; returns the sides."""
    sides = {}
    with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
        file.write("1")
    with open("/proc/sys/net/ipv6/conf/all/forwarding", "w") as file:
        file.write("1")
    for net, (side, (mac, own)) in enumerate(MACS.items(), 1):
        pid, device = neighbour(), "to" + side
        hosts = [f"10.0.{net}.{last}" for last in (9, 10, 11, 12, 100, 101)]
        hosts += [f"fd00:{net}::{last:x}" for last in range(9, 13)]
        batch(f"link add {device} address {own} type veth peer name eth0 netns {pid} address {mac}",
              f"link set {device} up", f"addr add 10.0.{net}.1/24 dev {device}",
              f"addr add fd00:{net}::1/64 dev {device} nodad",
              *(f"neigh add {host} lladdr {mac} dev {device} nud permanent" for host in hosts))
        batch("link set eth0 up", f"addr add 10.0.{net}.2/24 dev eth0", f"addr add fd00:{net}::2/64 dev eth0 nodad",
              f"route add default via 10.0.{net}.1", f"route add default via fd00:{net}::1", pid=pid)
        sides[side] = Side(f"/proc/{pid}/ns/net", "eth0", mac, own, f"10.0.{net}.2", f"10.0.{net}.1")
    return sides


class Fuzz:
    def __init__(self, options):
        self.options = options
        self.chance = random.Random(options.seed)
        self.rules = Rules(self.chance)
        self.packets = Generator(options.seed + 1)
        self.client, self.line, self.nftables = Client(), Socket(), Nftables()
        self.line.socket.settimeout(PATIENCE)
        self.sides = router()
        self.sent = collections.deque(maxlen=8)
        self.done, self.refused = collections.Counter(), collections.Counter()
        self.why = collections.Counter()
        self.steps = self.frames = self.passed = self.standing = 0

    # --- messages

    def exchange(self, message, awaited):
        """Sends it; returns the errors by numbers of messages, up to that of the number awaited."""
        self.line.socket.send(message)
        errors = {}
        while awaited not in errors:
            try:
                data = self.line.socket.recv(1 << 20)
            except (TimeoutError, socket.timeout):
                raise Failed("no answer")
            while len(data) >= 16:
                size, kind, _, sequence = struct.unpack_from("=IHHI", data)
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    errors[sequence] = -struct.unpack_from("=i", data, 16)[0]
                data = data[size + 3 & ~3:]
        return errors

    def packed(self, subsystem, number, flags, family, body, resource=0):
        self.line.sequence += 1
        head = struct.pack("=IHHII", 20 + len(body), subsystem << 8 | number, REQUEST | ACK | flags,
                           self.line.sequence, 0)
        message = head + struct.pack("!BBH", family, 0, resource) + body
        return message + bytes(-len(message) % 4)

    def transaction(self, messages):
        """A batch; returns the errors. Behind it comes a question that is always answered."""
        begin, end = (struct.pack("=IHHIIBBH", 20, kind, REQUEST, 0, 0, 0, 0, socket.htons(NFT))
                      for kind in (BATCH_BEGIN, BATCH_END))
        whole = begin + b"".join(self.packed(NFT, *message) for message in messages) + end
        self.sent.append(("nft", whole))
        before = self.generation()
        self.line.socket.send(whole)
        question = self.packed(NFT, GET_GEN, 0, 0, b"")
        errors = self.exchange(question, self.line.sequence)
        errors.pop(self.line.sequence)
        bad = [error for error in errors.values() if error]
        if bad and self.generation() != before:
            raise Failed(f"refused with {name_of(bad[0])}, and yet there are other rules")
        return bad

    def generation(self):
        error, found = self.client.ask(NFT, GET_GEN)
        if error:
            raise Failed(f"no generation: {name_of(error)}")
        return found[0][3][4:12]

    def told(self, subsystem, number):
        return self.client.ask(subsystem, number, DUMP, (), 0)

    # --- steps

    def start(self):
        """No rules, then empty tables."""
        if error := self.nftables.run("flush ruleset"):
            raise Failed(f"flush: {error}")
        if bad := self.transaction(self.rules.tables()):
            raise Failed(f"no tables: {name_of(bad[0])}")
        self.standing = 0

    def step_nft(self):
        messages = [self.rules.message() for _ in range(self.chance.choice((1, 1, 1, 2, 3)))]
        bad = self.transaction(messages)
        self.standing += not bad
        return bad

    def step_text(self):
        text = packet_rules.ruleset(self.chance)
        self.sent.append(("text", text.encode()))
        self.nftables.run("delete table inet fuzz")
        # In a namespace of a user's a helper's object, say, may be refused.
        return [1] if self.nftables.run(text) else []

    def step_timeouts(self):
        number, flags, body = self.rules.timeout_message()
        before = self.told(TIMEOUTS, 1)
        message = self.packed(TIMEOUTS, number, flags, 2, body)
        self.sent.append(("timeouts", message))
        bad = [error for error in self.exchange(message, self.line.sequence).values() if error]
        if bad and self.told(TIMEOUTS, 1)[1] != before[1]:
            raise Failed(f"refused with {name_of(bad[0])}, and yet there are other timeouts")
        return bad

    def step_helpers(self):
        body = self.rules.pack([[1, b"ftp\0"], [2, [[2, be16(2)], [3, b"\6"]]], [5, b"\0\0\0\1"]])
        error, _ = self.client.ask(HELPERS, self.chance.randrange(3), 0x400, body)
        if not error:
            raise Failed("root of a user namespace makes a helper of the machine's")
        return [error]

    def step_legacy(self):
        chance = self.chance
        v6, table = chance.random() < 0.4, chance.choice((b"nat", b"nat", b"nat", b"raw", b"mangle", b"filter"))
        level, family = (socket.IPPROTO_IPV6, socket.AF_INET6) if v6 else (socket.IPPROTO_IP, socket.AF_INET)
        with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as line:
            # The name goes in where the answer comes out, which Python's function has not.
            buffer, size = ctypes.create_string_buffer(table, 84), ctypes.c_uint(84)
            if libc.getsockopt(line.fileno(), level, GET_INFO, buffer, ctypes.byref(size)):
                return [ctypes.get_errno()]
            count, = struct.unpack_from("=I", buffer.raw, 32 + 4 + 40)
            counters = ctypes.create_string_buffer(16 * count)
            head, entries = self.rules.legacy(v6, table, LEGACY[table], count)
            whole = head + struct.pack("=Q", ctypes.addressof(counters)) + entries
            self.sent.append(("iptables", whole))
            try:
                line.setsockopt(level, REPLACE, whole)
            except OSError as error:
                return [error.errno]
        return []

    def step_flush(self):
        self.client.flush()
        return []

    STEPS = (("nft", 60), ("text", 3), ("timeouts", 12), ("helpers", 1), ("flush", 1), ("legacy", 15))

    def step(self):
        kinds, weights = zip(*(one for one in self.STEPS if one[0] != "legacy" or self.options.legacy))
        kind = self.chance.choices(kinds, weights)[0]
        bad = getattr(self, "step_" + kind)()
        (self.refused if bad else self.done)[kind] += 1
        for error in bad:
            self.why[name_of(error)] += 1
        if self.standing >= MOST_RULES:
            self.start()

    def traffic(self):
        for _ in range(PACKETS):
            side, frames = self.packets.packet()
            for ether, data in frames:
                self.frames += 1
                try:
                    self.sides[side].send(ether, data[:MTU + 20])
                except OSError:
                    pass  # the queue is full
        for name, side in self.sides.items():
            for frame in side.fence():
                self.passed += 1
                self.packets.receive(name, frame)

    def run(self):
        try:
            self.start()
            end = time.monotonic() + self.options.seconds
            while time.monotonic() < end and self.steps < self.options.steps:
                self.steps += 1
                self.step()
                self.traffic()
                if self.steps % 500 == 0:
                    print(f"# {self.steps} steps", flush=True)
                watch(self.options.watch)
        except (Failed, Failure, OSError) as problem:
            print(f"# seed {self.options.seed}, step {self.steps}: {problem}")
            for kind, message in self.sent:
                print(f"# {kind} {message.hex()}")
            return False
        return True

    def judge(self):
        check("each message is answered, what is refused has changed nothing, and the router goes on", self.run())
        print(f"# {self.steps} steps, {self.frames} frames, {self.passed} came out")
        print(f"# taken: {dict(self.done)}; refused: {dict(self.refused)}; {dict(self.why.most_common(12))}")
        print("# " + " ".join(f"{name}={value}" for name, value in statistics("-").items() if value))
        taken, refused = self.done["nft"], self.refused["nft"]
        check("some rules are taken, and some are not", min(taken, refused) > (taken + refused) / 20,
              f"{taken}, {refused}")
        # A kind of which nothing is ever taken tests nothing.
        vain = [kind for kind in ("nft", "text", "timeouts", "legacy")
                if self.refused[kind] >= 100 and not self.done[kind]]
        check("of each kind some are taken", not vain, " ".join(vain))
        check("some packets get through", self.passed > self.frames / 50, f"{self.passed}")


def main():
    parser = fuzzer_arguments(__doc__, "steps")
    parser.add_argument("--legacy", action="store_true")
    options = parser.parse_args()
    choose_seed(options)
    Fuzz(options).judge()
    print("ok fuzz")


if __name__ == "__main__":
    sys.exit(main())
