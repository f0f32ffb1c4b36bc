// SPDX-License-Identifier: GPL-2.0

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
			     const struct nla_policy *policy)
{
	return nla_parse_nested(table, last, nest, policy, NULL);
}

RCT int rct_nla_parse_nested_deprecated(struct nlattr **table, int last,
					const struct nlattr *nest,
					const struct nla_policy *policy)
{
	return nla_parse_nested_deprecated(table, last, nest, policy, NULL);
}

RCT void *rct_nla_data(const struct nlattr *attribute)
{
	return nla_data(attribute);
}

RCT struct nlattr *rct_nla_nest_start(struct sk_buff *skb, int number)
{
	return nla_nest_start(skb, number);
}

RCT void rct_nla_nest_end(struct sk_buff *skb, struct nlattr *nest)
{
	nla_nest_end(skb, nest);
}
