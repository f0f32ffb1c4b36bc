/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shims: what Rust cannot call because it is a macro or an inline function of the kernel, or a
 * field of a structure that is opaque to Rust. Each one is one C expression, by construction:
 *
 *	SHIM(type, name, (parameters), expression)
 *	SHIM_VOID(name, (parameters), statement)
 *
 * helpers.h makes prototypes of this list, which bindgen reads; helpers.c makes functions of it.
 * What takes more than an expression is in glue.c. The order is that of the folders that use it.
 */

/* nf/kernel: bottom halves, locks, RCU */

SHIM_VOID(rct_local_bh_disable, (void), local_bh_disable())
SHIM_VOID(rct_local_bh_enable, (void), local_bh_enable())
SHIM(bool, rct_in_softirq, (void), in_softirq())
SHIM_VOID(rct_assert_not_in_hardirq, (void), lockdep_assert(!in_hardirq()))
SHIM_VOID(rct_lockdep_assert_held, (spinlock_t *lock), lockdep_assert_held(lock))
SHIM_VOID(rct_spin_lock_bh, (spinlock_t *lock), spin_lock_bh(lock))
SHIM(bool, rct_spin_trylock_bh, (spinlock_t *lock), spin_trylock_bh(lock))
SHIM_VOID(rct_spin_lock_nested, (spinlock_t *lock), spin_lock_nested(lock, SINGLE_DEPTH_NESTING))
SHIM_VOID(rct_spin_unlock_bh, (spinlock_t *lock), spin_unlock_bh(lock))
/* A function, or on one CPU an inline one. */
SHIM_VOID(rct_synchronize_rcu_expedited, (void), synchronize_rcu_expedited())

#ifdef CONFIG_PROVE_RCU
SHIM_VOID(rct_rcu_assert_held, (void),
	RCU_LOCKDEP_WARN(!rcu_read_lock_any_held(), "no RCU read-side critical section"))
#endif

/* Atomic accesses, barriers, sequence counters */

SHIM(u8, rct_read_once_u8, (const u8 *p), READ_ONCE(*p))
SHIM_VOID(rct_set_bit, (unsigned int bit, unsigned long *word), set_bit(bit, word))
SHIM_VOID(rct_clear_bit, (unsigned int bit, unsigned long *word), clear_bit(bit, word))
SHIM(bool, rct_test_and_set_bit, (unsigned int bit, unsigned long *word),
	test_and_set_bit(bit, word))
SHIM_VOID(rct_atomic64_add, (s64 n, atomic64_t *v), atomic64_add(n, v))
SHIM(s64, rct_atomic64_read, (const atomic64_t *v), atomic64_read(v))
SHIM(bool, rct_refcount_inc_not_zero, (refcount_t *count), refcount_inc_not_zero(count))
SHIM_VOID(rct_smp_acquire_after_ctrl_dep, (void), smp_acquire__after_ctrl_dep())
SHIM_VOID(rct_smp_mb_before_atomic, (void), smp_mb__before_atomic())
SHIM_VOID(rct_seqcount_init, (seqcount_t *count), seqcount_init(count))
SHIM(unsigned int, rct_seqcount_read, (const seqcount_t *count), smp_load_acquire(&count->sequence))
SHIM_VOID(rct_seqcount_write_begin, (seqcount_t *count), write_seqcount_begin(count))
SHIM_VOID(rct_seqcount_write_end, (seqcount_t *count), write_seqcount_end(count))

SHIM_VOID(rct_init_completion, (struct completion *done), init_completion(done))
SHIM_VOID(rct_wait_for_completion, (struct completion *done), wait_for_completion(done))

/* Memory */

SHIM(void *, rct_kzalloc, (size_t size, gfp_t flags), kzalloc(size, flags))
SHIM(void *, rct_krealloc, (void *p, size_t size, gfp_t flags), krealloc(p, size, flags))
SHIM(void *, rct_kvzalloc, (size_t size), kvzalloc(size, GFP_KERNEL))
SHIM_VOID(rct_kvfree_rcu, (void *memory), kvfree_rcu_mightsleep(memory))
SHIM(void *, rct_kmem_cache_alloc, (struct kmem_cache *cache, gfp_t flags),
	kmem_cache_alloc(cache, flags))
SHIM(unsigned long, rct_totalram_bytes, (void), totalram_pages() << PAGE_SHIFT)
/* Nothing writes to the table; not all kernels say so. */
SHIM(struct ctl_table_header *, rct_sysctl_register,
	(struct net *net, const char *path, const struct ctl_table *table, size_t count),
	register_net_sysctl_sz(net, path, (struct ctl_table *)table, count))
SHIM(struct module *, rct_this_module, (void), THIS_MODULE)
SHIM(unsigned long, rct_page_offset, (void), PAGE_OFFSET)
SHIM(unsigned long, rct_memory_end, (void), (unsigned long)high_memory)
/* With gcc, a per-CPU pointer is of a named address space, and converts by way of a number only. */
#define RCT_PERCPU_ADDRESS(pointer) ((void *)(__force unsigned long)(pointer))
#define RCT_PERCPU(type, address) ((type __percpu *)(__force unsigned long)(address))
SHIM(void *, rct_percpu_slot_alloc, (void), RCT_PERCPU_ADDRESS(alloc_percpu(void *)))
SHIM_VOID(rct_free_percpu, (void *area), free_percpu(RCT_PERCPU(void, area)))
SHIM(void **, rct_percpu_slot_of, (void *slot, unsigned int cpu),
	per_cpu_ptr(RCT_PERCPU(void *, slot), cpu))
/* The slot of this CPU. The first two need that nothing else on the CPU comes to it meanwhile. */
SHIM(void *, rct_percpu_read, (void *slot), __this_cpu_read(*RCT_PERCPU(void *, slot)))
SHIM_VOID(rct_percpu_write, (void *slot, void *value),
	__this_cpu_write(*RCT_PERCPU(void *, slot), value))
SHIM(void *, rct_percpu_xchg, (void *slot, void *value),
	this_cpu_xchg(*RCT_PERCPU(void *, slot), value))
SHIM(void *, rct_percpu_cmpxchg, (void *slot, void *expected, void *value),
	this_cpu_cmpxchg(*RCT_PERCPU(void *, slot), expected, value))

/* Messages */

SHIM_VOID(rct_printk, (const char *level, size_t length, const char *text),
	_printk("%srust_ct: %.*s", level, (int)length, text))

/* Hashes */

SHIM(u64, rct_siphash, (const void *data, size_t size, const siphash_key_t *key),
	siphash(data, size, key))

/* Lists */

SHIM_VOID(rct_list_init, (struct list_head *list), INIT_LIST_HEAD(list))
SHIM_VOID(rct_list_add_rcu, (struct list_head *entry, struct list_head *list),
	list_add_rcu(entry, list))
SHIM_VOID(rct_list_add_tail_rcu, (struct list_head *entry, struct list_head *list),
	list_add_tail_rcu(entry, list))
SHIM_VOID(rct_list_del_rcu, (struct list_head *entry), list_del_rcu(entry))
SHIM(struct list_head *, rct_list_next_rcu, (struct list_head *entry),
	rcu_dereference_raw(list_next_rcu(entry)))
SHIM(struct hlist_node *, rct_hlist_first_rcu, (struct hlist_head *head),
	rcu_dereference_raw(hlist_first_rcu(head)))
SHIM(struct hlist_node *, rct_hlist_next_rcu, (struct hlist_node *node),
	rcu_dereference_raw(hlist_next_rcu(node)))
SHIM_VOID(rct_hlist_add_head_rcu, (struct hlist_node *node, struct hlist_head *head),
	hlist_add_head_rcu(node, head))
SHIM_VOID(rct_hlist_del_init_rcu, (struct hlist_node *node), hlist_del_init_rcu(node))

/* Time, work, modules */

SHIM(unsigned long, rct_jiffies, (void), jiffies)
SHIM(u64, rct_jiffies_to_nsecs, (unsigned long j), jiffies_to_nsecs(j))
SHIM(u64, rct_ktime_real_ns, (void), ktime_get_real_ns())
SHIM_VOID(rct_delayed_work_init, (struct delayed_work *work, work_func_t run),
	INIT_DELAYED_WORK(work, run))
/* The same with a lockdep class of its own. */
SHIM_VOID(rct_net_work_init, (struct delayed_work *work, work_func_t run),
	INIT_DELAYED_WORK(work, run))
SHIM(struct delayed_work *, rct_delayed_work_of, (struct work_struct *work), to_delayed_work(work))
SHIM_VOID(rct_delayed_work_queue, (struct delayed_work *work, unsigned long delay),
	queue_delayed_work(system_power_efficient_wq, work, delay))
SHIM_VOID(rct_delayed_work_hasten, (struct delayed_work *work),
	mod_delayed_work(system_power_efficient_wq, work, 0))
SHIM(bool, rct_cond_resched, (void), cond_resched())
SHIM(bool, rct_try_module_get, (struct module *module), try_module_get(module))
SHIM_VOID(rct_module_put, (struct module *module), module_put(module))

/* Namespaces */

SHIM(struct netns_ct *, rct_net_ct, (struct net *net), &net->ct)
/*
 * net_generic() in a read-side section of the caller's. Null also for an id that the namespace's
 * array has no room for; arrays only grow.
 */
SHIM(void *, rct_net_generic_rcu, (const struct net *net, unsigned int id),
	({
		const struct net_generic *generic = rcu_dereference_raw(net->gen);
		id < generic->s.len ? generic->ptr[id] : NULL;
	}))
/*
 * The number of changes of the namespace's NAT rules, modulo 256: the commits of nf_tables, and what
 * rct_net_note_rules_change() has counted. That is kept in a byte of struct netns_ct which else only
 * the C tracker's event cache uses, and which it finds cleared when it is loaded later; without
 * events there is none, and commits alone count.
 */
#if IS_ENABLED(CONFIG_NF_TABLES)
#define rct_net_commits(net) READ_ONCE((net)->nft.base_seq)
#else
#define rct_net_commits(net) 0
#endif
#ifdef CONFIG_NF_CONNTRACK_EVENTS
#define rct_net_other_changes(net) ((u8 *)&(net)->ct.ecache_dwork_pending)
#else
#define rct_net_other_changes(net) ((u8 *)NULL)
#endif
SHIM(u8, rct_net_generation, (const struct net *net),
	({
		const u8 *other = rct_net_other_changes(net);
		(u8)(rct_net_commits(net) + (other ? READ_ONCE(*other) : 0));
	}))
SHIM_VOID(rct_net_note_rules_change, (struct net *net),
	({
		u8 *other = rct_net_other_changes(net);
		u8 old = other ? READ_ONCE(*other) : 0;

		while (other && !try_cmpxchg(other, &old, (u8)(old + 1)))
			;
	}))
SHIM_VOID(rct_net_forget_rules_changes, (struct net *net),
	({
		u8 *other = rct_net_other_changes(net);

		if (other)
			WRITE_ONCE(*other, 0);
	}))
SHIM(u32, rct_net_hash_mix, (const struct net *net), net_hash_mix(net))
SHIM(unsigned int, rct_net_inum, (const struct net *net), net->ns.inum)
SHIM(u64, rct_net_cookie, (const struct net *net), net->net_cookie)
/* Null for a process that is ending. */
SHIM(struct net *, rct_current_net, (void), current->nsproxy ? current->nsproxy->net_ns : NULL)
SHIM(struct net *, rct_init_net, (void), &init_net)
SHIM(bool, rct_net_is_init, (const struct net *net), net_eq(net, &init_net))
SHIM(bool, rct_net_is_alive, (const struct net *net), check_net(net))
SHIM(bool, rct_net_get, (struct net *net), maybe_get_net(net))
SHIM_VOID(rct_net_put, (struct net *net), put_net(net))
SHIM_VOID(rct_nets_lock, (void), down_read(&net_rwsem))
SHIM_VOID(rct_nets_unlock, (void), up_read(&net_rwsem))
SHIM(struct list_head *, rct_net_list, (void), &net_namespace_list)
SHIM(struct net *, rct_net_of_list, (struct list_head *node), list_entry(node, struct net, list))
SHIM(struct net *, rct_net_of_exit_list, (struct list_head *node),
	list_entry(node, struct net, exit_list))
SHIM_VOID(rct_labels_used_add, (struct net *net, int n), atomic_add(n, &net->ct.labels_used))
SHIM(bool, rct_labels_used, (struct net *net), atomic_read(&net->ct.labels_used) != 0)

/* Statistics of a namespace, for each CPU: `struct rct_stats` */

SHIM(void *, rct_stat_alloc, (void), RCT_PERCPU_ADDRESS(alloc_percpu(struct rct_stats)))
/* A statistic is addressed by its offset in `struct ip_conntrack_stat`. */
SHIM_VOID(rct_stat_add, (const struct net *net, unsigned long offset, u32 n),
	this_cpu_add(*(u32 __percpu *)((void __percpu *)net->ct.stat + offset), n))
SHIM(u32, rct_stat_read, (const struct net *net, unsigned int cpu, unsigned long offset),
	READ_ONCE(*(u32 *)((void *)per_cpu_ptr(net->ct.stat, cpu) + offset)))
/* A figure is addressed by its index, which is below RCT_FIGURES. */
SHIM_VOID(rct_figure_inc, (const struct net *net, unsigned int index),
	this_cpu_inc(((struct rct_stats __percpu *)net->ct.stat)->figures[index]))
SHIM(u64, rct_figure_read, (const struct net *net, unsigned int cpu, unsigned int index),
	READ_ONCE(per_cpu_ptr((struct rct_stats __percpu *)net->ct.stat, cpu)->figures[index]))
/* The first possible CPU from `from` on. */
SHIM(unsigned int, rct_next_possible_cpu, (unsigned int from),
	cpumask_next((int)from - 1, cpu_possible_mask))

/* The first online CPU from `from` on. */
SHIM(unsigned int, rct_next_online_cpu, (unsigned int from),
	cpumask_next((int)from - 1, cpu_online_mask))

/* /proc */

SHIM(struct proc_dir_entry *, rct_proc_net, (struct net *net), net->proc_net)
SHIM(struct proc_dir_entry *, rct_proc_net_stat, (struct net *net), net->proc_net_stat)
SHIM(bool, rct_file_is_writable, (const struct file *file), file->f_mode & FMODE_WRITE)
SHIM(struct seq_file *, rct_file_seq, (const struct file *file), file->private_data)
SHIM(void *, rct_seq_private, (struct seq_file *seq), seq->private)
SHIM(kuid_t, rct_net_root_uid, (const struct net *net), make_kuid(net->user_ns, 0))
SHIM(kgid_t, rct_net_root_gid, (const struct net *net), make_kgid(net->user_ns, 0))
SHIM(bool, rct_uid_valid, (kuid_t uid), uid_valid(uid))
SHIM(bool, rct_gid_valid, (kgid_t gid), gid_valid(gid))

/* Netlink */

SHIM(u32, rct_netlink_portid, (const struct sk_buff *skb), NETLINK_CB(skb).portid)
SHIM(struct net *, rct_netlink_net, (const struct sk_buff *skb), sock_net(skb->sk))
SHIM(struct sk_buff *, rct_nlmsg_new, (size_t payload, gfp_t flags), nlmsg_new(payload, flags))
SHIM(struct nlmsghdr *, rct_nfnl_msg_put,
	(struct sk_buff *skb, u32 portid, u32 seq, u16 type, u16 flags, u8 family, u16 resource),
	nfnl_msg_put(skb, portid, seq, type, flags, family, NFNETLINK_V0, htons(resource)))
SHIM_VOID(rct_nlmsg_end, (struct sk_buff *skb, struct nlmsghdr *head), nlmsg_end(skb, head))
SHIM(int, rct_netlink_dump_start,
	(struct sock *kernel, struct sk_buff *skb, const struct nlmsghdr *head,
	 struct netlink_dump_control *control),
	netlink_dump_start(kernel, skb, head, control))
SHIM(int, rct_nla_parse_nested,
	(struct nlattr **table, int last, const struct nlattr *nest,
	 const struct nla_policy *policy),
	nla_parse_nested(table, last, nest, policy, NULL))
SHIM(int, rct_nla_parse_nested_deprecated,
	(struct nlattr **table, int last, const struct nlattr *nest,
	 const struct nla_policy *policy),
	nla_parse_nested_deprecated(table, last, nest, policy, NULL))
SHIM(void *, rct_nla_data, (const struct nlattr *attribute), nla_data(attribute))
SHIM(struct nlattr *, rct_nla_nest_start, (struct sk_buff *skb, int number),
	nla_nest_start(skb, number))
SHIM_VOID(rct_nla_nest_end, (struct sk_buff *skb, struct nlattr *nest), nla_nest_end(skb, nest))

/* Tables of sockets; a bucket is walked under its lock */

SHIM(struct inet_hashinfo *, rct_tcp_table, (struct net *net), net->ipv4.tcp_death_row.hashinfo)
SHIM(unsigned int, rct_tcp_buckets, (const struct inet_hashinfo *table), table->ehash_mask + 1)
SHIM(spinlock_t *, rct_tcp_lock, (struct inet_hashinfo *table, unsigned int bucket),
	inet_ehash_lockp(table, bucket))
/* The number of a bucket wraps around. */
SHIM(struct sock *, rct_tcp_first, (struct inet_hashinfo *table, unsigned int bucket),
	sk_nulls_head(&inet_ehash_bucket(table, bucket)->chain))
SHIM(struct sock *, rct_tcp_next, (struct sock *sk), sk_nulls_next(sk))
SHIM(struct udp_table *, rct_udp_table, (struct net *net), net->ipv4.udp_table)
SHIM(unsigned int, rct_udp_buckets, (const struct udp_table *table), table->mask + 1)
SHIM(spinlock_t *, rct_udp_lock, (struct udp_table *table, unsigned int bucket),
	&table->hash[bucket & table->mask].lock)
SHIM(struct sock *, rct_udp_first, (struct udp_table *table, unsigned int bucket),
	sk_head(&table->hash[bucket & table->mask].head))
SHIM(struct sock *, rct_udp_next, (struct sock *sk), sk_next(sk))

/* Sockets */

/* Fields of every kind of socket. */
SHIM(u16, rct_sock_family, (const struct sock *sk), sk->sk_family)
SHIM(u8, rct_sock_state, (const struct sock *sk), READ_ONCE(sk->sk_state))
SHIM(struct net *, rct_sock_net, (const struct sock *sk), sock_net(sk))
SHIM(u16, rct_sock_port, (const struct sock *sk), READ_ONCE(sk->sk_num))
SHIM(__be16, rct_sock_peer_port, (const struct sock *sk), READ_ONCE(sk->sk_dport))
SHIM(__be32, rct_sock_ipv4, (const struct sock *sk), READ_ONCE(sk->sk_rcv_saddr))
SHIM(__be32, rct_sock_ipv4_peer, (const struct sock *sk), READ_ONCE(sk->sk_daddr))
SHIM(struct in6_addr, rct_sock_ipv6, (const struct sock *sk), sk->sk_v6_rcv_saddr)
SHIM(struct in6_addr, rct_sock_ipv6_peer, (const struct sock *sk), sk->sk_v6_daddr)
SHIM(int, rct_sock_device, (const struct sock *sk), READ_ONCE(sk->sk_bound_dev_if))
SHIM(bool, rct_sock_is_ipv6_only, (const struct sock *sk), ipv6_only_sock(sk))
SHIM(bool, rct_sock_get, (struct sock *sk), refcount_inc_not_zero(&sk->sk_refcnt))
SHIM(bool, rct_sock_is_full, (const struct sock *sk), sk_fullsock(sk))
/* Fields of full sockets. */
SHIM(unsigned int, rct_sock_userlocks, (const struct sock *sk), READ_ONCE(sk->sk_userlocks))
SHIM(u16, rct_sock_protocol, (const struct sock *sk), sk->sk_protocol)
SHIM(spinlock_t *, rct_sock_lock, (struct sock *sk), &sk->sk_lock.slock)
SHIM(bool, rct_sock_is_owned, (const struct sock *sk), sock_owned_by_user_nocheck(sk))
/* The CPU of the last packet; negative before the first one. */
SHIM(bool, rct_sock_has_received, (const struct sock *sk), READ_ONCE(sk->sk_incoming_cpu) >= 0)
SHIM_VOID(rct_lock_sock, (struct sock *sk), lock_sock(sk))
SHIM_VOID(rct_release_sock, (struct sock *sk), release_sock(sk))
SHIM(__be16, rct_sock_own_port, (const struct sock *sk), inet_sk(sk)->inet_sport)
SHIM(__be32, rct_sock_flow_label, (const struct sock *sk),
	inet6_sk(sk)->flow_label & IPV6_FLOWINFO_MASK)
SHIM(u32, rct_sock_scope, (const struct sock *sk, const struct in6_addr *address),
	ipv6_iface_scope_id(address, sk->sk_bound_dev_if))
SHIM(bool, rct_tw_chose_port, (const struct sock *sk), inet_twsk(sk)->tw_connect_bind)
/* They need the socket's lock, and the second one no owner, and that the first one is true. */
SHIM(bool, rct_tcp_is_out_of_order, (const struct sock *sk),
	(sock_owned_by_me(sk), !RB_EMPTY_ROOT(&tcp_sk(sk)->out_of_order_queue)))
SHIM(u32, rct_tcp_out_of_order_end, (const struct sock *sk),
	TCP_SKB_CB(tcp_sk(sk)->ooo_last_skb)->end_seq)

/* Local addresses and ports */

SHIM(bool, rct_ipv4_is_local, (struct net *net, __be32 address),
	inet_addr_type(net, address) == RTN_LOCAL)
SHIM(bool, rct_ipv6_is_local, (struct net *net, const struct in6_addr *address),
	ipv6_chk_addr(net, address, NULL, 0))
SHIM(bool, rct_port_is_reserved, (const struct net *net, u16 port),
	inet_is_local_reserved_port(net, port))
/* The bits of 64 ports: the bitmap has 1024 longs. */
SHIM(u64, rct_reserved_ports, (const struct net *net, u16 number),
	number < 1024 && net->ipv4.sysctl_local_reserved_ports ?
		READ_ONCE(net->ipv4.sysctl_local_reserved_ports[number]) : 0)
SHIM_VOID(rct_local_port_range, (const struct net *net, int *low, int *high),
	inet_get_local_port_range(net, low, high))
SHIM(struct sock *, rct_tcp4_connected,
	(const struct net *net, __be32 remote, __be16 remote_port, __be32 local, u16 local_port,
	 int device),
	__inet_lookup_established(net, remote, remote_port, local, local_port, device, 0))
SHIM(struct sock *, rct_tcp6_connected,
	(const struct net *net, const struct in6_addr *remote, __be16 remote_port,
	 const struct in6_addr *local, u16 local_port, int device),
	__inet6_lookup_established(net, remote, remote_port, local, local_port, device, 0))
SHIM(struct sock *, rct_tcp4_listener,
	(const struct net *net, __be32 remote, __be16 remote_port, __be32 local, u16 local_port,
	 int device),
	__inet_lookup_listener(net, NULL, 0, remote, remote_port, local, local_port, device, 0))
SHIM(struct sock *, rct_tcp6_listener,
	(const struct net *net, const struct in6_addr *remote, __be16 remote_port,
	 const struct in6_addr *local, u16 local_port, int device),
	inet6_lookup_listener(net, NULL, 0, remote, remote_port, local, local_port, device, 0))
SHIM(struct sock *, rct_udp4_receiver,
	(const struct net *net, __be32 remote, __be16 remote_port, __be32 local, __be16 local_port,
	 int device),
	__udp4_lib_lookup(net, remote, remote_port, local, local_port, device, 0, NULL))
SHIM(struct sock *, rct_udp6_receiver,
	(const struct net *net, const struct in6_addr *remote, __be16 remote_port,
	 const struct in6_addr *local, __be16 local_port, int device),
	__udp6_lib_lookup(net, remote, remote_port, local, local_port, device, 0, NULL))
/*
 * The table of bound TCP sockets: chains of ports, which have chains of addresses, which have
 * chains of sockets.
 */
SHIM(struct inet_bind_hashbucket *, rct_bind_chain, (const struct net *net, u16 port),
	&net->ipv4.tcp_death_row.hashinfo->bhash[inet_bhashfn(net, port,
		net->ipv4.tcp_death_row.hashinfo->bhash_size)])
SHIM(spinlock_t *, rct_bind_lock, (struct inet_bind_hashbucket *chain), &chain->lock)
SHIM(struct inet_bind_bucket *, rct_bind_first, (struct inet_bind_hashbucket *chain),
	hlist_entry_safe(chain->chain.first, struct inet_bind_bucket, node))
SHIM(struct inet_bind_bucket *, rct_bind_next, (struct inet_bind_bucket *bucket),
	hlist_entry_safe(bucket->node.next, struct inet_bind_bucket, node))
SHIM(struct net *, rct_bind_net, (const struct inet_bind_bucket *bucket), ib_net(bucket))
SHIM(u16, rct_bind_port, (const struct inet_bind_bucket *bucket), bucket->port)
SHIM(struct inet_bind2_bucket *, rct_bind2_first, (struct inet_bind_bucket *bucket),
	hlist_entry_safe(bucket->bhash2.first, struct inet_bind2_bucket, bhash_node))
SHIM(struct inet_bind2_bucket *, rct_bind2_next, (struct inet_bind2_bucket *place),
	hlist_entry_safe(place->bhash_node.next, struct inet_bind2_bucket, bhash_node))
SHIM(struct sock *, rct_bind2_first_sock, (struct inet_bind2_bucket *place),
	hlist_entry_safe(place->owners.first, struct sock, sk_bind_node))
SHIM(struct sock *, rct_bind2_next_sock, (struct sock *sk),
	hlist_entry_safe(sk->sk_bind_node.next, struct sock, sk_bind_node))

/* nf/packet: packets */

SHIM(unsigned long, rct_skb_nfct, (const struct sk_buff *skb), skb_get_nfct(skb))
SHIM_VOID(rct_skb_set_nfct, (struct sk_buff *skb, unsigned long nfct), skb_set_nfct(skb, nfct))
/* skb_set_nfct() warns where there is an entry already. */
SHIM_VOID(rct_skb_clear_nfct, (struct sk_buff *skb), skb->_nfct = 0)
SHIM(unsigned int, rct_skb_len, (const struct sk_buff *skb), skb->len)
SHIM(unsigned int, rct_skb_headlen, (const struct sk_buff *skb), skb_headlen(skb))
SHIM(const unsigned char *, rct_skb_data, (const struct sk_buff *skb), skb->data)
SHIM(unsigned int, rct_skb_headroom, (const struct sk_buff *skb), skb_headroom(skb))
SHIM(int, rct_skb_tailroom, (const struct sk_buff *skb), skb_tailroom(skb))
SHIM(bool, rct_skb_cloned, (const struct sk_buff *skb), skb_cloned(skb))
SHIM(int, rct_skb_network_offset, (const struct sk_buff *skb), skb_network_offset(skb))
SHIM(u16, rct_skb_protocol, (const struct sk_buff *skb), ntohs(skb_protocol(skb, true)))
SHIM(u32, rct_skb_mark, (const struct sk_buff *skb), skb->mark)
SHIM(struct net_device *, rct_skb_dev, (const struct sk_buff *skb), skb->dev)
SHIM(struct sock *, rct_skb_sk, (const struct sk_buff *skb), skb->sk)
SHIM(bool, rct_skb_is_loopback, (const struct sk_buff *skb), nf_is_loopback_packet(skb))
SHIM(bool, rct_skb_is_gso, (const struct sk_buff *skb), skb_is_gso(skb))
SHIM(u8, rct_skb_ip_summed, (const struct sk_buff *skb), skb->ip_summed)
SHIM(bool, rct_nf_checksum_bad,
	(struct sk_buff *skb, unsigned int hook, unsigned int offset, u8 protocol, u8 family),
	nf_checksum(skb, hook, offset, protocol, family) != 0)
SHIM(u16, rct_skb_sum, (const struct sk_buff *skb, unsigned int offset, unsigned int len),
	(__force u16)~csum_fold(skb_checksum(skb, offset, len, 0)))
SHIM(u32, rct_sctp_checksum, (const struct sk_buff *skb, unsigned int offset),
	(__force u32)sctp_compute_cksum(skb, offset))

/* Changes of a packet */

SHIM_VOID(rct_skb_put, (struct sk_buff *skb, unsigned int more), skb_put(skb, more))
SHIM_VOID(rct_skb_trim, (struct sk_buff *skb, unsigned int len), __skb_trim(skb, len))
SHIM_VOID(rct_skb_orphan, (struct sk_buff *skb), skb_orphan(skb))
SHIM(bool, rct_sock_is_transparent, (const struct sock *sk), inet_sk_transparent(sk))
SHIM_VOID(rct_kfree_skb, (struct sk_buff *skb), kfree_skb(skb))
/* Bit fields. */
SHIM_VOID(rct_skb_set_ip_summed, (struct sk_buff *skb, u8 ip_summed), skb->ip_summed = ip_summed)
SHIM_VOID(rct_skb_set_csum_start, (struct sk_buff *skb, u16 start), skb->csum_start = start)
SHIM_VOID(rct_skb_set_csum_offset, (struct sk_buff *skb, u16 offset), skb->csum_offset = offset)
SHIM_VOID(rct_skb_sum_sub, (struct sk_buff *skb, u32 less),
	skb->csum = csum_sub(skb->csum, (__force __wsum)less))

/* Fragments */

SHIM(unsigned int, rct_ipv4_total_len, (const struct sk_buff *skb), skb_ip_totlen(skb))
SHIM(unsigned int, rct_ipv6_payload_len, (const struct sk_buff *skb), skb_ipv6_payload_len(skb))
SHIM(u8, rct_ipv6_nexthdr, (const struct sk_buff *skb), ipv6_hdr(skb)->nexthdr)
SHIM(int, rct_pskb_trim, (struct sk_buff *skb, unsigned int len), pskb_trim_rcsum(skb, len))
SHIM_VOID(rct_ipv4_clear_cb, (struct sk_buff *skb), memset(IPCB(skb), 0, sizeof(*IPCB(skb))))
SHIM(u16, rct_ipv4_frag_max_size, (const struct sk_buff *skb), IPCB(skb)->frag_max_size)
SHIM_VOID(rct_ipv6_clear_cb, (struct sk_buff *skb), memset(IP6CB(skb), 0, sizeof(*IP6CB(skb))))
SHIM(u16, rct_ipv6_frag_max_size, (const struct sk_buff *skb), IP6CB(skb)->frag_max_size)
SHIM_VOID(rct_skb_clear_hash, (struct sk_buff *skb), skb_clear_hash(skb))
SHIM_VOID(rct_skb_set_ignore_df, (struct sk_buff *skb), skb->ignore_df = 1)

/* Routes */

SHIM(struct dst_entry *, rct_skb_dst, (const struct sk_buff *skb), skb_dst(skb))
SHIM_VOID(rct_skb_set_dst, (struct sk_buff *skb, struct dst_entry *dst), skb_dst_set(skb, dst))
SHIM_VOID(rct_skb_dst_drop, (struct sk_buff *skb), skb_dst_drop(skb))
SHIM(bool, rct_dst_hold_safe, (struct dst_entry *dst), dst_hold_safe(dst))
/* The space that the route's device needs for its header, in bytes. */
SHIM(unsigned int, rct_dst_link_header_len, (const struct dst_entry *dst),
	dst->dev->hard_header_len)
SHIM(bool, rct_ipv4_is_transformed, (const struct sk_buff *skb),
	IPCB(skb)->flags & IPSKB_XFRM_TRANSFORMED)
SHIM(bool, rct_ipv6_is_transformed, (const struct sk_buff *skb),
	IP6CB(skb)->flags & IP6SKB_XFRM_TRANSFORMED)
SHIM(int, rct_reroute_ipv6, (const struct nf_hook_state *state, struct sk_buff *skb),
	nf_ip6_route_me_harder(state->net, state->sk, skb))

#ifdef CONFIG_XFRM
SHIM(u32, rct_xfrm_out_policies, (const struct net *net),
	READ_ONCE(net->xfrm.policy_count[XFRM_POLICY_OUT]))
SHIM(u8, rct_xfrm_out_default, (const struct net *net),
	READ_ONCE(net->xfrm.policy_default[XFRM_POLICY_OUT]))
SHIM(int, rct_xfrm_decode_session,
	(struct net *net, struct sk_buff *skb, struct flowi *flow, u8 family),
	xfrm_decode_session(net, skb, flow, family))
SHIM(bool, rct_skb_has_sec_path, (const struct sk_buff *skb), skb_sec_path(skb))
SHIM(struct sock *, rct_skb_full_sk, (const struct sk_buff *skb), skb_to_full_sk(skb))
SHIM(bool, rct_sock_has_out_policy, (const struct sock *sk),
	rcu_access_pointer(sk->sk_policy[XFRM_POLICY_OUT]))
SHIM(bool, rct_dst_is_transformed, (const struct dst_entry *dst), dst_xfrm(dst))
/* The route below a transformation. */
SHIM(struct dst_entry *, rct_dst_below, (struct dst_entry *dst), ((struct xfrm_dst *)dst)->route)
#endif

/* Devices and their addresses */

SHIM(int, rct_dev_ifindex, (const struct net_device *dev), dev->ifindex)
SHIM(const char *, rct_dev_name, (const struct net_device *dev), dev->name)
SHIM(struct net *, rct_dev_net, (const struct net_device *dev), dev_net(dev))
SHIM(bool, rct_netif_is_l3_master, (struct net_device *dev), netif_is_l3_master(dev))
SHIM(struct net_device *, rct_netdev_of_event, (void *info), netdev_notifier_info_to_dev(info))
SHIM(struct in_device *, rct_dev_ipv4, (const struct net_device *dev), __in_dev_get_rcu(dev))
SHIM(struct in_ifaddr *, rct_ipv4_first_address, (const struct in_device *in),
	rcu_dereference(in->ifa_list))
SHIM(__be32, rct_ipv4_local_address, (const struct in_ifaddr *ifa), ifa->ifa_local)
SHIM(__be32, rct_ipv4_source_for, (struct sk_buff *skb, const struct net_device *out),
	inet_select_addr(out, rt_nexthop(skb_rtable(skb), ip_hdr(skb)->daddr), RT_SCOPE_UNIVERSE))
SHIM(__be32, rct_ipv4_address, (const struct in_ifaddr *ifa), ifa->ifa_address)
SHIM(struct net_device *, rct_ipv4_address_dev, (const struct in_ifaddr *ifa), ifa->ifa_dev->dev)
SHIM(bool, rct_ipv4_device_is_dead, (const struct in_ifaddr *ifa), ifa->ifa_dev->dead)
SHIM(struct inet6_dev *, rct_dev_ipv6, (const struct net_device *dev), __in6_dev_get(dev))
SHIM_VOID(rct_ipv6_addresses_lock, (struct inet6_dev *dev), read_lock_bh(&dev->lock))
SHIM_VOID(rct_ipv6_addresses_unlock, (struct inet6_dev *dev), read_unlock_bh(&dev->lock))
SHIM(struct list_head *, rct_ipv6_addresses, (struct inet6_dev *dev), &dev->addr_list)
SHIM(struct inet6_ifaddr *, rct_ipv6_address_of, (struct list_head *node),
	list_entry(node, struct inet6_ifaddr, if_list))
SHIM(const struct in6_addr *, rct_ipv6_address, (const struct inet6_ifaddr *ifa), &ifa->addr)
SHIM(struct net_device *, rct_ipv6_address_dev, (const struct inet6_ifaddr *ifa), ifa->idev->dev)
SHIM(u32, rct_ipv6_address_flags, (const struct inet6_ifaddr *ifa), ifa->flags)
SHIM(u32, rct_ipv6_address_type, (const struct in6_addr *address), ipv6_addr_type(address))

/* Hooks of the tracker and of NAT; the log */

SHIM(bool, rct_ct_hook_present, (void), rcu_access_pointer(nf_ct_hook))
SHIM_VOID(rct_ct_hook_set, (const struct nf_ct_hook *hook), rcu_assign_pointer(nf_ct_hook, hook))
SHIM_VOID(rct_nfnl_ct_hook_set, (const struct nfnl_ct_hook *hook),
	rcu_assign_pointer(nfnl_ct_hook, hook))
SHIM(const struct nf_nat_hook *, rct_nat_hook, (void), rcu_dereference(nf_nat_hook))
SHIM_VOID(rct_nat_hook_set, (const struct nf_nat_hook *hook), rcu_assign_pointer(nf_nat_hook, hook))
SHIM(struct nf_hook_entries *, rct_nat_chains, (const struct nf_nat_lookup_hook_priv *place),
	rcu_dereference(place->entries))
SHIM(unsigned int, rct_nat_chain_count, (const struct nf_hook_entries *entries),
	entries->num_hook_entries)
SHIM(unsigned int, rct_nat_chain_run,
	(const struct nf_hook_entries *entries, unsigned int index, struct sk_buff *skb,
	 const struct nf_hook_state *state),
	entries->hooks[index].hook(entries->hooks[index].priv, skb, state))
/* Declared in a header of net/netfilter alone; see helpers.c. */
/*
 * Whether a chain is that of a table of iptables: its data is the table then. There is no other
 * mark, and a function of a module that may not be there cannot be compared with.
 */
SHIM(bool, rct_nat_chain_has_table, (const struct nf_hook_ops *ops),
	({
		char name[KSYM_SYMBOL_LEN];

		sprint_symbol_no_offset(name, (unsigned long)ops->hook);
		ops->hook_ops_type == NF_HOOK_OP_UNDEFINED &&
			(str_has_prefix(name, "ipt_do_table") || str_has_prefix(name, "ip6t_do_table"));
	}))
/* What each replacement of the rules replaces. */
SHIM(unsigned long, rct_table_version, (const void *table),
	(unsigned long)READ_ONCE(((const struct xt_table *)table)->private))
SHIM(int, rct_nat_chains_add,
	(struct nf_nat_lookup_hook_priv *place, const struct nf_hook_ops *ops),
	nf_hook_entries_insert_raw(&place->entries, ops))
SHIM_VOID(rct_nat_chains_remove,
	(struct nf_nat_lookup_hook_priv *place, const struct nf_hook_ops *ops),
	nf_hook_entries_delete_raw(&place->entries, ops))
SHIM_VOID(rct_nat_ops_set_type, (struct nf_hook_ops *ops), RCT_SET_NAT_TYPE(ops))
SHIM(bool, rct_net_ratelimit, (void), net_ratelimit())

/* nf/entry: entries */

/* A macro that looks at the type of its third argument. */
SHIM(struct kmem_cache *, rct_conn_cache_create,
	(unsigned int size, unsigned int align, unsigned int freeptr_offset),
	kmem_cache_create("nf_conntrack", size, &((struct kmem_cache_args){ .align = align,
		.use_freeptr_offset = true, .freeptr_offset = freeptr_offset }),
		SLAB_TYPESAFE_BY_RCU | SLAB_HWCACHE_ALIGN))
SHIM(struct net *, rct_ct_net, (const struct nf_conn *ct), nf_ct_net(ct))
SHIM_VOID(rct_ct_set_net, (struct nf_conn *ct, struct net *net), write_pnet(&ct->ct_net, net))
SHIM_VOID(rct_ct_get, (struct nf_conn *ct), refcount_inc(&ct->ct_general.use))
SHIM(bool, rct_ct_get_not_zero, (struct nf_conn *ct), refcount_inc_not_zero(&ct->ct_general.use))
SHIM_VOID(rct_ct_put, (struct nf_conn *ct), nf_ct_put(ct))
/* Without nf_ct_destroy(), which is the caller's then. */
SHIM(bool, rct_ct_put_test, (struct nf_conn *ct), refcount_dec_and_test(&ct->ct_general.use))
SHIM(unsigned int, rct_ct_use, (const struct nf_conn *ct), refcount_read(&ct->ct_general.use))
SHIM_VOID(rct_ct_set_use, (struct nf_conn *ct, unsigned int n),
	refcount_set(&ct->ct_general.use, n))
SHIM_VOID(rct_ct_event_cache, (unsigned int event, struct nf_conn *ct),
	nf_conntrack_event_cache(event, ct))
SHIM(const struct nf_ct_event_notifier *, rct_ct_event_listener, (const struct net *net),
	rcu_dereference(net->ct.nf_conntrack_event_cb))
SHIM_VOID(rct_ct_event_listener_set, (struct net *net, const struct nf_ct_event_notifier *notifier),
	rcu_assign_pointer(net->ct.nf_conntrack_event_cb, (struct nf_ct_event_notifier *)notifier))
SHIM(bool, rct_ctnetlink_has_listener, (void), READ_ONCE(nf_ctnetlink_has_listener))
SHIM(const struct nf_ct_timeout_hooks *, rct_timeout_hooks, (void),
	rcu_dereference(nf_ct_timeout_hook))
SHIM_VOID(rct_timeout_kfree_rcu, (struct nf_ct_timeout *policy), kfree_rcu(policy, rcu))

/* nf/expect: expectations, helpers, GRE keys */

SHIM(struct kmem_cache *, rct_expect_cache_create, (void), KMEM_CACHE(nf_conntrack_expect, 0))
SHIM(struct net *, rct_expect_net, (struct nf_conntrack_expect *expect), nf_ct_exp_net(expect))
SHIM(u16, rct_expect_event_mask, (struct nf_conntrack_expect *expect), *RCT_EVENT_MASK(expect))
SHIM_VOID(rct_expect_set_event_mask, (struct nf_conntrack_expect *expect, u16 mask),
	*RCT_EVENT_MASK(expect) = mask)
SHIM(u8, rct_helper_family, (const struct nf_conntrack_helper *helper), RCT_HELPER_FAMILY(helper))
SHIM(u8, rct_helper_protocol, (const struct nf_conntrack_helper *helper),
	RCT_HELPER_PROTOCOL(helper))
SHIM_VOID(rct_helper_set_kind,
	(struct nf_conntrack_helper *helper, u8 family, u8 protocol, u16 port),
	RCT_SET_HELPER_KIND(helper, family, protocol, port))
SHIM_VOID(rct_expect_set_net, (struct nf_conntrack_expect *expect, struct net *net),
	write_pnet(&expect->net, net))
SHIM_VOID(rct_helper_kfree_rcu, (struct nf_conntrack_helper *helper), kfree_rcu(helper, rcu))
SHIM_VOID(rct_keymap_kfree_rcu, (struct nf_ct_gre_keymap *map), kfree_rcu(map, rcu))
