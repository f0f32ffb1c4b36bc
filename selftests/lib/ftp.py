# SPDX-License-Identifier: GPL-2.0
"""Small servers and clients of FTP (RFC 959, 2428) and TFTP (RFC 1350).

For traffic.py. A server is a thread that stays in the network namespace in
which it was started; the client of FTP is Python's own. Files are numbered
bytes, so that both ends know what is in them.
"""

import ftplib
import io
import socket
import struct
import threading


def content(size):
    return bytes(i * 7 + (i >> 8) & 0xFF for i in range(size))


def thread(function, *arguments):
    started = threading.Thread(target=function, args=arguments, daemon=True)
    started.start()
    return started


# --- FTP ----------------------------------------------------------------------


class FtpSession:
    """What one client asks for, one command at a time."""

    def __init__(self, control, wait):
        self.control, self.wait = control, wait
        self.lines = control.makefile("rb")
        self.listener = self.target = None
        self.uploads = 0

    def say(self, text):
        self.control.sendall(text.encode() + b"\r\n")

    def run(self):
        self.say("220 ready")
        for line in self.lines:
            command, _, argument = line.decode().strip().partition(" ")
            act = getattr(self, "on_" + command.lower(), None)
            if act:
                act(argument)
            else:
                self.say("502 unknown")
        self.control.close()

    def on_user(self, _):
        self.say("331 password?")

    def on_pass(self, _):
        self.say("230 welcome")

    def on_type(self, _):
        self.say("200 yes")

    def on_quit(self, _):
        self.say("221 bye")
        self.control.shutdown(socket.SHUT_WR)

    # where data go

    def listen(self):
        self.target = None
        self.listener = socket.create_server(
            (self.control.getsockname()[0], 0), family=self.control.family)
        self.listener.settimeout(self.wait)
        return self.listener.getsockname()[1]

    def on_pasv(self, _):
        port = self.listen()
        host = self.control.getsockname()[0].replace(".", ",")
        self.say(f"227 Entering Passive Mode ({host},{port >> 8},{port & 0xFF}).")

    def on_epsv(self, _):
        self.say(f"229 Entering Extended Passive Mode (|||{self.listen()}|)")

    def on_port(self, argument):
        numbers = argument.split(",")
        self.target = ".".join(numbers[:4]), int(numbers[4]) << 8 | int(numbers[5])
        self.say("200 yes")

    def on_eprt(self, argument):
        _, _, host, port, _ = argument.split(argument[0])
        self.target = host, int(port)
        self.say("200 yes")

    def transfer(self, act):
        self.say("150 here it comes")
        try:
            if self.target:
                data = socket.create_connection(self.target, self.wait)
            else:
                data, _ = self.listener.accept()
                self.listener.close()
            with data:
                act(data)
        except OSError as error:
            return self.say(f"425 no data connection: {error}")
        return self.say("226 done")

    def on_nlst(self, _):
        self.transfer(lambda data: data.sendall(b"one\r\ntwo\r\nthree\r\n"))

    def on_retr(self, size):
        self.transfer(lambda data: data.sendall(content(int(size))))

    def on_stor(self, size):
        def take(data):
            with data.makefile("rb") as stream:
                if stream.read() != content(int(size)):
                    raise OSError("wrong content")
        self.transfer(take)


def serve_ftp(addr, wait):
    """Returns the listening socket; it is served by threads."""
    family = socket.AF_INET6 if ":" in addr else socket.AF_INET
    listener = socket.create_server((addr, 21), family=family)

    def accept():
        while True:
            try:
                control, _ = listener.accept()
            except OSError:
                return
            thread(FtpSession(control, wait).run)

    thread(accept)
    return listener


class FtpClient(ftplib.FTP):
    """The extended commands on demand, and a look at what is expected in between."""

    extended, look = False, None

    def sendport(self, host, port):
        return self.sendeprt(host, port) if self.extended else super().sendport(host, port)

    def makeport(self):
        sock = super().makeport()
        self.look()
        return sock

    def makepasv(self):
        if self.extended and self.af == socket.AF_INET:
            where = ftplib.parse229(self.sendcmd("EPSV"), self.sock.getpeername())
        else:
            where = super().makepasv()
        self.look()
        return where


def ftp(addr, mode, wait, look):
    """A session with all kinds of transfers; says what came of it."""
    client = FtpClient(timeout=wait)
    client.look = look
    client.extended = mode in ("eprt", "epsv")
    client.connect(addr, 21)
    try:
        client.login("someone", "secret")
        client.set_pasv(mode in ("passive", "epsv"))
        names = client.nlst()
        got = io.BytesIO()
        client.retrbinary("RETR 20000", got.write)
        if got.getvalue() != content(20000):
            return "wrong content"
        client.storbinary("STOR 9000", io.BytesIO(content(9000)))
        client.quit()
        return f"{len(names)} names, got {len(got.getvalue())} bytes, put 9000 bytes"
    finally:
        client.close()


# --- TFTP ---------------------------------------------------------------------

READ, WRITE, DATA, ACK = 1, 2, 3, 4
BLOCK = 512


def send_file(sock, peer, size):
    """Sends what its peer has asked for; peer is None if it answers to the first."""
    data = content(size)
    for number in range(1, size // BLOCK + 2):
        block = data[(number - 1) * BLOCK : number * BLOCK]
        sock.sendto(struct.pack("!HH", DATA, number) + block, peer)
        answer, peer = sock.recvfrom(2000)
        if answer[:4] != struct.pack("!HH", ACK, number):
            raise OSError("wrong answer")


def take_file(sock):
    """Takes what comes, from wherever the first block comes from."""
    data, number = b"", 0
    while True:
        block, peer = sock.recvfrom(2000)
        number += 1
        if block[:4] != struct.pack("!HH", DATA, number):
            raise OSError("wrong block")
        data += block[4:]
        sock.sendto(struct.pack("!HH", ACK, number), peer)
        if len(block) < 4 + BLOCK:
            return data


def udp_socket(addr, port, wait):
    sock = socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((addr, port))
    sock.settimeout(wait)
    return sock


def serve_tftp(addr, wait):
    """Returns the socket; each transfer has a thread, and a port of its own."""
    door = udp_socket(addr, 69, None)

    def serve(request, peer):
        kind, = struct.unpack_from("!H", request)
        size = int(request[2:].split(b"\0")[0])
        with udp_socket(addr, 0, wait) as sock:
            try:
                if kind == READ:
                    send_file(sock, peer, size)
                elif kind == WRITE:
                    sock.sendto(struct.pack("!HH", ACK, 0), peer)
                    take_file(sock)
            except OSError:
                return

    def wait_for_requests():
        while True:
            try:
                thread(serve, *door.recvfrom(2000))
            except OSError:
                return

    thread(wait_for_requests)
    return door


def tftp(addr, own, verb, size, wait, look):
    with udp_socket(own, 0, wait) as sock:
        kind = READ if verb == "get" else WRITE
        sock.sendto(struct.pack("!H", kind) + f"{size}\0octet\0".encode(), (addr, 69))
        if verb == "get":
            data = take_file(sock)
            return f"got {len(data)} bytes" if data == content(size) else "wrong content"
        answer, peer = sock.recvfrom(2000)
        if answer != struct.pack("!HH", ACK, 0):
            return "refused"
        look()
        send_file(sock, peer, size)
        return f"put {size} bytes"
