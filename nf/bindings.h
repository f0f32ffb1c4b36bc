/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The input of bindgen: the kernel's own headers for every type that is shared
 * with C code, so that no layout is declared twice, and the prototypes of the
 * shims in nf/helpers.
 */
#include <linux/module.h>
#include <linux/inetdevice.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <linux/netfilter/nf_conntrack_pptp.h>
#include <linux/netfilter/nf_conntrack_proto_gre.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/x_tables.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/seq_file_net.h>
#include <linux/siphash.h>
#include <linux/slab.h>
#include <linux/sysctl.h>
#include <linux/kallsyms.h>
#include <linux/kmod.h>
#include <linux/workqueue.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <net/addrconf.h>
#include <net/flow.h>
#include <net/inet_hashtables.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/ipv6_frag.h>
#include <net/net_namespace.h>
#include <net/netlink.h>
#include <net/sock.h>
#include <net/tcp.h>
#include <net/tcp_states.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/netfilter/nf_conntrack_acct.h>
#include <net/netfilter/nf_conntrack_act_ct.h>
#include <net/netfilter/nf_conntrack_bridge.h>
#include <net/netfilter/nf_conntrack_core.h>
#include <net/netfilter/nf_conntrack_ecache.h>
#include <net/netfilter/nf_conntrack_expect.h>
#include <net/netfilter/nf_conntrack_extend.h>
#include <net/netfilter/nf_conntrack_helper.h>
#include <net/netfilter/nf_conntrack_l4proto.h>
#include <net/netfilter/nf_conntrack_labels.h>
#include <net/netfilter/nf_conntrack_seqadj.h>
#include <net/netfilter/nf_conntrack_synproxy.h>
#include <net/netfilter/nf_conntrack_timeout.h>
#include <net/netfilter/nf_conntrack_timestamp.h>
#include <net/netfilter/nf_conntrack_zones.h>
#include <net/netfilter/nf_log.h>
#include <net/netfilter/nf_nat.h>
#include <net/netfilter/nf_nat_helper.h>
#include <net/netfilter/nf_nat_masquerade.h>
#include <net/netfilter/nf_nat_redirect.h>
#include <net/netfilter/nf_queue.h>
#include <net/netfilter/ipv4/nf_defrag_ipv4.h>
#include <net/netfilter/ipv6/nf_defrag_ipv6.h>

#include "compat.h"

#if !IS_ENABLED(CONFIG_NF_CT_PROTO_SCTP) || !IS_ENABLED(CONFIG_NF_CT_PROTO_GRE) || \
	!IS_ENABLED(CONFIG_NF_CONNTRACK_TIMEOUT)
#error "the kernel has no room for SCTP, GRE or timeout policies (NF_CT_PROTO_SCTP, NF_CT_PROTO_GRE, NF_CONNTRACK_TIMEOUT)"
#endif

#if !IS_ENABLED(CONFIG_NF_NAT) || !IS_ENABLED(CONFIG_NF_NAT_MASQUERADE) || \
	!IS_ENABLED(CONFIG_IPV6)
#error "the kernel has no room for NAT (NF_NAT, NF_NAT_MASQUERADE, IPV6)"
#endif

#if !IS_ENABLED(CONFIG_NETFILTER_NETLINK)
#error "the kernel has no netlink for netfilter (NETFILTER_NETLINK)"
#endif

#if !IS_ENABLED(CONFIG_NF_CONNTRACK_ZONES) || !IS_ENABLED(CONFIG_NF_CONNTRACK_MARK) || \
	!IS_ENABLED(CONFIG_NF_CONNTRACK_LABELS)
#error "the kernel has no room for zones, marks or labels of connections (NF_CONNTRACK_ZONES, NF_CONNTRACK_MARK, NF_CONNTRACK_LABELS)"
#endif

#if !IS_ENABLED(CONFIG_NF_CONNTRACK_EVENTS) || !IS_ENABLED(CONFIG_NF_CONNTRACK_TIMESTAMP)
#error "the kernel has no room for events or timestamps of connections (NF_CONNTRACK_EVENTS, NF_CONNTRACK_TIMESTAMP)"
#endif

#if !IS_ENABLED(CONFIG_SYSCTL)
#error "the kernel has no sysctls (SYSCTL)"
#endif

#if !IS_ENABLED(CONFIG_64BIT)
#error "the status of a connection has no room for what rust_ct keeps in it (64BIT)"
#endif

/* Readers of the table spin while its writer, who could be preempted, works. */
#if IS_ENABLED(CONFIG_PREEMPT_RT)
#error "rust_ct does not support real-time kernels (PREEMPT_RT)"
#endif

/* An entry is known by its distance from the start of memory, which has no room for a tag. */
#if IS_ENABLED(CONFIG_KASAN_SW_TAGS) || IS_ENABLED(CONFIG_KASAN_HW_TAGS)
#error "rust_ct does not support tagged pointers (KASAN_SW_TAGS, KASAN_HW_TAGS)"
#endif

#include "helpers.h"

/* Constants from macros and types that bindgen cannot evaluate. */
#define RCT_FIGURES 96

/*
 * The statistics of a namespace on one CPU: those of the C tracker, which C code reads, are the first
 * ones.
 */
struct rct_stats {
	struct ip_conntrack_stat stat;
	u64 figures[RCT_FIGURES];
};

#define RCT_CONST(name, value) static const unsigned long RCT_##name = (value)

RCT_CONST(HZ, HZ);
RCT_CONST(GFP_ATOMIC, (__force unsigned long)GFP_ATOMIC);
RCT_CONST(GFP_KERNEL, (__force unsigned long)GFP_KERNEL);
RCT_CONST(NFCT_INFOMASK, NFCT_INFOMASK);
RCT_CONST(CONN_INIT_OFFSET, offsetof(struct nf_conn, __nfct_init_offset));
RCT_CONST(KMALLOC_MINALIGN, ARCH_KMALLOC_MINALIGN);
RCT_CONST(EXT_SIZE_HELPER, sizeof(struct nf_conn_help));
RCT_CONST(EXT_SIZE_NAT, sizeof(struct nf_conn_nat));
RCT_CONST(EXT_SIZE_SEQADJ, sizeof(struct nf_conn_seqadj));
RCT_CONST(EXT_SIZE_ACCT, sizeof(struct nf_conn_acct));
RCT_CONST(EXT_SIZE_ECACHE, sizeof(struct nf_conntrack_ecache));
RCT_CONST(EXT_SIZE_TSTAMP, sizeof(struct nf_conn_tstamp));
RCT_CONST(EXT_SIZE_TIMEOUT, sizeof(struct nf_conn_timeout));
RCT_CONST(EXT_SIZE_LABELS, sizeof(struct nf_conn_labels));
RCT_CONST(EXT_SIZE_SYNPROXY, sizeof(struct nf_conn_synproxy));
RCT_CONST(EXT_SIZE_ACT_CT, sizeof(struct nf_conn_act_ct_ext));
RCT_CONST(GFP_KERNEL_ACCOUNT, (__force unsigned long)GFP_KERNEL_ACCOUNT);
RCT_CONST(PAGE_SIZE, PAGE_SIZE);
RCT_CONST(NLMSG_DEFAULT_SIZE, NLMSG_DEFAULT_SIZE);
RCT_CONST(CHECKSUM_NONE, CHECKSUM_NONE);
RCT_CONST(CHECKSUM_COMPLETE, CHECKSUM_COMPLETE);
RCT_CONST(CHECKSUM_PARTIAL, CHECKSUM_PARTIAL);
RCT_CONST(CHECKSUM_UNNECESSARY, CHECKSUM_UNNECESSARY);
RCT_CONST(NETDEV_DOWN, NETDEV_DOWN);
RCT_CONST(NF_DROP_ERR_SHIFT, 16);
RCT_CONST(IP_DEFRAG_CONNTRACK_IN, IP_DEFRAG_CONNTRACK_IN);
RCT_CONST(IP6_DEFRAG_CONNTRACK_IN, IP6_DEFRAG_CONNTRACK_IN);
RCT_CONST(RTN_UNSPEC, RTN_UNSPEC);
RCT_CONST(ETH_P_IP, ETH_P_IP);
RCT_CONST(ETH_P_IPV6, ETH_P_IPV6);
RCT_CONST(IPV6_ADDR_MAPPED, IPV6_ADDR_MAPPED);
RCT_CONST(IPV6_ADDR_SCOPE_MASK, IPV6_ADDR_SCOPE_MASK);
RCT_CONST(IFA_F_TENTATIVE, IFA_F_TENTATIVE);
RCT_CONST(IFA_F_OPTIMISTIC, IFA_F_OPTIMISTIC);
RCT_CONST(IFNAMSIZ, IFNAMSIZ);
RCT_CONST(AF_INET, AF_INET);
RCT_CONST(AF_INET6, AF_INET6);
RCT_CONST(SOCK_BINDPORT_LOCK, SOCK_BINDPORT_LOCK);
RCT_CONST(SOCK_CONNECT_BIND, SOCK_CONNECT_BIND);
RCT_CONST(TCP_ESTABLISHED, TCP_ESTABLISHED);
RCT_CONST(TCP_CLOSE, TCP_CLOSE);
RCT_CONST(TCP_TIMEWAIT_LEN, TCP_TIMEWAIT_LEN);
RCT_CONST(TCP_TIME_WAIT, TCP_TIME_WAIT);
RCT_CONST(TCP_NEW_SYN_RECV, TCP_NEW_SYN_RECV);
