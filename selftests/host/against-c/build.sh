#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Builds the kernel's own TCP and SCTP trackers as programs to compare ours with.
# Usage: build.sh KERNEL_SOURCE TCP_OUTPUT SCTP_OUTPUT

set -eu
here=$(cd "$(dirname "$0")" && pwd)
source=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Without include guards: the system's headers have files of the same names.
headers()
{
	cat "$source/include/uapi/linux/netfilter/$1" "$source/include/linux/netfilter/$1" |
		grep -Ev '^#(ifndef|endif|include|define _)'
}

# build PROTOCOL SHIM DRIVER OUTPUT. The tracker's includes are the kernel's; the shim stands in
# for all of them.
build()
{
	{
		echo "#include \"$2\""
		grep -v '^#include' "$source/net/netfilter/nf_conntrack_proto_$1.c"
	} >"$work/$1.c"
	${CC:-cc} -O1 -w -fno-strict-aliasing -fwrapv -I"$here" -I"$work" \
		-o "$4" "$here/$3" "$work/$1.c"
}

headers nf_conntrack_tcp.h >"$work/track.h"
headers nf_conntrack_sctp.h >"$work/sctp_track.h"
build tcp shim.h driver.c "$2"
build sctp sctp_shim.h sctp_driver.c "$3"
