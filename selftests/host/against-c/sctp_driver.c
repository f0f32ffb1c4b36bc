// SPDX-License-Identifier: GPL-2.0
/*
 * Runs packets through the kernel's SCTP tracker. Reads records from standard input, writes one
 * answer for each to standard output; both are fixed-size, native-endian.
 * tests/sctp_against_c.rs holds the other end and compares.
 */
#include "sctp_shim.h"

struct net the_net;
u32 logged_n;

struct question {
	u32 fresh;		/* forget the entry first */
	u32 reply;		/* direction */
	u32 len;
	u8 packet[116];
};

struct answer {
	s32 verdict;
	u32 status, events, refreshed, refresh_to, logged, state, tags[2];
	u8 rest[4];
};

int main(void)
{
	struct nf_hook_state state = { .net = &the_net, .hook = 1 };
	struct question q;
	struct nf_conn ct;

	nf_conntrack_sctp_init_net(&the_net);
	memset(&ct, 0, sizeof(ct));
	while (fread(&q, sizeof(q), 1, stdin) == 1) {
		struct sk_buff skb = { .data = q.packet, .len = q.len };
		struct ip_ct_sctp before;
		unsigned long status;
		struct answer a;

		memset(&a, 0, sizeof(a));
		if (q.fresh)
			memset(&ct, 0, sizeof(ct));
		before = ct.proto.sctp;
		status = ct.status;
		ct.events = ct.refreshed = ct.refresh_to = 0;
		logged_n = 0;
		a.verdict = nf_conntrack_sctp_packet(&ct, &skb, 0,
						     q.reply ? IP_CT_IS_REPLY : IP_CT_ESTABLISHED,
						     &state);
		if (a.verdict == NF_ACCEPT) {
			set_bit(IPS_CONFIRMED_BIT, &ct.status);
		} else {
			/* The named difference: an INVALID packet changes nothing. */
			ct.proto.sctp = before;
			ct.status = status;
			ct.events = 0;
		}
		a.status = ct.status;
		a.events = ct.events;
		a.refreshed = ct.refreshed;
		a.refresh_to = ct.refresh_to;
		a.logged = logged_n;
		a.state = ct.proto.sctp.state;
		a.tags[0] = ntohl(ct.proto.sctp.vtag[0]);
		a.tags[1] = ntohl(ct.proto.sctp.vtag[1]);
		if (fwrite(&a, sizeof(a), 1, stdout) != 1)
			return 1;
	}
	return 0;
}
