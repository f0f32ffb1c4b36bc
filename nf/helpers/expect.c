// SPDX-License-Identifier: GPL-2.0

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
