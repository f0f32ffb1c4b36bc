/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shims around inline functions and macros of the kernel: one C expression each,
 * no decision of ours. They are linked into the Rust object as bitcode and vanish
 * there (see Kbuild). Sorted by what they touch.
 */
#ifndef _RUST_CT_HELPERS_H
#define _RUST_CT_HELPERS_H

#include <linux/types.h>
#include <linux/gfp.h>
#include <linux/list_nulls.h>
#include <linux/refcount.h>
#include <linux/seqlock.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

struct dst_entry;
struct flowi;
struct in6_addr;
struct in_ifaddr;
struct inet_bind2_bucket;
struct inet_bind_bucket;
struct inet_bind_hashbucket;
struct inet6_dev;
struct inet6_ifaddr;
struct inet_hashinfo;
struct kmem_cache;
struct list_head;
struct module;
struct net;
struct net_device;
struct netlink_dump_control;
struct netns_ct;
struct nf_conn;
struct nf_conntrack_expect;
struct nf_conntrack_helper;
struct nf_ct_hook;
struct nf_exp_event;
struct nf_hook_entries;
struct nf_hook_ops;
struct nf_hook_state;
struct nf_nat_hook;
struct nf_nat_lookup_hook_priv;
struct nfnl_ct_hook;
struct nla_policy;
struct nlattr;
struct nlmsghdr;
struct proc_dir_entry;
struct seq_file;
struct sk_buff;
struct sock;
struct udp_table;

/* packet buffers */
unsigned long rct_skb_nfct(const struct sk_buff *skb);
void rct_skb_set_nfct(struct sk_buff *skb, unsigned long nfct);
void rct_skb_clear_nfct(struct sk_buff *skb);
unsigned int rct_skb_len(const struct sk_buff *skb);
unsigned int rct_skb_headlen(const struct sk_buff *skb);
const unsigned char *rct_skb_data(const struct sk_buff *skb);
int rct_skb_network_offset(const struct sk_buff *skb);
u32 rct_skb_mark(const struct sk_buff *skb);
bool rct_skb_is_loopback(const struct sk_buff *skb);
bool rct_skb_is_gso(const struct sk_buff *skb);

/* connection entries */
struct net *rct_ct_net(const struct nf_conn *ct);
void rct_ct_set_net(struct nf_conn *ct, struct net *net);
bool rct_ct_get_not_zero(struct nf_conn *ct);
void rct_ct_get(struct nf_conn *ct);
void rct_ct_put(struct nf_conn *ct);
void rct_ct_set_use(struct nf_conn *ct, unsigned int n);
unsigned int rct_ct_use(const struct nf_conn *ct);

/* namespaces */
struct netns_ct *rct_net_ct(struct net *net);
void *rct_net_generic(const struct net *net, unsigned int id);
void *rct_net_generic_rcu(const struct net *net, unsigned int id);
u32 rct_net_hash_mix(const struct net *net);
bool rct_net_is_init(const struct net *net);
unsigned int rct_net_inum(const struct net *net);
struct net *rct_init_net(void);
struct proc_dir_entry *rct_proc_net(struct net *net);
struct proc_dir_entry *rct_proc_net_stat(struct net *net);
struct net *rct_seq_file_net(struct seq_file *seq);
void *rct_seq_private(struct seq_file *seq);
struct proc_dir_entry *rct_proc_create_net(const char *name, umode_t mode,
					   struct proc_dir_entry *parent,
					   const struct seq_operations *ops,
					   unsigned int state_size);

/* per-CPU statistics of a namespace, addressed by the field's offset */

/* all namespaces, and a hold on one */
void rct_nets_lock(void);
void rct_nets_unlock(void);
bool rct_net_get(struct net *net);
void rct_net_put(struct net *net);

/* devices */
bool rct_netif_is_l3_master(struct net_device *dev);

/* a function or, for one CPU, nothing */
void rct_synchronize_rcu_expedited(void);

/* timeout policies, GRE keys, netlink attributes, SCTP checksums */
const struct nf_ct_timeout_hooks *rct_timeout_hooks(void);
void rct_timeout_kfree_rcu(struct nf_ct_timeout *policy);
extern spinlock_t rct_static_lock;
void rct_list_add_tail_rcu(struct list_head *entry, struct list_head *list);
void rct_keymap_kfree_rcu(struct nf_ct_gre_keymap *map);
struct nlattr *rct_nla_nest_start(struct sk_buff *skb, int number);
void rct_nla_nest_end(struct sk_buff *skb, struct nlattr *nest);

/* expectations and helpers */
struct hlist_node *rct_hlist_first_rcu(struct hlist_head *head);
struct hlist_node *rct_hlist_next_rcu(struct hlist_node *node);
void rct_hlist_add_head_rcu(struct hlist_node *node, struct hlist_head *head);
void rct_hlist_del_init_rcu(struct hlist_node *node);
void rct_list_init(struct list_head *list);
void rct_list_add_rcu(struct list_head *entry, struct list_head *list);
void rct_list_del_rcu(struct list_head *entry);
struct list_head *rct_list_next_rcu(struct list_head *entry);
struct kmem_cache *rct_expect_cache_create(void);
struct net *rct_expect_net(struct nf_conntrack_expect *expect);
void rct_expect_set_net(struct nf_conntrack_expect *expect, struct net *net);
void rct_helper_kfree_rcu(struct nf_conntrack_helper *helper);
bool rct_try_module_get(struct module *module);
void rct_module_put(struct module *module);
bool rct_refcount_inc_not_zero(refcount_t *count);

/* locks, counters, barriers */
void rct_local_bh_disable(void);
void rct_local_bh_enable(void);
void rct_spin_lock_nested(spinlock_t *lock);
void rct_spin_lock_bh(spinlock_t *lock);
void rct_spin_unlock_bh(spinlock_t *lock);
bool rct_spin_trylock_bh(spinlock_t *lock);
bool rct_in_softirq(void);
#ifdef CONFIG_PROVE_RCU
void rct_rcu_assert_held(void);
#endif
void rct_seqcount_init(seqcount_t *count);
unsigned int rct_seqcount_read(const seqcount_t *count);
void rct_seqcount_write_begin(seqcount_t *count);
void rct_seqcount_write_end(seqcount_t *count);
void rct_smp_acquire_after_ctrl_dep(void);
void rct_smp_mb_before_atomic(void);
void rct_set_bit(unsigned int bit, unsigned long *word);
void rct_clear_bit(unsigned int bit, unsigned long *word);
bool rct_test_and_set_bit(unsigned int bit, unsigned long *word);
u8 rct_read_once_u8(const u8 *p);
void rct_atomic64_add(s64 n, atomic64_t *v);
s64 rct_atomic64_read(const atomic64_t *v);

/* memory */
void *rct_percpu_slot_alloc(void);
void **rct_percpu_slot_of(void *slot, unsigned int cpu);
unsigned long rct_page_offset(void);
unsigned long rct_memory_end(void);
void *rct_kmem_cache_alloc(struct kmem_cache *cache, gfp_t flags);
void *rct_kzalloc(size_t size, gfp_t flags);
void *rct_kvzalloc(size_t size);
void rct_kvfree_rcu(void *memory);
unsigned long rct_totalram_bytes(void);

/* time, work, log, the tracker's hook */
unsigned long rct_jiffies(void);
u64 rct_ktime_real_ns(void);
u64 rct_jiffies_to_nsecs(unsigned long jiffies);
void rct_delayed_work_init(struct delayed_work *work, work_func_t run);
void rct_delayed_work_queue(struct delayed_work *work, unsigned long delay);
void rct_delayed_work_hasten(struct delayed_work *work);
bool rct_cond_resched(void);
bool rct_net_ratelimit(void);
bool rct_ct_hook_present(void);
void rct_ct_hook_set(const struct nf_ct_hook *hook);
bool rct_nf_checksum_bad(struct sk_buff *skb, unsigned int hook, unsigned int offset,
			 u8 protocol, u8 family);

/* NAT */
void rct_nat_hook_set(const struct nf_nat_hook *hook);
struct nf_hook_entries *rct_nat_chains(const struct nf_nat_lookup_hook_priv *place);
unsigned int rct_nat_chain_run(const struct nf_hook_entries *entries, unsigned int index,
			       struct sk_buff *skb, const struct nf_hook_state *state);
int rct_nat_chains_add(struct nf_nat_lookup_hook_priv *place, const struct nf_hook_ops *ops);
void rct_nat_chains_remove(struct nf_nat_lookup_hook_priv *place, const struct nf_hook_ops *ops);

/* changing packets */
u8 rct_skb_ip_summed(const struct sk_buff *skb);
void rct_skb_sum_sub(struct sk_buff *skb, u32 less);
u16 rct_skb_sum(const struct sk_buff *skb, unsigned int offset, unsigned int len);
u32 rct_sctp_checksum(const struct sk_buff *skb, unsigned int offset);
int rct_skb_tailroom(const struct sk_buff *skb);
void rct_skb_put(struct sk_buff *skb, unsigned int more);
void rct_skb_trim(struct sk_buff *skb, unsigned int len);
void rct_skb_dst_drop(struct sk_buff *skb);
void rct_skb_orphan(struct sk_buff *skb);
u16 rct_skb_protocol(const struct sk_buff *skb);
struct net_device *rct_skb_dev(const struct sk_buff *skb);

/* devices and their addresses */
int rct_dev_ifindex(const struct net_device *dev);
const char *rct_dev_name(const struct net_device *dev);
struct net *rct_dev_net(const struct net_device *dev);
u64 rct_net_cookie(const struct net *net);
bool rct_net_is_alive(const struct net *net);
__be32 rct_ipv4_source_for(struct sk_buff *skb, const struct net_device *out);
struct inet6_dev *rct_dev_ipv6(const struct net_device *dev);
void rct_ipv6_addresses_lock(struct inet6_dev *dev);
void rct_ipv6_addresses_unlock(struct inet6_dev *dev);
const struct in6_addr *rct_ipv6_address(const struct inet6_ifaddr *ifa);
u32 rct_ipv6_address_flags(const struct inet6_ifaddr *ifa);
struct net_device *rct_ipv6_address_dev(const struct inet6_ifaddr *ifa);
u32 rct_ipv6_address_type(const struct in6_addr *address);
struct net_device *rct_netdev_of_event(void *info);
struct net_device *rct_ipv4_address_dev(const struct in_ifaddr *ifa);
__be32 rct_ipv4_address(const struct in_ifaddr *ifa);

/* routes */
bool rct_ipv4_is_transformed(const struct sk_buff *skb);
bool rct_ipv6_is_transformed(const struct sk_buff *skb);
int rct_reroute_ipv6(const struct nf_hook_state *state, struct sk_buff *skb);
int rct_xfrm_decode_session(struct net *net, struct sk_buff *skb, struct flowi *flow, u8 family);

/* events */
struct nf_ct_event;
struct nf_ct_event_notifier;
void rct_ct_event_cache(unsigned int event, struct nf_conn *ct);
void rct_ct_event_listener_set(struct net *net, const struct nf_ct_event_notifier *notifier);
bool rct_ctnetlink_has_listener(void);
void rct_labels_used_add(struct net *net, int n);
bool rct_labels_used(struct net *net);

/* what comes from below the IP layer, and the bridge's module */
unsigned int rct_ipv4_total_len(const struct sk_buff *skb);
int rct_pskb_trim(struct sk_buff *skb, unsigned int len);
void rct_kfree_skb(struct sk_buff *skb);

/* What adoption reads of a TCP socket. The names are those of the kernel's fields. */
struct rct_tcp_sock {
	u32 snd_una;
	u32 snd_nxt;
	u32 write_seq;
	u32 snd_wnd;
	u32 max_window;
	u32 rcv_nxt;
	u32 rcv_wup;
	u32 rcv_wnd;
	u32 rcv_mwnd_seq;
	u32 lsndtime;
	u32 rcv_tstamp;
	u32 lrcvtime;
	u8 snd_wscale;
	u8 rcv_wscale;
	bool wscale_ok;
	bool sack_ok;
};

/* The same, of the rest of a socket in TIME_WAIT. */
struct rct_tcp_timewait {
	unsigned long expires;
	u32 snd_nxt;
	u32 rcv_nxt;
	u32 rcv_wnd;
	u8 rcv_wscale;
	u8 substate;
};

/* The same, of a SYN that was answered. */
struct rct_tcp_request {
	u32 snt_isn;
	u32 rcv_nxt;
	u32 rcv_wnd;
	u8 snd_wscale;
	u8 rcv_wscale;
	bool wscale_ok;
	bool sack_ok;
};

/* the kernel's tables of sockets; a bucket is walked under its lock */
struct inet_hashinfo *rct_tcp_table(struct net *net);
unsigned int rct_tcp_buckets(const struct inet_hashinfo *table);
spinlock_t *rct_tcp_lock(struct inet_hashinfo *table, unsigned int bucket);
struct sock *rct_tcp_first(struct inet_hashinfo *table, unsigned int bucket);
struct sock *rct_tcp_next(struct sock *sk);
struct udp_table *rct_udp_table(struct net *net);
unsigned int rct_udp_buckets(const struct udp_table *table);
spinlock_t *rct_udp_lock(struct udp_table *table, unsigned int bucket);
struct sock *rct_udp_first(struct udp_table *table, unsigned int bucket);
struct sock *rct_udp_next(struct sock *sk);

/* sockets */
struct net *rct_sock_net(const struct sock *sk);
bool rct_sock_get(struct sock *sk);
u8 rct_sock_state(const struct sock *sk);
bool rct_sock_is_full(const struct sock *sk);
spinlock_t *rct_sock_lock(struct sock *sk);
unsigned int rct_sock_userlocks(const struct sock *sk);
bool rct_tw_chose_port(const struct sock *sk);
int rct_sock_device(const struct sock *sk);
void rct_local_port_range(const struct net *net, int *low, int *high);
u16 rct_sock_family(const struct sock *sk);
bool rct_sock_is_ipv6_only(const struct sock *sk);
bool rct_sock_is_owned(const struct sock *sk);
bool rct_sock_has_received(const struct sock *sk);
bool rct_tcp_is_out_of_order(const struct sock *sk);
u32 rct_tcp_out_of_order_end(const struct sock *sk);
void rct_tcp_sock_read(const struct sock *sk, struct rct_tcp_sock *to);
void rct_tcp_tw_read(const struct sock *sk, struct rct_tcp_timewait *to);
void rct_tcp_request_read(const struct sock *sk, struct rct_tcp_request *to);

/* module parameters, defined in exports.c; the table's doors for them, in ct/abi */
extern bool rct_param_enable_hooks;
extern bool rct_param_acct;
extern bool rct_param_tstamp;
extern bool rct_param_adopt_sockets;
extern bool rct_param_auto_resize;
extern bool rct_param_event_reasons;
extern bool rct_param_index_addresses;
int rct_table_resize(unsigned int buckets);
unsigned int rct_table_buckets(void);
void rct_log_invalid(const struct sk_buff *skb, const struct nf_hook_state *state, u8 protonum,
		     const void *message);
void rct_helper_log(struct sk_buff *skb, const struct nf_conn *ct, const void *message);

/* netlink messages */
u32 rct_netlink_portid(const struct sk_buff *skb);
struct net *rct_netlink_net(const struct sk_buff *skb);
struct sk_buff *rct_nlmsg_new(size_t payload, gfp_t flags);
struct nlmsghdr *rct_nfnl_msg_put(struct sk_buff *skb, u32 portid, u32 seq, u16 type, u16 flags,
				  u8 family, u16 resource);
void rct_nlmsg_end(struct sk_buff *skb, struct nlmsghdr *head);
int rct_netlink_dump_start(struct sock *kernel, struct sk_buff *skb,
			   const struct nlmsghdr *head, struct netlink_dump_control *control);
void rct_nfnl_ct_hook_set(const struct nfnl_ct_hook *hook);

/* sockets */
bool rct_port_is_reserved(const struct net *net, u16 port);
bool rct_ipv4_is_local(struct net *net, __be32 address);
bool rct_ipv6_is_local(struct net *net, const struct in6_addr *address);
struct sock *rct_tcp4_connected(const struct net *net, __be32 remote, __be16 remote_port,
				__be32 local, u16 local_port);
struct sock *rct_tcp4_listener(const struct net *net, __be32 remote, __be16 remote_port,
			       __be32 local, u16 local_port, int device);
struct sock *rct_tcp6_connected(const struct net *net, const struct in6_addr *remote,
				__be16 remote_port, const struct in6_addr *local, u16 local_port);
struct sock *rct_tcp6_listener(const struct net *net, const struct in6_addr *remote,
			       __be16 remote_port, const struct in6_addr *local, u16 local_port,
			       int device);
struct sock *rct_udp4_receiver(const struct net *net, __be32 remote, __be16 remote_port,
			       __be32 local, __be16 local_port, int device);
struct sock *rct_udp6_receiver(const struct net *net, const struct in6_addr *remote,
			       __be16 remote_port, const struct in6_addr *local,
			       __be16 local_port, int device);
u16 rct_sock_port(const struct sock *sk);
__be32 rct_sock_ipv4(const struct sock *sk);
struct in6_addr rct_sock_ipv6(const struct sock *sk);
void rct_lock_sock(struct sock *sk);
void rct_release_sock(struct sock *sk);
u16 rct_sock_protocol(const struct sock *sk);
__be32 rct_sock_ipv4_peer(const struct sock *sk);
struct in6_addr rct_sock_ipv6_peer(const struct sock *sk);
__be16 rct_sock_own_port(const struct sock *sk);
__be16 rct_sock_peer_port(const struct sock *sk);
__be32 rct_sock_flow_label(const struct sock *sk);
u32 rct_sock_scope(const struct sock *sk, const struct in6_addr *address);
struct inet_bind_hashbucket *rct_bind_chain(const struct net *net, u16 port);
spinlock_t *rct_bind_lock(struct inet_bind_hashbucket *chain);
struct inet_bind_bucket *rct_bind_first(struct inet_bind_hashbucket *chain);
struct inet_bind_bucket *rct_bind_next(struct inet_bind_bucket *bucket);
struct net *rct_bind_net(const struct inet_bind_bucket *bucket);
u16 rct_bind_port(const struct inet_bind_bucket *bucket);
struct inet_bind2_bucket *rct_bind2_first(struct inet_bind_bucket *bucket);
struct inet_bind2_bucket *rct_bind2_next(struct inet_bind2_bucket *place);
struct sock *rct_bind2_first_sock(struct inet_bind2_bucket *place);
struct sock *rct_bind2_next_sock(struct sock *sk);

bool rct_skb_cloned(const struct sk_buff *skb);
unsigned int rct_skb_headroom(const struct sk_buff *skb);
void rct_skb_set_ip_summed(struct sk_buff *skb, u8 ip_summed);
void rct_skb_set_csum_start(struct sk_buff *skb, u16 start);
void rct_skb_set_csum_offset(struct sk_buff *skb, u16 offset);
struct sock *rct_skb_sk(const struct sk_buff *skb);
bool rct_sock_is_transparent(const struct sock *sk);
struct in_device *rct_dev_ipv4(const struct net_device *dev);
struct in_ifaddr *rct_ipv4_first_address(const struct in_device *in);
__be32 rct_ipv4_local_address(const struct in_ifaddr *ifa);
bool rct_ipv4_device_is_dead(const struct in_ifaddr *ifa);
struct list_head *rct_ipv6_addresses(struct inet6_dev *dev);
struct inet6_ifaddr *rct_ipv6_address_of(struct list_head *node);
unsigned int rct_ipv6_payload_len(const struct sk_buff *skb);
u8 rct_ipv6_nexthdr(const struct sk_buff *skb);
void rct_ipv4_clear_cb(struct sk_buff *skb);
u16 rct_ipv4_frag_max_size(const struct sk_buff *skb);
void rct_ipv6_clear_cb(struct sk_buff *skb);
u16 rct_ipv6_frag_max_size(const struct sk_buff *skb);
void rct_skb_clear_hash(struct sk_buff *skb);
void rct_skb_set_ignore_df(struct sk_buff *skb);
u32 rct_xfrm_out_policies(const struct net *net);
u8 rct_xfrm_out_default(const struct net *net);
bool rct_skb_has_sec_path(const struct sk_buff *skb);
struct sock *rct_skb_full_sk(const struct sk_buff *skb);
bool rct_sock_has_out_policy(const struct sock *sk);
bool rct_dst_is_transformed(const struct dst_entry *dst);
struct dst_entry *rct_dst_below(struct dst_entry *dst);
struct dst_entry *rct_skb_dst(const struct sk_buff *skb);
void rct_skb_set_dst(struct sk_buff *skb, struct dst_entry *dst);
bool rct_dst_hold_safe(struct dst_entry *dst);
unsigned int rct_dst_link_header_len(const struct dst_entry *dst);
struct net *rct_net_of_exit_list(struct list_head *node);
struct list_head *rct_net_list(void);
struct net *rct_net_of_list(struct list_head *node);
kuid_t rct_net_root_uid(const struct net *net);
kgid_t rct_net_root_gid(const struct net *net);
bool rct_uid_valid(kuid_t uid);
bool rct_gid_valid(kgid_t gid);
void *rct_stat_alloc(void);
void rct_stat_add(const struct net *net, unsigned long offset, u32 n);
u32 rct_stat_read(const struct net *net, unsigned int cpu, unsigned long offset);
unsigned int rct_next_possible_cpu(unsigned int from);
void rct_free_percpu(void *area);
int rct_nla_parse_nested(struct nlattr **table, int last, const struct nlattr *nest, const struct nla_policy *policy);
int rct_nla_parse_nested_deprecated(struct nlattr **table, int last, const struct nlattr *nest, const struct nla_policy *policy);
void *rct_nla_data(const struct nlattr *attribute);
unsigned int rct_nat_chain_count(const struct nf_hook_entries *entries);
const struct nf_nat_hook *rct_nat_hook(void);
struct kmem_cache *rct_conn_cache_create(unsigned int size, unsigned int align, unsigned int freeptr_offset);
void *rct_percpu_read(void *slot);
void rct_percpu_write(void *slot, void *value);
void *rct_percpu_xchg(void *slot, void *value);
void *rct_percpu_cmpxchg(void *slot, void *expected, void *value);
void rct_assert_not_in_hardirq(void);
void *rct_krealloc(void *p, size_t size, gfp_t flags);
const struct nf_ct_event_notifier *rct_ct_event_listener(const struct net *net);
#endif /* _RUST_CT_HELPERS_H */
