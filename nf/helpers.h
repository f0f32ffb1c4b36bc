/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Prototypes of the C functions that Rust calls (see helpers.c), and of the Rust functions and C
 * variables behind exports.c.
 */
#ifndef _RUST_CT_HELPERS_H
#define _RUST_CT_HELPERS_H

#include <linux/types.h>
#include <linux/gfp.h>
#include <linux/list_nulls.h>
#include <linux/refcount.h>
#include <linux/seqlock.h>
#include <linux/siphash.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

struct completion;
struct dst_entry;
struct file;
struct flowi;
struct in6_addr;
struct in_ifaddr;
struct inet_bind2_bucket;
struct inet_bind_bucket;
struct inet_bind_hashbucket;
struct inet6_dev;
struct inet6_ifaddr;
struct inet_hashinfo;
struct kmem_cache;
struct list_head;
struct module;
struct net;
struct net_device;
struct netlink_dump_control;
struct netns_ct;
struct nf_conn;
struct nf_conntrack_expect;
struct nf_conntrack_helper;
struct nf_ct_hook;
struct nf_exp_event;
struct nf_hook_entries;
struct nf_hook_ops;
struct nf_hook_state;
struct nf_nat_hook;
struct nf_nat_lookup_hook_priv;
struct nfnl_ct_hook;
struct nla_policy;
struct nlattr;
struct nlmsghdr;
struct proc_dir_entry;
struct seq_file;
struct sk_buff;
struct sock;
struct udp_table;

/* The shims, as prototypes. */
#define SHIM(type, name, parameters, ...) type name parameters;
#define SHIM_VOID(name, parameters, ...) void name parameters;
#include "helpers/shims.h"
#undef SHIM
#undef SHIM_VOID

/* What adoption reads of a TCP socket. The names are those of the kernel's fields. */
struct rct_tcp_sock {
	u32 snd_una;
	u32 snd_nxt;
	u32 write_seq;
	u32 snd_wnd;
	u32 max_window;
	u32 rcv_nxt;
	u32 rcv_wup;
	u32 rcv_wnd;
	u32 rcv_mwnd_seq;
	u32 lsndtime;
	u32 rcv_tstamp;
	u32 lrcvtime;
	u8 snd_wscale;
	u8 rcv_wscale;
	bool wscale_ok;
	bool sack_ok;
};

/* The same, of the rest of a socket in TIME_WAIT. */
struct rct_tcp_timewait {
	unsigned long expires;
	u32 snd_nxt;
	u32 rcv_nxt;
	u32 rcv_wnd;
	u8 rcv_wscale;
	u8 substate;
};

/* The same, of a SYN that was answered. */
struct rct_tcp_request {
	u32 snt_isn;
	u32 rcv_nxt;
	u32 rcv_wnd;
	u8 snd_wscale;
	u8 rcv_wscale;
	bool wscale_ok;
	bool sack_ok;
};

/* The glue. */
void rct_tcp_sock_read(const struct sock *sk, struct rct_tcp_sock *to);
void rct_tcp_tw_read(const struct sock *sk, struct rct_tcp_timewait *to);
void rct_tcp_request_read(const struct sock *sk, struct rct_tcp_request *to);

/* Module parameters and a lock, which exports.c defines. */
extern bool rct_param_enable_hooks;
extern bool rct_param_acct;
extern bool rct_param_tstamp;
extern bool rct_param_adopt_sockets;
extern bool rct_param_auto_resize;
extern bool rct_param_event_reasons;
extern bool rct_param_module_names;
extern unsigned int rct_param_inherit;
extern bool rct_param_index_addresses;
extern spinlock_t rct_static_lock;

/* Rust functions that exports.c calls. Their messages are of type `struct va_format`. */
int rct_table_resize(unsigned int buckets);
unsigned int rct_table_buckets(void);
int rct_table_set_hash(unsigned int number);
unsigned int rct_table_hash(void);
void rct_log_invalid(const struct sk_buff *skb, const struct nf_hook_state *state, u8 protonum,
		     const void *message);
void rct_helper_log(struct sk_buff *skb, const struct nf_conn *ct, const void *message);

#endif /* _RUST_CT_HELPERS_H */
