// SPDX-License-Identifier: GPL-2.0

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

RCT struct net *rct_net_of_exit_list(struct list_head *node)
{
	return list_entry(node, struct net, exit_list);
}

RCT struct list_head *rct_net_list(void)
{
	return &net_namespace_list;
}

RCT struct net *rct_net_of_list(struct list_head *node)
{
	return list_entry(node, struct net, list);
}

RCT kuid_t rct_net_root_uid(const struct net *net)
{
	return make_kuid(net->user_ns, 0);
}

RCT kgid_t rct_net_root_gid(const struct net *net)
{
	return make_kgid(net->user_ns, 0);
}

RCT bool rct_uid_valid(kuid_t uid)
{
	return uid_valid(uid);
}

RCT bool rct_gid_valid(kgid_t gid)
{
	return gid_valid(gid);
}

RCT void *rct_stat_alloc(void)
{
	return (__force void *)alloc_percpu(struct ip_conntrack_stat);
}

RCT void rct_stat_add(const struct net *net, unsigned long offset, u32 n)
{
	this_cpu_add(*(u32 __percpu *)((void __percpu *)net->ct.stat + offset), n);
}

RCT u32 rct_stat_read(const struct net *net, unsigned int cpu, unsigned long offset)
{
	return READ_ONCE(*(u32 *)((void *)per_cpu_ptr(net->ct.stat, cpu) + offset));
}

/* Of `from` or above. */
RCT unsigned int rct_next_possible_cpu(unsigned int from)
{
	return cpumask_next((int)from - 1, cpu_possible_mask);
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

/* all namespaces, and a hold on one */

RCT void rct_nets_lock(void)
{
	down_read(&net_rwsem);
}

RCT void rct_nets_unlock(void)
{
	up_read(&net_rwsem);
}

RCT bool rct_net_get(struct net *net)
{
	return maybe_get_net(net);
}

RCT void rct_net_put(struct net *net)
{
	put_net(net);
}
