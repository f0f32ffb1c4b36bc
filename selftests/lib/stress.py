#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What the scripts of the selftests let run beside themselves, until SIGTERM.

  stress.py flood NS DEV MAC ROUTERMAC SADDR DADDR DPORT BATCH PAUSE [HEX]
      UDP datagrams from outside, each of another flow, BATCH of them at a time
      and PAUSE seconds between two batches. HEX is what they carry. Says "flooding"
      when it begins, and how many it sent at the end. Ends with the device as well.

  stress.py chosen NS DEV MAC ROUTERMAC ADDR ROUTERADDR SADDR DADDR
      One datagram from SADDR to DADDR for each line of standard input, "SPORT DPORT".
      Ends when the router, which is asked for by ADDR, is done with them.

  stress.py together NS DEV MAC ROUTERMAC SADDR DADDR FIRST PORTS EACH
      On every processor a sender: each sends EACH new flows to port FIRST of DADDR,
      then to the next one, PORTS ports in all, from ports that no other one has. No
      sender is more than 32 ports ahead. Ends by itself.

  stress.py datagrams ADDR
      From one socket, in the namespace of the caller, to each port of ADDR in turn.

  stress.py watch NS FILE SIZE WORD...
      Lists the entries of a namespace again and again, in reads of SIZE bytes.
      Those with one of the WORDs in their original tuple are there all the time:
      every listing has to show each of them once. And no other tuple twice, and
      no line that is not one. Says "watching N" (N of them) when it has begun;
      at the end "listings N" and each problem in a line.
"""

import multiprocessing
import os
import re
import signal
import socket
import sys
import time
from errno import ENETDOWN, ENODEV, ENXIO

from traffic import ETH_P_IP, Failure, Inside, Packet, Side, flood

stopped = False


def stop(*_):
    global stopped
    stopped = True


def run_datagrams(addr):
    port = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        while not stopped:
            port = port % 65535 + 1
            try:
                sender.sendto(b"x", (addr, port))
            except OSError:
                # The answer to one before, or no room for it.
                pass


def run_flood(ns, dev, mac, router_mac, saddr, daddr, dport, batch, pause, data=bytes(8).hex()):
    side = Side(ns, dev, mac, router_mac, "0.0.0.0", "0.0.0.0")
    sent = 0
    print("flooding", flush=True)
    while not stopped:
        try:
            sent += flood(side, int(batch), saddr, daddr, first=sent, dport=int(dport), data=data)
            for _ in side.frames():
                pass
        except (Failure, OSError) as e:
            if stopped or any(os.strerror(n) in str(e) for n in (ENETDOWN, ENODEV, ENXIO)):
                break
            raise
        time.sleep(float(pause))
    print(sent, flush=True)


def run_chosen(ns, dev, mac, router_mac, addr, router_addr, saddr, daddr):
    # Else the router's last answer could overtake packets, see Server.run().
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    side = Side(ns, dev, mac, router_mac, addr, router_addr)
    for line in sys.stdin:
        sport, dport = line.split()
        side.send(ETH_P_IP, Packet(["udp", f"{saddr},{sport}", f"{daddr},{dport}", "len=8", "csum=zero"]).bytes)
    side.fence()


def run_together(ns, dev, mac, router_mac, saddr, daddr, first, ports, each):
    first, ports, each, step = int(first), int(ports), int(each), 32
    processors = sorted(os.sched_getaffinity(0))
    barrier = multiprocessing.Barrier(len(processors))

    def send(index, processor):
        os.sched_setaffinity(0, {processor})
        side = Side(ns, dev, mac, router_mac, "0.0.0.0", "0.0.0.0")
        for port in range(0, ports, step):
            count = min(step, ports - port) * each
            barrier.wait()
            flood(side, count, saddr, daddr, dport=first + port, sport=1024 + index * each, ports=each)

    senders = [multiprocessing.Process(target=send, args=pair) for pair in enumerate(processors)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    sys.exit(any(sender.exitcode for sender in senders))


TUPLE = r"src=\S+ dst=\S+ (?:sport=\d+ dport=\d+ |type=\d+ code=\d+ id=\d+ |)"
COUNTERS = r"(?:packets=\d+ bytes=\d+ )?"
LINE = re.compile(
    r"ipv[46] {5}(?:2|10) (\S+) +(\d+) \d+ (?:[A-Z_]+2? )?"
    rf"({TUPLE}){COUNTERS}(?:\[UNREPLIED\] )?{TUPLE}{COUNTERS}(?:\[ASSURED\] )?"
    r"(?:mark=\d+ )?(?:zone=\d+ )?(?:delta-time=\d+ )?use=\d+"
    r"( state=\S+ expires=\d+s id=\d+)?")


def read_all(path, size):
    fd = os.open(path, os.O_RDONLY)
    try:
        data = b""
        while chunk := os.read(fd, size):
            data += chunk
        return data.decode()
    finally:
        os.close(fd)


def run_watch(ns, path, size, *words):
    """Every listing against what the first one had."""
    stays, problems, listings, extended = None, [], 0, "rust" in path
    with Inside(ns):
        while not stopped:
            text = read_all(path, int(size))
            if text and not text.endswith("\n"):
                problems.append("no newline at the end")
            seen, found = set(), set()
            for line in text.splitlines():
                match = LINE.fullmatch(line)
                if not match or extended != bool(match[4]):
                    problems.append(f"not an entry: '{line}'")
                    continue
                key = (match[2], match[3])
                if key in seen:
                    problems.append(f"twice in listing {listings}: '{line}'")
                seen.add(key)
                if any(word in match[3].split() for word in words):
                    found.add(key)
            listings += 1
            if stays is None:
                stays = found
                print("watching", len(stays), flush=True)
            elif stays != found:
                problems.append(
                    f"listing {listings}, of {len(seen)}: {len(stays - found)} of {len(stays)} missing, "
                    f"{len(found - stays)} too much: {sorted(stays ^ found)[:3]}")
            del problems[5:]
    print("listings", listings)
    for problem in problems:
        print(problem)
    sys.stdout.flush()


def main():
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    commands = {"chosen": run_chosen, "datagrams": run_datagrams, "flood": run_flood,
                "together": run_together, "watch": run_watch}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    commands[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
