// SPDX-License-Identifier: GPL-2.0
/*
 * See helpers.h. The functions are in helpers/, by subject. They are always inlined where they
 * are linked as bitcode (Kbuild), ordinary functions otherwise.
 */
#include "bindings.h"

#include <linux/inetdevice.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/netfilter_ipv6.h>
#include <linux/percpu.h>
#include <linux/rculist_nulls.h>
#include <linux/rtnetlink.h>
#include <linux/mm.h>
#include <net/addrconf.h>
#include <net/dst.h>
#include <net/if_inet6.h>
#include <net/inet6_hashtables.h>
#include <net/inet_hashtables.h>
#include <net/inet_sock.h>
#include <net/inet_timewait_sock.h>
#include <net/ip.h>
#include <net/ipv6_frag.h>
#include <net/netns/generic.h>
#include <net/netns/hash.h>
#include <net/route.h>
#include <net/sctp/checksum.h>
#include <net/tcp.h>
#include <net/udp.h>
#include <net/xfrm.h>

#ifdef RCT_INLINE_HELPERS
#define RCT __always_inline
#else
#define RCT
#endif

#include "helpers/lock.c"
#include "helpers/memory.c"
#include "helpers/work.c"
#include "helpers/skb.c"
#include "helpers/conn.c"
#include "helpers/net.c"
#include "helpers/proto.c"
#include "helpers/expect.c"
#include "helpers/ecache.c"
#include "helpers/ovs.c"
#include "helpers/nat.c"
#include "helpers/device.c"
#include "helpers/route.c"
#include "helpers/netlink.c"
#include "helpers/socket.c"
