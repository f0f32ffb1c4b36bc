#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Plays traces on a running kernel (selftests/host/src/player.rs plays them on the host).

  traces.py ROUTER CLIENT SERVER SIDE SIDE FILE...

Every story of the files becomes a connection between two addresses, CLIENT and
SERVER, through the namespace ROUTER. A SIDE is one word, what the command "side"
of traffic.py has behind its name; the first one is the client's. Each packet is
a check, "ok ..." or "not ok ..."; lines that begin with "~" tell what compare.sh
holds against the other tracker. The last line is "ok FAMILY stories".

traces/README.md has the notation.
"""

import ipaddress
import os
import re
import sys
import time

import traffic

# By protocol: its number, the server's port, and the timeouts that have a sysctl, from the
# shortest to the longest. As by default, that of an established TCP connection is the longest, and
# the two of trouble are longer than those of all other states.
PROTOCOLS = {
    "tcp": ("6", 80, ("close", "last_ack", "close_wait", "syn_recv", "fin_wait", "time_wait",
                      "syn_sent", "max_retrans", "unacknowledged", "established")),
    "sctp": ("132", 9, ("closed", "cookie_wait", "cookie_echoed", "established", "shutdown_sent",
                        "shutdown_recd", "shutdown_ack_sent", "heartbeat_sent")),
}
# A state whose timeout has no sysctl.
FIXED = {"syn_sent2": 120}
FLAGS = {".": "A", "W": "C"}
CHUNKS = {
    "data": "DATA", "init": "INIT", "init-ack": "INITACK", "sack": "SACK", "heartbeat": "HB",
    "heartbeat-ack": "HBACK", "abort": "ABORT", "shutdown": "SHUTDOWN", "shutdown-ack": "SHUTACK",
    "error": "ERROR", "cookie-echo": "COOKIEECHO", "cookie-ack": "COOKIEACK",
    "shutdown-complete": "SHUTCOMP", "auth": "AUTH", "other": "OTHER"}
WINDOW = 8000
# How far a lifetime in whole seconds may be off, beside the time that has passed.
SLACK = 1.1


# --- the notation -----------------------------------------------------------


class Story:
    def __init__(self, protocol, title, after):
        self.protocol, self.title, self.after = protocol, title, after
        self.lines = []

    def __str__(self):
        return f"{self.protocol} {self.title}"


def read(paths):
    """The stories of all files by title."""
    stories = {}
    for path in paths:
        with open(path, encoding="ascii") as file:
            lines = file.read().splitlines()
        for number, line in enumerate(map(str.strip, lines), 1):
            place = f"{os.path.basename(path)}:{number}"
            if not line or line.startswith("#"):
                continue
            heading = re.fullmatch(r'(tcp|sctp) "([^"]*)"(?: after "([^"]*)")?', line)
            if heading:
                story = Story(*heading.groups())
                if story.title in stories:
                    sys.exit(f"{place}: told twice: {line}")
                stories[story.title] = story
            else:
                story.lines.append((place, line))
    return stories


def whole(stories, story):
    """The lines of a story, behind those of the stories that it continues."""
    before = whole(stories, stories[story.after]) if story.after else []
    return before + story.lines


class Expected:
    def __init__(self, text):
        words, _, _reason = text.partition('"')
        self.what, *words = words.split()
        self.assured, self.new = "assured" in words, "new" in words
        self.timeout = next((w for w in words if w not in ("assured", "new")), None)


def segment(words):
    flags, seq, *words = words
    seq, _, size = seq.partition("+")
    result = ["".join(FLAGS.get(f, f) for f in flags), f"seq={seq}", f"len={size or 0}"]
    window = WINDOW
    words = iter(words)
    for word in words:
        if word == "win":
            window = next(words)
        elif word in ("ack", "mss"):
            result.append(f"{word}={next(words)}")
        elif word == "sack":
            result.append("sack=" + next(words).replace("-", ":"))
        elif word == "sackok":
            result.append(word)
        elif word == "ts":
            result.append("ts=1,2")
        elif word.startswith("ws"):
            result.append("wscale=" + word[2:])
        else:
            raise ValueError(f"unknown word: {word}")
    return result + [f"win={window}"]


def chunk(word):
    word, _, reflected = word.partition("/")
    name, _, tag = word.partition(":")
    return CHUNKS[name] + ("/" + reflected if reflected else "") + (":0x" + tag if tag else "")


def chunks(words):
    tag, names = words
    return ["vtag=0x" + tag] + [chunk(word) for word in names.split(",")]


# --- what is to be there ----------------------------------------------------


class Model:
    """The entry as the story has it. Its life began some time between two times."""

    def __init__(self, opener):
        self.opener = opener
        self.state, self.seconds, self.begun = None, 0, (0, 0)
        self.assured = self.replied = False

    def live(self, seconds, begun):
        self.seconds, self.begun = seconds, begun

    def differences(self, entry, source, looked):
        def differs(what, is_now, should):
            if is_now != should:
                yield f"{what} is {is_now}, should be {should}"

        yield from differs("the state", entry.state, self.state)
        yield from differs("[ASSURED]", "[ASSURED]" in entry.flags, self.assured)
        yield from differs("[UNREPLIED]", "[UNREPLIED]" in entry.flags, not self.replied)
        yield from differs("the opener", entry.tuples[0]["src"], source)
        least = self.seconds - (looked[1] - self.begun[0]) - SLACK
        most = self.seconds - (looked[0] - self.begun[1]) + SLACK
        if not least <= entry.left <= most:
            yield f"has {entry.left} s left, should be {least:.1f} to {most:.1f}"


class Player:
    def __init__(self, router, client, server, *sides):
        self.router = router
        self.addresses = {">": client, "<": server}
        self.server = traffic.Server()
        self.server.do_name(client, "X")
        self.server.do_name(server, "Y")
        for name, side in zip("><", sides):
            self.server.do_side(name, *side.split())
        self.family = "ipv6" if ":" in client else "ipv4"
        self.files = {}
        self.statistics = traffic.statistics(router)

    def set(self, name, value):
        """Gives a sysctl a value; says which one it had."""
        if name not in self.files:
            with traffic.Inside(self.router):
                path = f"/proc/sys/net/netfilter/nf_conntrack_{name}"
                self.files[name] = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        old = os.pread(self.files[name], 100, 0)
        os.pwrite(self.files[name], b"%d\n" % int(value), 0)
        return int(old)

    def life(self, protocol, name, number):
        """The lifetime that a timeout has at a packet: each has another one, at each packet."""
        if name in FIXED:
            return FIXED[name]
        at = PROTOCOLS[protocol][2].index(name)
        longest = (protocol, name) == ("tcp", "established")
        return (432000 if longest else 1000 + 300 * at) + 10 * number

    def play(self, title, lines, protocol, port):
        """Plays one story on a client's port of its own."""
        model, old, number = None, {}, 0
        for place, line in lines:
            name = f"{self.family} {title} / {number + 1} {line}"
            try:
                match line.split():
                    case ["wait", seconds]:
                        time.sleep(int(seconds))
                        continue
                    case ["set", setting, value]:
                        old.setdefault(setting, self.set(setting, value))
                        continue
                number += 1
                model, found, wrong = self.packet(model, line, protocol, port, number)
            except (OSError, ValueError, KeyError, traffic.Failure) as e:
                print("not ok", name)
                print(f"# {place}: {type(e).__name__}: {e}")
                break
            print("not ok" if wrong else "ok", name)
            for why in wrong:
                print(f"# {place}: {why}")
            print(f"~ {name}: {found}")
        for setting, value in old.items():
            self.set(setting, value)

    def packet(self, model, line, protocol, port, number):
        """Sends one packet; says what there is to be now, what there is, and how they differ."""
        text, _, expected = line.partition("=>")
        expected = Expected(expected)
        way, *words = text.split()
        kind, server_port, timeouts = PROTOCOLS[protocol]
        for timeout in timeouts:
            self.set(f"{protocol}_timeout_{timeout}", self.life(protocol, timeout, number))
        ends = {">": f"{self.addresses['>']},{port}", "<": f"{self.addresses['<']},{server_port}"}
        back = "<" if way == ">" else ">"
        words = segment(words) if protocol == "tcp" else chunks(words)

        sent = time.monotonic()
        verdict = self.server.do_inject(way, protocol, ends[way], ends[back], *words)
        begun = (sent, time.monotonic())
        before, self.statistics = self.statistics, traffic.statistics(self.router)
        invalid = self.statistics["invalid"] - before["invalid"]
        looking = time.monotonic()
        there = self.entries(kind, {str(port), str(server_port)})
        looked = (looking, time.monotonic())

        model = self.next(model, expected, protocol, way, number, begun)
        wrong = []
        if verdict != "passed":
            wrong.append(f"the packet is {verdict}")
        if invalid != (expected.what == "invalid"):
            wrong.append(f"{invalid} packets are invalid")
        if len(there) != (model is not None):
            wrong.append(f"{len(there)} entries")
        elif model:
            source = ipaddress.ip_address(self.addresses[model.opener]).exploded
            wrong += model.differences(there[0], source, looked)
            if expected.new and there[0].counters[0].split("/")[0] != "1":
                wrong.append("the entry is not a new one")
        changed = traffic.difference(before, self.statistics)
        for entry in there:
            # What is left has been judged, and depends on the machine.
            entry.left = None
        seen = ", ".join(e.short(self.server.names) for e in there) or "no entry"
        found = "; ".join(p for p in (verdict, changed, seen) if p)
        return model, found, wrong and wrong + [f"there is {e.line}" for e in there]

    def next(self, model, expected, protocol, way, number, begun):
        """The entry after a packet, if it is as expected."""
        what = expected.what
        if what == "gone":
            return None
        is_state = what.isupper()
        if is_state and (model is None or expected.new):
            model = Model(way)
        if model is None:
            return None
        if is_state:
            model.state = what
            model.assured |= expected.assured
        if what != "invalid":
            model.replied |= way != model.opener
        timeout = expected.timeout or (what.lower() if is_state else "keep")
        if timeout != "keep":
            model.live(self.life(protocol, timeout, number), begun)
        return model

    def entries(self, kind, ports):
        found = []
        for line in traffic.read_in(self.router, "/proc/net/nf_conntrack").splitlines():
            if not line.startswith(self.family) or not any(f"={port} " in line for port in ports):
                continue
            entry = traffic.Entry(line)
            first = entry.tuples[0]
            if entry.number == kind and {first.get("sport"), first.get("dport")} == ports:
                found.append(entry)
        return found


def main():
    if len(sys.argv) < 7:
        sys.exit(__doc__)
    # As traffic.py does: with one processor, what was sent first is dealt with first.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    player = Player(*sys.argv[1:6])
    stories = read(sys.argv[6:])
    for port, story in enumerate(stories.values(), 1001):
        player.play(str(story), whole(stories, story), story.protocol, port)
    print(f"ok {player.family} stories")


if __name__ == "__main__":
    main()
