#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Messages of ctnetlink and what they are answered, to the byte, in the network namespace of the
caller.

  answers    what is told of entries that were made by messages, and of expectations
  traffic    what is told of connections, and when
  refused    messages that are not what they should be, and which error answers each
  queue      what is told of packets that wait for a verdict, and changed with it
  backlog    a listener that does not read, and gets all there is nevertheless
  dumps      thousands of entries, listed while others come and go
  make NAME...
             makes such entries
  listen     reads events and says nothing, until it is killed

Prints lines "~ KEY: VALUE" for compare.sh, and "ok" or "not ok" and a description for what
is right or wrong by itself.
"""

import os
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))

from ctnetlink import (AF_INET6, ASSURED, BROADCAST_ERROR, CONFIRMED, CT, CTRZERO, DELETE, DUMP,  # noqa: E402
                       DUMP_INTR, DYING, EVENT_TIME, EXCL, EXP, EXP_DELETE, EXP_GET, EXP_NEW, EXP_STATS,
                       E_CLASS, E_FLAGS, E_FN, E_HELP, E_ID, E_NAT, E_ZONE, FILTER, FTP, GET,
                       HELP, ICMP, ICMPV6, ID, LABELS, LABELS_MASK, MADE, MARK, MARK_MASK,
                       MASTER, NAT, NAT_DST, NAT_SRC, NEW, NLMSG_DONE, NO_ENOBUFS, ORIG,
                       REPLIED, REPLY, SCTP, SCTP_STATE, SEEN_REPLY, SEQ_ORIG, SEQ_REPLY, SHIFT,
                       SOL_NETLINK, STATE, STATS, STATS_CPU, STATUS, STATUS_MASK, SYNPROXY, TCP,
                       TIMEOUT, UDP, UNCONFIRMED, ZONE, Client, Socket, be16, check, detail,
                       entry, expectation, name_of, pack, render, run, show, tuple_, u32)
from netlink import ACK, AF_INET, CREATE, NESTED, NLMSG_ERROR, attributes, be32  # noqa: E402


def whole(body):
    """A dump tells TCP's flags and no mask; to restore them is to say that all of them count."""
    for number, flags in (4, 0x0A), (5, 0x0B):
        told = struct.pack("=HH", 6, number) + bytes([flags])
        body = body.replace(told + b"\0", told + b"\xff")
    return body


def answers(each="1"):
    """Of the filters only each EACH-th."""
    client = Client()
    listener = Socket(1, 2, 3, 4, 5, 6)
    own = client.netlink.socket.getsockname()[0]
    for name, tree in MADE.items():
        tree, family = tree if isinstance(tree, tuple) else (tree, AF_INET)
        key = f"made: {name}"
        client.flush()
        detail(key + " / new", name_of(client.new(tree, family=family)))
        client.listing(key)
        client.told(key + " / get", CT, GET, 0, tree[:1], family)
        zones = [part for part in tree if part[0] == ZONE]
        client.told(key + " / get by the reply", CT, GET, 0, [tree[1]] + zones, family)
        detail(key + " / again", name_of(client.new(tree, family=family)))
        detail(key + " / changed", name_of(client.new(tree, 0, family=family)))
        client.listing(key + ", changed")
        # What a dump tells makes the same entry again.
        _, found = client.ask(CT, GET, DUMP, (), 0)
        client.flush()
        again = [name_of(client.new(whole(body[4:]), family=body[0])) for _, _, _, body in found]
        _, restored = client.ask(CT, GET, DUMP, (), 0)
        detail(key + " / restored", " ".join(again))
        if name not in ("no time left", "both") and "NAT" not in name:
            check(f"a dump restores {name}",
                  sorted(map(show, found)) == sorted(map(show, restored)))
    client.flush()
    expectations(client)
    statistics(client)
    time.sleep(0.3)
    listener.socket.setblocking(False)
    events = []
    while True:
        try:
            events += [show(message, own) for message in listener.receive()]
        except BlockingIOError:
            break
    for number, event in enumerate(events):
        detail(f"events / {number}", event)
    check("there are events", len(events) > 50)
    filters(client, int(each))


def expectations(client):
    client.new(entry(TCP, more=[STATE, FTP]))
    client.new(entry(TCP, sport=1001, more=[STATE]))
    for name, tree in {
        "plain": expectation(),
        "permanent": expectation(more=[(E_FLAGS, be32(1))]),
        "inactive": expectation(more=[(E_FLAGS, be32(2))]),
        "of user space": expectation(more=[(E_FLAGS, be32(4))]),
        "class 1": expectation(more=[(E_CLASS, be32(1))]),
        "function": expectation(more=[(E_FN, b"nat-follow-master\0")]),
        "no function": expectation(more=[(E_FN, b"nobody\0")]),
        "nat": expectation(more=[(E_NAT, [(1, be32(1)), (2, tuple_("10.7.0.9", "10.7.0.8", TCP,
                                                                   7, 8))])]),
        "no helper": expectation(tuple_("10.7.0.1", "10.7.0.2", TCP, 1001, 2000)),
        "no master": expectation(tuple_("10.7.0.1", "10.7.0.2", TCP, 1002, 2000)),
        "helper": expectation(more=[(E_HELP, b"ftp\0")]),
    }.items():
        key = f"expected: {name}"
        client.ask(EXP, EXP_DELETE, 0, (), 0)
        client.told(key + " / new", EXP, EXP_NEW, CREATE | EXCL, tree)
        client.listing(key)
        client.told(key + " / again", EXP, EXP_NEW, CREATE | EXCL, tree)
        client.told(key + " / changed", EXP, EXP_NEW, 0, expectation(timeout=30))
        client.told(key + " / get", EXP, EXP_GET, 0, tree[:1])
        client.told(key + " / get by master", EXP, EXP_GET, 0, tree[2:3])
        client.told(key + " / of a master", EXP, EXP_GET, DUMP, tree[2:3])
        client.told(key + " / of IPv6", EXP, EXP_GET, DUMP, (), AF_INET6)
        client.told(key + " / another id", EXP, EXP_DELETE, 0, tree[:1] + [(E_ID, be32(1))])
        client.told(key + " / delete by helper", EXP, EXP_DELETE, 0, [(E_HELP, b"tftp\0")])
        client.told(key + " / delete", EXP, EXP_DELETE, 0, tree[:1])
        client.told(key + " / delete again", EXP, EXP_DELETE, 0, tree[:1])
    # One whose time is over, before anything has met it and removed it.
    for _ in range(5):
        client.ask(EXP, EXP_NEW, CREATE | EXCL, expectation())
        client.ask(EXP, EXP_NEW, 0, expectation(timeout=1))
        time.sleep(1.1)
        seen = [len(client.ask(EXP, EXP_GET, DUMP, some)[1]) for some in ((), expectation()[2:3])]
        if seen[1]:
            break
    detail("expected: expired / in the dump of all, in that of its master", seen)
    client.ask(EXP, EXP_DELETE, 0, (), 0)
    client.ask(EXP, EXP_NEW, CREATE | EXCL, expectation())
    client.told("expected: helper's / delete", EXP, EXP_DELETE, 0, [(E_HELP, b"ftp\0")])
    client.listing("expected: after that")
    client.ask(EXP, EXP_NEW, CREATE | EXCL, expectation())
    client.told("expected: without its master / delete", CT, DELETE, 0, entry(TCP)[:1])
    client.listing("expected: without its master")
    client.flush()


def statistics(client):
    def numbers(found):
        return sorted({show(message).split(" 1:")[0].split(" 2:")[0] for message in found})

    error, found = client.ask(CT, STATS_CPU, DUMP)
    rendered = [[part.split(":")[0] for part in show(m).split()[5:]] for m in found]
    detail("statistics / of CPUs", f"{name_of(error)} {len(found)} {rendered}")
    error, found = client.ask(EXP, EXP_STATS, DUMP)
    rendered = [[part.split(":")[0] for part in show(m).split()[5:]] for m in found]
    detail("statistics / expectations, of CPUs",
           f"{name_of(error)} {len(found)} {rendered} {[m[0] for m in found]}")
    client.told("statistics / of no CPU", CT, STATS_CPU)
    client.told("statistics / expectations, of no CPU", EXP, EXP_STATS)
    client.new(entry())
    error, found = client.ask(CT, STATS)
    detail("statistics / global", f"{name_of(error)} " + show(found[0]).rsplit(" ", 1)[0])
    # Attributes are not looked at, or lead to one more that is the tracker's own.
    for name, tree in {
        "short": [(number, b"x") for number in range(1, 28)],
        "empty": [(number, b"") for number in range(1, 28)],
        "for the kernel alone": [(EVENT_TIME, bytes(8))],
        "a filter that is none": [(FILTER, b"\0\0\0\0\0\0\0\0")],
        "bits that are none": [(FILTER, [(1, u32(0xFFFFFFFF))])],
        "a filter without tuple": [(FILTER, [(1, u32(1))])],
        "a mask alone": [(MARK_MASK, be32(1)), (ZONE, be16(0))],
        "no status": [(STATUS, be32(0))],
        "labels": [(LABELS, bytes(64))],
        "not even attributes": b"\x03",
    }.items():
        error, found = client.ask(CT, STATS, 0, tree)
        detail(f"statistics / global: {name}",
               f"{name_of(error)} " + " ".join(show(m).rsplit(" ", 1)[0] for m in found))
    client.told("lists / dying, no dump", CT, DYING)
    client.told("lists / unconfirmed, no dump", CT, UNCONFIRMED)
    client.told("lists / dying", CT, DYING, DUMP)
    client.told("lists / unconfirmed", CT, UNCONFIRMED, DUMP)
    client.flush()


def filters(client, each):
    for tree, family in [
        (entry(), 2),
        (entry(sport=1001, more=[(MARK, be32(5))]), 2),
        (entry(sport=1002, more=[(ZONE, be16(7))]), 2),
        (entry(TCP, more=[STATE, REPLIED]), 2),
        (entry(TCP, "10.7.0.3", "10.7.0.2", more=[STATE, (ZONE, be16(7))]), 2),
        (entry(ICMP), 2),
        (entry(SCTP, more=[SCTP_STATE]), 2),
        (entry(UDP, "fd07::1", "fd07::2"), 10),
        (entry(ICMPV6, "fd07::1", "fd07::2"), 10),
        (entry(more=[(NAT_SRC, NAT)], sport=1003), 2),
    ]:
        assert not client.new(tree, family=family)
    orig = (ORIG, tuple_("10.7.0.1", "10.7.0.2", UDP, 1000, 2000))
    icmp = (ORIG, tuple_("10.7.0.1", "10.7.0.2", ICMP, 1000, 8))
    reply = (REPLY, tuple_("10.7.0.2", "10.7.0.77", UDP, 2000, 5000))
    zoned = (ORIG, tuple_("10.7.0.1", "10.7.0.2", UDP, 1000, 2000, 7))
    six = (ORIG, tuple_("fd07::1", "fd07::2", UDP, 1000, 2000))

    def parts(original, answer=None):
        tree = [(1, u32(original))] if original is not None else []
        return (FILTER, tree + ([(2, u32(answer))] if answer is not None else []))

    cases = {
        "mark 5": [(MARK, be32(5))],
        "mark 0": [(MARK, be32(0))],
        "mark 4/4": [(MARK, be32(4)), (MARK_MASK, be32(4))],
        "mark mask alone": [(MARK_MASK, be32(4))],
        "status": [(STATUS, be32(ASSURED))],
        "status 0": [(STATUS, be32(0))],
        "status 0/assured": [(STATUS, be32(0)), (STATUS_MASK, be32(ASSURED))],
        "status mask alone": [(STATUS_MASK, be32(ASSURED))],
        "zone": [(ZONE, be16(7))],
        "zone 0": [(ZONE, be16(0))],
        "no parts": [parts(None)],
        "parts 0": [parts(0, 0)],
        "source": [parts(1), orig],
        "destination": [parts(2), orig],
        "protocol": [parts(8), orig],
        "ports": [parts(0x38), orig],
        "ports without protocol": [parts(0x30), orig],
        "all": [parts(0xFFF), orig],
        "a part too many": [parts(0x1000), orig],
        "no tuple": [parts(1)],
        "no reply": [parts(None, 1), orig],
        "reply": [parts(None, 0x3B), reply],
        "both": [parts(1, 2), orig, reply],
        "icmp": [parts(0x1C8), icmp],
        "sctp ports": [parts(0x38), (ORIG, tuple_("10.7.0.1", "10.7.0.2", SCTP, 5, 6))],
        "zone of the tuple": [parts(5), zoned],
        "zone of the tuple, and 0": [parts(5), zoned, (ZONE, be16(0))],
        "zone of the tuple, and 7": [parts(5), zoned, (ZONE, be16(7))],
        "source and mark": [parts(1), orig, (MARK, be32(5))],
        "another family's tuple": [parts(3), six],
        "filter not nested": [(FILTER, [(1, u32(1))], 0), orig],
        "filter with unknown": [(FILTER, [(7, u32(1))]), orig],
        "filter with short": [(FILTER, [(1, b"\1\0")]), orig],
    }
    for name, tree in list(cases.items())[::each]:
        for family in 0, AF_INET, AF_INET6:
            error, found = client.ask(CT, GET, DUMP, tree, family)
            flags = {flags for _, flags, _, _ in found}
            lines = sorted(render(body[4:])[:150] for _, _, _, body in found)
            detail(f"filter: {name} / family {family}",
                   f"{name_of(error)} {client.netlink.done_flags:#x} {flags} {lines}"
                   if not error else name_of(error))
    for name, tree in list(cases.items())[::each]:
        for family, version in (0, 0), (AF_INET, 0), (AF_INET, 1), (AF_INET6, 1):
            _, saved = client.ask(CT, GET, DUMP, (), 0)
            error, _ = client.ask(CT, DELETE, 0, tree, family, version)
            lines = [line[:150] for line in client.dump()]
            detail(f"delete by filter: {name} / family {family} version {version}",
                   f"{name_of(error)} {lines}")
            if len(lines) != len(saved):
                for _, _, _, body in saved:
                    client.new(body[4:], CREATE, body[0])
    client.flush()
    client.new(entry())
    _, found = client.ask(CT, GET, 0, entry()[:1])
    own = [value for number, value in attributes(found[0][3][4:]) if number == ID][0]
    client.told("delete: another id / error", CT, DELETE, 0, entry()[:1] + [(ID, be32(1))])
    client.told("delete: its id / error", CT, DELETE, 0, entry()[:1] + [(ID, own)])
    client.told("delete: again / error", CT, DELETE, 0, entry()[:1])


def mutations(tree, path=""):
    """(description, tree), each with one thing wrong."""
    for index, (number, value, *flags) in enumerate(tree):
        here = f"{path}{number}"
        before, after = list(tree[:index]), list(tree[index + 1:])

        def put(*new, before=before, after=after):
            return before + list(new) + after

        yield f"{here} gone", put()
        if isinstance(value, list):
            yield f"{here} empty", put((number, []))
            yield f"{here} not nested", put((number, value, 0))
            yield f"{here} bytes", put((number, b"\xff" * 5))
            yield f"{here} twice", put((number, value), (number, []))
            for what, changed in mutations(value, here + "."):
                yield what, put((number, changed))
        else:
            yield f"{here} empty", put((number, b""))
            yield f"{here} short", put((number, value[:-1]))
            yield f"{here} long", put((number, value + b"\0\0\0\0\0"))
            yield f"{here} ones", put((number, b"\xff" * len(value)))
            yield f"{here} zeroes", put((number, bytes(len(value))))
            yield f"{here} nested", put((number | NESTED, value))
            yield f"{here} unknown", put((number | 0x1F00, value))


def refused(tracker, each="1"):
    """Of the mistakes only each EACH-th."""
    client = Client()
    everything = [STATE, REPLIED, (MARK, be32(3)), (MARK_MASK, be32(0xFF)),
                  (SEQ_ORIG, SHIFT), (SEQ_REPLY, SHIFT), (SYNPROXY, SHIFT),
                  (LABELS, bytes(range(16))), (LABELS_MASK, b"\xff" * 16)]
    full = entry(TCP, more=everything + [FTP])
    plain = entry(TCP, more=[STATE, REPLIED, FTP])
    related = plain + [(MASTER, tuple_("10.7.0.5", "10.7.0.2", TCP, 1000, 2000))]
    master = entry(TCP, "10.7.0.5", more=[STATE, REPLIED, FTP])
    update = full[:2] + everything + [FTP, (TIMEOUT, be32(300))]
    sctp = entry(SCTP, more=[SCTP_STATE])
    nat = entry(more=[(NAT_DST, NAT), (NAT_SRC, NAT), REPLIED])
    ping = entry(ICMP)
    changed_by_error = []

    def state():
        return client.dump() + client.dump(EXP, EXP_GET)

    def cases(key, subsystem, message, flags, tree, begin, family=AF_INET):
        before = None
        for what, mutant in ([("as it is", tree)] + list(mutations(tree)))[::int(each)]:
            client.flush()
            for step in begin:
                client.ask(*step)
            # The same each time, as far as it is shown.
            before = before or state()
            error, found = client.ask(subsystem, message, flags, mutant, family)
            after = state()
            if error and after != before:
                changed_by_error.append(f"{key} {what}")
            # The C tracker changes some of it before it meets a mistake.
            result = "" if error else " " + " ".join(after)
            # From several ports one is chosen by chance; without time it depends on when one looks.
            if " NAT" in key and ".3" in what or what == f"{TIMEOUT} zeroes":
                result = ""
            detail(f"{key} / {what}", name_of(error) + " " + str(len(found)) + result)

    has_master = [(CT, NEW, CREATE, master)]
    has_plain = [(CT, NEW, CREATE, plain)]
    cases("refused: new", CT, NEW, CREATE | EXCL, full, [])
    cases("refused: new, related", CT, NEW, CREATE | EXCL, related[:2] + related[-1:] +
          [(TIMEOUT, be32(9))], has_master)
    cases("refused: new, sctp", CT, NEW, CREATE | EXCL, sctp[2:] + sctp[:2], [])
    cases("refused: new, NAT", CT, NEW, CREATE | EXCL, nat[2:] + nat[:2], [])
    cases("refused: new, ping", CT, NEW, CREATE | EXCL, ping, [])
    cases("refused: update", CT, NEW, 0, update, has_plain)
    cases("refused: get", CT, GET, 0, plain[:1] + [(ZONE, be16(0))], has_plain)
    cases("refused: delete", CT, DELETE, 0, plain[:1] + [(ID, be32(1))], has_plain)
    nat_of = (E_NAT, [(1, be32(1)), (2, tuple_("10.7.0.9", "10.7.0.8", TCP, 7, 8))])
    cases("refused: expect", EXP, EXP_NEW, CREATE | EXCL,
          expectation(more=[(E_FLAGS, be32(1)), (E_CLASS, be32(0)), (E_ZONE, be16(0)),
                            (E_FN, b"nat-follow-master\0"), nat_of]), has_plain)

    if tracker == "stock":
        print("#", len(changed_by_error), "refused messages changed something")
    else:
        check("a refused message changes nothing", not changed_by_error,
              " ".join(changed_by_error[:9]))
    for family in 0, 1, 7, 255:
        client.told(f"refused: family {family} / new", CT, NEW, CREATE, plain, family)
        client.told(f"refused: family {family} / get", CT, GET, 0, plain[:1], family)
        client.told(f"refused: family {family} / dump", CT, GET, DUMP, (), family)
    for message in range(4, 16):
        for subsystem in CT, EXP:
            if (subsystem, message) not in ((CT, STATS), (CT, STATS_CPU)):
                client.told(f"refused: message {subsystem}/{message} / error", subsystem, message)
    for name, status in {"expected": 1, "seen reply alone": 2, "not confirmed": 6, "dying": 0x208,
                         "template": 0x808, "all": 0xFFFFFFFF, "nothing": 0}.items():
        client.flush()
        client.told(f"status: {name} / new", CT, NEW, CREATE,
                    entry(more=[(STATUS, be32(status))]))
        client.listing(f"status: {name}")
        client.flush()
        client.new(entry(more=[REPLIED]))
        client.told(f"status: {name} / update", CT, NEW, 0,
                    entry()[:2] + [(STATUS, be32(status))])
        client.listing(f"status: {name}, updated")
    client.flush()
    client.new(entry(more=[(STATUS, be32(CONFIRMED | 1 << 10))]))
    client.told("status: fixed timeout / update", CT, NEW, 0, entry())
    client.flush()
    unprivileged()


def unprivileged():
    pid = os.fork()
    if not pid:
        try:
            client = Client()
            os.setgid(65534)
            os.setuid(65534)
            for name, message, flags, tree in (("get", GET, DUMP, ()), ("new", NEW, CREATE, entry()),
                                               ("delete", DELETE, 0, ())):
                client.told(f"unprivileged / {name}", CT, message, flags, tree)
            sys.stdout.flush()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    detail("unprivileged / entries", Client().dump())


def traffic():
    """Needs accounting and time stamps switched on."""
    client = Client()
    client.flush()
    listener = Socket(1, 2, 3)
    for family, host in (AF_INET, "127.0.0.1"), (AF_INET6, "::1"):
        server = socket.socket(family, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, 7001))
        server.listen()
        peer = socket.socket(family, socket.SOCK_STREAM)
        peer.bind((host, 7002))
        peer.connect((host, 7001))
        accepted, _ = server.accept()
        peer.send(bytes(100))
        accepted.recv(100)
        one, two = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
        one.bind((host, 7003))
        two.bind((host, 7004))
        one.sendto(b"x", (host, 7004))
        two.recv(9)
        key = f"traffic: {host}"
        client.listing(key + ", one way")
        two.sendto(b"xy", (host, 7003))
        one.recv(9)
        key = f"traffic: {host}"
        client.listing(key)
        for name in "read and zeroed", "zero":
            for line in sorted(map(show, client.ask(CT, CTRZERO, DUMP, (), 0)[1])):
                # The TCP connection may still send an acknowledgement.
                if "{1:11 " in line:
                    detail(f"{key}, {name} / udp", line)
        accepted.close()
        peer.close()
        server.close()
    time.sleep(0.2)
    client.flush()
    listener.socket.settimeout(1)
    events = {}
    try:
        while True:
            for message in listener.receive():
                line = show(message)
                if "{1:11 " in line:
                    events.setdefault(line[:40], []).append(line)
    except (TimeoutError, socket.timeout):
        pass
    for number, line in enumerate(line for kind in sorted(events) for line in events[kind]):
        detail(f"traffic: events of udp / {number}", line)


def queue():
    """Needs a rule that queues UDP to port 7103 on its way out, to queue 5."""
    client = Client()
    client.flush()
    netlink = Socket()
    netlink.socket.settimeout(5)

    def configure(tree):
        netlink.send(3, 2, ACK, pack(tree), 0, 0, 5)
        (kind, _, _, body), = netlink.receive()
        assert kind == NLMSG_ERROR and not struct.unpack_from("=i", body)[0]

    configure([(1, struct.pack("!BxH", 1, 0))])
    configure([(2, struct.pack("!IB", 0xFFFF, 2)), (4, be32(2)), (5, be32(2))])
    sender, receiver = (socket.socket(AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    sender.bind(("127.0.0.1", 7102))
    receiver.bind(("127.0.0.1", 7103))
    receiver.settimeout(5)
    ftp = entry(UDP, "127.0.0.1", "127.0.0.1", 7102, 7103)
    for name, tree in {
        "nothing": [],
        "mark": [(11, [(MARK, be32(77))])],
        "timeout": [(11, [(TIMEOUT, be32(99))])],
        "status": [(11, [(STATUS, be32(ASSURED | SEEN_REPLY | 1))])],
        "no status": [(11, [(STATUS, be32(0))])],
        "labels": [(11, [(LABELS, b"\4" + bytes(15))])],
        "short": [(11, [(MARK, b"\1")])],
        "no helper": [(11, [(HELP, [(1, b"ftp\0")])])],
        "expect": [(11, ftp[:1]), (15, expectation()[:2])],
    }.items():
        client.flush()
        sender.sendto(b"x", ("127.0.0.1", 7103))
        (kind, _, _, body), = netlink.receive()
        found = dict(attributes(body[4:]))
        told = found.get(11)
        detail(f"queue: {name} / told", told and render(told))
        detail(f"queue: {name} / state", found.get(12, b"").hex())
        verdict = [(2, be32(1) + found[1][:4])] + tree
        netlink.send(3, 1, ACK, pack(verdict), 0, 0, 5)
        (kind, _, _, body), = netlink.receive()
        detail(f"queue: {name} / verdict", name_of(-struct.unpack_from("=i", body)[0]))
        receiver.recv(9)
        client.listing(f"queue: {name}")
    client.flush()


def backlog():
    """A listener that has said that it must not miss anything."""
    client = Client()
    client.flush()
    listener = Socket(3, room=4096)
    listener.socket.setsockopt(SOL_NETLINK, BROADCAST_ERROR, 1)
    listener.socket.setsockopt(SOL_NETLINK, NO_ENOBUFS, 1)
    count = 200
    for port in range(count):
        assert not client.new(entry(sport=2000 + port))
    client.flush()
    _, waiting = client.ask(CT, DYING, DUMP, (), 0)
    check("untold ends are listed as dying", len(waiting) > count // 2, str(len(waiting)))
    keys = {render(body[4:])[:90] for _, _, _, body in waiting}
    check("each of them once", len(keys) == len(waiting))
    _, other = client.ask(CT, DYING, DUMP, (), AF_INET6)
    check("but not for the other family", not other)
    told = set()
    listener.socket.settimeout(5)
    try:
        while len(told) < count:
            told.update(render(message[3][4:])[:90] for message in listener.receive())
    except (TimeoutError, socket.timeout):
        pass
    check("the listener is told of each end", len(told) == count, str(len(told)))
    time.sleep(0.3)
    check("and none is dying then", not client.ask(CT, DYING, DUMP, (), 0)[1])


def dumps(count="3000"):
    """Listings that are read slowly, while entries come and go."""
    count = int(count)
    client, other = Client(), Client()
    client.flush()
    for port in range(count):
        assert not client.new(entry(sport=1 + port, more=[(MARK, be32(1))]))
    for listing in range(3):
        client.netlink.send(CT, GET, DUMP | ACK, b"", 0, 0)
        seen, done, rounds, kinds = [], False, 0, set()
        while not done:
            for kind, flags, _, body in client.netlink.receive():
                done = kind == NLMSG_DONE
                if not done:
                    seen.append(render(body[4:])[:90])
                kinds.add(flags)
            rounds += 1
            place = listing * 1000 + rounds
            assert not other.new(entry(src="10.8.0.1", sport=place + 10))
            other.ask(CT, DELETE, 0, entry(src="10.8.0.1", sport=place + 7)[:1])
            time.sleep(0.02)
        ours = [line for line in seen if "0a070001" in line]
        check(f"listing {listing} has each entry once", len(set(ours)) == len(ours) == count,
              f"{len(ours)} lines, {len(set(ours))} entries, {rounds} messages")
        check(f"listing {listing} is not in doubt", not any(f & DUMP_INTR for f in kinds))
    begin = time.monotonic()
    client.flush()
    check("flushed", not client.dump(), f"{time.monotonic() - begin:.2f} s")


def make(*names):
    for name in names:
        tree, family = MADE[name] if isinstance(MADE[name], tuple) else (MADE[name], AF_INET)
        check(f"made: {name}", not Client().new(tree, family=family))


def listen():
    listener = Socket(1, 2, 3, room=1 << 25)
    while True:
        for _ in listener.receive():
            pass


if __name__ == "__main__":
    run(__doc__, answers=answers, traffic=traffic, refused=refused, queue=queue, backlog=backlog,
        dumps=dumps, make=make, listen=listen)
