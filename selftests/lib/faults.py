#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""System calls whose Nth allocation fails, on a kernel with CONFIG_FAILSLAB.

  faults.py load FILE N           loads a module
  faults.py write FILE VALUE N
  faults.py netns MOST            makes network namespaces, and gives them back:
                                  the first allocation fails, then the second, up
                                  to MOST or until there are not so many

Says for each call "ok" or which error, and how many allocations were still to
come before the one that should fail: 0 when it has failed.
"""

import ctypes
import errno
import os
import sys

NR_FINIT_MODULE = 313 if os.uname().machine == "x86_64" else 273
CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)


def with_fault(n, call):
    fd = os.open("/proc/thread-self/fail-nth", os.O_RDWR)
    os.write(fd, str(n).encode())
    result = call()
    number = ctypes.get_errno()
    left = os.pread(fd, 20, 0).decode().strip()
    os.pwrite(fd, b"0", 0)
    print("ok" if result >= 0 else errno.errorcode[number], left)
    return left != "0"


def main():
    command, *arguments, n = sys.argv[1:]
    if command == "load":
        fd = os.open(arguments[0], os.O_RDONLY)
        with_fault(n, lambda: libc.syscall(NR_FINIT_MODULE, fd, b"", 0))
    elif command == "write":
        fd = os.open(arguments[0], os.O_WRONLY)
        with_fault(n, lambda: libc.write(fd, arguments[1].encode(), len(arguments[1])))
    elif command == "netns":
        for i in range(1, int(n) + 1):
            if with_fault(i, lambda: libc.unshare(CLONE_NEWNET)):
                break
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
