#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Traffic for the scripts of the selftests.

"traffic.py serve" reads one command a line from standard input and answers
with lines of data, each after "| ", and then one line: "ok ..." or "error ...".
A command is over when what it asks for has happened, so that a script need not
sleep. One process works in every network namespace; it opens sockets there.

  cat NS PATH                      a file, as seen from inside of NS
  write NS PATH VALUE              "error EINVAL" etc. when it is refused
  mode NS PATH                     permission bits, octal
  open NAME NS PATH                a file, to be read piece by piece
  read NAME BYTES                  says how many there were
  text NAME                        what has been read so far

  listen NAME NS ADDR PORT [sctp]  a TCP listener
  connect NAME NS ADDR PORT [sport=N] [nowait] [sndbuf=N] [rcvbuf=N] [sctp]
                                   says connected, refused, unreachable or pending
  accept NAME LISTENER
  crowd NAME NS ADDR PORT COUNT    so many connections, both ends of them in NS
  disperse NAME                    closes them
  send NAME BYTES | recv NAME BYTES | eof NAME | reset NAME
  shut NAME | close NAME | abort NAME        FIN after sending | close | RST
  wanted NAME                      where the peer wanted to go, before a rule redirected it
  udp NAME NS PORT [ADDR]          a UDP socket; PORT 0: any
  sendto NAME ADDR PORT BYTES      from the UDP socket
  attach NAME ADDR PORT            connects the UDP socket
  take NAME                        a datagram; says its length
  reply NAME BYTES                 to where the last datagram came from
  error NAME                       waits for an ICMP error; says which errno
  silence NAME                     fails if something is there to be read
  queue NAME NS NUMBER             takes what rules put into a queue (nfqueue)
  verdict NAME                     a packet from there: lets it go on, says its length
  hold NAME                        keeps a packet from there; says its length
  verdict NAME accept|drop|repeat  about the one that was kept for the longest time
  rmmod MODULE                     unloads it, at once or not at all

  ftpd NAME NS ADDR | tftpd NAME NS ADDR           servers
  ftp NS ROUTER ADDR active|passive|eprt|epsv [WAIT]
  tftp NS ROUTER ADDR OWNADDR get|put BYTES [WAIT]  says what was transferred, and
                                   shows the router's expectations before that

  side SIDE NS DEV MAC ROUTERMAC ADDR ROUTERADDR    for "inject"
  inject SIDE PACKET               sends a packet of one's own making into the
                                   router; "ok passed" if it came out at the
                                   other side, else "ok lost"; if there are more
                                   than two sides, "ok passed to SIDE"
  through SIDE PACKET              the same, of two sides; says the bytes behind the header of IP
                                   with which it came out
  step SIDE NS PACKET              the same, and says what changed in NS: the
                                   statistics, and the entry of the packet's flow
  hex PACKET                       its bytes
  fuzz NS COUNT SEED SRC DST       that many random TCP segments in steps
  mangle NS COUNT SEED SRC DST     that many packets with random bytes in them
  name ADDR LABEL                  a short name for an address in summaries
  summary NS [left>N] [WORD...]    the entries with all these words, in short
  stats NS                         the statistics that are not zero
  events NAME NS [HOST]...         records what netlink tells of NS's connections
  told NAME                        ends what is left of them, and says what was told of each;
                                   "error ENOBUFS" if something was lost. HOSTs' kernels send
                                   what they like
  flood SIDE COUNT SADDR DADDR [first=N] [dport=N] [sport=N] [ports=N]
                                   one datagram a flow: to each port from so many
  bulk NAME FROM TO BYTES          transfer in the background
  await NAME                       for the end of that transfer

A PACKET is
  tcp SRC,PORT DST,PORT FLAGS [seq=] [ack=] [win=] [len=] [mss=] [wscale=]
      [sackok] [sack=A:B] [ts=VAL,ECR] [tcpopt=HEX] [doff=WORDS]
  udp SRC,PORT DST,PORT [len=] [ulen=]
  sctp SRC,PORT DST,PORT CHUNK... [vtag=]    a CHUNK is KIND[/T][:TAG][+LEN]
  gre SRC DST [key=] [call=ID [seq=] [ackn=]] [len=]    with a call: version 1
  icmp SRC DST TYPE CODE [word=ID,SEQ] [data=HEX] [len=] [inner PACKET]
  ip SRC DST PROTOCOL [data=HEX] [len=]
and any of them may have
  [csum=bad|zero|VALUE] [ttl=] [id=] [ipopt=HEX] [ihl=WORDS] [totlen=]
  [l4cut=BYTES] [slice=A:B] [frag=OFFSET] [mf] [df] [ipcsum=bad]
  [ext=KIND:HEX,...] [nexthdr=N] [pad=BYTES] [version=N]
"""

import ctypes
import errno
import functools
import ipaddress
import os
import random
import resource
import select
import socket
import struct
import sys
import threading
import time

import ctnetlink
import ftp
import netlink

WAIT = float(os.environ.get("SELFTEST_WAIT", "10"))
CLONE_NEWNET = 0x40000000
ETH_P_ALL, ETH_P_IP, ETH_P_ARP, ETH_P_IPV6 = 3, 0x0800, 0x0806, 0x86DD
PACKET_OUTGOING = 4
IPPROTO = {"tcp": 6, "udp": 17, "icmp4": 1, "icmp6": 58}

# Of x86-64: the C library has no name for it.
DELETE_MODULE = 176

libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """What a command answers with after "error"."""


# --- namespaces -------------------------------------------------------------


class Inside:
    """The calling thread works in a namespace for a while."""

    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        if self.name == "-":
            return
        # A name, or a path.
        target = os.open(os.path.join("/run/netns", self.name), os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(target)
        finally:
            os.close(target)

    def __exit__(self, *_):
        if self.name != "-":
            enter(Inside.home)


def enter(fd):
    if libc.setns(fd, CLONE_NEWNET):
        raise Failure("setns: " + os.strerror(ctypes.get_errno()))


# --- packets ----------------------------------------------------------------


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def number(text):
    return int(text, 0)


@functools.cache
def crc32c_of(byte):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ crc32c_of((crc ^ byte) & 0xFF)
    return crc ^ 0xFFFFFFFF


class Packet:
    """An IP packet put together from the words of the command language."""

    FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "C": 128}
    CHUNKS = {
        "DATA": 0, "INIT": 1, "INITACK": 2, "SACK": 3, "HB": 4, "HBACK": 5, "ABORT": 6,
        "SHUTDOWN": 7, "SHUTACK": 8, "ERROR": 9, "COOKIEECHO": 10, "COOKIEACK": 11,
        "SHUTCOMP": 14, "AUTH": 15, "OTHER": 63, "NOLENGTH": 0}
    EXTENSIONS = {"hop": 0, "rt": 43, "frag": 44, "esp": 50, "ah": 51, "dst": 60, "none": 59}
    unique = 0x1000

    def __init__(self, words):
        words = list(words)
        inner = None
        if "inner" in words:
            at = words.index("inner")
            inner = Packet(words[at + 1 :])
            words = words[:at]
        kind, *words = words
        plain = [w for w in words if "=" not in w]
        self.set = dict(w.split("=", 1) for w in words if "=" in w)
        self.kind = kind
        ports = kind in ("tcp", "udp", "sctp")
        source, _, sport = plain[0].partition(",")
        target, _, dport = plain[1].partition(",")
        self.source = ipaddress.ip_address(source)
        self.target = ipaddress.ip_address(target)
        self.ports = (number(sport), number(dport)) if ports else None
        self.words = plain[2:]
        self.v6 = self.source.version == 6
        Packet.unique = (Packet.unique + 1) & 0xFFFF or 1
        self.id = self.num("id", Packet.unique)
        self.marker = (self.source.packed, self.target.packed, self.id)
        self.inner = inner
        self.bytes = self.build()

    def num(self, key, default=0):
        return number(self.set[key]) if key in self.set else default

    def has(self, word):
        return word in self.words

    def payload(self):
        if "data" in self.set:
            return bytes.fromhex(self.set["data"])
        return bytes(self.num("len"))

    def finish(self, proto, data, at):
        """Fills in the checksum at an offset of the transport part."""
        how = self.set.get("csum", "good")
        pseudo = self.source.packed + self.target.packed
        if self.v6:
            pseudo += struct.pack("!II", len(data), proto)
        elif proto == 1:
            pseudo = b""
        else:
            pseudo += struct.pack("!HH", proto, len(data))
        value = checksum(pseudo + data) or (0xFFFF if proto == 17 else 0)
        if how == "bad":
            value ^= 0x5555
        elif how == "zero":
            value = 0
        elif how != "good":
            value = number(how)
        return data[:at] + struct.pack("!H", value) + data[at + 2 :]

    def tcp(self):
        flags = sum(Packet.FLAGS[c] for c in self.words[0] if c != "-")
        options = b""
        if "mss" in self.set:
            options += struct.pack("!BBH", 2, 4, self.num("mss"))
        if self.has("sackok"):
            options += b"\1\1\4\2"
        if "wscale" in self.set:
            options += struct.pack("!BBBB", 1, 3, 3, self.num("wscale"))
        if "ts" in self.set:
            value, echo = map(number, self.set["ts"].split(","))
            options += struct.pack("!BBBBII", 1, 1, 8, 10, value, echo)
        if "sack" in self.set:
            blocks = [tuple(map(number, b.split(":"))) for b in self.set["sack"].split(",")]
            options += struct.pack("!BBBB", 1, 1, 5, 2 + 8 * len(blocks))
            options += b"".join(struct.pack("!II", *b) for b in blocks)
        options += bytes.fromhex(self.set.get("tcpopt", ""))
        options += bytes(-len(options) % 4)
        doff = self.num("doff", 5 + len(options) // 4)
        head = struct.pack(
            "!HHIIBBHHH", *self.ports, self.num("seq") & 0xFFFFFFFF, self.num("ack") & 0xFFFFFFFF,
            doff << 4, flags, self.num("win", 8192), 0, self.num("urg"))
        return 6, self.finish(6, head + options + self.payload(), 16)

    def udp(self):
        data = self.payload()
        head = struct.pack("!HHHH", *self.ports, self.num("ulen", 8 + len(data)), 0)
        return 17, self.finish(17, head + data, 6)

    def sctp(self):
        data = struct.pack("!HHII", *self.ports, self.num("vtag"), 0)
        for word in self.words:
            word, _, size = word.partition("+")
            word, _, tag = word.partition(":")
            kind, _, flag = word.partition("/")
            value = bytes(number(size) if size else 4)
            if kind in ("INIT", "INITACK"):
                value = struct.pack("!IIHHI", number(tag), 8192, 1, 1, 1) + value
            length = 4 + len(value) if kind != "NOLENGTH" else 0
            data += struct.pack("!BBH", Packet.CHUNKS[kind], flag == "T", length)
            data += value + bytes(-len(value) % 4)
        crc = crc32c(data) ^ (0x5555 if self.set.get("csum") == "bad" else 0)
        return 132, data[:8] + struct.pack("<I", crc) + data[12:]

    def gre(self):
        data = self.payload()
        if "call" in self.set:
            head = struct.pack("!HHHH", 0x2001 | ("seq" in self.set) << 12 | ("ackn" in self.set) << 7,
                               0x880B, len(data), self.num("call"))
            head += b"".join(struct.pack("!I", self.num(k)) for k in ("seq", "ackn") if k in self.set)
        elif "key" in self.set:
            head = struct.pack("!HHI", 0x2000, ETH_P_IP, self.num("key"))
        else:
            head = struct.pack("!HH", self.num("flags"), ETH_P_IP)
        return 47, head + data

    def icmp(self):
        kind, code = number(self.words[0]), number(self.words[1])
        word = self.set.get("word", "0,0").split(",")
        head = struct.pack("!BBHHH", kind, code, 0, number(word[0]), number(word[1]))
        data = self.inner.bytes[: self.num("quote", 576)] if self.inner else self.payload()
        proto = IPPROTO["icmp6" if self.v6 else "icmp4"]
        return proto, self.finish(proto, head + data, 2)

    def ip(self):
        return number(self.words[0]), self.payload()

    def build(self):
        proto, data = getattr(self, self.kind)()
        proto = self.num("nexthdr", proto)
        if "l4cut" in self.set:
            data = data[: self.num("l4cut")]
        if "slice" in self.set:
            first, _, last = self.set["slice"].partition(":")
            data = data[number(first) if first else 0 : number(last) if last else None]
        return self.build6(proto, data) if self.v6 else self.build4(proto, data)

    def build4(self, proto, data):
        options = bytes.fromhex(self.set.get("ipopt", ""))
        options += bytes(-len(options) % 4)
        version = self.num("version", 4)
        ihl = self.num("ihl", 5 + len(options) // 4)
        offset = self.num("frag") // 8 | (0x2000 if self.has("mf") else 0)
        offset |= 0x4000 if self.has("df") else 0
        head = struct.pack(
            "!BBHHHBBH", version << 4 | ihl, 0, self.num("totlen", 20 + len(options) + len(data)),
            self.id, offset, self.num("ttl", 64), proto, 0)
        head += self.source.packed + self.target.packed + options
        value = checksum(head) ^ (0x5555 if self.set.get("ipcsum") == "bad" else 0)
        return head[:10] + struct.pack("!H", value) + head[12:] + data

    def build6(self, proto, data):
        chain = []
        for item in filter(None, self.set.get("ext", "").split(",")):
            kind, _, content = item.partition(":")
            chain.append((Packet.EXTENSIONS[kind], bytes.fromhex(content)))
        if "frag" in self.set or self.has("mf"):
            offset = self.num("frag") | (1 if self.has("mf") else 0)
            chain.append((44, struct.pack("!xHI", offset, self.id)))
        # An extension is given without its first byte, the next header.
        kinds = [kind for kind, _ in chain] + [proto]
        data = b"".join(
            bytes([kinds[i + 1]]) + content for i, (_, content) in enumerate(chain)) + data
        head = struct.pack(
            "!IHBB", self.num("version", 6) << 28 | self.id, self.num("totlen", len(data)),
            kinds[0], self.num("ttl", 64))
        return head + self.source.packed + self.target.packed + data


def marker_of(frame):
    """What an injected packet is recognised by when it comes out again."""
    kind = struct.unpack_from("!H", frame, 12)[0]
    if kind == ETH_P_IP and len(frame) >= 34:
        return frame[26:30], frame[30:34], struct.unpack_from("!H", frame, 18)[0]
    if kind == ETH_P_IPV6 and len(frame) >= 54:
        return frame[22:38], frame[38:54], struct.unpack_from("!I", frame, 14)[0] & 0xFFFFF
    return None


class Side:
    """One end of a veth pair whose other end is in the router."""

    def __init__(self, ns, dev, mac, router_mac, addr, router_addr):
        with Inside(ns):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            self.socket.bind((dev, ETH_P_ALL))
        self.dev = dev
        self.mac = bytes.fromhex(mac.replace(":", ""))
        self.router_mac = bytes.fromhex(router_mac.replace(":", ""))
        self.addr = socket.inet_aton(addr)
        self.router_addr = socket.inet_aton(router_addr)

    def frames(self):
        """What has come in since the last call."""
        while True:
            try:
                frame, sender = self.socket.recvfrom(70000, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if sender[2] != PACKET_OUTGOING:
                yield frame

    def send(self, ether_type, data):
        self.socket.send(self.router_mac + self.mac + struct.pack("!H", ether_type) + data)

    def fence(self):
        """Returns when the router is done with everything sent before.

        A question for its hardware address waits in the same queue, and no
        tracker ever sees it.
        """
        ask = struct.pack("!HHBBH", 1, ETH_P_IP, 6, 4, 1) + self.mac + self.addr
        ask += bytes(6) + self.router_addr
        seen = []
        end = time.monotonic() + WAIT
        again = 0
        while time.monotonic() < end:
            if time.monotonic() >= again:
                # The queue may be full, and the question lost.
                self.send(ETH_P_ARP, ask)
                again = time.monotonic() + 1
            select.select([self.socket], [], [], 0.2)
            for frame in self.frames():
                is_answer = struct.unpack_from("!H", frame, 12)[0] == ETH_P_ARP and frame[21] == 2
                if is_answer and frame[28:32] == self.router_addr:
                    return seen
                seen.append(frame)
        raise Failure("the router does not answer")


# --- views ------------------------------------------------------------------


def read_in(ns, path):
    with Inside(ns):
        fd = os.open(path, os.O_RDONLY)
        try:
            data = b""
            while chunk := os.read(fd, 1 << 20):
                data += chunk
        finally:
            os.close(fd)
    return data.decode(errors="replace")


def statistics(ns):
    names, *rows = read_in(ns, "/proc/net/stat/nf_conntrack").splitlines()
    names = names.split()
    result = dict.fromkeys(names, 0)
    for row in rows:
        for name, value in zip(names, row.split()):
            result[name] += int(value, 16)
    result.pop("entries")
    return result


def difference(before, after):
    return " ".join(f"{k}+{after[k] - v}" for k, v in before.items() if after[k] != v)


class Entry:
    """A line of /proc/net/nf_conntrack."""

    # What a lifetime can have started from; shown instead of what is left.
    LIVES = (10, 30, 60, 120, 300, 600, *range(1000, 4000, 300), 432000)
    TUPLE = ("src", "dst", "sport", "dport", "type", "code", "id", "srckey", "dstkey")

    def __init__(self, line):
        self.line = line
        words = line.split()
        self.family, self.proto, self.number = words[0], words[2], words[3]
        words = words[4:]
        self.left = int(words.pop(0)) if words[0].lstrip("-").isdigit() else None
        self.state = words.pop(0) if words and "=" not in words[0] else ""
        self.tuples, self.counters, self.flags, self.rest = [], [], [], []
        for word in words:
            key, _, value = word.partition("=")
            if key == "src":
                self.tuples.append({})
            if word.startswith("["):
                self.flags.append(word)
            elif key == "packets":
                self.counters.append(value)
            elif key == "bytes":
                self.counters[-1] += "/" + value
            elif key in Entry.TUPLE:
                self.tuples[-1][key] = value
            else:
                self.rest.append(word)

    def key(self):
        return self.family, self.number, tuple(self.tuples[0].items())

    def life(self):
        if self.left is None:
            return "-"
        return next((str(n) for n in Entry.LIVES if self.left <= n), str(self.left))

    @staticmethod
    def end(names, addr, port):
        addr = str(ipaddress.ip_address(addr))
        return names.get(addr, addr) + (":" + port if port else "")

    def route(self, names, which):
        t = self.tuples[which]
        text = self.end(names, t["src"], t.get("sport")) + ">"
        text += self.end(names, t["dst"], t.get("dport"))
        if "type" in t:
            text += f" {t['type']}/{t['code']}"
        return text

    def short(self, names, by_packet=False):
        # A UDP flow that has been answered becomes a stream by a packet two seconds after
        # its first one: which packet that is depends on the machine.
        ageless = by_packet and self.proto == "udp" and "[UNREPLIED]" not in self.flags
        words = [self.proto if self.proto != "unknown" else "proto " + self.number]
        words += [self.state] if self.state else []
        words += [self.route(names, 0)] if ageless else [self.life(), self.route(names, 0)]
        words += [f for f in self.flags if not ageless or f != "[ASSURED]"] + self.counters
        ignored = ("use=", "delta-time=")
        words += [w for w in self.rest if not w.startswith(ignored) and w not in ("mark=0", "zone=0")]
        forward, backward = self.tuples
        mirrored = (backward["src"], backward["dst"], backward.get("sport"), backward.get("dport"))
        if mirrored != (forward["dst"], forward["src"], forward.get("dport"), forward.get("sport")):
            words.append("answers " + self.route(names, 1))
        return " ".join(words)


def entries(ns):
    return [Entry(line) for line in read_in(ns, "/proc/net/nf_conntrack").splitlines()]


class IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class MsgHdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.c_void_p),
        ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int)]


class MMsgHdr(ctypes.Structure):
    _fields_ = [("hdr", MsgHdr), ("len", ctypes.c_uint)]


def flood(side, count, saddr, daddr, first=0, dport=7, data=8 * "00", sport=1024, ports=60000):
    """One datagram each from COUNT flows: to each port from PORTS ports, then to the next one."""
    batch = 256
    ether = ETH_P_IPV6 if ":" in saddr else ETH_P_IP
    template = side.router_mac + side.mac + struct.pack("!H", ether)
    template += Packet(["udp", f"{saddr},1", f"{daddr},{dport}", f"data={data}", "csum=zero"]).bytes
    port_at = len(template) - 8 - len(data) // 2
    frames = [bytearray(template) for _ in range(batch)]
    vectors = (IoVec * batch)()
    headers = (MMsgHdr * batch)()
    for i, frame in enumerate(frames):
        base = (ctypes.c_char * len(frame)).from_buffer(frame)
        vectors[i] = IoVec(ctypes.addressof(base), len(frame))
        headers[i].hdr.iov = ctypes.addressof(vectors[i])
        headers[i].hdr.iovlen = 1
    sent = 0
    while sent < count:
        size = min(batch, count - sent)
        for i in range(size):
            flow = first + sent + i
            pair = sport + flow % ports, dport + flow // ports
            struct.pack_into("!HH", frames[i], port_at, *pair)
        done = libc.sendmmsg(side.socket.fileno(), headers, size, 0)
        if done < 0:
            failure = ctypes.get_errno()
            if failure in (errno.ENOBUFS, errno.EAGAIN):
                time.sleep(0.001)
                continue
            raise Failure("sendmmsg: " + os.strerror(failure))
        sent += done
    return sent


# --- the server -------------------------------------------------------------


def family_of(addr):
    return socket.AF_INET6 if ":" in addr else socket.AF_INET


def stream_socket(addr, options):
    proto = socket.IPPROTO_SCTP if "sctp" in options else 0
    return socket.socket(family_of(addr), socket.SOCK_STREAM, proto)


def ready(sock, to_write=False):
    poll = select.poll()
    poll.register(sock, select.POLLOUT if to_write else select.POLLIN)
    return bool(poll.poll(WAIT * 1000))


class Server:
    def __init__(self):
        self.sockets = {}
        self.peers = {}
        self.sides = {}
        self.tasks = {}
        self.texts = {}
        self.names = {}

    # files and views

    def do_name(self, addr, label):
        self.names[str(ipaddress.ip_address(addr))] = label

    def do_summary(self, ns, *words):
        least = 0
        if words and words[0].startswith("left>"):
            least, words = number(words[0][5:]), words[1:]
        found = [e for e in entries(ns) if set(words) <= set(e.line.split()) and e.left >= least]
        for line in sorted(e.short(self.names) for e in found):
            print("|", line)

    def do_stats(self, ns):
        return " ".join(f"{k}={v}" for k, v in statistics(ns).items() if v)

    def do_events(self, name, ns, *hosts):
        with Inside(ns):
            self.sockets[name] = ctnetlink.Events(*hosts)

    def do_told(self, name):
        events = self.sockets.pop(name)
        events.finish()
        for key, lines in events.told.items():
            for i, line in enumerate(lines, 1):
                print("|", f"{key}, event {i}: {line}")
        return " ".join(f"{what}={count}" for what, count in sorted(events.counts.items()))

    def do_cat(self, ns, path):
        for line in read_in(ns, path).splitlines():
            print("|", line)

    def do_write(self, ns, path, *value):
        with Inside(ns):
            fd = os.open(path, os.O_WRONLY)
            try:
                os.write(fd, " ".join(value).encode() + b"\n")
            finally:
                os.close(fd)

    def do_mode(self, ns, path):
        with Inside(ns):
            return f"{os.stat(path).st_mode & 0o777:o}"

    def do_open(self, name, ns, path):
        with Inside(ns):
            self.sockets[name] = open(path, "rb", buffering=0)
        self.texts[name] = b""

    def do_read(self, name, size):
        data = self.sockets[name].read(number(size))
        self.texts[name] += data
        return len(data)

    def do_text(self, name):
        for line in self.texts[name].decode().splitlines():
            print("|", line)

    # TCP

    def do_listen(self, name, ns, addr, port, *options):
        with Inside(ns):
            sock = stream_socket(addr, options)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((addr, number(port)))
        sock.listen(128)
        self.sockets[name] = sock

    def do_connect(self, name, ns, addr, port, *options):
        with Inside(ns):
            sock = stream_socket(addr, options)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for option in options:
            key, _, value = option.partition("=")
            if key == "sport":
                sock.bind(("::" if ":" in addr else "0.0.0.0", number(value)))
            elif key in ("sndbuf", "rcvbuf"):
                sock.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_" + key.upper()), number(value))
        self.sockets[name] = sock
        sock.connect_ex((addr, number(port)))
        if "nowait" in options:
            return "pending"
        if not ready(sock, to_write=True):
            return "pending"
        result = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        names = {0: "connected", errno.ECONNREFUSED: "refused", errno.EHOSTUNREACH: "unreachable",
                 errno.ENETUNREACH: "unreachable", errno.EACCES: "unreachable"}
        return names.get(result) or errno.errorcode[result]

    def do_accept(self, name, listener):
        if not ready(self.sockets[listener]):
            raise Failure("nobody there")
        sock, _ = self.sockets[listener].accept()
        sock.setblocking(False)
        self.sockets[name] = sock

    def do_crowd(self, name, ns, addr, port, count):
        count = number(count)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] + 2 * count
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        ends = self.tasks[name] = []
        with Inside(ns):
            listener = stream_socket(addr, ())
            listener.bind((addr, number(port)))
            listener.listen(128)
            for _ in range(count):
                client = stream_socket(addr, ())
                client.connect((addr, number(port)))
                ends += client, listener.accept()[0]
        ends.append(listener)

    def do_disperse(self, name):
        for sock in self.tasks.pop(name):
            sock.close()

    def do_send(self, name, size):
        sock, data = self.sockets[name], bytes(number(size))
        while data:
            if not ready(sock, to_write=True):
                raise Failure(f"{len(data)} bytes left")
            data = data[sock.send(data) :]

    def do_recv(self, name, size):
        left = number(size)
        while left:
            if not ready(self.sockets[name]):
                raise Failure(f"{left} bytes missing")
            data = self.sockets[name].recv(left)
            if not data:
                raise Failure(f"end, {left} bytes missing")
            left -= len(data)

    def do_say(self, name, *words):
        """A line of text; words are joined by spaces."""
        self.sockets[name].sendall(" ".join(words).encode() + b"\r\n")

    def do_hear(self, name):
        line = b""
        while not line.endswith(b"\n"):
            if not ready(self.sockets[name]):
                raise Failure(f"only {line!r}")
            data = self.sockets[name].recv(1)
            if not data:
                raise Failure(f"end after {line!r}")
            line += data
        return line.decode().strip()

    def do_peer(self, name):
        """The sender of what was taken last, or the address of the other end."""
        end = self.peers.get(name) or self.sockets[name].getpeername()
        return f"{end[0]},{end[1]}"

    def do_local(self, name):
        end = self.sockets[name].getsockname()
        return f"{end[0]},{end[1]}"

    def do_wanted(self, name):
        """SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST"""
        sock = self.sockets[name]
        if sock.family == socket.AF_INET6:
            found = sock.getsockopt(socket.IPPROTO_IPV6, 80, 28)
            return f"{socket.inet_ntop(socket.AF_INET6, found[8:24])},{int.from_bytes(found[2:4], 'big')}"
        found = sock.getsockopt(socket.IPPROTO_IP, 80, 16)
        return f"{socket.inet_ntoa(found[4:8])},{int.from_bytes(found[2:4], 'big')}"

    def do_eof(self, name):
        if not ready(self.sockets[name]):
            raise Failure("not closed")
        if self.sockets[name].recv(1):
            raise Failure("data")

    def do_reset(self, name):
        if not ready(self.sockets[name]):
            raise Failure("not reset")
        try:
            self.sockets[name].recv(1)
        except ConnectionResetError:
            return "reset"
        raise Failure("not reset")

    def do_shut(self, name):
        self.sockets[name].shutdown(socket.SHUT_WR)

    def do_close(self, name):
        self.peers.pop(name, None)
        self.sockets.pop(name).close()

    def do_abort(self, name):
        sock = self.sockets.pop(name)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    def do_bulk(self, name, source, target, size):
        """Numbered blocks, compared on arrival."""
        source, target, size = self.sockets[source], self.sockets[target], number(size)
        result = self.tasks[name] = []

        def block(at):
            return struct.pack("!Q", at) * 512

        def write():
            for at in range(0, size, 4096):
                data = memoryview(block(at))
                while data:
                    if not ready(source, to_write=True):
                        return
                    data = data[source.send(data) :]

        def read():
            at, data = 0, b""
            while at < size:
                if not ready(target):
                    return result.append(f"stalled after {at}")
                data += target.recv(1 << 16)
                while len(data) >= 4096:
                    if data[:4096] != block(at):
                        return result.append(f"wrong data at {at}")
                    data, at = data[4096:], at + 4096
            return result.append("complete")

        threads = [threading.Thread(target=f, daemon=True) for f in (write, read)]
        for thread in threads:
            thread.start()
        self.tasks[name] = (threads, result)

    def do_await(self, name):
        threads, result = self.tasks.pop(name)
        for thread in threads:
            thread.join()
        if result != ["complete"]:
            raise Failure(result[0] if result else "stalled")

    # UDP

    def do_udp(self, name, ns, port, addr="0.0.0.0"):
        with Inside(ns):
            sock = socket.socket(family_of(addr), socket.SOCK_DGRAM)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, 25, 1)  # IPV6_RECVERR
        else:
            sock.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.bind((addr, number(port)))
        self.sockets[name] = sock
        return sock.getsockname()[1]

    def do_sendto(self, name, addr, port, size):
        self.sockets[name].sendto(bytes(number(size)), (addr, number(port)))

    def do_attach(self, name, addr, port):
        self.sockets[name].connect((addr, number(port)))

    def do_take(self, name):
        if not ready(self.sockets[name]):
            raise Failure("nothing came")
        data, self.peers[name] = self.sockets[name].recvfrom(70000)
        return len(data)

    def do_reply(self, name, size):
        self.sockets[name].sendto(bytes(number(size)), self.peers[name])

    def do_error(self, name):
        poll = select.poll()
        poll.register(self.sockets[name], 0)
        if not poll.poll(WAIT * 1000):
            raise Failure("no error came")
        result = self.sockets[name].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self.drain_errors(self.sockets[name])
        return errno.errorcode.get(result, result)

    @staticmethod
    def drain_errors(sock):
        while True:
            try:
                sock.recvmsg(1, 1000, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
            except OSError:
                return

    def do_silence(self, name):
        if select.select([self.sockets[name]], [], [], 0)[0]:
            raise Failure("there is something")

    # file transfer

    def do_ftpd(self, name, ns, addr):
        with Inside(ns):
            self.sockets[name] = ftp.serve_ftp(addr, WAIT)

    def do_tftpd(self, name, ns, addr):
        with Inside(ns):
            self.sockets[name] = ftp.serve_tftp(addr, WAIT)

    def do_ftp(self, ns, router, addr, mode, wait=WAIT):
        return self.transfer(ns, router, ftp.ftp, addr, mode, float(wait))

    def do_tftp(self, ns, router, addr, own, verb, size, wait=WAIT):
        return self.transfer(ns, router, ftp.tftp, addr, own, verb, number(size), float(wait))

    @staticmethod
    def transfer(ns, router, act, *arguments):
        def show():
            # "/proc/net" is that of the process's first thread.
            for line in read_in(router, "/proc/thread-self/net/nf_conntrack_expect").splitlines():
                print("|", line)

        def look():
            # The calling thread stays where it is.
            ftp.thread(show).join()

        with Inside(ns):
            try:
                return act(*arguments, look)
            except (*ftp.ftplib.all_errors, EOFError) as e:
                raise Failure(str(e)) from e

    # what rules do with packets

    def do_queue(self, name, ns, which):
        with Inside(ns):
            self.sockets[name] = netlink.Queue(number(which))

    def do_hold(self, name):
        if not ready(self.sockets[name]):
            raise Failure("nothing came")
        return self.sockets[name].hold()

    def do_verdict(self, name, verdict=None):
        if verdict:
            return self.sockets[name].judge(verdict)
        if not ready(self.sockets[name]):
            raise Failure("nothing came")
        return self.sockets[name].accept()

    def do_rmmod(self, module):
        if libc.syscall(DELETE_MODULE, module.encode(), os.O_NONBLOCK):
            raise OSError(ctypes.get_errno(), module)

    # packets of one's own making

    def do_side(self, side, *arguments):
        self.sides[side] = Side(*arguments)

    def do_inject(self, side, *words):
        packet = Packet(words)
        near = self.sides[side]
        others = [s for s in self.sides.values() if s is not near]
        for other in others:
            for _ in other.frames():
                pass
        ether = ETH_P_IPV6 if packet.v6 else ETH_P_IP
        near.send(ether, packet.bytes + bytes(packet.num("pad")))
        near.fence()
        out = [name for name, side in self.sides.items() if side is not near
               and any(marker_of(f) == packet.marker for f in list(side.frames()))]
        if len(others) == 1 or not out:
            return "passed" if out else "lost"
        return "passed to " + ",".join(out)

    def do_through(self, side, *words):
        packet = Packet(words)
        far, = (s for s in self.sides.values() if s is not self.sides[side])
        for _ in far.frames():
            pass
        self.sides[side].send(ETH_P_IPV6 if packet.v6 else ETH_P_IP, packet.bytes)
        self.sides[side].fence()
        for frame in far.frames():
            if marker_of(frame) == packet.marker:
                return frame[54 if packet.v6 else 34:].hex()
        raise Failure("lost")

    def do_hex(self, *words):
        return Packet(words).bytes.hex()

    def do_step(self, side, ns, *words):
        before = statistics(ns)
        verdict = self.do_inject(side, *words)
        ends = [ipaddress.ip_address(w.partition(",")[0]).exploded for w in words[1:3]]
        ports = {w.partition(",")[2] for w in words[1:3]} - {""}
        numbers = {"tcp": ("6",), "udp": ("17",), "sctp": ("132",), "gre": ("47",),
                   "icmp": ("1", "58"), "ip": words[3:4]}[words[0]]
        tuples = [f"src={a} dst={b} " for a, b in (ends, ends[::-1])]
        found = []
        for line in read_in(ns, "/proc/net/nf_conntrack").splitlines():
            if not any(t in line for t in tuples):
                continue
            e = Entry(line)
            t = e.tuples[0]
            if e.number in numbers and (not ports or ports == {t.get("sport"), t.get("dport")}):
                found.append(e.short(self.names, by_packet=True))
        changed = difference(before, statistics(ns))
        parts = [verdict, changed, ", ".join(sorted(found)) or "no entry"]
        return "; ".join(p for p in parts if p)

    def do_fuzz(self, ns, count, seed, source, target):
        """Segments that a connection might see, and some that it might not."""
        dice = random.Random(number(seed))
        ends = {"c": source, "s": target}
        port = 10000 + 1000 * number(seed)
        for i in range(number(count)):
            if i % 40 == 0:
                port += 1
                # Where each side is in its sequence of bytes.
                at = {k: dice.choice((1000, 0xFFFFFF00, dice.getrandbits(32))) for k in "cs"}
                window = dice.choice((0, 100, 8000, 65535))
                ts = dice.random() < 0.3
                script = ["cS", "sSA", "cA"] if dice.random() < 0.8 else []
                scale = f"wscale={dice.choice((0, 2, 7, 14, 15))}" if dice.random() < 0.5 else ""
            if script:
                side, flags = script[0][0], script.pop(0)[1:]
            else:
                side = dice.choice("cs")
                flags = dice.choices(
                    ("A", "PA", "FA", "RA", "R", "S", "SA", "F", "SF", "-", "SR", "AU", "FRA"),
                    (50, 40, 8, 3, 3, 4, 4, 1, 1, 1, 1, 1, 1))[0]
            other = "s" if side == "c" else "c"
            size = dice.choice((0, 0, 1, 100, 1000)) if "S" not in flags else 0
            seq, ack = at[side], at[other]
            off = dice.random()
            if off < 0.15:
                seq += dice.choice((-1, 1, -window, window, window + 1, 70000, -70000, 1 << 31))
            elif off < 0.25:
                ack += dice.choice((-1, 1, -window, window, window + 1, 70000, -70000, 1 << 31))
            win = window if dice.random() < 0.9 else dice.choice((0, 1, 65535))
            words = ["tcp", f"{ends[side]},{port if side == 'c' else 80}",
                     f"{ends[other]},{80 if side == 'c' else port}", flags,
                     f"seq={seq & 0xFFFFFFFF}", f"win={win}", f"len={size}"]
            words += [f"ack={ack & 0xFFFFFFFF}"] if "A" in flags else []
            if "S" in flags:
                words += ["mss=1460"] + (["sackok"] if dice.random() < 0.7 else [])
                words += [scale] if scale else []
            elif dice.random() < 0.1:
                first = ack + dice.choice((1, 100, 5000))
                words += [f"sack={first & 0xFFFFFFFF}:{(first + 500) & 0xFFFFFFFF}"]
            if ts:
                words += [f"ts={i},{i}"]
            result = self.do_step(side, ns, *words)
            if off >= 0.15 and "R" not in flags:
                at[side] += size + ("S" in flags) + ("F" in flags)
            print("|", f"{i:04} {side} {' '.join(words[3:])}: {result}")

    def do_mangle(self, ns, count, seed, source, target):
        """Proper packets with some bytes changed.

        Those that come out are not looked at closely: what is meant for the
        router's neighbours is left out, they speak when they want to.
        """
        dice = random.Random(number(seed))
        near, far = self.sides["c"], self.sides["s"]
        v6 = ":" in source
        request = 128 if v6 else 8
        kinds = [
            f"tcp {source},{{p}} {target},80 S seq=1 mss=1460 sackok wscale=7 ts=1,2",
            f"tcp {source},{{p}} {target},80 A seq=1 ack=1 sack=5:9,20:30 len=20",
            f"udp {source},{{p}} {target},53 len=30",
            f"icmp {source} {target} {request} 0 word={{p}},1 len=30",
            f"icmp {source} {target} {1 if v6 else 3} 0 inner tcp {target},80 {source},{{p}} A seq=1",
        ]
        kinds += [
            f"udp {source},{{p}} {target},53 len=30 ext=dst:00010400000000,rt:0004000000000000",
            f"udp {source},{{p}} {target},53 len=30 ext=hop:00010400000000,dst:00010400000000 frag=0",
        ] if v6 else [f"udp {source},{{p}} {target},53 len=30 ipopt=07070400000000"]
        for i in range(number(count)):
            words = dice.choice(kinds).format(p=20000 + i).split()
            data = bytearray(Packet(words).bytes)
            for _ in range(dice.choice((1, 1, 2, 4))):
                # The addresses stay: without them it would go elsewhere.
                at = dice.choice([n for n in range(len(data)) if not
                                  (8 <= n < 40 if v6 else 12 <= n < 20)])
                data[at] = dice.choice((0, 1, 0xFF, dice.getrandbits(8)))
            if dice.random() < 0.3:
                del data[dice.randrange(len(data)) :]
            if not v6 and len(data) >= 20 and dice.random() < 0.9:
                size = 4 * (data[0] & 15)
                data[10:12] = b"\0\0"
                if dice.random() < 0.5:
                    data[2:4] = struct.pack("!H", len(data))
                data[10:12] = struct.pack("!H", checksum(bytes(data[:size])))
            elif v6 and len(data) >= 40 and dice.random() < 0.5:
                data[4:6] = struct.pack("!H", len(data) - 40)
            before = statistics(ns)
            for _ in far.frames():
                pass
            near.send(ETH_P_IPV6 if v6 else ETH_P_IP, bytes(data))
            near.fence()
            own = (ipaddress.ip_address(source).packed)
            out = sum(own in f[14:54] for f in far.frames())
            changed = difference(before, statistics(ns))
            print("|", f"{i:04} {data.hex()}: {out} out; {changed or 'no change'}")

    def do_flood(self, side, count, saddr, daddr, *options):
        options = {k: number(v) for k, v in (o.split("=") for o in options)}
        sent = flood(self.sides[side], number(count), saddr, daddr, **options)
        self.sides[side].fence()
        return sent

    def run(self):
        # Queues of packets in flight are per processor: with one of them,
        # what was sent first is dealt with first.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        for line in sys.stdin:
            name, *arguments = line.split()
            try:
                result = getattr(self, "do_" + name)(*arguments)
                print("ok" if result is None else f"ok {result}", flush=True)
            except OSError as e:
                print("error", errno.errorcode.get(e.errno, e), flush=True)
            except Failure as e:
                print("error", e, flush=True)
            except (KeyError, ValueError, TypeError, AttributeError, IndexError) as e:
                print("error", type(e).__name__, e, flush=True)


def main():
    if sys.argv[1:] != ["serve"]:
        sys.exit(__doc__)
    Server().run()


if __name__ == "__main__":
    main()
