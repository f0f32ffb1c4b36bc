// SPDX-License-Identifier: GPL-2.0
/*
 * Glue: C that takes more than an expression, each function with the reason why it is C. The rest
 * is in shims.h.
 */

/*
 * The three below copy what adoption reads of a TCP socket, and decide nothing. They are in C
 * because the kernel's structures are opaque to Rust: their layout would take in most of the
 * network stack, and some of the fields are bit fields. One function for a structure instead of a
 * shim for each of 29 fields keeps the list of fields in one place. Fields that the socket's lock
 * does not protect are read once, each by itself.
 */

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
