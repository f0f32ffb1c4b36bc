#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# loaded_later.sh with the kernel's own tracker and with rust_ct.
exec "$(dirname "$0")/compare.sh" loaded_later.sh "$@"
