// SPDX-License-Identifier: GPL-2.0

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
