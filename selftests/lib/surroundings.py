#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What goes on beside a fuzzer, and what must hold meanwhile.

  surroundings.py beside FOLDER LIMIT NS...
  surroundings.py flood NS

"beside" runs until the file FOLDER/stop is there, and prints its results then. It says with
FOLDER/ready that all has begun, and with FOLDER/failed, at once, what must not be: fuzzers that look
there can name the seed and the packet or message. NS are the namespaces that are fuzzed: names of
"ip netns", or paths. The table takes LIMIT entries a namespace (nf_conntrack_max; set by the caller).

- In each NS are listeners that never read: one that must be told of each end (NETLINK_BROADCAST_ERROR;
  for a while, since no entry is freed meanwhile), and one that need not.
- In each NS there are never more entries than LIMIT and those that are just being made.
- In another namespace, a bystander's connection goes on and new ones get through, with a rule of NAT.
- Another one's table is full, and stays so ("flood" does the same to a given namespace).
- Further ones come and go with entries, rules and listeners; what is gone is soon gone wholly.
- The kernel's log has no report.
"""

import argparse
import fcntl
import os
import random
import re
import select
import socket
import struct
import subprocess
import sys
import time
import traceback

from ctnetlink import BROADCAST_ERROR, CT, DELETE, NO_ENOBUFS, SOL_NETLINK, Socket, check
from traffic import CLONE_NEWNET, Inside, libc

PATIENCE = 2 * float(os.environ.get("SELFTEST_WAIT", "10"))
COUNT = "/proc/sys/net/netfilter/nf_conntrack_count"
# Connections and expectations: what is new, changed and gone.
GROUPS = range(1, 7)


class Failed(Exception):
    pass


def read(path):
    with open(path) as file:
        return file.read()


def new_namespace():
    """The calling process is in a namespace of its own, with a loopback device."""
    if libc.unshare(CLONE_NEWNET):
        raise Failed("no new namespace")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        # SIOCSIFFLAGS: up and running.
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x41))
    # So that ends are told.
    try:
        with open("/proc/sys/net/netfilter/nf_conntrack_events", "w") as file:
            file.write("1")
    except OSError:
        pass


def rules(text):
    subprocess.run(["nft", "-f", "-"], input=text.encode(), check=True)


REDIRECT = """table ip bystander {
	chain o { type nat hook output priority -100; tcp dport 7000 redirect to :7001; }
}"""


def deaf(must_be_told):
    listener = Socket(*GROUPS, room=4096)
    if must_be_told:
        listener.socket.setsockopt(SOL_NETLINK, BROADCAST_ERROR, 1)
        listener.socket.setsockopt(SOL_NETLINK, NO_ENOBUFS, 1)
    return listener


class Part:
    """A process of the surroundings: step() again and again, until it is to stop."""

    pause = 0.5

    def __init__(self, beside):
        self.beside = beside

    def begin(self):
        """In the process, before the first step."""

    def step(self):
        raise NotImplementedError

    def summary(self):
        return ""

    def run(self):
        """The process."""
        self.begin()
        self.step()
        print("begun", flush=True)
        while not os.path.exists(self.beside.stop):
            self.step()
            time.sleep(self.pause)
        print("summary", self.summary(), flush=True)


class Bystander(Part):
    what = "a bystander's connection goes on, and new ones get through"

    def begin(self):
        new_namespace()
        rules(REDIRECT)
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 7001))
        self.listener.listen()
        self.made = self.said = 0
        self.slowest = 0.0
        self.old = self.connection()

    def connection(self):
        one = socket.socket()
        one.settimeout(PATIENCE)
        one.connect(("127.0.0.1", 7000))
        other, _ = self.listener.accept()
        other.settimeout(PATIENCE)
        self.made += 1
        return one, other

    def say(self, ends):
        for sender, receiver in ends, reversed(ends):
            sender.send(b"hello")
            if receiver.recv(9) != b"hello":
                raise Failed("the connection has ended")
        self.said += 1

    def step(self):
        begun = time.monotonic()
        try:
            what = "the old connection"
            self.say(self.old)
            if self.said % 4 == 0:
                what = "a new connection"
                fresh = self.connection()
                self.say(fresh)
                for end in fresh:
                    end.close()
        except OSError as error:
            raise Failed(f"{what}: {error}")
        self.slowest = max(self.slowest, time.monotonic() - begun)

    def summary(self):
        return f"{self.made} connections, {self.said} exchanges, the slowest {self.slowest:.1f} s"


class Flood(Part):
    what = "a table that is full takes no more than its limit"
    name = None
    # Datagrams: an entry of them lives for 30 seconds.
    at_once = 20

    def begin(self):
        if self.name:
            Inside(self.name).__enter__()
        else:
            new_namespace()
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sent = self.refused = self.highest = 0

    def step(self):
        for _ in range(self.at_once):
            self.sent += 1
            try:
                self.sender.sendto(b"x", (f"127.0.{1 + self.sent // 60000 % 250}.1", 1 + self.sent % 60000))
            except PermissionError:
                self.refused += 1
        count = int(read(COUNT))
        self.highest = max(self.highest, count)
        if not self.name and count > self.beside.limit + self.beside.slack:
            raise Failed(f"{count} entries, limit {self.beside.limit}")

    def summary(self):
        return f"{self.sent} datagrams, {self.refused} refused, most entries {self.highest}"


class Listeners(Part):
    pause = 4
    what = "listeners that never read come and go"

    def begin(self):
        self.kept, self.told, self.times = [], [], 0
        for name in self.beside.names:
            with Inside(name):
                self.kept.append(deaf(False))

    def step(self):
        if self.told:
            for listener in self.told:
                listener.socket.close()
            self.told = []
            return
        for name in self.beside.names:
            with Inside(name):
                self.told.append(deaf(True))
        self.times += 1

    def summary(self):
        return f"{self.times} times"


class Counter(Part):
    what = "there are never more entries than the limit, and those on their way"

    def begin(self):
        self.highest = dict.fromkeys(self.beside.names, 0)
        self.times = 0

    def step(self):
        self.times += 1
        for name in self.beside.names:
            with Inside(name):
                count = int(read(COUNT))
            self.highest[name] = max(self.highest[name], count)
            if count > self.beside.limit + self.beside.slack:
                raise Failed(f"{count} entries in {name}, limit {self.beside.limit}")

    def summary(self):
        return f"looked {self.times} times, most {list(self.highest.values())}"


class Guests(Part):
    """Namespaces that come and go. A device of each has its other end here: with that one goes the
    last of the namespace."""

    pause = 2
    what = "namespaces come and go"

    def begin(self):
        self.chance = random.Random(self.beside.limit)
        self.living, self.going, self.times = {}, {}, 0
        self.slowest = 0.0

    def guest(self, ready, end):
        new_namespace()
        os.write(ready, b"1")
        listener = [deaf(self.chance.random() < 0.5) for _ in range(2)]
        if self.chance.random() < 0.3:
            rules(REDIRECT)
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for port in range(2000, 2000 + self.chance.choice((1, 20, 100))):
            try:
                sender.sendto(b"x", ("127.0.0.1", port))
            except OSError:
                pass
        # TCP, left open.
        server, client = socket.socket(), socket.socket()
        server.bind(("127.0.0.1", 7001))
        server.listen()
        client.settimeout(PATIENCE)
        try:
            client.connect(("127.0.0.1", 7001))
        except OSError:
            pass
        if self.chance.random() < 0.5:
            # What ends waits for the listener.
            Socket().ask(CT, DELETE, 0, (), 0)
        os.read(end, 1)
        return listener

    def start(self):
        self.times += 1
        self.chance.seed(self.times)
        (ready, say_ready), (end, say_end) = os.pipe(), os.pipe()
        pid = os.fork()
        if not pid:
            try:
                os.close(say_end)
                self.guest(say_ready, end)
            except BaseException:
                traceback.print_exc(file=sys.stderr)
            finally:
                os._exit(0)
        os.close(say_ready)
        os.close(end)
        os.read(ready, 1)
        os.close(ready)
        name = f"ctfz{self.times}"
        subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", "v1", "netns", str(pid)],
                       check=True)
        self.living[name] = pid, say_end

    def step(self):
        if len(self.living) >= 3:
            name = self.chance.choice(list(self.living))
            pid, say_end = self.living.pop(name)
            self.end(pid, say_end)
            self.going[name] = time.monotonic()
        else:
            self.start()
        self.look()

    @staticmethod
    def end(pid, say_end):
        # A byte: a guest that was made later has this end of the pipe, too.
        os.write(say_end, b"1")
        os.close(say_end)
        os.waitpid(pid, 0)

    def look(self):
        for name, since in list(self.going.items()):
            passed = time.monotonic() - since
            self.slowest = max(self.slowest, passed)
            if not os.path.exists(f"/sys/class/net/{name}"):
                del self.going[name]
            elif passed > 2 * PATIENCE:
                raise Failed(f"after {passed:.0f} s a namespace without processes is still there")

    def summary(self):
        for pid, say_end in self.living.values():
            self.end(pid, say_end)
        self.going.update(dict.fromkeys(self.living, time.monotonic()))
        while self.going:
            self.look()
            time.sleep(0.1)
        return f"{self.times} of them, the slowest to go took {self.slowest:.1f} s"


class Log(Part):
    what = "the kernel's log has no report"

    def begin(self):
        here = os.path.dirname(os.path.abspath(__file__))
        patterns = [line for line in read(f"{here}/kernel-reports.txt").splitlines() if line[:1] not in ("", "#")]
        self.report = re.compile("|".join(patterns))
        self.log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.log, 0, os.SEEK_END)

    def step(self):
        while True:
            try:
                text = os.read(self.log, 8192).decode(errors="replace")
            except BlockingIOError:
                return
            except BrokenPipeError:
                continue  # more was written than the log keeps
            if self.report.search(text):
                raise Failed("the kernel's log: " + text.partition(";")[2].strip())


class Beside:
    def __init__(self, folder, limit, names):
        self.folder, self.limit, self.names = folder, int(limit), names
        self.stop = os.path.join(folder, "stop")
        # Entries that a processor, or a process on its way, is just making.
        self.slack = os.cpu_count() + 8
        self.parts, self.summaries, self.begun = {}, {}, 0
        self.failed = {}

    def start(self, kind):
        out, inner = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(out)
            os.dup2(inner, 1)
            sys.stdout = open(1, "w", closefd=False)
            try:
                kind(self).run()
            except Failed as failure:
                print("failed", failure, flush=True)
            except BaseException as failure:
                traceback.print_exc(file=sys.stderr)
                print("failed", repr(failure), flush=True)
            finally:
                os._exit(0)
        os.close(inner)
        self.parts[out] = kind, pid, open(out)

    def hear(self, kind, line):
        word, _, text = line.strip().partition(" ")
        if word == "begun":
            self.begun += 1
        elif word == "summary":
            self.summaries[kind] = text
        elif word == "failed":
            self.failed[kind] = text
            with open(os.path.join(self.folder, "failed"), "a") as file:
                file.write(f"{kind.what}: {text}\n")

    def run(self):
        kinds = Log, Bystander, Counter, Listeners, Flood, Guests
        for kind in kinds:
            self.start(kind)
        while self.parts:
            for out in select.select(list(self.parts), [], [], 1)[0]:
                kind, pid, lines = self.parts[out]
                line = lines.readline()
                if line:
                    self.hear(kind, line)
                    continue
                os.waitpid(pid, 0)
                lines.close()
                del self.parts[out]
            if self.begun == len(kinds) or self.failed:
                open(os.path.join(self.folder, "ready"), "w").close()
        for kind in kinds:
            check(kind.what, kind in self.summaries, self.failed.get(kind, ""))
            if self.summaries.get(kind):
                print(f"# {self.summaries[kind]}")
        print("ok surroundings")


def watch(folder):
    """Fails if something beside the fuzzer has failed. (Without a folder nothing is beside it.)"""
    if not folder:
        return
    try:
        problem = read(os.path.join(folder, "failed")).strip()
    except FileNotFoundError:
        return
    if problem:
        raise Failed(f"beside, {problem}")


def fuzzer_arguments(description, what):
    """A parser for what every fuzzer takes. (WHAT it counts: "packets")"""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument(f"--{what}", type=int, default=1 << 40)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--watch")
    return parser


def choose_seed(options):
    """Takes a seed by chance if none is given, and prints it."""
    if options.seed is None:
        options.seed = int.from_bytes(os.urandom(4), "big")
    print(f"# seed {options.seed}", flush=True)


def flood(name):
    part = Flood(Beside("/nowhere", 0, [name]))
    part.name, part.at_once, part.pause = name, 40, 0.3
    part.begin()
    while True:
        part.step()
        time.sleep(part.pause)


def main():
    what, *arguments = sys.argv[1:] or ["--help"]
    if what == "beside":
        folder, limit, *names = arguments
        Beside(folder, limit, names).run()
    elif what == "flood":
        flood(*arguments)
    else:
        print(__doc__)


if __name__ == "__main__":
    main()
