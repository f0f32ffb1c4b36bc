// SPDX-License-Identifier: GPL-2.0
/*
 * What Rust cannot define: exported symbols, parameters that can be set at run
 * time, and the version. The symbols are Rust functions under the C tracker's names, checked
 * against the kernel's prototypes; because the loader refuses to load a second
 * owner of a name, rust_ct and nf_conntrack exclude each other.
 */
#include "bindings.h"

#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/nsproxy.h>
#include <linux/sched.h>

/* The file VERSION, by way of Kbuild. */
MODULE_VERSION(RUST_CT_VERSION);

unsigned int nf_conntrack_max __read_mostly;
EXPORT_SYMBOL_GPL(nf_conntrack_max);

unsigned int nf_conntrack_htable_size __read_mostly;
EXPORT_SYMBOL_GPL(nf_conntrack_htable_size);

EXPORT_SYMBOL(nf_ct_destroy);
EXPORT_SYMBOL(nf_ct_ext_add);
EXPORT_SYMBOL_GPL(nf_conntrack_count);
EXPORT_SYMBOL_GPL(nf_ct_get_id);
EXPORT_SYMBOL_GPL(nf_ct_netns_get);
EXPORT_SYMBOL_GPL(nf_ct_netns_put);
EXPORT_SYMBOL_GPL(nf_ct_bridge_register);
EXPORT_SYMBOL_GPL(nf_ct_bridge_unregister);

/* entries and packets */
EXPORT_SYMBOL_GPL(__nf_conntrack_confirm);
EXPORT_SYMBOL_GPL(__nf_ct_refresh_acct);
EXPORT_SYMBOL_GPL(nf_confirm);
EXPORT_SYMBOL_GPL(nf_conntrack_find_get);
EXPORT_SYMBOL_GPL(nf_conntrack_in);
EXPORT_SYMBOL_GPL(nf_ct_acct_add);
EXPORT_SYMBOL_GPL(nf_ct_add_helper);
EXPORT_SYMBOL_GPL(nf_ct_helper);
EXPORT_SYMBOL_GPL(nf_ct_delete);
EXPORT_SYMBOL_GPL(nf_ct_get_tuplepr);
EXPORT_SYMBOL_GPL(nf_ct_handle_fragments);
EXPORT_SYMBOL_GPL(nf_ct_invert_tuple);
EXPORT_SYMBOL_GPL(nf_ct_iterate_cleanup_net);
EXPORT_SYMBOL_GPL(nf_ct_skb_network_trim);
EXPORT_SYMBOL_GPL(nf_ct_tmpl_alloc);
EXPORT_SYMBOL_GPL(nf_ct_tmpl_free);

/* extensions */
EXPORT_SYMBOL_GPL(nf_conntrack_eventmask_report);
EXPORT_SYMBOL_GPL(nf_conntrack_register_notifier);
EXPORT_SYMBOL_GPL(nf_conntrack_unregister_notifier);
EXPORT_SYMBOL_GPL(nf_connlabels_get);
EXPORT_SYMBOL_GPL(nf_connlabels_put);
EXPORT_SYMBOL_GPL(nf_connlabels_replace);
EXPORT_SYMBOL_GPL(nf_ct_deliver_cached_events);
EXPORT_SYMBOL_GPL(nf_ct_ecache_ext_add);
EXPORT_SYMBOL_GPL(nf_ct_seq_adjust);
EXPORT_SYMBOL_GPL(nf_ct_seq_offset);
EXPORT_SYMBOL_GPL(nf_ct_seqadj_init);
EXPORT_SYMBOL_GPL(nf_ct_seqadj_set);
EXPORT_SYMBOL_GPL(nf_ct_tcp_seqadj_set);

bool rct_param_enable_hooks = true;
module_param_named(enable_hooks, rct_param_enable_hooks, bool, 0444);
MODULE_PARM_DESC(enable_hooks,
		 "Track in every network namespace from the start; off: where a rule asks for it (default: on)");

/* For the modules of stub/, and no others. */
#define EXPORT_TO_STUBS(name) EXPORT_SYMBOL_NS_GPL(name, "RUST_CT")

bool rct_param_acct;
EXPORT_TO_STUBS(rct_param_acct);
module_param_named(acct, rct_param_acct, bool, 0644);
MODULE_PARM_DESC(acct, "Count packets and bytes of connections in namespaces made from now on (default: off)");

bool rct_param_tstamp;
EXPORT_TO_STUBS(rct_param_tstamp);
module_param_named(tstamp, rct_param_tstamp, bool, 0644);
MODULE_PARM_DESC(tstamp, "Keep start and stop times of connections in namespaces made from now on (default: off)");

bool rct_param_adopt_sockets = true;
module_param_named(adopt_sockets, rct_param_adopt_sockets, bool, 0644);
MODULE_PARM_DESC(adopt_sockets,
		 "Track from the first moment what sockets were connected before, or have lost their entries; off: with its next packet (default: on)");

bool rct_param_auto_resize = true;
module_param_named(auto_resize, rct_param_auto_resize, bool, 0644);
MODULE_PARM_DESC(auto_resize,
		 "Let the table grow and shrink with its entries; off when a size is given by hand (default: on)");

bool rct_param_event_reasons = true;
module_param_named(event_reasons, rct_param_event_reasons, bool, 0644);
MODULE_PARM_DESC(event_reasons,
		 "Tell netlink listeners why a connection ended, in an attribute of our own (default: on)");

bool rct_param_index_addresses = true;
module_param_named(index_addresses, rct_param_index_addresses, bool, 0444);
MODULE_PARM_DESC(index_addresses,
		 "Find connections by address without going through all of a namespace (default: on)");

static int inherit_set(const char *value, const struct kernel_param *param)
{
	return param_set_uint_minmax(value, param, 0, 3);
}

static const struct kernel_param_ops inherit_ops = {
	.set = inherit_set,
	.get = param_get_uint,
};
unsigned int rct_param_inherit;
module_param_cb(inherit, &inherit_ops, &rct_param_inherit, 0644);
MODULE_PARM_DESC(inherit,
		 "Settings of new namespaces: 1 those of the first one, 3 those of the creator's, 0 and 2 the defaults (default: 0)");

bool rct_param_module_names = true;
module_param_named(module_names, rct_param_module_names, bool, 0444);
MODULE_PARM_DESC(module_names,
		 "Be in /sys/module as nf_conntrack, nf_nat and nf_conntrack_netlink, too; off: stub modules are (default: on)");

static int hashsize_set(const char *value, const struct kernel_param *param)
{
	unsigned int buckets;
	int err;

	if (!net_eq(current->nsproxy->net_ns, &init_net))
		return -EOPNOTSUPP;
	err = kstrtouint(value, 0, &buckets);
	return err ?: rct_table_resize(buckets);
}

static int hashsize_get(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%u\n", rct_table_buckets());
}

extern const struct kernel_param_ops rct_hashsize_ops;
const struct kernel_param_ops rct_hashsize_ops = {
	.set = hashsize_set,
	.get = hashsize_get,
};
EXPORT_TO_STUBS(rct_hashsize_ops);
module_param_cb(hashsize, &rct_hashsize_ops, NULL, 0600);
MODULE_PARM_DESC(hashsize, "Buckets of the table, rounded up; written at run time: resizes (default: by memory)");

/* In the order of `HashKind`. */
static const char *const hash_names[] = { "jhash", "siphash" };

static int hash_set(const char *value, const struct kernel_param *param)
{
	int kind = sysfs_match_string(hash_names, value);

	return kind < 0 ? kind : rct_table_set_hash(kind);
}

static int hash_get(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%s\n", hash_names[rct_table_hash()]);
}

static const struct kernel_param_ops hash_ops = {
	.set = hash_set,
	.get = hash_get,
};
module_param_cb(hash, &hash_ops, NULL, 0644);
MODULE_PARM_DESC(hash, "Hash of the table: jhash until a chain is too long, or siphash always (default: jhash)");

/* expectations and helpers */

__cacheline_aligned_in_smp DEFINE_SPINLOCK(nf_conntrack_expect_lock);
EXPORT_SYMBOL_GPL(nf_conntrack_expect_lock);

/*
 * The two tables have the C tracker's layout. That of expectations is not exported:
 * of the kernel's modules only nf_conntrack_netlink walks it. Its size is for stub/ alone.
 */
struct hlist_head *nf_ct_expect_hash __read_mostly;
unsigned int nf_ct_expect_hsize __read_mostly;
EXPORT_TO_STUBS(nf_ct_expect_hsize);
unsigned int nf_ct_expect_max __read_mostly;
module_param_named(expect_hashsize, nf_ct_expect_hsize, uint, 0400);
MODULE_PARM_DESC(expect_hashsize, "Buckets of the table of expectations, rounded up (default: those of connections / 256)");

struct hlist_head *nf_ct_helper_hash __read_mostly;
EXPORT_SYMBOL_GPL(nf_ct_helper_hash);
unsigned int nf_ct_helper_hsize __read_mostly;
EXPORT_SYMBOL_GPL(nf_ct_helper_hsize);

EXPORT_SYMBOL_GPL(nf_ct_expect_alloc);
EXPORT_SYMBOL_GPL(nf_ct_expect_init);
EXPORT_SYMBOL_GPL(nf_ct_expect_put);
EXPORT_SYMBOL_GPL(nf_ct_expect_related_report);
EXPORT_SYMBOL_GPL(nf_ct_expect_related_pair);
EXPORT_SYMBOL_GPL(__nf_ct_expect_find);
EXPORT_SYMBOL_GPL(nf_ct_expect_find_get);
EXPORT_SYMBOL_GPL(nf_ct_unexpect_related);
EXPORT_SYMBOL_GPL(nf_ct_unlink_expect_report);
EXPORT_SYMBOL_GPL(nf_ct_remove_expectations);
EXPORT_SYMBOL_GPL(nf_ct_expect_iterate_destroy);
EXPORT_SYMBOL_GPL(nf_ct_expect_iterate_net);

EXPORT_SYMBOL_GPL(nf_conntrack_helper_register);
EXPORT_SYMBOL_GPL(nf_conntrack_helper_unregister);
EXPORT_SYMBOL_GPL(nf_conntrack_helper_release);
EXPORT_SYMBOL_GPL(__nf_conntrack_helper_register);
EXPORT_SYMBOL_GPL(nf_conntrack_helpers_register);
EXPORT_SYMBOL_GPL(nf_conntrack_helpers_unregister);
EXPORT_SYMBOL_GPL(nf_ct_helper_init);
EXPORT_SYMBOL_GPL(nf_conntrack_helper_try_module_get);
EXPORT_SYMBOL_GPL(nf_conntrack_helper_put);
EXPORT_SYMBOL_GPL(__nf_conntrack_helper_find);
EXPORT_SYMBOL_GPL(nf_ct_helper_ext_add);
EXPORT_SYMBOL_GPL(__nf_ct_try_assign_helper);
EXPORT_SYMBOL_GPL(nf_ct_helper_expectfn_register);
EXPORT_SYMBOL_GPL(nf_ct_helper_expectfn_unregister);
EXPORT_SYMBOL_GPL(nf_ct_helper_expectfn_destroy);
EXPORT_SYMBOL_GPL(nf_ct_helper_expectfn_find_by_name);
EXPORT_SYMBOL_GPL(nf_ct_helper_expectfn_find_by_symbol);
EXPORT_SYMBOL_GPL(nf_nat_helper_register);
EXPORT_SYMBOL_GPL(nf_nat_helper_unregister);
EXPORT_SYMBOL_GPL(nf_nat_helper_try_module_get);
EXPORT_SYMBOL_GPL(nf_nat_helper_put);

/* Rust cannot define a variadic function; it takes the message in one piece. */
void nf_ct_helper_log(struct sk_buff *skb, const struct nf_conn *ct, const char *fmt, ...)
{
	struct va_format message = { .fmt = fmt };
	va_list args;

	va_start(args, fmt);
	message.va = &args;
	rct_helper_log(skb, ct, &message);
	va_end(args);
}
EXPORT_SYMBOL_GPL(nf_ct_helper_log);

/* protocols, timeout policies, GRE keys */
const struct nf_ct_timeout_hooks __rcu *nf_ct_timeout_hook __read_mostly;
EXPORT_SYMBOL_GPL(nf_ct_timeout_hook);
/* Serialises the first use of locks in Rust statics. */
DEFINE_SPINLOCK(rct_static_lock);

EXPORT_SYMBOL_GPL(nf_ct_l4proto_find);
EXPORT_SYMBOL_GPL(nf_ct_port_nla_policy);
EXPORT_SYMBOL_GPL(nf_ct_port_nlattr_to_tuple);
EXPORT_SYMBOL_GPL(nf_ct_port_nlattr_tuple_size);
EXPORT_SYMBOL_GPL(nf_ct_port_tuple_to_nlattr);
EXPORT_SYMBOL_GPL(nf_ct_destroy_timeout);
EXPORT_SYMBOL_GPL(nf_ct_set_timeout);
EXPORT_SYMBOL_GPL(nf_ct_untimeout);
EXPORT_SYMBOL_GPL(nf_ct_gre_keymap_add);
EXPORT_SYMBOL_GPL(nf_ct_gre_keymap_destroy);
#if IS_ENABLED(CONFIG_NF_CONNTRACK_PPTP)
EXPORT_SYMBOL_GPL(gre_pptp_destroy_siblings);
#endif

/* Variadic, as nf_ct_helper_log. */
void nf_l4proto_log_invalid(const struct sk_buff *skb, const struct nf_hook_state *state,
			    u8 protonum, const char *fmt, ...)
{
	struct va_format message = { .fmt = fmt };
	va_list args;

	va_start(args, fmt);
	message.va = &args;
	rct_log_invalid(skb, state, protonum, &message);
	va_end(args);
}
EXPORT_SYMBOL_GPL(nf_l4proto_log_invalid);

void nf_ct_l4proto_log_invalid(const struct sk_buff *skb, const struct nf_conn *ct,
			       const struct nf_hook_state *state, const char *fmt, ...)
{
	struct va_format message = { .fmt = fmt };
	va_list args;

	va_start(args, fmt);
	message.va = &args;
	rct_log_invalid(skb, state, nf_ct_protonum(ct), &message);
	va_end(args);
}
EXPORT_SYMBOL_GPL(nf_ct_l4proto_log_invalid);

/* NAT */
EXPORT_SYMBOL(__nf_nat_mangle_tcp_packet);
EXPORT_SYMBOL(nf_nat_follow_master);
EXPORT_SYMBOL(nf_nat_mangle_udp_packet);
EXPORT_SYMBOL(nf_nat_setup_info);
EXPORT_SYMBOL_GPL(nf_ct_nat);
EXPORT_SYMBOL_GPL(nf_ct_nat_ext_add);
EXPORT_SYMBOL_GPL(nf_nat_alloc_null_binding);
EXPORT_SYMBOL_GPL(nf_nat_exp_find_port);
EXPORT_SYMBOL_GPL(nf_nat_icmp_reply_translation);
EXPORT_SYMBOL_GPL(nf_nat_icmpv6_reply_translation);
EXPORT_SYMBOL_GPL(nf_nat_inet_fn);
EXPORT_SYMBOL_GPL(nf_nat_inet_register_fn);
EXPORT_SYMBOL_GPL(nf_nat_inet_unregister_fn);
EXPORT_SYMBOL_GPL(nf_nat_ipv4_register_fn);
EXPORT_SYMBOL_GPL(nf_nat_ipv4_unregister_fn);
EXPORT_SYMBOL_GPL(nf_nat_ipv6_register_fn);
EXPORT_SYMBOL_GPL(nf_nat_ipv6_unregister_fn);
EXPORT_SYMBOL_GPL(nf_nat_masquerade_inet_register_notifiers);
EXPORT_SYMBOL_GPL(nf_nat_masquerade_inet_unregister_notifiers);
EXPORT_SYMBOL_GPL(nf_nat_masquerade_ipv4);
EXPORT_SYMBOL_GPL(nf_nat_masquerade_ipv6);
EXPORT_SYMBOL_GPL(nf_nat_packet);
EXPORT_SYMBOL_GPL(nf_nat_redirect_ipv4);
EXPORT_SYMBOL_GPL(nf_nat_redirect_ipv6);
