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

RCT bool rct_skb_is_loopback(const struct sk_buff *skb)
{
	return nf_is_loopback_packet(skb);
}

RCT bool rct_skb_is_gso(const struct sk_buff *skb)
{
	return skb_is_gso(skb);
}

/* changing packets */

RCT u8 rct_skb_ip_summed(const struct sk_buff *skb)
{
	return skb->ip_summed;
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

RCT void rct_skb_put(struct sk_buff *skb, unsigned int more)
{
	skb_put(skb, more);
}

RCT void rct_skb_trim(struct sk_buff *skb, unsigned int len)
{
	__skb_trim(skb, len);
}

RCT void rct_skb_dst_drop(struct sk_buff *skb)
{
	skb_dst_drop(skb);
}

RCT void rct_skb_orphan(struct sk_buff *skb)
{
	skb_orphan(skb);
}

RCT u16 rct_skb_protocol(const struct sk_buff *skb)
{
	return ntohs(skb_protocol(skb, true));
}

RCT struct net_device *rct_skb_dev(const struct sk_buff *skb)
{
	return skb->dev;
}

RCT bool rct_skb_cloned(const struct sk_buff *skb)
{
	return skb_cloned(skb);
}

RCT unsigned int rct_skb_headroom(const struct sk_buff *skb)
{
	return skb_headroom(skb);
}

RCT void rct_skb_set_ip_summed(struct sk_buff *skb, u8 ip_summed)
{
	skb->ip_summed = ip_summed;
}

RCT void rct_skb_set_csum_start(struct sk_buff *skb, u16 start)
{
	skb->csum_start = start;
}

RCT void rct_skb_set_csum_offset(struct sk_buff *skb, u16 offset)
{
	skb->csum_offset = offset;
}

RCT struct sock *rct_skb_sk(const struct sk_buff *skb)
{
	return skb->sk;
}

RCT bool rct_sock_is_transparent(const struct sock *sk)
{
	return inet_sk_transparent(sk);
}
