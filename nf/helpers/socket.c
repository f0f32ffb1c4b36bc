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

/* Bound, neither connected nor listening, and takes packets of the family. */
RCT bool rct_sock_is_idle(const struct sock *sk, u16 family)
{
	return READ_ONCE(sk->sk_state) == TCP_CLOSE &&
	       (sk->sk_family == family || (sk->sk_family == AF_INET6 && !ipv6_only_sock(sk)));
}

RCT void rct_tcp_each_bound(const struct net *net, u16 port,
			    bool (*visit)(struct sock *sk, void *context), void *context)
{
	struct inet_hashinfo *tables = net->ipv4.tcp_death_row.hashinfo;
	struct inet_bind_hashbucket *head =
		&tables->bhash[inet_bhashfn(net, port, tables->bhash_size)];
	struct inet_bind2_bucket *place;
	struct inet_bind_bucket *bucket;
	struct sock *sk;

	spin_lock_bh(&head->lock);
	inet_bind_bucket_for_each(bucket, &head->chain) {
		if (bucket->port != port || !net_eq(ib_net(bucket), net))
			continue;
		hlist_for_each_entry(place, &bucket->bhash2, bhash_node)
			sk_for_each_bound(sk, &place->owners)
				if (!visit(sk, context))
					goto out;
	}
out:
	spin_unlock_bh(&head->lock);
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
	return &table->hash[bucket].lock;
}

RCT struct sock *rct_udp_first(struct udp_table *table, unsigned int bucket)
{
	return sk_head(&table->hash[bucket].head);
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

RCT unsigned int rct_sock_state(const struct sock *sk)
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

/* What every kind of socket has. */
RCT void rct_sock_read(const struct sock *sk, struct rct_socket *to)
{
	to->family = sk->sk_family;
	to->state = READ_ONCE(sk->sk_state);
	to->local_port = READ_ONCE(sk->sk_num);
	to->remote_port = ntohs(READ_ONCE(sk->sk_dport));
	if (sk->sk_family == AF_INET6) {
		memcpy(to->local, &sk->sk_v6_rcv_saddr, sizeof(to->local));
		memcpy(to->remote, &sk->sk_v6_daddr, sizeof(to->remote));
	} else {
		memcpy(to->local, &sk->sk_rcv_saddr, sizeof(sk->sk_rcv_saddr));
		memcpy(to->remote, &sk->sk_daddr, sizeof(sk->sk_daddr));
	}
}

RCT void rct_full_sock_read(const struct sock *sk, struct rct_socket *to)
{
	to->protocol = min_t(u16, READ_ONCE(sk->sk_protocol), U8_MAX);
	to->heard = READ_ONCE(sk->sk_incoming_cpu) >= 0;
	to->busy = sock_owned_by_user_nocheck(sk);
}

/* The queue of what came out of order is only looked into while it stands still. */
RCT void rct_tcp_sock_read(const struct sock *sk, struct rct_socket *to)
{
	const struct inet_connection_sock *icsk = inet_csk(sk);
	const struct tcp_sock *tp = tcp_sk(sk);
	u32 now = tcp_jiffies32;

	to->snd_una = READ_ONCE(tp->snd_una);
	to->snd_wnd = READ_ONCE(tp->snd_wnd);
	to->max_window = READ_ONCE(tp->max_window);
	to->rcv_wup = READ_ONCE(tp->rcv_wup);
	to->rcv_wnd = READ_ONCE(tp->rcv_wnd);
	to->rcv_nxt = READ_ONCE(tp->rcv_nxt);
	to->rcv_edge = READ_ONCE(tp->rcv_mwnd_seq);
	to->snd_nxt = READ_ONCE(tp->snd_nxt);
	to->write_seq = READ_ONCE(tp->write_seq);
	to->rcv_last = to->busy || RB_EMPTY_ROOT(&tp->out_of_order_queue) ?
		       to->rcv_nxt : TCP_SKB_CB(tp->ooo_last_skb)->end_seq;
	to->idle = min3(now - READ_ONCE(tp->lsndtime), now - READ_ONCE(tp->rcv_tstamp),
			now - READ_ONCE(icsk->icsk_ack.lrcvtime));
	to->snd_scale = tp->rx_opt.snd_wscale;
	to->rcv_scale = tp->rx_opt.rcv_wscale;
	to->has_scale = tp->rx_opt.wscale_ok;
	to->has_sack = tp->rx_opt.sack_ok != 0;
}

/* What is left of a socket: of the other side's windows, nothing. */
RCT void rct_tcp_tw_read(const struct sock *sk, struct rct_socket *to)
{
	const struct inet_timewait_sock *tw = inet_twsk(sk);
	const struct tcp_timewait_sock *tcptw = tcp_twsk(sk);
	long left = READ_ONCE(tw->tw_timer.expires) - jiffies;

	to->protocol = IPPROTO_TCP;
	to->state = READ_ONCE(tw->tw_substate);
	to->snd_una = to->snd_nxt = to->write_seq = READ_ONCE(tcptw->tw_snd_nxt);
	to->rcv_nxt = to->rcv_last = to->rcv_wup = READ_ONCE(tcptw->tw_rcv_nxt);
	to->rcv_wnd = READ_ONCE(tcptw->tw_rcv_wnd);
	to->rcv_edge = to->rcv_nxt + to->rcv_wnd;
	to->idle = TCP_TIMEWAIT_LEN - clamp(left, 0L, (long)TCP_TIMEWAIT_LEN);
	to->snd_scale = TCP_MAX_WSCALE;
	to->rcv_scale = tw->tw_rcv_wscale;
	to->has_scale = true;
	to->has_sack = true;
}

/* A SYN that was answered. */
RCT void rct_tcp_request_read(const struct sock *sk, struct rct_socket *to)
{
	const struct request_sock *req = inet_reqsk(sk);
	const struct inet_request_sock *ireq = inet_rsk(req);

	to->protocol = IPPROTO_TCP;
	to->snd_una = tcp_rsk(req)->snt_isn;
	to->snd_nxt = to->write_seq = to->snd_una + 1;
	to->rcv_nxt = to->rcv_last = to->rcv_wup = READ_ONCE(tcp_rsk(req)->rcv_nxt);
	to->rcv_wnd = READ_ONCE(req->rsk_rcv_wnd);
	to->rcv_edge = to->rcv_nxt + to->rcv_wnd;
	to->snd_scale = ireq->snd_wscale;
	to->rcv_scale = ireq->rcv_wscale;
	to->has_scale = ireq->wscale_ok;
	to->has_sack = ireq->sack_ok;
}

RCT void rct_local_port_range(const struct net *net, u16 *low, u16 *high)
{
	int first, last;

	inet_get_local_port_range(net, &first, &last);
	*low = first;
	*high = last;
}

RCT void rct_sock_own(struct sock *sk)
{
	lock_sock(sk);
}

RCT void rct_sock_disown(struct sock *sk)
{
	release_sock(sk);
}

RCT u16 rct_sock_protocol(const struct sock *sk)
{
	return sk->sk_protocol;
}

RCT __be32 rct_sock_ipv4_peer(const struct sock *sk)
{
	return inet_sk(sk)->inet_daddr;
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
	return inet_sk(sk)->inet_dport;
}

RCT __be32 rct_sock_flow_label(const struct sock *sk)
{
	return inet6_sk(sk)->flow_label & IPV6_FLOWINFO_MASK;
}

RCT u32 rct_sock_scope(const struct sock *sk, const struct in6_addr *address)
{
	return ipv6_iface_scope_id(address, sk->sk_bound_dev_if);
}
