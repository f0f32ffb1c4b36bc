/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Just enough of a kernel to compile net/netfilter/nf_conntrack_proto_tcp.c as a program.
 * The file itself is read from a kernel source tree when the comparison is built.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <linux/types.h>
#include <linux/tcp.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef int32_t s32;
typedef uint64_t u64;

#define HZ 250
#define IS_ENABLED(x) 0
#define __cold
#define noinline
#define __read_mostly
#define fallthrough __attribute__((fallthrough))
#define unlikely(x) (x)
#define READ_ONCE(x) (x)
#define WRITE_ONCE(x, v) ((x) = (v))
#define pr_debug(...) do { } while (0)
#define spin_lock_bh(x) do { } while (0)
#define spin_unlock_bh(x) do { } while (0)
#define BIT(n) (1UL << (n))
#define test_bit(n, p) (!!(*(p) & BIT(n)))
#define set_bit(n, p) ((void)(*(p) |= BIT(n)))

#define TCPHDR_FIN 0x01
#define TCPHDR_SYN 0x02
#define TCPHDR_RST 0x04
#define TCPHDR_PSH 0x08
#define TCPHDR_ACK 0x10
#define TCPHDR_URG 0x20
#define TCPHDR_ECE 0x40
#define TCPHDR_CWR 0x80
#define tcp_flag_byte(th) (((const u8 *)(th))[13])

#define TCPOPT_NOP 1
#define TCPOPT_EOL 0
#define TCPOPT_WINDOW 3
#define TCPOPT_SACK_PERM 4
#define TCPOPT_SACK 5
#define TCPOPT_TIMESTAMP 8
#define TCPOLEN_WINDOW 3
#define TCPOLEN_SACK_PERM 2
#define TCPOLEN_TIMESTAMP 10
#define TCPOLEN_TSTAMP_ALIGNED 12
#define TCPOLEN_SACK_BASE 2
#define TCPOLEN_SACK_PERBLOCK 8
#define TCP_MAX_WSCALE 14U

#define NF_DROP 0
#define NF_ACCEPT 1
#define NF_REPEAT 4
#define NF_INET_PRE_ROUTING 0
enum ip_conntrack_dir { IP_CT_DIR_ORIGINAL, IP_CT_DIR_REPLY };
enum ip_conntrack_info { IP_CT_ESTABLISHED, IP_CT_RELATED, IP_CT_NEW, IP_CT_IS_REPLY };
#define CTINFO2DIR(i) ((i) >= IP_CT_IS_REPLY ? IP_CT_DIR_REPLY : IP_CT_DIR_ORIGINAL)
enum { IPCT_ASSURED = 4, IPCT_PROTOINFO = 5 };
enum {
	IPS_SEEN_REPLY_BIT = 1, IPS_ASSURED_BIT = 2, IPS_CONFIRMED_BIT = 3,
	IPS_FIXED_TIMEOUT_BIT = 10, IPS_OFFLOAD_BIT = 14,
};

#include "track.h" /* the kernel's, made by build.sh */

struct nf_tcp_net {
	unsigned int timeouts[TCP_CONNTRACK_TIMEOUT_MAX];
	u8 tcp_loose, tcp_be_liberal, tcp_max_retrans, tcp_ignore_invalid_rst;
};
struct net { struct { u8 sysctl_checksum; struct nf_tcp_net tcp; } ct; };
struct nf_conn {
	int lock;
	u32 timeout;
	unsigned long status;
	union { struct ip_ct_tcp tcp; } proto;
	/* What the tracker did, for the driver. */
	u32 events, refreshed, refresh_to, accounted, kills;
};
struct nf_hook_state { struct net *net; int hook, pf; };
struct sk_buff { unsigned int len; const u8 *data; };
struct seq_file;
struct nf_conntrack_l4proto {
	u8 l4proto;
	bool (*can_early_drop)(const struct nf_conn *ct);
};

extern struct net the_net;
extern u32 jiffies_now;
extern s32 seq_offset;
extern int synproxy, kill_lost;
extern const char *logged[4];
extern u32 logged_value[4];
extern int logged_n;
#define nfct_time_stamp jiffies_now
#define nf_ct_net(ct) (&the_net)
#define nf_tcp_pernet(net) (&(net)->ct.tcp)
#define nf_ct_timeout_lookup(ct) ((unsigned int *)NULL)
#define nf_ct_is_confirmed(ct) test_bit(IPS_CONFIRMED_BIT, &(ct)->status)
#define nfct_synproxy(ct) synproxy
#define nf_checksum(...) 0

static inline s32 nf_ct_seq_offset(const struct nf_conn *ct, int dir, u32 seq)
{
	(void)ct; (void)dir; (void)seq;
	return seq_offset;
}
static inline const void *skb_header_pointer(const struct sk_buff *skb, int off, int len, void *buf)
{
	(void)buf;
	return (int)skb->len - off < len ? NULL : skb->data + off;
}
static inline u32 get_unaligned_be32(const void *p)
{
	const u8 *b = p;

	return (u32)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}
static inline bool before(u32 a, u32 b) { return (s32)(a - b) < 0; }
#define after(a, b) before(b, a)
static inline u32 nf_ct_expires(const struct nf_conn *ct)
{
	s32 left = ct->timeout - jiffies_now;

	return left > 0 ? left : 0;
}
static inline bool nf_conntrack_tcp_established(const struct nf_conn *ct)
{
	return ct->proto.tcp.state == TCP_CONNTRACK_ESTABLISHED &&
	       test_bit(IPS_ASSURED_BIT, &ct->status);
}
static inline void note(const char *fmt, u32 value)
{
	if (logged_n < 4) {
		logged[logged_n] = fmt;
		logged_value[logged_n++] = value;
	}
}
#define VALUE(x, ...) (u32)(uintptr_t)(x)
#define nf_ct_l4proto_log_invalid(skb, ct, state, fmt, ...) note(fmt, VALUE(__VA_ARGS__ + 0, 0))
#define nf_l4proto_log_invalid(skb, state, proto, fmt, msg) note(msg, 0)
#define nf_conntrack_event_cache(event, ct) ((ct)->events |= 1u << (event))
static inline bool nf_ct_kill(struct nf_conn *ct) { ct->kills++; return !kill_lost; }
static inline void nf_ct_kill_acct(struct nf_conn *ct, int ctinfo, const struct sk_buff *skb)
{
	(void)ctinfo; (void)skb;
	ct->kills++;
	ct->accounted++;
}
static inline void nf_ct_refresh_acct(struct nf_conn *ct, int ctinfo, const struct sk_buff *skb,
				      u32 timeout)
{
	(void)ctinfo; (void)skb;
	ct->accounted++;
	ct->refreshed = 1;
	ct->refresh_to = timeout;
	if (!test_bit(IPS_FIXED_TIMEOUT_BIT, &ct->status))
		ct->timeout = timeout + (nf_ct_is_confirmed(ct) ? jiffies_now : 0);
}
int nf_conntrack_tcp_packet(struct nf_conn *ct, struct sk_buff *skb, unsigned int dataoff,
			    enum ip_conntrack_info ctinfo, const struct nf_hook_state *state);
void nf_conntrack_tcp_set_closing(struct nf_conn *ct);
void nf_conntrack_tcp_init_net(struct net *net);
