// SPDX-License-Identifier: GPL-2.0
/*
 * Runs segments through the kernel's TCP tracker. Reads records from standard input, writes one
 * answer for each to standard output; both are fixed-size, native-endian. tests/against_c.rs holds
 * the other end and compares.
 */
#include "shim.h"

struct net the_net;
u32 jiffies_now;
s32 seq_offset;
int synproxy, kill_lost;
const char *logged[4];
u32 logged_value[4];
int logged_n;

struct question {
	u32 fresh;		/* forget the entry first */
	u32 reply;		/* direction */
	u32 now;
	s32 offset;
	u32 payload_len;
	u32 fixed_timeout, synproxy;
	u32 loose, liberal, ignore_invalid_rst, max_retrans;
	u32 unack;		/* its timeout */
	u8 header[60];
};

struct answer {
	s32 verdict;
	u32 status, timeout, events, refreshed, refresh_to, accounted, kills;
	u32 logged_n, value;
	u8 track[60];
	char message[72];
};

int main(void)
{
	struct nf_hook_state state = { .net = &the_net };
	struct question q;
	struct nf_conn ct;

	nf_conntrack_tcp_init_net(&the_net);
	memset(&ct, 0, sizeof(ct));
	while (fread(&q, sizeof(q), 1, stdin) == 1) {
		struct answer a;
		struct sk_buff skb = { .data = q.header };

		memset(&a, 0, sizeof(a));
		if (q.fresh)
			memset(&ct, 0, sizeof(ct));
		ct.events = ct.refreshed = ct.refresh_to = ct.accounted = ct.kills = 0;
		ct.status &= ~BIT(IPS_FIXED_TIMEOUT_BIT);
		if (q.fixed_timeout)
			ct.status |= BIT(IPS_FIXED_TIMEOUT_BIT);
		synproxy = q.synproxy;
		seq_offset = q.offset;
		jiffies_now = q.now;
		logged_n = 0;
		the_net.ct.tcp.tcp_loose = q.loose;
		the_net.ct.tcp.tcp_be_liberal = q.liberal;
		the_net.ct.tcp.tcp_ignore_invalid_rst = q.ignore_invalid_rst;
		the_net.ct.tcp.tcp_max_retrans = q.max_retrans;
		the_net.ct.tcp.timeouts[TCP_CONNTRACK_UNACK] = q.unack;
		skb.len = (q.header[12] >> 4) * 4 + q.payload_len;

		a.verdict = nf_conntrack_tcp_packet(&ct, &skb, 0,
						    q.reply ? IP_CT_IS_REPLY : IP_CT_ESTABLISHED,
						    &state);
		/* The part of the tracker's core that the next segment depends on. */
		if (a.verdict == NF_ACCEPT) {
			if (!nf_ct_is_confirmed(&ct)) {
				ct.timeout += jiffies_now;
				set_bit(IPS_CONFIRMED_BIT, &ct.status);
			}
			if (q.reply)
				set_bit(IPS_SEEN_REPLY_BIT, &ct.status);
		}
		a.status = ct.status;
		a.timeout = ct.timeout;
		a.events = ct.events;
		a.refreshed = ct.refreshed;
		a.refresh_to = ct.refresh_to;
		a.accounted = ct.accounted;
		a.kills = ct.kills;
		a.logged_n = logged_n;
		if (logged_n) {
			a.value = logged_value[0];
			strncpy(a.message, logged[0], sizeof(a.message) - 1);
		}
		memcpy(a.track, &ct.proto.tcp, sizeof(a.track));
		if (fwrite(&a, sizeof(a), 1, stdout) != 1)
			return 1;
	}
	return 0;
}
