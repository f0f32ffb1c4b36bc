// SPDX-License-Identifier: GPL-2.0

/* routes */

RCT bool rct_ipv4_is_transformed(const struct sk_buff *skb)
{
	return IPCB(skb)->flags & IPSKB_XFRM_TRANSFORMED;
}

RCT bool rct_ipv6_is_transformed(const struct sk_buff *skb)
{
	return IP6CB(skb)->flags & IP6SKB_XFRM_TRANSFORMED;
}

RCT int rct_reroute_ipv6(const struct nf_hook_state *state, struct sk_buff *skb)
{
	return nf_ip6_route_me_harder(state->net, state->sk, skb);
}

#ifdef CONFIG_XFRM
RCT int rct_xfrm_decode_session(struct net *net, struct sk_buff *skb, struct flowi *flow,
				u8 family)
{
	return xfrm_decode_session(net, skb, flow, family);
}

RCT u32 rct_xfrm_out_policies(const struct net *net)
{
	return READ_ONCE(net->xfrm.policy_count[XFRM_POLICY_OUT]);
}

RCT u8 rct_xfrm_out_default(const struct net *net)
{
	return READ_ONCE(net->xfrm.policy_default[XFRM_POLICY_OUT]);
}

RCT bool rct_skb_has_sec_path(const struct sk_buff *skb)
{
	return skb_sec_path(skb);
}

RCT struct sock *rct_skb_full_sk(const struct sk_buff *skb)
{
	return skb_to_full_sk(skb);
}

RCT bool rct_sock_has_out_policy(const struct sock *sk)
{
	return rcu_access_pointer(sk->sk_policy[XFRM_POLICY_OUT]);
}

RCT bool rct_dst_is_transformed(const struct dst_entry *dst)
{
	return dst_xfrm(dst);
}

/* The route below a transformation. */
RCT struct dst_entry *rct_dst_below(struct dst_entry *dst)
{
	return ((struct xfrm_dst *)dst)->route;
}
#endif

RCT struct dst_entry *rct_skb_dst(const struct sk_buff *skb)
{
	return skb_dst(skb);
}

RCT void rct_skb_set_dst(struct sk_buff *skb, struct dst_entry *dst)
{
	skb_dst_set(skb, dst);
}

RCT bool rct_dst_hold_safe(struct dst_entry *dst)
{
	return dst_hold_safe(dst);
}

/* What the route's device puts before the network header, in bytes. */
RCT unsigned int rct_dst_link_header_len(const struct dst_entry *dst)
{
	return dst->dev->hard_header_len;
}
