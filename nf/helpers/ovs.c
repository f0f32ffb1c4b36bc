// SPDX-License-Identifier: GPL-2.0

/* what comes from below the IP layer, and the bridge's module */

RCT unsigned int rct_ipv4_total_len(const struct sk_buff *skb)
{
	return skb_ip_totlen(skb);
}

RCT int rct_ipv6_total_len(struct sk_buff *skb, unsigned int *len)
{
	int err = 0;

	*len = skb_ipv6_payload_len(skb);
	if (ipv6_hdr(skb)->nexthdr == NEXTHDR_HOP)
		err = nf_ip6_check_hbh_len(skb, len);
	*len += sizeof(struct ipv6hdr);
	return err;
}

RCT int rct_pskb_trim(struct sk_buff *skb, unsigned int len)
{
	return pskb_trim_rcsum(skb, len);
}

RCT int rct_ipv4_gather(struct net *net, struct sk_buff *skb, u16 zone, u16 *mru)
{
	int err;

	memset(IPCB(skb), 0, sizeof(*IPCB(skb)));
	local_bh_disable();
	err = ip_defrag(net, skb, IP_DEFRAG_CONNTRACK_IN + zone);
	local_bh_enable();
	if (!err)
		*mru = IPCB(skb)->frag_max_size;
	return err;
}

RCT int rct_ipv6_gather(struct net *net, struct sk_buff *skb, u16 zone, u8 *protocol, u16 *mru)
{
	int err;

	memset(IP6CB(skb), 0, sizeof(*IP6CB(skb)));
	err = nf_ct_frag6_gather(net, skb, IP6_DEFRAG_CONNTRACK_IN + zone);
	if (!err) {
		*protocol = ipv6_hdr(skb)->nexthdr;
		*mru = IP6CB(skb)->frag_max_size;
	}
	return err;
}

RCT void rct_skb_now_whole(struct sk_buff *skb)
{
	skb_clear_hash(skb);
	skb->ignore_df = 1;
}

RCT void rct_kfree_skb(struct sk_buff *skb)
{
	kfree_skb(skb);
}

RCT void rct_request_bridge_module(void)
{
	request_module("nf_conntrack_bridge");
}
