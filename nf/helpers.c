// SPDX-License-Identifier: GPL-2.0
/*
 * See helpers.h. Always inlined where they are linked as bitcode (Kbuild), ordinary
 * functions otherwise.
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

/* packet buffers */

RCT unsigned long rct_skb_nfct(const struct sk_buff *skb)
{
	return skb_get_nfct(skb);
}

RCT void rct_skb_set_nfct(struct sk_buff *skb, unsigned long nfct)
{
	skb_set_nfct(skb, nfct);
}

/* The kernel's own setter warns when it is to write over an entry. */
RCT void rct_skb_clear_nfct(struct sk_buff *skb)
{
	skb->_nfct = 0;
}

RCT unsigned int rct_skb_len(const struct sk_buff *skb)
{
	return skb->len;
}

RCT unsigned int rct_skb_headlen(const struct sk_buff *skb)
{
	return skb_headlen(skb);
}

RCT const unsigned char *rct_skb_data(const struct sk_buff *skb)
{
	return skb->data;
}

RCT int rct_skb_network_offset(const struct sk_buff *skb)
{
	return skb_network_offset(skb);
}

RCT u32 rct_skb_mark(const struct sk_buff *skb)
{
	return skb->mark;
}

RCT struct net *rct_skb_dev_net(const struct sk_buff *skb)
{
	return skb->dev ? dev_net(skb->dev) : NULL;
}

RCT bool rct_skb_is_loopback(const struct sk_buff *skb)
{
	return nf_is_loopback_packet(skb);
}

RCT bool rct_skb_is_gso(const struct sk_buff *skb)
{
	return skb_is_gso(skb);
}

/* connection entries */

RCT struct net *rct_ct_net(const struct nf_conn *ct)
{
	return nf_ct_net(ct);
}

RCT void rct_ct_set_net(struct nf_conn *ct, struct net *net)
{
	write_pnet(&ct->ct_net, net);
}

RCT bool rct_ct_get_not_zero(struct nf_conn *ct)
{
	return refcount_inc_not_zero(&ct->ct_general.use);
}

RCT void rct_ct_get(struct nf_conn *ct)
{
	refcount_inc(&ct->ct_general.use);
}

RCT void rct_ct_put(struct nf_conn *ct)
{
	nf_ct_put(ct);
}

RCT void rct_ct_set_use(struct nf_conn *ct, unsigned int n)
{
	refcount_set(&ct->ct_general.use, n);
}

RCT unsigned int rct_ct_use(const struct nf_conn *ct)
{
	return refcount_read(&ct->ct_general.use);
}

/* namespaces */

RCT struct netns_ct *rct_net_ct(struct net *net)
{
	return &net->ct;
}

RCT void *rct_net_generic(const struct net *net, unsigned int id)
{
	return net_generic(net, id);
}

RCT void *rct_net_generic_rcu(const struct net *net, unsigned int id)
{
	return rcu_dereference_raw(net->gen)->ptr[id];
}

RCT u32 rct_net_hash_mix(const struct net *net)
{
	return net_hash_mix(net);
}

RCT bool rct_net_is_init(const struct net *net)
{
	return net_eq(net, &init_net);
}

RCT unsigned int rct_net_inum(const struct net *net)
{
	return net->ns.inum;
}

RCT struct net *rct_init_net(void)
{
	return &init_net;
}

RCT struct proc_dir_entry *rct_proc_net(struct net *net)
{
	return net->proc_net;
}

RCT struct proc_dir_entry *rct_proc_net_stat(struct net *net)
{
	return net->proc_net_stat;
}

RCT void rct_proc_own_by_netns_root(struct proc_dir_entry *entry, struct net *net)
{
	kuid_t uid = make_kuid(net->user_ns, 0);
	kgid_t gid = make_kgid(net->user_ns, 0);

	if (uid_valid(uid) && gid_valid(gid))
		proc_set_user(entry, uid, gid);
}

RCT struct net *rct_exit_list_next(struct list_head *list, struct net *net)
{
	struct list_head *next = net ? net->exit_list.next : list->next;

	return next == list ? NULL : list_entry(next, struct net, exit_list);
}

RCT struct net *rct_seq_file_net(struct seq_file *seq)
{
	return seq_file_net(seq);
}

RCT void *rct_seq_private(struct seq_file *seq)
{
	return seq->private;
}

RCT struct proc_dir_entry *rct_proc_create_net(const char *name, umode_t mode,
					       struct proc_dir_entry *parent,
					       const struct seq_operations *ops,
					       unsigned int state_size)
{
	return proc_create_net(name, mode, parent, ops, state_size);
}

/* per-CPU statistics */

RCT bool rct_stat_alloc(struct net *net)
{
	net->ct.stat = alloc_percpu(struct ip_conntrack_stat);
	return net->ct.stat;
}

RCT void rct_stat_free(struct net *net)
{
	free_percpu(net->ct.stat);
	net->ct.stat = NULL;
}

RCT void rct_stat_add(struct net *net, unsigned long offset, u32 n)
{
	u32 __percpu *field = (void __percpu *)net->ct.stat + offset;

	this_cpu_add(*field, n);
}

RCT u32 rct_stat_read(struct net *net, unsigned int cpu, unsigned long offset)
{
	u32 __percpu *field = (void __percpu *)net->ct.stat + offset;

	return READ_ONCE(*per_cpu_ptr(field, cpu));
}

RCT unsigned int rct_next_possible_cpu(unsigned int from)
{
	return from ? cpumask_next(from - 1, cpu_possible_mask)
		    : cpumask_first(cpu_possible_mask);
}

RCT unsigned int rct_nr_cpu_ids(void)
{
	return nr_cpu_ids;
}

/* devices */

RCT bool rct_netif_is_l3_master(struct net_device *dev)
{
	return dev && netif_is_l3_master(dev);
}

/* RCU */

RCT void rct_synchronize_rcu_expedited(void)
{
	synchronize_rcu_expedited();
}

/* timeout policies, GRE keys, netlink attributes, SCTP checksums */

RCT const struct nf_ct_timeout_hooks *rct_timeout_hooks(void)
{
	return rcu_dereference(nf_ct_timeout_hook);
}

RCT void rct_timeout_kfree_rcu(struct nf_ct_timeout *policy)
{
	kfree_rcu(policy, rcu);
}

RCT void rct_list_add_tail_rcu(struct list_head *entry, struct list_head *list)
{
	list_add_tail_rcu(entry, list);
}

RCT void rct_keymap_kfree_rcu(struct nf_ct_gre_keymap *map)
{
	kfree_rcu(map, rcu);
}

RCT int rct_nla_parse_nested(struct nlattr **table, int last, const struct nlattr *nest,
			     const struct nla_policy *policy, bool strictly)
{
	return strictly ? nla_parse_nested(table, last, nest, policy, NULL)
			: nla_parse_nested_deprecated(table, last, nest, policy, NULL);
}

RCT void *rct_nla_reserve(struct sk_buff *skb, int number, int len)
{
	struct nlattr *attribute = nla_reserve(skb, number, len);

	return attribute ? nla_data(attribute) : NULL;
}

RCT struct nlattr *rct_nla_nest_start(struct sk_buff *skb, int number)
{
	return nla_nest_start(skb, number);
}

RCT void rct_nla_nest_end(struct sk_buff *skb, struct nlattr *nest)
{
	nla_nest_end(skb, nest);
}

RCT bool rct_skb_checksum_none(const struct sk_buff *skb)
{
	return skb->ip_summed == CHECKSUM_NONE;
}

RCT void rct_skb_set_checksum_unnecessary(struct sk_buff *skb)
{
	skb->ip_summed = CHECKSUM_UNNECESSARY;
}

RCT bool rct_sctp_checksum_is_right(const struct sk_buff *skb, unsigned int offset)
{
	return ((const struct sctphdr *)(skb->data + offset))->checksum ==
	       sctp_compute_cksum(skb, offset);
}

/* expectations and helpers */

RCT struct hlist_node *rct_hlist_first_rcu(struct hlist_head *head)
{
	return rcu_dereference_raw(hlist_first_rcu(head));
}

RCT struct hlist_node *rct_hlist_next_rcu(struct hlist_node *node)
{
	return rcu_dereference_raw(hlist_next_rcu(node));
}

RCT void rct_hlist_add_head_rcu(struct hlist_node *node, struct hlist_head *head)
{
	hlist_add_head_rcu(node, head);
}

RCT void rct_hlist_del_init_rcu(struct hlist_node *node)
{
	hlist_del_init_rcu(node);
}

RCT void rct_list_init(struct list_head *list)
{
	INIT_LIST_HEAD(list);
}

RCT void rct_list_add_rcu(struct list_head *entry, struct list_head *list)
{
	list_add_rcu(entry, list);
}

RCT void rct_list_del_rcu(struct list_head *entry)
{
	list_del_rcu(entry);
}

RCT struct list_head *rct_list_next_rcu(struct list_head *entry)
{
	return rcu_dereference_raw(list_next_rcu(entry));
}

RCT struct kmem_cache *rct_expect_cache_create(void)
{
	return KMEM_CACHE(nf_conntrack_expect, 0);
}

RCT struct net *rct_expect_net(struct nf_conntrack_expect *expect)
{
	return nf_ct_exp_net(expect);
}

RCT void rct_expect_set_net(struct nf_conntrack_expect *expect, struct net *net)
{
	write_pnet(&expect->net, net);
}

RCT void rct_expect_event_tell(unsigned int events, const struct nf_exp_event *item)
{
	const struct nf_ct_event_notifier *listener =
		rcu_dereference(nf_ct_exp_net(item->exp)->ct.nf_conntrack_event_cb);

	if (listener)
		listener->exp_event(events, item);
}

RCT void rct_helper_kfree_rcu(struct nf_conntrack_helper *helper)
{
	kfree_rcu(helper, rcu);
}

RCT bool rct_try_module_get(struct module *module)
{
	return try_module_get(module);
}

RCT void rct_module_put(struct module *module)
{
	module_put(module);
}

RCT bool rct_refcount_inc_not_zero(refcount_t *count)
{
	return refcount_inc_not_zero(count);
}

RCT void rct_refcount_inc(refcount_t *count)
{
	refcount_inc(count);
}

RCT bool rct_refcount_dec_and_test(refcount_t *count)
{
	return refcount_dec_and_test(count);
}

RCT void rct_refcount_set(refcount_t *count, unsigned int n)
{
	refcount_set(count, n);
}

/* locks, counters, barriers */

RCT void rct_local_bh_disable(void)
{
	local_bh_disable();
}

RCT void rct_local_bh_enable(void)
{
	local_bh_enable();
}

/* Several initialisers, because a lock's class is the place that initialises it. */
RCT void rct_spin_lock_init_entry(spinlock_t *lock)
{
	spin_lock_init(lock);
}

RCT void rct_spin_lock_init_bucket(spinlock_t *lock)
{
	spin_lock_init(lock);
}

RCT void rct_spin_lock_init_outer(spinlock_t *lock)
{
	spin_lock_init(lock);
}

RCT void rct_spin_lock_init_data(spinlock_t *lock)
{
	spin_lock_init(lock);
}

RCT void rct_spin_lock(spinlock_t *lock)
{
	spin_lock(lock);
}

RCT void rct_spin_lock_nested(spinlock_t *lock)
{
	spin_lock_nested(lock, SINGLE_DEPTH_NESTING);
}

RCT void rct_spin_unlock(spinlock_t *lock)
{
	spin_unlock(lock);
}

RCT void rct_spin_lock_bh(spinlock_t *lock)
{
	spin_lock_bh(lock);
}

RCT void rct_spin_unlock_bh(spinlock_t *lock)
{
	spin_unlock_bh(lock);
}

/*
 * spin_lock_bh(), but cheaper where bottom halves are off already, as in nearly all hooks. What
 * the first function returns belongs to the second.
 */
RCT bool rct_spin_lock_bh_nested(spinlock_t *lock)
{
	if (softirq_count()) {
		spin_lock(lock);
		return false;
	}
	spin_lock_bh(lock);
	return true;
}

RCT void rct_spin_unlock_bh_nested(spinlock_t *lock, bool outermost)
{
	if (outermost)
		spin_unlock_bh(lock);
	else
		spin_unlock(lock);
}

RCT void rct_seqcount_init(seqcount_t *count)
{
	seqcount_init(count);
}

RCT unsigned int rct_seqcount_read(const seqcount_t *count)
{
	return smp_load_acquire(&count->sequence);
}

RCT void rct_seqcount_write_begin(seqcount_t *count)
{
	write_seqcount_begin(count);
}

RCT void rct_seqcount_write_end(seqcount_t *count)
{
	write_seqcount_end(count);
}

RCT void rct_smp_rmb(void)
{
	smp_rmb();
}

RCT void rct_smp_wmb(void)
{
	smp_wmb();
}

RCT void rct_smp_acquire_after_ctrl_dep(void)
{
	smp_acquire__after_ctrl_dep();
}

RCT void rct_smp_mb_before_atomic(void)
{
	smp_mb__before_atomic();
}

RCT void rct_set_bit(unsigned int bit, unsigned long *word)
{
	set_bit(bit, word);
}

RCT void rct_clear_bit(unsigned int bit, unsigned long *word)
{
	clear_bit(bit, word);
}

RCT bool rct_test_and_set_bit(unsigned int bit, unsigned long *word)
{
	return test_and_set_bit(bit, word);
}

RCT u8 rct_read_once_u8(const u8 *p)
{
	return READ_ONCE(*p);
}

RCT void rct_rcu_read_lock(void)
{
	rcu_read_lock();
}

RCT void rct_rcu_read_unlock(void)
{
	rcu_read_unlock();
}

RCT void rct_atomic64_add(s64 n, atomic64_t *v)
{
	atomic64_add(n, v);
}

RCT s64 rct_atomic64_read(const atomic64_t *v)
{
	return atomic64_read(v);
}

/* memory */

RCT struct kmem_cache *rct_conn_cache_create(unsigned int size, unsigned int align,
					     unsigned int free_link)
{
	struct kmem_cache_args args = {
		/* The low bits of skb->_nfct carry the packet's state. */
		.align = max_t(unsigned int, align, NFCT_INFOMASK + 1),
		.use_freeptr_offset = true,
		.freeptr_offset = free_link,
	};

	return kmem_cache_create("nf_conntrack", size, &args,
				 SLAB_TYPESAFE_BY_RCU | SLAB_HWCACHE_ALIGN);
}

RCT void *rct_percpu_slot_alloc(void)
{
	return (__force void *)alloc_percpu(void *);
}

RCT void rct_percpu_slot_free(void *slot)
{
	free_percpu((void __percpu *)slot);
}

RCT void **rct_percpu_slot_of(void *slot, unsigned int cpu)
{
	return per_cpu_ptr((void * __percpu *)slot, cpu);
}

RCT void *rct_percpu_slot_take(void *slot)
{
	return this_cpu_xchg(*(void * __percpu *)slot, NULL);
}

RCT bool rct_percpu_slot_fill(void *slot, void *value)
{
	return !this_cpu_cmpxchg(*(void * __percpu *)slot, NULL, value);
}

RCT unsigned long rct_page_offset(void)
{
	return PAGE_OFFSET;
}

RCT unsigned long rct_memory_end(void)
{
	return (unsigned long)high_memory;
}

RCT void *rct_kmem_cache_alloc(struct kmem_cache *cache, gfp_t flags)
{
	return kmem_cache_alloc(cache, flags);
}

RCT void *rct_kzalloc(size_t size, gfp_t flags)
{
	return kzalloc(size, flags);
}

RCT void *rct_krealloc_zeroed(void *p, size_t old_size, size_t new_size, gfp_t flags)
{
	void *bigger = krealloc(p, new_size, flags);

	if (bigger)
		memset(bigger + old_size, 0, new_size - old_size);
	return bigger;
}

RCT void *rct_kvzalloc(size_t size)
{
	return kvzalloc(size, GFP_KERNEL);
}

RCT unsigned long rct_totalram_bytes(void)
{
	return totalram_pages() << PAGE_SHIFT;
}

/* time, work, log, the tracker's hook */

RCT unsigned long rct_jiffies(void)
{
	return jiffies;
}

RCT u64 rct_ktime_real_ns(void)
{
	return ktime_get_real_ns();
}

RCT u64 rct_jiffies_to_nsecs(unsigned long j)
{
	return jiffies_to_nsecs(j);
}

RCT void rct_delayed_work_init(struct delayed_work *work, work_func_t run)
{
	INIT_DELAYED_WORK(work, run);
}

RCT void rct_delayed_work_queue(struct delayed_work *work, unsigned long delay)
{
	queue_delayed_work(system_power_efficient_wq, work, delay);
}

RCT void rct_delayed_work_hasten(struct delayed_work *work)
{
	mod_delayed_work(system_power_efficient_wq, work, 0);
}

RCT bool rct_cond_resched(void)
{
	return cond_resched();
}

RCT bool rct_net_ratelimit(void)
{
	return net_ratelimit();
}

RCT bool rct_ct_hook_present(void)
{
	return rcu_access_pointer(nf_ct_hook);
}

RCT void rct_ct_hook_set(const struct nf_ct_hook *hook)
{
	rcu_assign_pointer(nf_ct_hook, hook);
}

RCT bool rct_nf_checksum_bad(struct sk_buff *skb, unsigned int hook, unsigned int offset,
			     u8 protocol, u8 family)
{
	return nf_checksum(skb, hook, offset, protocol, family) != 0;
}

RCT void rct_request_log_backend(void)
{
	int family;

	for (family = 0; family < NFPROTO_NUMPROTO; family++)
		if (nf_log_is_registered(family))
			return;
	request_module("%s", "nf_log_syslog");
}

/* events */

RCT void rct_ct_event_cache(unsigned int event, struct nf_conn *ct)
{
	nf_conntrack_event_cache(event, ct);
}

RCT int rct_ct_event_tell(unsigned int events, const struct nf_ct_event *item)
{
	struct nf_ct_event_notifier *notifier;
	int ret = 0;

	rcu_read_lock();
	notifier = rcu_dereference(nf_ct_net(item->ct)->ct.nf_conntrack_event_cb);
	if (notifier)
		ret = notifier->ct_event(events, item);
	rcu_read_unlock();
	return ret;
}

RCT void rct_ct_event_listener_set(struct net *net, const struct nf_ct_event_notifier *notifier)
{
	rcu_assign_pointer(net->ct.nf_conntrack_event_cb,
			   (struct nf_ct_event_notifier *)notifier);
}

RCT bool rct_ctnetlink_has_listener(void)
{
	return READ_ONCE(nf_ctnetlink_has_listener);
}

RCT void rct_labels_used_add(struct net *net, int n)
{
	atomic_add(n, &net->ct.labels_used);
}

RCT bool rct_labels_used(struct net *net)
{
	return atomic_read(&net->ct.labels_used) != 0;
}

/* what comes from below the IP layer, and the bridge's module */

RCT unsigned int rct_ipv4_total_len(const struct sk_buff *skb)
{
	return skb_ip_totlen(skb);
}

RCT int rct_ipv6_total_len(struct sk_buff *skb, unsigned int *len)
{
	int err = 0;

	*len = skb_ipv6_payload_len(skb);
	if (ipv6_hdr(skb)->nexthdr == NEXTHDR_HOP)
		err = nf_ip6_check_hbh_len(skb, len);
	*len += sizeof(struct ipv6hdr);
	return err;
}

RCT int rct_pskb_trim(struct sk_buff *skb, unsigned int len)
{
	return pskb_trim_rcsum(skb, len);
}

RCT int rct_ipv4_gather(struct net *net, struct sk_buff *skb, u16 zone, u16 *mru)
{
	int err;

	memset(IPCB(skb), 0, sizeof(*IPCB(skb)));
	local_bh_disable();
	err = ip_defrag(net, skb, IP_DEFRAG_CONNTRACK_IN + zone);
	local_bh_enable();
	if (!err)
		*mru = IPCB(skb)->frag_max_size;
	return err;
}

RCT int rct_ipv6_gather(struct net *net, struct sk_buff *skb, u16 zone, u8 *protocol, u16 *mru)
{
	int err;

	memset(IP6CB(skb), 0, sizeof(*IP6CB(skb)));
	err = nf_ct_frag6_gather(net, skb, IP6_DEFRAG_CONNTRACK_IN + zone);
	if (!err) {
		*protocol = ipv6_hdr(skb)->nexthdr;
		*mru = IP6CB(skb)->frag_max_size;
	}
	return err;
}

RCT void rct_skb_now_whole(struct sk_buff *skb)
{
	skb_clear_hash(skb);
	skb->ignore_df = 1;
}

RCT void rct_kfree_skb(struct sk_buff *skb)
{
	kfree_skb(skb);
}

RCT void rct_request_bridge_module(void)
{
	request_module("nf_conntrack_bridge");
}

/* NAT */

RCT void rct_nat_forget_source(struct nf_conn *ct)
{
	const struct nf_nat_hook *hook;

	rcu_read_lock();
	hook = rcu_dereference(nf_nat_hook);
	if (hook)
		hook->remove_nat_bysrc(ct);
	rcu_read_unlock();
}

RCT void rct_nat_hook_set(const struct nf_nat_hook *hook)
{
	rcu_assign_pointer(nf_nat_hook, hook);
}

RCT void rct_spin_lock_init_source(spinlock_t *lock)
{
	spin_lock_init(lock);
}

RCT void rct_spin_lock_init_links(spinlock_t *lock)
{
	spin_lock_init(lock);
}

RCT struct nf_hook_entries *rct_nat_chains(const struct nf_nat_lookup_hook_priv *place)
{
	return rcu_dereference(place->entries);
}

RCT unsigned int rct_nat_chain_count(const struct nf_hook_entries *entries)
{
	return entries ? entries->num_hook_entries : 0;
}

RCT unsigned int rct_nat_chain_run(const struct nf_hook_entries *entries, unsigned int index,
				   struct sk_buff *skb, const struct nf_hook_state *state)
{
	return entries->hooks[index].hook(entries->hooks[index].priv, skb, state);
}

/* Exported, but declared in a header of net/netfilter alone. */
int nf_hook_entries_insert_raw(struct nf_hook_entries __rcu **pp, const struct nf_hook_ops *reg);
void nf_hook_entries_delete_raw(struct nf_hook_entries __rcu **pp, const struct nf_hook_ops *reg);

RCT int rct_nat_chains_add(struct nf_nat_lookup_hook_priv *place, const struct nf_hook_ops *ops)
{
	return nf_hook_entries_insert_raw(&place->entries, ops);
}

RCT void rct_nat_chains_remove(struct nf_nat_lookup_hook_priv *place,
			       const struct nf_hook_ops *ops)
{
	nf_hook_entries_delete_raw(&place->entries, ops);
}

/* changing packets */

/* Whether skb_ensure_writable() would find nothing to do, in the common case. */
RCT bool rct_skb_is_writable(const struct sk_buff *skb, unsigned int len)
{
	return len <= skb_headlen(skb) && !skb_cloned(skb);
}

RCT u8 rct_skb_ip_summed(const struct sk_buff *skb)
{
	return skb->ip_summed;
}

RCT void rct_skb_set_checksum_none(struct sk_buff *skb)
{
	skb->ip_summed = CHECKSUM_NONE;
}

RCT void rct_skb_set_checksum_partial(struct sk_buff *skb, unsigned int start,
				      unsigned int field)
{
	skb->ip_summed = CHECKSUM_PARTIAL;
	skb->csum_start = skb_headroom(skb) + start;
	skb->csum_offset = field;
}

RCT void rct_skb_sum_sub(struct sk_buff *skb, u32 less)
{
	skb->csum = csum_sub(skb->csum, (__force __wsum)less);
}

RCT u16 rct_skb_sum(const struct sk_buff *skb, unsigned int offset, unsigned int len)
{
	return (__force u16)~csum_fold(skb_checksum(skb, offset, len, 0));
}

RCT u32 rct_sctp_checksum(const struct sk_buff *skb, unsigned int offset)
{
	return (__force u32)sctp_compute_cksum(skb, offset);
}

RCT int rct_skb_tailroom(const struct sk_buff *skb)
{
	return skb_tailroom(skb);
}

RCT int rct_skb_expand_tail(struct sk_buff *skb, unsigned int more)
{
	return pskb_expand_head(skb, 0, more, GFP_ATOMIC);
}

RCT void rct_skb_put(struct sk_buff *skb, unsigned int more)
{
	skb_put(skb, more);
}

RCT void rct_skb_trim(struct sk_buff *skb, unsigned int len)
{
	__skb_trim(skb, len);
}

RCT void rct_skb_dst_drop(struct sk_buff *skb)
{
	skb_dst_drop(skb);
}

RCT void rct_skb_orphan(struct sk_buff *skb)
{
	skb_orphan(skb);
}

RCT bool rct_skb_has_demuxed_socket(const struct sk_buff *skb)
{
	return skb->sk && !inet_sk_transparent(skb->sk);
}

RCT u16 rct_skb_socket_peer_port(const struct sk_buff *skb)
{
	return (__force u16)skb->sk->sk_dport;
}

RCT u16 rct_skb_protocol(const struct sk_buff *skb)
{
	return ntohs(skb_protocol(skb, true));
}

RCT struct net_device *rct_skb_dev(const struct sk_buff *skb)
{
	return skb->dev;
}

/* devices and their addresses */

RCT int rct_dev_ifindex(const struct net_device *dev)
{
	return dev->ifindex;
}

RCT const char *rct_dev_name(const struct net_device *dev)
{
	return dev->name;
}

RCT struct net *rct_dev_net(const struct net_device *dev)
{
	return dev_net(dev);
}

RCT u64 rct_net_cookie(const struct net *net)
{
	return net->net_cookie;
}

RCT bool rct_net_is_alive(const struct net *net)
{
	return check_net(net);
}

RCT __be32 rct_dev_first_ipv4(const struct net_device *dev)
{
	const struct in_device *in = dev ? __in_dev_get_rcu(dev) : NULL;
	const struct in_ifaddr *ifa = in ? rcu_dereference(in->ifa_list) : NULL;

	return ifa ? ifa->ifa_local : 0;
}

RCT __be32 rct_ipv4_source_for(struct sk_buff *skb, const struct net_device *out)
{
	return inet_select_addr(out, rt_nexthop(skb_rtable(skb), ip_hdr(skb)->daddr),
				RT_SCOPE_UNIVERSE);
}

RCT struct inet6_dev *rct_dev_ipv6(const struct net_device *dev)
{
	return dev ? __in6_dev_get(dev) : NULL;
}

RCT void rct_ipv6_addresses_lock(struct inet6_dev *dev)
{
	read_lock_bh(&dev->lock);
}

RCT void rct_ipv6_addresses_unlock(struct inet6_dev *dev)
{
	read_unlock_bh(&dev->lock);
}

RCT struct inet6_ifaddr *rct_ipv6_next_address(struct inet6_dev *dev, struct inet6_ifaddr *last)
{
	struct list_head *next = last ? last->if_list.next : dev->addr_list.next;

	return next == &dev->addr_list ? NULL : list_entry(next, struct inet6_ifaddr, if_list);
}

RCT const struct in6_addr *rct_ipv6_address(const struct inet6_ifaddr *ifa)
{
	return &ifa->addr;
}

RCT u32 rct_ipv6_address_flags(const struct inet6_ifaddr *ifa)
{
	return ifa->flags;
}

RCT struct net_device *rct_ipv6_address_dev(const struct inet6_ifaddr *ifa)
{
	return ifa->idev->dev;
}

RCT u32 rct_ipv6_address_type(const struct in6_addr *address)
{
	return ipv6_addr_type(address);
}

RCT struct net_device *rct_netdev_of_event(void *info)
{
	return netdev_notifier_info_to_dev(info);
}

/* NULL: the device itself goes. */
RCT struct net_device *rct_ipv4_address_dev(const struct in_ifaddr *ifa)
{
	return ifa->ifa_dev->dead ? NULL : ifa->ifa_dev->dev;
}

RCT __be32 rct_ipv4_address(const struct in_ifaddr *ifa)
{
	return ifa->ifa_address;
}

/* routes */

RCT bool rct_ipv4_is_transformed(const struct sk_buff *skb)
{
	return IPCB(skb)->flags & IPSKB_XFRM_TRANSFORMED;
}

RCT bool rct_ipv6_is_transformed(const struct sk_buff *skb)
{
	return IP6CB(skb)->flags & IP6SKB_XFRM_TRANSFORMED;
}

RCT int rct_reroute_ipv4(const struct nf_hook_state *state, struct sk_buff *skb)
{
	return ip_route_me_harder(state->net, state->sk, skb, RTN_UNSPEC);
}

RCT int rct_reroute_ipv6(const struct nf_hook_state *state, struct sk_buff *skb)
{
	return nf_ip6_route_me_harder(state->net, state->sk, skb);
}

#ifdef CONFIG_XFRM
/* Otherwise packets go as they are routed, unless something of their own says more. */
RCT bool rct_xfrm_has_policies(const struct net *net)
{
	return READ_ONCE(net->xfrm.policy_count[XFRM_POLICY_OUT]) ||
	       READ_ONCE(net->xfrm.policy_default[XFRM_POLICY_OUT]) != XFRM_USERPOLICY_ACCEPT;
}

/* Whether the packet came, or is to go, through a transformation, or its socket wants one. */
RCT bool rct_skb_has_xfrm(const struct sk_buff *skb)
{
	const struct sock *sk = skb->sk ? sk_const_to_full_sk(skb->sk) : NULL;

	return skb_dst(skb)->xfrm || skb_sec_path(skb) ||
	       (sk && rcu_access_pointer(sk->sk_policy[XFRM_POLICY_OUT]));
}

RCT int rct_xfrm_decode_session(struct net *net, struct sk_buff *skb, struct flowi *flow,
				u8 family)
{
	return xfrm_decode_session(net, skb, flow, family);
}

/* The route below a transformation; NULL if it is going away. */
RCT struct dst_entry *rct_skb_get_plain_dst(const struct sk_buff *skb)
{
	struct dst_entry *dst = skb_dst(skb);

	if (dst->xfrm)
		dst = ((struct xfrm_dst *)dst)->route;
	return dst_hold_safe(dst) ? dst : NULL;
}

RCT struct dst_entry *rct_xfrm_lookup(struct net *net, struct dst_entry *dst,
				      const struct flowi *flow, const struct sk_buff *skb)
{
	const struct sock *sk = skb->sk && net_eq(net, sock_net(skb->sk)) ? skb->sk : NULL;

	return xfrm_lookup(net, dst, flow, sk, 0);
}
#endif

RCT bool rct_is_err(const void *pointer)
{
	return IS_ERR(pointer);
}

RCT void rct_skb_replace_dst(struct sk_buff *skb, struct dst_entry *dst)
{
	skb_dst_drop(skb);
	skb_dst_set(skb, dst);
}

/* The new route's device may want a longer header. */
RCT int rct_skb_room_for_link(struct sk_buff *skb)
{
	unsigned int wanted = skb_dst(skb)->dev->hard_header_len;

	return skb_headroom(skb) < wanted ?
	       pskb_expand_head(skb, wanted - skb_headroom(skb), 0, GFP_ATOMIC) : 0;
}

/* netlink messages */

RCT u32 rct_netlink_portid(const struct sk_buff *skb)
{
	return NETLINK_CB(skb).portid;
}

RCT struct net *rct_netlink_net(const struct sk_buff *skb)
{
	return sock_net(skb->sk);
}

RCT struct sk_buff *rct_nlmsg_new(size_t payload, gfp_t flags)
{
	return nlmsg_new(payload, flags);
}

RCT struct nlmsghdr *rct_nfnl_msg_put(struct sk_buff *skb, u32 portid, u32 seq, u16 type, u16 flags,
				      u8 family, u16 resource)
{
	return nfnl_msg_put(skb, portid, seq, type, flags, family, NFNETLINK_V0, htons(resource));
}

RCT void rct_nlmsg_end(struct sk_buff *skb, struct nlmsghdr *head)
{
	nlmsg_end(skb, head);
}

RCT int rct_netlink_dump_start(struct sock *kernel, struct sk_buff *skb,
			       const struct nlmsghdr *head, struct netlink_dump_control *control)
{
	return netlink_dump_start(kernel, skb, head, control);
}

RCT int rct_nat_parse(struct nf_conn *ct, unsigned int manip, const struct nlattr *attribute)
{
	const struct nf_nat_hook *hook;
	int err = -EOPNOTSUPP;

	rcu_read_lock();
	hook = rcu_dereference(nf_nat_hook);
	if (hook)
		err = hook->parse_nat_setup(ct, manip, attribute);
	rcu_read_unlock();
	return err;
}

RCT void rct_nfnl_ct_hook_set(const struct nfnl_ct_hook *hook)
{
	rcu_assign_pointer(nfnl_ct_hook, hook);
}

/* sockets */

RCT bool rct_port_is_reserved(const struct net *net, u16 port)
{
	return inet_is_local_reserved_port(net, port);
}

RCT bool rct_ipv4_is_local(struct net *net, __be32 address)
{
	return inet_addr_type(net, address) == RTN_LOCAL;
}

RCT bool rct_ipv6_is_local(struct net *net, const struct in6_addr *address)
{
	return ipv6_chk_addr(net, address, NULL, 0);
}

RCT struct sock *rct_tcp4_connected(const struct net *net, __be32 remote, __be16 remote_port,
				    __be32 local, u16 local_port)
{
	return __inet_lookup_established(net, remote, remote_port, local, local_port, 0, 0);
}

RCT struct sock *rct_tcp4_listener(const struct net *net, __be32 remote, __be16 remote_port,
				   __be32 local, u16 local_port)
{
	return __inet_lookup_listener(net, NULL, 0, remote, remote_port, local, local_port, 0, 0);
}

RCT struct sock *rct_tcp6_connected(const struct net *net, const struct in6_addr *remote,
				    __be16 remote_port, const struct in6_addr *local,
				    u16 local_port)
{
	return __inet6_lookup_established(net, remote, remote_port, local, local_port, 0, 0);
}

RCT struct sock *rct_tcp6_listener(const struct net *net, const struct in6_addr *remote,
				   __be16 remote_port, const struct in6_addr *local,
				   u16 local_port)
{
	return inet6_lookup_listener(net, NULL, 0, remote, remote_port, local, local_port, 0, 0);
}

RCT struct sock *rct_udp4_receiver(const struct net *net, __be32 remote, __be16 remote_port,
				   __be32 local, __be16 local_port)
{
	return __udp4_lib_lookup(net, remote, remote_port, local, local_port, 0, 0, NULL);
}

RCT struct sock *rct_udp6_receiver(const struct net *net, const struct in6_addr *remote,
				   __be16 remote_port, const struct in6_addr *local,
				   __be16 local_port)
{
	return __udp6_lib_lookup(net, remote, remote_port, local, local_port, 0, 0, NULL);
}

RCT u16 rct_sock_port(const struct sock *sk)
{
	return READ_ONCE(sk->sk_num);
}

RCT __be32 rct_sock_ipv4(const struct sock *sk)
{
	return READ_ONCE(sk->sk_rcv_saddr);
}

RCT struct in6_addr rct_sock_ipv6(const struct sock *sk)
{
	return sk->sk_v6_rcv_saddr;
}

/* Bound, neither connected nor listening, and takes packets of the family. */
RCT bool rct_sock_is_idle(const struct sock *sk, u16 family)
{
	return READ_ONCE(sk->sk_state) == TCP_CLOSE &&
	       (sk->sk_family == family || (sk->sk_family == AF_INET6 && !ipv6_only_sock(sk)));
}

RCT void rct_tcp_each_bound(const struct net *net, u16 port,
			    bool (*visit)(struct sock *sk, void *context), void *context)
{
	struct inet_hashinfo *tables = net->ipv4.tcp_death_row.hashinfo;
	struct inet_bind_hashbucket *head =
		&tables->bhash[inet_bhashfn(net, port, tables->bhash_size)];
	struct inet_bind2_bucket *place;
	struct inet_bind_bucket *bucket;
	struct sock *sk;

	spin_lock_bh(&head->lock);
	inet_bind_bucket_for_each(bucket, &head->chain) {
		if (bucket->port != port || !net_eq(ib_net(bucket), net))
			continue;
		hlist_for_each_entry(place, &bucket->bhash2, bhash_node)
			sk_for_each_bound(sk, &place->owners)
				if (!visit(sk, context))
					goto out;
	}
out:
	spin_unlock_bh(&head->lock);
}

/* all namespaces, and a hold on one */

RCT void rct_nets_lock(void)
{
	down_read(&net_rwsem);
}

RCT void rct_nets_unlock(void)
{
	up_read(&net_rwsem);
}

RCT struct net *rct_nets_next(struct net *net)
{
	struct list_head *next = net ? net->list.next : net_namespace_list.next;

	return next == &net_namespace_list ? NULL : list_entry(next, struct net, list);
}

RCT bool rct_net_get(struct net *net)
{
	return maybe_get_net(net);
}

RCT void rct_net_put(struct net *net)
{
	put_net(net);
}

/* tables of sockets */

RCT struct inet_hashinfo *rct_tcp_table(struct net *net)
{
	return net->ipv4.tcp_death_row.hashinfo;
}

RCT unsigned int rct_tcp_buckets(const struct inet_hashinfo *table)
{
	return table->ehash_mask + 1;
}

RCT spinlock_t *rct_tcp_lock(struct inet_hashinfo *table, unsigned int bucket)
{
	return inet_ehash_lockp(table, bucket);
}

RCT struct sock *rct_tcp_first(struct inet_hashinfo *table, unsigned int bucket)
{
	return sk_nulls_head(&inet_ehash_bucket(table, bucket)->chain);
}

RCT struct sock *rct_tcp_next(struct sock *sk)
{
	return sk_nulls_next(sk);
}

RCT struct udp_table *rct_udp_table(struct net *net)
{
	return net->ipv4.udp_table;
}

RCT unsigned int rct_udp_buckets(const struct udp_table *table)
{
	return table->mask + 1;
}

RCT spinlock_t *rct_udp_lock(struct udp_table *table, unsigned int bucket)
{
	return &table->hash[bucket].lock;
}

RCT struct sock *rct_udp_first(struct udp_table *table, unsigned int bucket)
{
	return sk_head(&table->hash[bucket].head);
}

RCT struct sock *rct_udp_next(struct sock *sk)
{
	return sk_next(sk);
}

/* one socket */

RCT struct net *rct_sock_net(const struct sock *sk)
{
	return sock_net(sk);
}

RCT bool rct_sock_get(struct sock *sk)
{
	return refcount_inc_not_zero(&sk->sk_refcnt);
}

RCT unsigned int rct_sock_state(const struct sock *sk)
{
	return READ_ONCE(sk->sk_state);
}

RCT bool rct_sock_is_full(const struct sock *sk)
{
	return sk_fullsock(sk);
}

RCT spinlock_t *rct_sock_lock(struct sock *sk)
{
	return &sk->sk_lock.slock;
}

RCT unsigned int rct_sock_userlocks(const struct sock *sk)
{
	return READ_ONCE(sk->sk_userlocks);
}

RCT bool rct_tw_chose_port(const struct sock *sk)
{
	return inet_twsk(sk)->tw_connect_bind;
}

RCT int rct_sock_device(const struct sock *sk)
{
	return READ_ONCE(sk->sk_bound_dev_if);
}

/* What every kind of socket has. */
RCT void rct_sock_read(const struct sock *sk, struct rct_socket *to)
{
	to->family = sk->sk_family;
	to->state = READ_ONCE(sk->sk_state);
	to->local_port = READ_ONCE(sk->sk_num);
	to->remote_port = ntohs(READ_ONCE(sk->sk_dport));
	if (sk->sk_family == AF_INET6) {
		memcpy(to->local, &sk->sk_v6_rcv_saddr, sizeof(to->local));
		memcpy(to->remote, &sk->sk_v6_daddr, sizeof(to->remote));
	} else {
		memcpy(to->local, &sk->sk_rcv_saddr, sizeof(sk->sk_rcv_saddr));
		memcpy(to->remote, &sk->sk_daddr, sizeof(sk->sk_daddr));
	}
}

RCT void rct_full_sock_read(const struct sock *sk, struct rct_socket *to)
{
	to->protocol = min_t(u16, READ_ONCE(sk->sk_protocol), U8_MAX);
	to->heard = READ_ONCE(sk->sk_incoming_cpu) >= 0;
	to->busy = sock_owned_by_user_nocheck(sk);
}

/* The queue of what came out of order is only looked into while it stands still. */
RCT void rct_tcp_sock_read(const struct sock *sk, struct rct_socket *to)
{
	const struct inet_connection_sock *icsk = inet_csk(sk);
	const struct tcp_sock *tp = tcp_sk(sk);
	u32 now = tcp_jiffies32;

	to->snd_una = READ_ONCE(tp->snd_una);
	to->snd_wnd = READ_ONCE(tp->snd_wnd);
	to->max_window = READ_ONCE(tp->max_window);
	to->rcv_wup = READ_ONCE(tp->rcv_wup);
	to->rcv_wnd = READ_ONCE(tp->rcv_wnd);
	to->rcv_nxt = READ_ONCE(tp->rcv_nxt);
	to->rcv_edge = READ_ONCE(tp->rcv_mwnd_seq);
	to->snd_nxt = READ_ONCE(tp->snd_nxt);
	to->write_seq = READ_ONCE(tp->write_seq);
	to->rcv_last = to->busy || RB_EMPTY_ROOT(&tp->out_of_order_queue) ?
		       to->rcv_nxt : TCP_SKB_CB(tp->ooo_last_skb)->end_seq;
	to->idle = min3(now - READ_ONCE(tp->lsndtime), now - READ_ONCE(tp->rcv_tstamp),
			now - READ_ONCE(icsk->icsk_ack.lrcvtime));
	to->snd_scale = tp->rx_opt.snd_wscale;
	to->rcv_scale = tp->rx_opt.rcv_wscale;
	to->has_scale = tp->rx_opt.wscale_ok;
	to->has_sack = tp->rx_opt.sack_ok != 0;
}

/* What is left of a socket: of the other side's windows, nothing. */
RCT void rct_tcp_tw_read(const struct sock *sk, struct rct_socket *to)
{
	const struct inet_timewait_sock *tw = inet_twsk(sk);
	const struct tcp_timewait_sock *tcptw = tcp_twsk(sk);
	long left = READ_ONCE(tw->tw_timer.expires) - jiffies;

	to->protocol = IPPROTO_TCP;
	to->state = READ_ONCE(tw->tw_substate);
	to->snd_una = to->snd_nxt = to->write_seq = READ_ONCE(tcptw->tw_snd_nxt);
	to->rcv_nxt = to->rcv_last = to->rcv_wup = READ_ONCE(tcptw->tw_rcv_nxt);
	to->rcv_wnd = READ_ONCE(tcptw->tw_rcv_wnd);
	to->rcv_edge = to->rcv_nxt + to->rcv_wnd;
	to->idle = TCP_TIMEWAIT_LEN - clamp(left, 0L, (long)TCP_TIMEWAIT_LEN);
	to->snd_scale = TCP_MAX_WSCALE;
	to->rcv_scale = tw->tw_rcv_wscale;
	to->has_scale = true;
	to->has_sack = true;
}

/* A SYN that was answered. */
RCT void rct_tcp_request_read(const struct sock *sk, struct rct_socket *to)
{
	const struct request_sock *req = inet_reqsk(sk);
	const struct inet_request_sock *ireq = inet_rsk(req);

	to->protocol = IPPROTO_TCP;
	to->snd_una = tcp_rsk(req)->snt_isn;
	to->snd_nxt = to->write_seq = to->snd_una + 1;
	to->rcv_nxt = to->rcv_last = to->rcv_wup = READ_ONCE(tcp_rsk(req)->rcv_nxt);
	to->rcv_wnd = READ_ONCE(req->rsk_rcv_wnd);
	to->rcv_edge = to->rcv_nxt + to->rcv_wnd;
	to->snd_scale = ireq->snd_wscale;
	to->rcv_scale = ireq->rcv_wscale;
	to->has_scale = ireq->wscale_ok;
	to->has_sack = ireq->sack_ok;
}

RCT void rct_local_port_range(const struct net *net, u16 *low, u16 *high)
{
	int first, last;

	inet_get_local_port_range(net, &first, &last);
	*low = first;
	*high = last;
}

RCT bool rct_tcp_listens_ipv4(struct net *net, const u8 *remote, u16 remote_port,
			      const u8 *local, u16 local_port, int device)
{
	return __inet_lookup_listener(net, NULL, 0, get_unaligned((const __be32 *)remote),
				      htons(remote_port), get_unaligned((const __be32 *)local),
				      local_port, device, 0);
}

RCT bool rct_tcp_listens_ipv6(struct net *net, const u8 *remote, u16 remote_port,
			      const u8 *local, u16 local_port, int device)
{
	struct in6_addr from, to;

	memcpy(&from, remote, sizeof(from));
	memcpy(&to, local, sizeof(to));
	return inet6_lookup_listener(net, NULL, 0, &from, htons(remote_port), &to, local_port,
				     device, 0);
}

/* Nobody is connected to address and port zero: what is found is connected to nobody. */
RCT bool rct_udp_listens_ipv4(struct net *net, const u8 *local, u16 local_port, int device)
{
	return __udp4_lib_lookup(net, 0, 0, get_unaligned((const __be32 *)local),
				 htons(local_port), device, 0, NULL);
}

RCT bool rct_udp_listens_ipv6(struct net *net, const u8 *local, u16 local_port, int device)
{
	struct in6_addr to;

	memcpy(&to, local, sizeof(to));
	return __udp6_lib_lookup(net, &in6addr_any, 0, &to, htons(local_port), device, 0, NULL);
}

RCT void rct_sock_own(struct sock *sk)
{
	lock_sock(sk);
}

RCT void rct_sock_disown(struct sock *sk)
{
	release_sock(sk);
}

RCT u16 rct_sock_protocol(const struct sock *sk)
{
	return sk->sk_protocol;
}

RCT __be32 rct_sock_ipv4_peer(const struct sock *sk)
{
	return inet_sk(sk)->inet_daddr;
}

RCT struct in6_addr rct_sock_ipv6_peer(const struct sock *sk)
{
	return sk->sk_v6_daddr;
}

RCT __be16 rct_sock_own_port(const struct sock *sk)
{
	return inet_sk(sk)->inet_sport;
}

RCT __be16 rct_sock_peer_port(const struct sock *sk)
{
	return inet_sk(sk)->inet_dport;
}

RCT __be32 rct_sock_flow_label(const struct sock *sk)
{
	return inet6_sk(sk)->flow_label & IPV6_FLOWINFO_MASK;
}

RCT u32 rct_sock_scope(const struct sock *sk, const struct in6_addr *address)
{
	return ipv6_iface_scope_id(address, sk->sk_bound_dev_if);
}
