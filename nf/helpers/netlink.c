// SPDX-License-Identifier: GPL-2.0

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

RCT void rct_nfnl_ct_hook_set(const struct nfnl_ct_hook *hook)
{
	rcu_assign_pointer(nfnl_ct_hook, hook);
}
