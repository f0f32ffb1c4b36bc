// SPDX-License-Identifier: GPL-2.0

/* what comes from below the IP layer, and the bridge's module */

RCT unsigned int rct_ipv4_total_len(const struct sk_buff *skb)
{
	return skb_ip_totlen(skb);
}

RCT unsigned int rct_ipv6_payload_len(const struct sk_buff *skb)
{
	return skb_ipv6_payload_len(skb);
}

RCT u8 rct_ipv6_nexthdr(const struct sk_buff *skb)
{
	return ipv6_hdr(skb)->nexthdr;
}

RCT int rct_pskb_trim(struct sk_buff *skb, unsigned int len)
{
	return pskb_trim_rcsum(skb, len);
}

RCT void rct_ipv4_clear_cb(struct sk_buff *skb)
{
	memset(IPCB(skb), 0, sizeof(*IPCB(skb)));
}

RCT u16 rct_ipv4_frag_max_size(const struct sk_buff *skb)
{
	return IPCB(skb)->frag_max_size;
}

RCT void rct_ipv6_clear_cb(struct sk_buff *skb)
{
	memset(IP6CB(skb), 0, sizeof(*IP6CB(skb)));
}

RCT u16 rct_ipv6_frag_max_size(const struct sk_buff *skb)
{
	return IP6CB(skb)->frag_max_size;
}

RCT void rct_skb_clear_hash(struct sk_buff *skb)
{
	skb_clear_hash(skb);
}

RCT void rct_skb_set_ignore_df(struct sk_buff *skb)
{
	skb->ignore_df = 1;
}

RCT void rct_kfree_skb(struct sk_buff *skb)
{
	kfree_skb(skb);
}
