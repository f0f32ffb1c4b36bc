// SPDX-License-Identifier: GPL-2.0

/* events */

RCT void rct_ct_event_cache(unsigned int event, struct nf_conn *ct)
{
	nf_conntrack_event_cache(event, ct);
}

RCT const struct nf_ct_event_notifier *rct_ct_event_listener(const struct net *net)
{
	return rcu_dereference(net->ct.nf_conntrack_event_cb);
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
