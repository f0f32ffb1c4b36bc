// SPDX-License-Identifier: GPL-2.0

/* packet buffers */

RCT unsigned long rct_skb_nfct(const struct sk_buff *skb)
{
	return skb_get_nfct(skb);
}

RCT void rct_skb_set_nfct(struct sk_buff *skb, unsigned long nfct)
{
	skb_set_nfct(skb, nfct);
}

/* The kernel's own setter warns when it is to write over an entry. */
RCT void rct_skb_clear_nfct(struct sk_buff *skb)
{
	skb->_nfct = 0;
}

RCT unsigned int rct_skb_len(const struct sk_buff *skb)
{
	return skb->len;
}

RCT unsigned int rct_skb_headlen(const struct sk_buff *skb)
{
	return skb_headlen(skb);
}

RCT const unsigned char *rct_skb_data(const struct sk_buff *skb)
{
	return skb->data;
}

RCT int rct_skb_network_offset(const struct sk_buff *skb)
{
	return skb_network_offset(skb);
}

RCT u32 rct_skb_mark(const struct sk_buff *skb)
{
	return skb->mark;
}

RCT struct net *rct_skb_dev_net(const struct sk_buff *skb)
{
	return skb->dev ? dev_net(skb->dev) : NULL;
}

RCT bool rct_skb_is_loopback(const struct sk_buff *skb)
{
	return nf_is_loopback_packet(skb);
}

RCT bool rct_skb_is_gso(const struct sk_buff *skb)
{
	return skb_is_gso(skb);
}

/* changing packets */

/* Whether skb_ensure_writable() would find nothing to do, in the common case. */
RCT bool rct_skb_is_writable(const struct sk_buff *skb, unsigned int len)
{
	return len <= skb_headlen(skb) && !skb_cloned(skb);
}

RCT u8 rct_skb_ip_summed(const struct sk_buff *skb)
{
	return skb->ip_summed;
}

RCT void rct_skb_set_checksum_none(struct sk_buff *skb)
{
	skb->ip_summed = CHECKSUM_NONE;
}

RCT void rct_skb_set_checksum_partial(struct sk_buff *skb, unsigned int start,
				      unsigned int field)
{
	skb->ip_summed = CHECKSUM_PARTIAL;
	skb->csum_start = skb_headroom(skb) + start;
	skb->csum_offset = field;
}

RCT void rct_skb_sum_sub(struct sk_buff *skb, u32 less)
{
	skb->csum = csum_sub(skb->csum, (__force __wsum)less);
}

RCT u16 rct_skb_sum(const struct sk_buff *skb, unsigned int offset, unsigned int len)
{
	return (__force u16)~csum_fold(skb_checksum(skb, offset, len, 0));
}

RCT u32 rct_sctp_checksum(const struct sk_buff *skb, unsigned int offset)
{
	return (__force u32)sctp_compute_cksum(skb, offset);
}

RCT int rct_skb_tailroom(const struct sk_buff *skb)
{
	return skb_tailroom(skb);
}

RCT int rct_skb_expand_tail(struct sk_buff *skb, unsigned int more)
{
	return pskb_expand_head(skb, 0, more, GFP_ATOMIC);
}

RCT void rct_skb_put(struct sk_buff *skb, unsigned int more)
{
	skb_put(skb, more);
}

RCT void rct_skb_trim(struct sk_buff *skb, unsigned int len)
{
	__skb_trim(skb, len);
}

RCT bool rct_skb_has_dst(const struct sk_buff *skb)
{
	return skb_dst(skb);
}

RCT void rct_skb_dst_drop(struct sk_buff *skb)
{
	skb_dst_drop(skb);
}

RCT void rct_skb_orphan(struct sk_buff *skb)
{
	skb_orphan(skb);
}

RCT bool rct_skb_has_demuxed_socket(const struct sk_buff *skb)
{
	return skb->sk && !inet_sk_transparent(skb->sk);
}

RCT u16 rct_skb_socket_peer_port(const struct sk_buff *skb)
{
	return (__force u16)skb->sk->sk_dport;
}

RCT u16 rct_skb_protocol(const struct sk_buff *skb)
{
	return ntohs(skb_protocol(skb, true));
}

RCT struct net_device *rct_skb_dev(const struct sk_buff *skb)
{
	return skb->dev;
}
