// SPDX-License-Identifier: GPL-2.0

/* sockets */

RCT bool rct_port_is_reserved(const struct net *net, u16 port)
{
	return inet_is_local_reserved_port(net, port);
}

RCT bool rct_ipv4_is_local(struct net *net, __be32 address)
{
	return inet_addr_type(net, address) == RTN_LOCAL;
}

RCT bool rct_ipv6_is_local(struct net *net, const struct in6_addr *address)
{
	return ipv6_chk_addr(net, address, NULL, 0);
}

RCT struct sock *rct_tcp4_connected(const struct net *net, __be32 remote, __be16 remote_port,
				    __be32 local, u16 local_port)
{
	return __inet_lookup_established(net, remote, remote_port, local, local_port, 0, 0);
}

RCT struct sock *rct_tcp4_listener(const struct net *net, __be32 remote, __be16 remote_port,
				   __be32 local, u16 local_port, int device)
{
	return __inet_lookup_listener(net, NULL, 0, remote, remote_port, local, local_port,
				      device, 0);
}

RCT struct sock *rct_tcp6_connected(const struct net *net, const struct in6_addr *remote,
				    __be16 remote_port, const struct in6_addr *local,
				    u16 local_port)
{
	return __inet6_lookup_established(net, remote, remote_port, local, local_port, 0, 0);
}

RCT struct sock *rct_tcp6_listener(const struct net *net, const struct in6_addr *remote,
				   __be16 remote_port, const struct in6_addr *local,
				   u16 local_port, int device)
{
	return inet6_lookup_listener(net, NULL, 0, remote, remote_port, local, local_port,
				     device, 0);
}

RCT struct sock *rct_udp4_receiver(const struct net *net, __be32 remote, __be16 remote_port,
				   __be32 local, __be16 local_port, int device)
{
	return __udp4_lib_lookup(net, remote, remote_port, local, local_port, device, 0, NULL);
}

RCT struct sock *rct_udp6_receiver(const struct net *net, const struct in6_addr *remote,
				   __be16 remote_port, const struct in6_addr *local,
				   __be16 local_port, int device)
{
	return __udp6_lib_lookup(net, remote, remote_port, local, local_port, device, 0, NULL);
}

RCT u16 rct_sock_port(const struct sock *sk)
{
	return READ_ONCE(sk->sk_num);
}

RCT __be32 rct_sock_ipv4(const struct sock *sk)
{
	return READ_ONCE(sk->sk_rcv_saddr);
}

RCT struct in6_addr rct_sock_ipv6(const struct sock *sk)
{
	return sk->sk_v6_rcv_saddr;
}

/* The hash table of bound TCP sockets: a chain has buckets, a bucket the places of one port. */

RCT struct inet_bind_hashbucket *rct_bind_chain(const struct net *net, u16 port)
{
	return &net->ipv4.tcp_death_row.hashinfo->bhash[
		inet_bhashfn(net, port, net->ipv4.tcp_death_row.hashinfo->bhash_size)];
}

RCT spinlock_t *rct_bind_lock(struct inet_bind_hashbucket *chain)
{
	return &chain->lock;
}

RCT struct inet_bind_bucket *rct_bind_first(struct inet_bind_hashbucket *chain)
{
	return hlist_entry_safe(chain->chain.first, struct inet_bind_bucket, node);
}

RCT struct inet_bind_bucket *rct_bind_next(struct inet_bind_bucket *bucket)
{
	return hlist_entry_safe(bucket->node.next, struct inet_bind_bucket, node);
}

RCT struct net *rct_bind_net(const struct inet_bind_bucket *bucket)
{
	return ib_net(bucket);
}

RCT u16 rct_bind_port(const struct inet_bind_bucket *bucket)
{
	return bucket->port;
}

RCT struct inet_bind2_bucket *rct_bind2_first(struct inet_bind_bucket *bucket)
{
	return hlist_entry_safe(bucket->bhash2.first, struct inet_bind2_bucket, bhash_node);
}

RCT struct inet_bind2_bucket *rct_bind2_next(struct inet_bind2_bucket *place)
{
	return hlist_entry_safe(place->bhash_node.next, struct inet_bind2_bucket, bhash_node);
}

RCT struct sock *rct_bind2_first_sock(struct inet_bind2_bucket *place)
{
	return hlist_entry_safe(place->owners.first, struct sock, sk_bind_node);
}

RCT struct sock *rct_bind2_next_sock(struct sock *sk)
{
	return hlist_entry_safe(sk->sk_bind_node.next, struct sock, sk_bind_node);
}

/* tables of sockets */

RCT struct inet_hashinfo *rct_tcp_table(struct net *net)
{
	return net->ipv4.tcp_death_row.hashinfo;
}

RCT unsigned int rct_tcp_buckets(const struct inet_hashinfo *table)
{
	return table->ehash_mask + 1;
}

RCT spinlock_t *rct_tcp_lock(struct inet_hashinfo *table, unsigned int bucket)
{
	return inet_ehash_lockp(table, bucket);
}

RCT struct sock *rct_tcp_first(struct inet_hashinfo *table, unsigned int bucket)
{
	return sk_nulls_head(&inet_ehash_bucket(table, bucket)->chain);
}

RCT struct sock *rct_tcp_next(struct sock *sk)
{
	return sk_nulls_next(sk);
}

RCT struct udp_table *rct_udp_table(struct net *net)
{
	return net->ipv4.udp_table;
}

RCT unsigned int rct_udp_buckets(const struct udp_table *table)
{
	return table->mask + 1;
}

RCT spinlock_t *rct_udp_lock(struct udp_table *table, unsigned int bucket)
{
	return &table->hash[bucket & table->mask].lock;
}

RCT struct sock *rct_udp_first(struct udp_table *table, unsigned int bucket)
{
	return sk_head(&table->hash[bucket & table->mask].head);
}

RCT struct sock *rct_udp_next(struct sock *sk)
{
	return sk_next(sk);
}

/* one socket */

RCT struct net *rct_sock_net(const struct sock *sk)
{
	return sock_net(sk);
}

RCT bool rct_sock_get(struct sock *sk)
{
	return refcount_inc_not_zero(&sk->sk_refcnt);
}

RCT u8 rct_sock_state(const struct sock *sk)
{
	return READ_ONCE(sk->sk_state);
}

RCT bool rct_sock_is_full(const struct sock *sk)
{
	return sk_fullsock(sk);
}

RCT spinlock_t *rct_sock_lock(struct sock *sk)
{
	return &sk->sk_lock.slock;
}

RCT unsigned int rct_sock_userlocks(const struct sock *sk)
{
	return READ_ONCE(sk->sk_userlocks);
}

RCT bool rct_tw_chose_port(const struct sock *sk)
{
	return inet_twsk(sk)->tw_connect_bind;
}

RCT int rct_sock_device(const struct sock *sk)
{
	return READ_ONCE(sk->sk_bound_dev_if);
}

RCT void rct_local_port_range(const struct net *net, int *low, int *high)
{
	inet_get_local_port_range(net, low, high);
}

RCT u16 rct_sock_family(const struct sock *sk)
{
	return sk->sk_family;
}

RCT bool rct_sock_is_ipv6_only(const struct sock *sk)
{
	return ipv6_only_sock(sk);
}

RCT bool rct_sock_is_owned(const struct sock *sk)
{
	return sock_owned_by_user_nocheck(sk);
}

/* The CPU of the last packet; there is none before the first one. */
RCT bool rct_sock_has_received(const struct sock *sk)
{
	return READ_ONCE(sk->sk_incoming_cpu) >= 0;
}

RCT bool rct_tcp_is_out_of_order(const struct sock *sk)
{
	return !RB_EMPTY_ROOT(&tcp_sk(sk)->out_of_order_queue);
}

RCT u32 rct_tcp_out_of_order_end(const struct sock *sk)
{
	return TCP_SKB_CB(tcp_sk(sk)->ooo_last_skb)->end_seq;
}

RCT void rct_tcp_sock_read(const struct sock *sk, struct rct_tcp_sock *to)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	to->snd_una = READ_ONCE(tp->snd_una);
	to->snd_wnd = READ_ONCE(tp->snd_wnd);
	to->max_window = READ_ONCE(tp->max_window);
	to->rcv_wup = READ_ONCE(tp->rcv_wup);
	to->rcv_wnd = READ_ONCE(tp->rcv_wnd);
	to->rcv_nxt = READ_ONCE(tp->rcv_nxt);
	to->rcv_mwnd_seq = READ_ONCE(tp->rcv_mwnd_seq);
	to->snd_nxt = READ_ONCE(tp->snd_nxt);
	to->write_seq = READ_ONCE(tp->write_seq);
	to->lsndtime = READ_ONCE(tp->lsndtime);
	to->rcv_tstamp = READ_ONCE(tp->rcv_tstamp);
	to->lrcvtime = READ_ONCE(inet_csk(sk)->icsk_ack.lrcvtime);
	to->snd_wscale = tp->rx_opt.snd_wscale;
	to->rcv_wscale = tp->rx_opt.rcv_wscale;
	to->wscale_ok = tp->rx_opt.wscale_ok;
	to->sack_ok = tp->rx_opt.sack_ok != 0;
}

RCT void rct_tcp_tw_read(const struct sock *sk, struct rct_tcp_timewait *to)
{
	to->expires = READ_ONCE(inet_twsk(sk)->tw_timer.expires);
	to->snd_nxt = READ_ONCE(tcp_twsk(sk)->tw_snd_nxt);
	to->rcv_nxt = READ_ONCE(tcp_twsk(sk)->tw_rcv_nxt);
	to->rcv_wnd = READ_ONCE(tcp_twsk(sk)->tw_rcv_wnd);
	to->rcv_wscale = inet_twsk(sk)->tw_rcv_wscale;
	to->substate = READ_ONCE(inet_twsk(sk)->tw_substate);
}

RCT void rct_tcp_request_read(const struct sock *sk, struct rct_tcp_request *to)
{
	const struct request_sock *req = inet_reqsk(sk);

	to->snt_isn = tcp_rsk(req)->snt_isn;
	to->rcv_nxt = READ_ONCE(tcp_rsk(req)->rcv_nxt);
	to->rcv_wnd = READ_ONCE(req->rsk_rcv_wnd);
	to->snd_wscale = inet_rsk(req)->snd_wscale;
	to->rcv_wscale = inet_rsk(req)->rcv_wscale;
	to->wscale_ok = inet_rsk(req)->wscale_ok;
	to->sack_ok = inet_rsk(req)->sack_ok;
}

RCT void rct_lock_sock(struct sock *sk)
{
	lock_sock(sk);
}

RCT void rct_release_sock(struct sock *sk)
{
	release_sock(sk);
}

RCT u16 rct_sock_protocol(const struct sock *sk)
{
	return sk->sk_protocol;
}

RCT __be32 rct_sock_ipv4_peer(const struct sock *sk)
{
	return READ_ONCE(sk->sk_daddr);
}

RCT struct in6_addr rct_sock_ipv6_peer(const struct sock *sk)
{
	return sk->sk_v6_daddr;
}

RCT __be16 rct_sock_own_port(const struct sock *sk)
{
	return inet_sk(sk)->inet_sport;
}

RCT __be16 rct_sock_peer_port(const struct sock *sk)
{
	return READ_ONCE(sk->sk_dport);
}

RCT __be32 rct_sock_flow_label(const struct sock *sk)
{
	return inet6_sk(sk)->flow_label & IPV6_FLOWINFO_MASK;
}

RCT u32 rct_sock_scope(const struct sock *sk, const struct in6_addr *address)
{
	return ipv6_iface_scope_id(address, sk->sk_bound_dev_if);
}
