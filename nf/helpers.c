// SPDX-License-Identifier: GPL-2.0
/*
 * The C functions that Rust calls: shims (helpers/shims.h) and glue (helpers/glue.c). They are
 * linked into the Rust object as bitcode and inlined there (see Kbuild), or are ordinary functions
 * where the kernel cannot do that.
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

/* Exported, but declared in a header of net/netfilter alone. */
int nf_hook_entries_insert_raw(struct nf_hook_entries __rcu **pp, const struct nf_hook_ops *reg);
void nf_hook_entries_delete_raw(struct nf_hook_entries __rcu **pp, const struct nf_hook_ops *reg);

#define SHIM(type, name, parameters, ...) RCT type name parameters { return __VA_ARGS__; }
#define SHIM_VOID(name, parameters, ...) RCT void name parameters { __VA_ARGS__; }
#include "helpers/shims.h"

#include "helpers/glue.c"
