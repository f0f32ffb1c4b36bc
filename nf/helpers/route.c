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

RCT int rct_reroute_ipv4(const struct nf_hook_state *state, struct sk_buff *skb)
{
	return ip_route_me_harder(state->net, state->sk, skb, RTN_UNSPEC);
}

RCT int rct_reroute_ipv6(const struct nf_hook_state *state, struct sk_buff *skb)
{
	return nf_ip6_route_me_harder(state->net, state->sk, skb);
}

#ifdef CONFIG_XFRM
/* Otherwise packets go as they are routed, unless something of their own says more. */
RCT bool rct_xfrm_has_policies(const struct net *net)
{
	return READ_ONCE(net->xfrm.policy_count[XFRM_POLICY_OUT]) ||
	       READ_ONCE(net->xfrm.policy_default[XFRM_POLICY_OUT]) != XFRM_USERPOLICY_ACCEPT;
}

/* Whether the packet came, or is to go, through a transformation, or its socket wants one. */
RCT bool rct_skb_has_xfrm(const struct sk_buff *skb)
{
	const struct sock *sk = skb->sk ? sk_const_to_full_sk(skb->sk) : NULL;

	return skb_dst(skb)->xfrm || skb_sec_path(skb) ||
	       (sk && rcu_access_pointer(sk->sk_policy[XFRM_POLICY_OUT]));
}

RCT int rct_xfrm_decode_session(struct net *net, struct sk_buff *skb, struct flowi *flow,
				u8 family)
{
	return xfrm_decode_session(net, skb, flow, family);
}

/* The route below a transformation; NULL if it is going away. */
RCT struct dst_entry *rct_skb_get_plain_dst(const struct sk_buff *skb)
{
	struct dst_entry *dst = skb_dst(skb);

	if (dst->xfrm)
		dst = ((struct xfrm_dst *)dst)->route;
	return dst_hold_safe(dst) ? dst : NULL;
}

RCT struct dst_entry *rct_xfrm_lookup(struct net *net, struct dst_entry *dst,
				      const struct flowi *flow, const struct sk_buff *skb)
{
	const struct sock *sk = skb->sk && net_eq(net, sock_net(skb->sk)) ? skb->sk : NULL;

	return xfrm_lookup(net, dst, flow, sk, 0);
}
#endif

RCT bool rct_is_err(const void *pointer)
{
	return IS_ERR(pointer);
}

RCT void rct_skb_replace_dst(struct sk_buff *skb, struct dst_entry *dst)
{
	skb_dst_drop(skb);
	skb_dst_set(skb, dst);
}

/* The new route's device may want a longer header. */
RCT int rct_skb_room_for_link(struct sk_buff *skb)
{
	unsigned int wanted = skb_dst(skb)->dev->hard_header_len;

	return skb_headroom(skb) < wanted ?
	       pskb_expand_head(skb, wanted - skb_headroom(skb), 0, GFP_ATOMIC) : 0;
}
