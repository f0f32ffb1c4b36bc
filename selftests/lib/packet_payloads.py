# SPDX-License-Identifier: GPL-2.0
"""What the protocols of helpers say, more or less: for packet_fuzz.py."""

import ipaddress
import re
import struct

TCP, UDP = 6, 17
# Protocol and port; packet_rules.py gives each its helper.
SERVICES = ((TCP, 21), (TCP, 21), (TCP, 21), (UDP, 69), (UDP, 69), (UDP, 5060), (UDP, 5060), (TCP, 5060), (TCP, 6667),
            (TCP, 1723), (TCP, 1720), (UDP, 1719), (UDP, 10080), (UDP, 137), (UDP, 161), (TCP, 6566))


def port_words(chance, address):
    port = chance.choice((0, 21, 1023, 2000 + chance.randrange(50), 65535))
    octets = address if len(address) == 4 else b"\x0a\0\1\x09"
    return ",".join(map(str, (*octets, port >> 8, port & 255))), port


def ftp(chance, address, reply):
    words, port = port_words(chance, address)
    family = 1 if len(address) == 4 else 2
    text = ipaddress.ip_address(address)
    if reply:
        return chance.choice((f"227 Entering Passive Mode ({words}).\r\n", f"227 {words}\r\n",
                              f"229 Entering Extended Passive Mode (|||{port}|)\r\n", "220 ready\r\n"))
    return chance.choice((f"PORT {words}\r\n", f"port {words}\r\n", f"EPRT |{family}|{text}|{port}|\r\n",
                          f"EPRT |{family}|{text}|{port}", "PASV\r\n", "EPSV\r\n", f"PORT {words},9999999999\r\n"))


def sip(chance, address, reply):
    text = str(ipaddress.ip_address(address))
    kind, shown = ("IP4", text) if len(address) == 4 else ("IP6", text)
    host = text if len(address) == 4 else f"[{text}]"
    media = chance.choice((0, 2000 + 2 * chance.randrange(50), 65534))
    body = f"v=0\r\no=u 1 1 IN {kind} {shown}\r\ns=-\r\nc=IN {kind} {shown}\r\nt=0 0\r\n" \
           f"m=audio {media} RTP/AVP 0\r\n" + chance.choice(("", f"m=video {media + 2} RTP/AVP 31\r\n" * 3))
    method = chance.choice(("INVITE", "INVITE", "REGISTER", "UPDATE", "BYE", "ACK", "PRACK", "CANCEL"))
    first = chance.choice(("SIP/2.0 200 OK", "SIP/2.0 183 Session", "SIP/2.0 404 No")) if reply else \
        f"{method} sip:u@{host} SIP/2.0"
    length = chance.choice((len(body),) * 5 + (0, 99999, -1))
    return f"{first}\r\nVia: SIP/2.0/UDP {host}:5060;branch=z9;received={text};rport=5060\r\n" \
           f"From: <sip:a@{host}>;tag=1\r\nTo: <sip:u@{host}>;tag=2\r\nCall-ID: 1@{host}\r\nCSeq: 1 {method}\r\n" \
           f"Contact: <sip:a@{host}:5060>;expires={chance.choice((0, 60, 99999))}\r\nExpires: 60\r\n" \
           f"Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{body}"


def irc(chance, address, _reply):
    number = int.from_bytes(address[:4], "big")
    port = chance.choice((0, 2000, 70000))
    return f"PRIVMSG u :\1DCC {chance.choice(('SEND f', 'CHAT c', 'X y'))} {number} {port} 9\1\r\n"


def tftp(chance, _address, reply):
    if reply:
        return struct.pack("!HH", 3, 1) + b"data"
    return struct.pack("!H", chance.choice((1, 1, 2, 3, 9))) + b"file\0octet\0"


def pptp(chance, _address, _reply):
    kind = chance.choice((1, 2, 7, 7, 8, 8, 10, 12, 13, 15, chance.randrange(20)))
    body = struct.pack("!HHHBBHH", kind, 0, chance.randrange(9), chance.choice((1, 1, 0, 2)), 0, 1, 7)
    body += chance.randbytes(chance.choice((0, 4, 20, 144, 156)))
    return struct.pack("!HHI", 8 + 4 + len(body), 1, 0x1A2B3C4D)[:8] + body


def h323(chance, address, _reply):
    body = b"\x08\2\0\1" + chance.choice((b"\5", b"\7", b"\2", b"\x5a")) + b"\x7e\0\x20\5" + chance.randbytes(20) + \
        address + struct.pack("!H", 1720) + chance.randbytes(8)
    return b"\3\0" + struct.pack("!H", 4 + len(body)) + body


def ras(chance, address, _reply):
    return bytes((chance.choice((0x0E, 0x12, 0x26, 0x2A, chance.randrange(256))),)) + chance.randbytes(10) + address + \
        struct.pack("!H", 1719) + chance.randbytes(20)


def amanda(chance, _address, reply):
    port = chance.choice((0, 850, 2000, 99999))
    return f"Amanda 2.4 {'REP' if reply else 'REQ'} HANDLE 1 SEQ 1\nCONNECT DATA {port} MESG {port} INDEX {port}\n"


def snmp(chance, address, _reply):
    trap = b"\x40\4" + address[:4]
    inner = b"\2\1\0\4\6public" + bytes((chance.choice((0xA4, 0xA0, 0xA2)), 2 + len(trap))) + b"\6\0" + trap
    return b"\x30" + bytes((len(inner),)) + inner


def some(chance, _address, _reply):
    return chance.randbytes(chance.choice((0, 1, 8, 50, 50, 600)))


MAKERS = {21: ftp, 69: tftp, 5060: sip, 6667: irc, 1723: pptp, 1720: h323, 1719: ras, 10080: amanda, 161: snmp,
          6566: some, 137: some}


def make(chance, protocol, port, address, reply):
    """A payload to (or, as a reply, from) that port; text may have words twice, or numbers of others."""
    said = (MAKERS.get(port, some) if (protocol, port) in SERVICES else some)(chance, address, reply)
    if isinstance(said, bytes):
        return said
    kind = chance.random()
    if kind < 0.05:
        said = re.sub(r"\d+", lambda _: chance.choice(("0", "1", "255", "65536", "99999999999")), said, count=2)
    elif kind < 0.1:
        at = chance.randrange(len(said))
        said = said[:at] + said[at // 2:at] * chance.choice((1, 1, 8)) + said[at:]
    elif kind < 0.15:
        said = said[:chance.randrange(len(said))]
    return said.encode(errors="replace")[:1300]


EIGHTS = re.compile(rb"(?:PORT |\()(\d+),(\d+),(\d+),(\d+),(\d+),(\d+)")
EXTENDED = re.compile(rb"EPRT \|[12]\|([0-9a-f.:]+)\|(\d+)\|")
ALONE = re.compile(rb"229 [^|]*\(\|\|\|(\d+)\|\)")
MEDIA = re.compile(rb"c=IN IP[46] ([0-9a-f.:]+)\r.*m=audio (\d+)", re.S)


def announcements(payload, source):
    """Flows that are to come, by what is said there: (protocol, address, port)."""
    if len(payload) < 8:
        return
    try:
        if found := EIGHTS.search(payload):
            *octets, high, low = map(int, found.groups())
            yield TCP, bytes(octets), high << 8 & 0xFF00 | low & 255
        if found := EXTENDED.search(payload):
            yield TCP, ipaddress.ip_address(found[1].decode()).packed, int(found[2]) & 0xFFFF
        if found := ALONE.search(payload):
            yield TCP, source, int(found[1]) & 0xFFFF
        if found := MEDIA.search(payload):
            yield UDP, ipaddress.ip_address(found[1].decode()).packed, int(found[2]) & 0xFFFF
    except ValueError:
        return
