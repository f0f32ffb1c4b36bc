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
