// SPDX-License-Identifier: GPL-2.0

/* NAT */

RCT const struct nf_nat_hook *rct_nat_hook(void)
{
	return rcu_dereference(nf_nat_hook);
}

RCT void rct_nat_hook_set(const struct nf_nat_hook *hook)
{
	rcu_assign_pointer(nf_nat_hook, hook);
}

RCT struct nf_hook_entries *rct_nat_chains(const struct nf_nat_lookup_hook_priv *place)
{
	return rcu_dereference(place->entries);
}

RCT unsigned int rct_nat_chain_count(const struct nf_hook_entries *entries)
{
	return entries->num_hook_entries;
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
