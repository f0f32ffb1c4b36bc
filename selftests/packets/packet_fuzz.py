#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Packets by chance, through a router with rules by chance.

  packet_fuzz.py CLIENT ROUTER SERVER [--seconds N] [--seed N] [--packets N] [--watch FOLDER]

CLIENT, ROUTER and SERVER are the namespaces of setup_router() in lib.sh, with neighbours as in
packet_fuzz.sh. Nobody has the addresses that packets come from and go to, but for those of the three.

A packet begins a flow (TCP, UDP, UDP-Lite, ICMP, SCTP, DCCP, GRE, other protocols; IPv4 and IPv6),
answers a packet that came out of the router, follows what a helper's protocol (packet_payloads.py)
has announced, repeats what was sent, or is an ICMP error that quotes any of these. Then it may be
changed: fields with likely and unlikely values, single bits, lengths, checksums right or wrong,
extension headers, fragments that overlap, come twice or out of order. From time to time the router
gets other rules (packet_rules.py), other settings, other addresses, and loses its entries.

The router must answer after every few packets. A failure prints the seed, the number of the packet,
the last packets and the rules.
"""

import collections
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

import packet_rules  # noqa: E402
from ctnetlink import CT, DELETE, DUMP, EXP, EXP_GET, GET, Client, check, name_of  # noqa: E402
from nftables import Nftables  # noqa: E402
from packet_generator import MTU, Generator  # noqa: E402
from surroundings import Failed, choose_seed, fuzzer_arguments, watch  # noqa: E402
from traffic import Failure, Inside, Side, statistics  # noqa: E402

# How many packets are sent before the router must answer.
BATCH = 12


class Fuzz:
    def __init__(self, options):
        self.options, self.generator = options, Generator(options.seed)
        self.chance = random.Random(options.seed + 1)
        self.sides = {
            side: Side(name, "eth0", f"02:00:00:00:0{net}:02", f"02:00:00:00:0{net}:01", f"10.0.{net}.2",
                       f"10.0.{net}.1")
            for net, side, name in ((1, "c", options.client), (2, "s", options.server))}
        with Inside(options.router):
            self.client, self.nftables = Client(), Nftables()
        self.sent = collections.deque(maxlen=3 * BATCH)
        self.count = self.frames = self.passed = self.rulesets = self.flushes = self.listed = 0
        self.rules = ""

    def new_rules(self):
        self.rules = packet_rules.ruleset(self.chance)
        if error := self.nftables.run("flush ruleset\n" + self.rules):
            raise Failed(f"nft: {error}\n{self.rules}")
        self.rulesets += 1
        with Inside(self.options.router):
            for name, value in packet_rules.settings(self.chance):
                try:
                    with open(f"/proc/sys/net/netfilter/nf_conntrack_{name}", "w") as file:
                        file.write(str(value))
                except FileNotFoundError:
                    pass

    def administrate(self):
        """Once in a while."""
        chance = self.chance.random()
        if chance < 0.35:
            self.new_rules()
        elif chance < 0.5:
            self.flushes += 1
            error, _ = self.client.ask(CT, DELETE, 0, (), 0)
            if error:
                raise Failed(f"a flush fails: {name_of(error)}")
        elif chance < 0.9:
            for subsystem, message in (CT, GET), (EXP, EXP_GET):
                error, found = self.client.ask(subsystem, message, DUMP, (), 0)
                if error:
                    raise Failed(f"a listing fails: {name_of(error)}")
                self.listed += len(found)
        else:
            subprocess.run(["ip", "-n", self.options.router, "-batch", "-"], check=True, text=True,
                           input="addr del 10.0.2.1/24 dev tos\naddr add 10.0.2.1/24 dev tos\n")

    def batch(self):
        for _ in range(BATCH):
            self.count += 1
            side, frames = self.generator.packet()
            for ether, data in frames:
                self.frames += 1
                self.sent.append((self.count, side, data))
                try:
                    self.sides[side].send(ether, data[:MTU + 20])
                except OSError:
                    pass  # the queue is full
        for name, side in self.sides.items():
            for frame in side.fence():
                self.passed += 1
                self.generator.receive(name, frame)
        if self.count % (1000 * BATCH) == 0:
            print(f"# {self.count} packets", flush=True)

    def run(self):
        try:
            # These load many modules.
            self.new_rules()
            end = time.monotonic() + self.options.seconds
            while time.monotonic() < end and self.count < self.options.packets:
                self.batch()
                if self.chance.random() < 0.03:
                    self.administrate()
                watch(self.options.watch)
        except (Failed, Failure, OSError) as problem:
            print(f"# seed {self.options.seed}, packet {self.count}: {problem}")
            for number, side, data in self.sent:
                print(f"# {number} {side} {data.hex()}")
            print("# " + self.rules.replace("\n", "\n# "))
            return False
        return True

    def judge(self):
        check("the router goes on, whatever packets it gets", self.run())
        print(f"# {self.count} packets in {self.frames} frames, {self.passed} came out, {self.rulesets} sets of rules, "
              f"{self.flushes} flushes, {self.listed} listed")
        print("# " + " ".join(f"{name}={value}" for name, value in statistics(self.options.router).items() if value))
        check("a part of them gets through", self.passed > self.count / 10, f"{self.passed}")


def main():
    parser = fuzzer_arguments(__doc__, "packets")
    parser.add_argument("client")
    parser.add_argument("router")
    parser.add_argument("server")
    options = parser.parse_args()
    choose_seed(options)
    Fuzz(options).judge()
    print("ok fuzz")


if __name__ == "__main__":
    sys.exit(main())
