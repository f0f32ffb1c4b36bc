#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Prints the kernel's events of devices and modules, as udev gets them: ACTION DEVPATH SUBSYSTEM.
Until it is killed."""

import socket

KOBJECT_UEVENT, KERNEL_GROUP = 15, 1

listener = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, KOBJECT_UEVENT)
listener.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)  # SO_RCVBUFFORCE
listener.bind((0, KERNEL_GROUP))
print("listening", flush=True)
while True:
    _, *parts = listener.recv(8192).decode(errors="replace").split("\0")
    event = dict(part.split("=", 1) for part in parts if "=" in part)
    print(event.get("ACTION"), event.get("DEVPATH"), event.get("SUBSYSTEM"), flush=True)
