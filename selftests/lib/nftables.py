# SPDX-License-Identifier: GPL-2.0
"""nft's commands without a program for each of them: its library, in the namespace of the caller."""

import ctypes


class Nftables:
    def __init__(self):
        self.library = ctypes.CDLL("libnftables.so.1")
        self.library.nft_ctx_new.restype = ctypes.c_void_p
        self.library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        self.context = ctypes.c_void_p(self.library.nft_ctx_new(0))
        self.library.nft_ctx_buffer_error(self.context)
        self.library.nft_ctx_buffer_output(self.context)

    def run(self, text):
        """What it says of a mistake; nothing if it was done."""
        if not self.library.nft_run_cmd_from_buffer(self.context, text.encode()):
            return ""
        return self.library.nft_ctx_get_error_buffer(self.context).decode(errors="replace") or "refused"
