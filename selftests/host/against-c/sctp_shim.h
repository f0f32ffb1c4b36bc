/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Just enough of a kernel to compile net/netfilter/nf_conntrack_proto_sctp.c as a program.
 * The file itself is read from a kernel source tree when the comparison is built.
 */
#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef int32_t s32;
typedef uint32_t u_int32_t;
typedef uint16_t __be16;
typedef uint32_t __be32;
typedef uint32_t __le32;

#define HZ 250
#define IS_ENABLED(x) 0
#define noinline
#define pr_debug(...) do { } while (0)
#define spin_lock_bh(x) do { } while (0)
#define spin_unlock_bh(x) do { } while (0)
#define secs_to_jiffies(s) ((s) * HZ)
#define test_bit(n, p) (!!((p)[(n) / 64] & (1UL << ((n) % 64))))
#define set_bit(n, p) ((void)((p)[(n) / 64] |= 1UL << ((n) % 64)))

#define NF_ACCEPT 1
#define NF_INET_PRE_ROUTING 0
#define CHECKSUM_NONE 0
#define CHECKSUM_UNNECESSARY 1
enum ip_conntrack_dir { IP_CT_DIR_ORIGINAL, IP_CT_DIR_REPLY, IP_CT_DIR_MAX };
enum ip_conntrack_info { IP_CT_ESTABLISHED, IP_CT_RELATED, IP_CT_NEW, IP_CT_IS_REPLY };
#define CTINFO2DIR(i) ((i) >= IP_CT_IS_REPLY ? IP_CT_DIR_REPLY : IP_CT_DIR_ORIGINAL)
enum { IPCT_ASSURED = 4, IPCT_PROTOINFO = 5 };
enum { IPS_ASSURED_BIT = 2, IPS_CONFIRMED_BIT = 3 };

/* RFC 9260, section 3 */
struct sctphdr { __be16 source, dest; __be32 vtag; __le32 checksum; };
struct sctp_chunkhdr { u8 type, flags; __be16 length; };
struct sctp_inithdr {
	__be32 init_tag, a_rwnd;
	__be16 num_outbound_streams, num_inbound_streams;
	__be32 initial_tsn;
};
enum {
	SCTP_CID_DATA, SCTP_CID_INIT, SCTP_CID_INIT_ACK, SCTP_CID_SACK, SCTP_CID_HEARTBEAT,
	SCTP_CID_HEARTBEAT_ACK, SCTP_CID_ABORT, SCTP_CID_SHUTDOWN, SCTP_CID_SHUTDOWN_ACK,
	SCTP_CID_ERROR, SCTP_CID_COOKIE_ECHO, SCTP_CID_COOKIE_ACK, SCTP_CID_SHUTDOWN_COMPLETE = 14,
};
#define SCTP_CHUNK_FLAG_T 1

#include "sctp_track.h" /* the kernel's, made by build.sh */

struct nf_sctp_net { unsigned int timeouts[SCTP_CONNTRACK_MAX]; };
struct net { struct { u8 sysctl_checksum; struct nf_sctp_net sctp; } ct; };
struct nf_conn {
	int lock;
	unsigned long status;
	union { struct ip_ct_sctp sctp; } proto;
	/* What the tracker did, for the driver. */
	u32 events, refreshed, refresh_to;
};
struct nf_hook_state { struct net *net; int hook; };
struct sk_buff { unsigned int len; const u8 *data; int ip_summed; };
struct nf_conntrack_l4proto {
	u8 l4proto;
	bool (*can_early_drop)(const struct nf_conn *ct);
};

extern struct net the_net;
extern u32 logged_n;
#define nf_ct_net(ct) (&the_net)
#define nf_sctp_pernet(net) (&(net)->ct.sctp)
#define nf_ct_timeout_lookup(ct) ((unsigned int *)NULL)
#define nf_ct_is_confirmed(ct) test_bit(IPS_CONFIRMED_BIT, &(ct)->status)
#define skb_ensure_writable(skb, len) 0
#define sctp_compute_cksum(skb, offset) 0

static inline const void *skb_header_pointer(const struct sk_buff *skb, u32 off, u32 len, void *buf)
{
	(void)buf;
	return off > skb->len || skb->len - off < len ? NULL : skb->data + off;
}
static inline bool test_and_set_bit(int n, unsigned long *p)
{
	bool was = test_bit(n, p);

	set_bit(n, p);
	return was;
}
#define nf_ct_l4proto_log_invalid(...) (logged_n++)
#define nf_l4proto_log_invalid(...) (logged_n++)
#define nf_conntrack_event_cache(event, ct) ((ct)->events |= 1u << (event))
#define nf_ct_refresh_acct(ct, info, skb, to) ((ct)->refreshed = 1, (ct)->refresh_to = (to))
int nf_conntrack_sctp_packet(struct nf_conn *ct, struct sk_buff *skb, unsigned int dataoff,
			     enum ip_conntrack_info ctinfo, const struct nf_hook_state *state);
void nf_conntrack_sctp_init_net(struct net *net);
