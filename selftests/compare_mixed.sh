#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# mixed_traffic.sh with the kernel's own tracker and with rust_ct.
exec "$(dirname "$0")/compare.sh" mixed_traffic.sh "$@"
