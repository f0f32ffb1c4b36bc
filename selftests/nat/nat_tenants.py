#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A tenant, root of a user namespace, who puts load on NAT. In a namespace of its own: nat_tenants.sh.

  bars              no port is allowed at 32 addresses; prints the microseconds of one datagram
  pools COUNT       makes as many pools of ports crowded; prints how many connections there are,
                    and keeps them until its input ends
  addresses COUNT   takes addresses away as fast as it can, while its connections are masqueraded;
                    says "ready", and ends with its input
"""

import os
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from netlink import ACK, CREATE, NETLINK_NETFILTER, REQUEST, attribute, be32, text

NFTABLES, NEWRULE, APPEND = 10, 6, 0x800
BATCH_BEGIN, BATCH_END = 16, 17
FULLY_RANDOM, OFFSET = 1 << 4, 1 << 5


def run(*words, feed=None):
    subprocess.run(words, check=True, text=True, input=feed)


def device(*addresses):
    run("ip", "-batch", "-", feed="\n".join(
        ["link set lo up", "link add d0 type dummy", "link set d0 up"]
        + [f"addr add {a} dev d0" for a in addresses]))


def write(name, value):
    with open("/proc/sys/net/netfilter/" + name, "w", encoding="ascii") as file:
        file.write(str(value))


def nft(rules):
    run("nft", "-f", "-", feed="table ip nat {\nchain post {\ntype nat hook postrouting priority 100;\n"
        + rules + "\n}\n}\n")


def expression(name, *fields):
    return attribute(1, [attribute(1, text(name)), attribute(2, list(fields))])


def register(number, value):
    return expression("immediate", attribute(1, be32(number)), attribute(2, [attribute(1, value)]))


def snat_by_offset(address, first, last):
    """Appends a rule that nft has no words for."""
    rule = [
        attribute(1, text("nat")), attribute(2, text("post")),
        attribute(4, [
            register(1, socket.inet_aton(address)),
            register(2, struct.pack("!H", first)), register(3, struct.pack("!H", last)),
            expression("nat", attribute(1, be32(0)), attribute(2, be32(socket.AF_INET)),
                       attribute(3, be32(1)), attribute(5, be32(2)), attribute(6, be32(3)),
                       attribute(7, be32(OFFSET | FULLY_RANDOM))),
        ])]
    def message(kind, flags, family, resource, body=b""):
        body = struct.pack("!BBH", family, 0, resource) + body
        return struct.pack("=IHHII", 16 + len(body), kind, REQUEST | flags, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
        netlink.send(message(BATCH_BEGIN, 0, 0, NFTABLES)
                     + message(NFTABLES << 8 | NEWRULE, ACK | CREATE | APPEND, socket.AF_INET, 0,
                               b"".join(rule))
                     + message(BATCH_END, 0, 0, NFTABLES))
        code, = struct.unpack_from("=i", netlink.recv(65536), 16)
        if code:
            raise OSError(-code, "the rule is refused")


def sender(port=0):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("10.8.0.254", port))
    return udp


def entries():
    with open("/proc/sys/net/netfilter/nf_conntrack_count", encoding="ascii") as file:
        return int(file.read())


def bars():
    device("10.8.0.254/24")
    nft("snat to 10.9.0.1-10.9.0.32")
    try:
        write("nf_nat_excluded_ports", "1-65535")
    except FileNotFoundError:
        pass  # The C tracker has no such setting.
    udp, times = sender(), []
    for port in range(1, 12):
        begin = time.perf_counter()
        try:
            udp.sendto(b"x", ("10.8.0.1", port))
        except OSError:
            pass  # Dropped.
        times.append(time.perf_counter() - begin)
    print(round(sorted(times)[len(times) // 2] * 1e6))


def pools(count):
    device("10.8.0.254/24")
    write("nf_conntrack_udp_timeout", 600)
    nft("")
    snat_by_offset("10.9.0.1", 4000, 4099)
    # All of them lead to the same port of the range first, and none keeps what it has elsewhere.
    for port in range(10000, 11300, 100):
        with sender(port) as udp:
            for there in range(1, count + 1):
                udp.sendto(b"x", ("10.8.0.1", there))
    print(entries(), flush=True)
    sys.stdin.read()


def addresses(count):
    device("10.8.0.254/24")
    nft("masquerade")
    sender().sendto(b"x", ("10.8.0.1", 1))
    lines = [f"addr {verb} 10.7.{i >> 8}.{i & 255}/32 dev d0"
             for verb in ("add", "del") for i in range(count)]
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    print("ready", flush=True)
    while not ended.is_set():
        run("ip", "-batch", "-", feed="\n".join(lines))


if __name__ == "__main__":
    globals()[sys.argv[1]](*map(int, sys.argv[2:]))
