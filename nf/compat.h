/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The differences between the kernels that rust_ct can be built for: each is asked for by
 * features.sh, and has one name here, which the shims use. (In Rust: cfg(rct_has_...).)
 */
#include "features_generated.h"

#ifndef RCT_HAS_NAT_LOOKUP_HOOK_PRIV
/* Of nf_nat_core.c alone there. */
struct nf_nat_lookup_hook_priv {
	struct nf_hook_entries __rcu *entries;

	struct rcu_head rcu_head;
};
#endif

#ifdef RCT_HAS_HOOK_OP_NAT
#define RCT_SET_NAT_TYPE(ops) ((ops)->hook_ops_type = NF_HOOK_OP_NAT)
#else
#define RCT_SET_NAT_TYPE(ops) ((void)(ops))
#endif

#ifdef RCT_HAS_HELPER_TUPLE
#define RCT_HELPER_FAMILY(helper) ((helper)->tuple.src.l3num)
#define RCT_HELPER_PROTOCOL(helper) ((helper)->tuple.dst.protonum)
#define RCT_SET_HELPER_KIND(helper, family, protocol, port)	\
	do {							\
		(helper)->tuple.src.l3num = (family);		\
		(helper)->tuple.dst.protonum = (protocol);	\
		(helper)->tuple.src.u.all = htons(port);	\
	} while (0)
#else
#define RCT_HELPER_FAMILY(helper) ((helper)->nfproto)
#define RCT_HELPER_PROTOCOL(helper) ((helper)->l4proto)
#define RCT_SET_HELPER_KIND(helper, family, protocol, port)	\
	do {							\
		(helper)->nfproto = (family);			\
		(helper)->l4proto = (protocol);			\
		(void)(port);					\
	} while (0)
#endif

#ifdef RCT_HAS_EXPECT_EVENT_MASK
#define RCT_EVENT_MASK(expect) (&(expect)->event_mask)
#else
/* Two bytes that no member uses, at the place that they have where there is such a member. */
static_assert(offsetof(struct nf_conntrack_expect, expectfn) -
	      offsetofend(struct nf_conntrack_expect, class) >= sizeof(u16));
#define RCT_EVENT_MASK(expect) ((u16 *)(&(expect)->class + 1))
#endif
