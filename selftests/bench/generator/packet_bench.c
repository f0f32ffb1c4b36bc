// SPDX-License-Identifier: GPL-2.0
/*
 * Sends packets through the netfilter hooks of a namespace, and says what one costs.
 *
 * A packet is built in memory, goes through PRE_ROUTING and POST_ROUTING as a forwarded
 * one does, and is forgotten: no socket, driver or queue takes part. It works with any
 * tracker or none, since it imports no symbol of theirs. So that only the tracker makes a
 * difference, fragments are gathered and an empty hook stands at each point in any case.
 *
 * One order is written to /proc/packet_bench at a time, with a newline behind it, and works
 * in the writer's namespace; what came of it can then be read there. (Other processors send
 * at the same time by modules of their own: packet_bench_2 and so on, see build-generator.)
 * Orders:
 *
 *   setup FAMILY PROTOCOL FLOWS  from now on: ip|ip6, udp|tcp, so many new connections; a
 *                                number behind that is the first one's among all that
 *                                there are, so that other processors can have the same
 *   open                         each connection from its first packet to confirmation
 *                                (UDP: one packet, TCP: three)
 *   answer                       one packet the other way for each connection
 *   hit PACKETS                  packets of these connections, in random order, both ways
 *   among FIRST COUNT            from now on: random connections are of so many of them
 *   miss PACKETS                 each the first of a connection that is refused after
 *                                PRE_ROUTING
 *   stray PACKETS                TCP: each of a connection that was never opened
 *   close                        TCP: three packets for each connection
 *   lookup PACKETS               a tuple is looked up alone, and is there
 *   lookup_miss PACKETS          and is not
 *   workers                      what kernel workers have used up to now
 *   spin MILLISECONDS            nothing, but all the time
 *   watch PACKETS                from now on: every 100 microseconds so many packets of these
 *                                connections come in between, and it is noted how late that
 *                                was, and how late a real-time task got its turn
 *   watched                      no more; what these packets took, and the latest
 *
 * "sample" behind an order: instead of times, where the processor was found to be every
 * few microseconds. Interrupts are on all the time but where the tracker or the kernel
 * turn them off; what happens there counts for the place that turns them on again.
 *
 * Random connections are drawn, and what is known of them is brought into the caches, before
 * the clock starts: what memory a packet waits for then is the tracker's.
 */
#include <linux/hrtimer.h>
#include <linux/inetdevice.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <linux/nsproxy.h>
#include <linux/random.h>
#include <linux/sched/signal.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <linux/vmalloc.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/net_namespace.h>
#include <net/netfilter/ipv4/nf_defrag_ipv4.h>
#include <net/netfilter/ipv6/nf_defrag_ipv6.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/netfilter/nf_conntrack_core.h>
#include <net/netfilter/nf_conntrack_zones.h>
#include <net/route.h>

#include "orders.h"

#if defined(CONFIG_X86) || defined(CONFIG_UML)
#include <asm/irq_regs.h>
#define HAS_SAMPLES 1
#endif
#ifdef CONFIG_UML
#include <sysdep/ptrace.h>
#endif

#define DEVICE "dummy0"
#define HEADROOM 128
#define ROOM 512
#define PAYLOAD 64
#define PORTS 60000
#define MAX_FLOWS 2000000
#define MAX_SAMPLES 20000
#define MAX_BATCHES 8192
#define MAX_BATCH 1024

#ifdef CONFIG_UML
/* A signal every few microseconds would leave time for nothing else. */
#define SAMPLE_NS 100003
#else
#define SAMPLE_NS 5003
#endif
#define WATCH_NS 100000
#define WATCH_TASK_NS 1000000
/* later than this is late */
#define LATE_NS 50000

enum way { ORIGINAL, REPLY };
/* what a packet is to its connection: three bits, or it has none */
enum { NO_ENTRY = NFCT_INFOMASK + 1, KINDS };

struct flow {
	/* what each side sends next */
	u32 seq[2];
	/* where the other side sees the packets come from */
	struct in6_addr seen;
	__be16 seen_port;
} __aligned(32);

/* a packet that is to come */
struct pick {
	u32 flow;
	enum way way;
};

static struct {
	struct net *net;
	struct net_device *dev;
	struct dst_entry *dst;
	struct sk_buff *skb;
	struct flow *flows;
	u32 count, first, used;
	/* the range of random ones */
	u32 among_first, among;
	u8 family, protocol;
	u32 random;
	/* what became of the packets */
	u64 kinds[KINDS];
	u64 dropped, missed;
} now;

static struct {
	u64 samples[MAX_BATCHES];
	unsigned int batches;
	u64 total, turns;
	bool sampled;
	u64 workers;
} result;

static struct {
	struct hrtimer timer;
	struct task_struct *task;
	u32 packets;
	/* when the last one was over, in nanoseconds of work */
	u64 packets_at, task_at;
	/* the latest, in nanoseconds; how many were late */
	u64 latest, latest_task, late, count;
} watch;

static struct pick picks[MAX_BATCH];
static unsigned long *samples;
static unsigned int sample_count;

/*
 * Nanoseconds. In User-Mode Linux those that this kernel had a processor of the machine,
 * whatever else the machine does: only the machine can tell.
 */
static u64 clock_ns(void)
{
#ifdef CONFIG_UML
	struct { s64 seconds, nanoseconds; } now;
	long number = 228; /* clock_gettime */

	asm volatile("syscall"
		     : "+a" (number)
		     : "D" (CLOCK_THREAD_CPUTIME_ID), "S" (&now)
		     : "rcx", "r11", "memory");
	return now.seconds * NSEC_PER_SEC + now.nanoseconds;
#else
	return ktime_get_ns();
#endif
}

static u32 next_random(void)
{
	u32 x = now.random;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return now.random = x;
}

static u32 random_flow(void)
{
	return now.among_first + reciprocal_scale(next_random(), now.among);
}

/* Connection number `i` of all that there ever were: its opener's address and port. */
static void name_source(u32 i, struct in6_addr *address, __be16 *port)
{
	u32 host = (i / PORTS) << 8 | (i & 0xff);

	*port = htons(1024 + i % PORTS);
	if (now.family == NFPROTO_IPV4)
		ipv6_addr_set(address, htonl(0x0a100000 + host), 0, 0, 0);
	else
		ipv6_addr_set(address, htonl(0xfd000001), 0, 0, htonl(host + 1));
}

static void name_destination(struct in6_addr *address, __be16 *port)
{
	*port = htons(now.protocol == IPPROTO_TCP ? 80 : 53);
	if (now.family == NFPROTO_IPV4)
		ipv6_addr_set(address, htonl(0x0a000002), 0, 0, 0);
	else
		ipv6_addr_set(address, htonl(0xfd000000), 0, 0, htonl(2));
}

static struct sk_buff *new_skb(void)
{
	struct sk_buff *skb = alloc_skb(HEADROOM + ROOM, GFP_ATOMIC);

	if (skb) {
		skb_reserve(skb, HEADROOM);
		skb->dev = now.dev;
		skb->pkt_type = PACKET_HOST;
	}
	return skb;
}

static unsigned int put_tcp(struct tcphdr *tcp, u32 seq, u32 ack, u8 flags)
{
	static const u8 syn_options[20] = { 2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 9,
					    0, 0, 0, 0, 1, 3, 3, 7 };
	static const u8 options[12] = { 1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8 };
	unsigned int len = sizeof(*tcp);

	tcp->seq = htonl(seq);
	tcp->ack_seq = htonl(ack);
	tcp->window = htons(65535);
	tcp->check = 0;
	tcp->urg_ptr = 0;
	if (flags & TCPHDR_SYN) {
		memcpy(tcp + 1, syn_options, sizeof(syn_options));
		len += sizeof(syn_options);
	} else {
		memcpy(tcp + 1, options, sizeof(options));
		len += sizeof(options);
	}
	((u8 *)tcp)[12] = len / 4 << 4;
	((u8 *)tcp)[13] = flags;
	return len;
}

/* Makes the packet out of what `flow` remembers, or of a connection never heard of. */
static void build(u32 number, struct flow *flow, enum way way, u8 flags, unsigned int payload)
{
	struct in6_addr here, there;
	__be16 here_port, there_port;
	struct sk_buff *skb = now.skb;
	unsigned int network, transport;
	struct udphdr *udp;

	if (way == ORIGINAL) {
		name_source(number, &here, &here_port);
		name_destination(&there, &there_port);
	} else {
		name_destination(&here, &here_port);
		there = flow->seen;
		there_port = flow->seen_port;
	}
	network = now.family == NFPROTO_IPV4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	skb->data = skb->head + HEADROOM;
	skb_reset_network_header(skb);
	skb_set_transport_header(skb, network);
	udp = (void *)skb->data + network;
	udp->source = here_port;
	udp->dest = there_port;
	if (now.protocol == IPPROTO_TCP) {
		transport = put_tcp((void *)udp, flow->seq[way], flow->seq[!way], flags);
		flow->seq[way] += payload + !!(flags & (TCPHDR_SYN | TCPHDR_FIN));
	} else {
		transport = sizeof(*udp);
		udp->len = htons(transport + payload);
		udp->check = htons(0xffff);
	}
	skb->len = network + transport + payload;
	skb_set_tail_pointer(skb, skb->len);
	if (now.family == NFPROTO_IPV4) {
		struct iphdr *ip = (void *)skb->data;

		*(__be32 *)ip = htonl(0x45000000 | skb->len);
		((__be32 *)ip)[1] = 0;
		((__be32 *)ip)[2] = htonl(64 << 24 | now.protocol << 16);
		ip->saddr = here.s6_addr32[0];
		ip->daddr = there.s6_addr32[0];
		skb->protocol = htons(ETH_P_IP);
	} else {
		struct ipv6hdr *ip = (void *)skb->data;

		*(__be32 *)ip = htonl(6 << 28);
		ip->payload_len = htons(transport + payload);
		ip->nexthdr = now.protocol;
		ip->hop_limit = 64;
		ip->saddr = here;
		ip->daddr = there;
		skb->protocol = htons(ETH_P_IPV6);
	}
	/* As a device says that has verified it. */
	skb->ip_summed = CHECKSUM_UNNECESSARY;
	memset(skb->cb, 0, sizeof(struct inet6_skb_parm));
}

static int through(struct net *net, struct sock *sk, struct sk_buff *skb)
{
	return 0;
}

static int run_hook(unsigned int point, struct net_device *in, struct net_device *out)
{
	if (now.family == NFPROTO_IPV4)
		return nf_hook(NFPROTO_IPV4, point, now.net, NULL, now.skb, in, out, through);
	return nf_hook(NFPROTO_IPV6, point, now.net, NULL, now.skb, in, out, through);
}

/* The packet was freed. Nothing stands in for it if memory is gone. */
static void replace(void)
{
	now.dropped++;
	now.skb = new_skb();
}

static void note_kind(void)
{
	unsigned long nfct = now.skb->_nfct;

	if (nfct & NFCT_PTRMASK || (nfct & NFCT_INFOMASK) == IP_CT_UNTRACKED)
		now.kinds[nfct & NFCT_INFOMASK]++;
	else
		now.kinds[NO_ENTRY]++;
}

static void forget(void)
{
	nf_reset_ct(now.skb);
	skb_dst_drop(now.skb);
}

/* The whole way of a packet that is forwarded. */
static bool send(u32 number, struct flow *flow, enum way way, u8 flags, unsigned int payload)
{
	build(number, flow, way, flags, payload);
	if (run_hook(NF_INET_PRE_ROUTING, now.dev, NULL) != 1) {
		replace();
		return false;
	}
	note_kind();
	skb_dst_drop(now.skb);
	skb_dst_set_noref(now.skb, now.dst);
	if (run_hook(NF_INET_POST_ROUTING, NULL, now.dev) != 1) {
		replace();
		return false;
	}
	return true;
}

static void draw(u32 count)
{
	struct pick *pick;

	for (pick = picks; pick < picks + count; pick++) {
		pick->flow = random_flow();
		pick->way = next_random() & 1;
		(void)READ_ONCE(now.flows[pick->flow].seen_port);
	}
}

static void hit(const struct pick *pick)
{
	send(now.first + pick->flow, &now.flows[pick->flow], pick->way,
	     TCPHDR_ACK | TCPHDR_PSH, PAYLOAD);
	forget();
}

static void step_hit(u32 turn, u32 k)
{
	hit(&picks[k]);
}

/* The source that the other side sees, translated or not. */
static void note_source(struct flow *flow)
{
	struct udphdr *udp = (void *)skb_transport_header(now.skb);

	flow->seen_port = udp->source;
	if (now.family == NFPROTO_IPV4)
		ipv6_addr_set(&flow->seen, ip_hdr(now.skb)->saddr, 0, 0, 0);
	else
		flow->seen = ipv6_hdr(now.skb)->saddr;
}

static void step_open(u32 i, u32 k)
{
	struct flow *flow = &now.flows[i];

	flow->seq[ORIGINAL] = 1000 + i;
	flow->seq[REPLY] = 0;
	if (!send(now.first + i, flow, ORIGINAL, TCPHDR_SYN,
		  now.protocol == IPPROTO_TCP ? 0 : PAYLOAD))
		return;
	note_source(flow);
	forget();
	if (now.protocol != IPPROTO_TCP)
		return;
	flow->seq[REPLY] = 5000 + i;
	send(now.first + i, flow, REPLY, TCPHDR_SYN | TCPHDR_ACK, 0);
	forget();
	send(now.first + i, flow, ORIGINAL, TCPHDR_ACK, 0);
	forget();
}

static void step_answer(u32 i, u32 k)
{
	send(now.first + i, &now.flows[i], REPLY, TCPHDR_ACK, PAYLOAD);
	forget();
}

static void step_close(u32 i, u32 k)
{
	static const enum way ways[3] = { ORIGINAL, REPLY, ORIGINAL };
	unsigned int n;

	for (n = 0; n < 3; n++) {
		send(now.first + i, &now.flows[i], ways[n],
		     n < 2 ? TCPHDR_FIN | TCPHDR_ACK : TCPHDR_ACK, 0);
		forget();
	}
}

static void lose(u32 turn, u8 flags, unsigned int payload)
{
	struct flow unknown = { .seq = { turn, 1 } };

	build(now.used + turn, &unknown, ORIGINAL, flags, payload);
	if (run_hook(NF_INET_PRE_ROUTING, now.dev, NULL) != 1) {
		replace();
		return;
	}
	note_kind();
	forget();
}

static void step_miss(u32 turn, u32 k)
{
	lose(turn, TCPHDR_SYN, now.protocol == IPPROTO_TCP ? 0 : PAYLOAD);
}

static void step_stray(u32 turn, u32 k)
{
	lose(turn, TCPHDR_RST, 0);
}

static typeof(nf_conntrack_find_get) *find_get;

static void find(u32 number)
{
	static const struct nf_conntrack_zone zone = { .dir = NF_CT_DEFAULT_ZONE_DIR };
	struct nf_conntrack_tuple tuple = { };
	struct nf_conntrack_tuple_hash *found;
	struct in6_addr address;
	__be16 port;

	name_source(number, &address, &port);
	tuple.src.u3.in6 = address;
	tuple.src.u.all = port;
	tuple.src.l3num = now.family;
	name_destination(&address, &port);
	tuple.dst.u3.in6 = address;
	tuple.dst.u.all = port;
	tuple.dst.protonum = now.protocol;
	found = find_get ? find_get(now.net, &zone, &tuple) : NULL;
	if (found)
		nf_conntrack_put(&nf_ct_tuplehash_to_ctrack(found)->ct_general);
	else
		now.missed++;
}

static void step_lookup(u32 turn, u32 k)
{
	find(now.first + picks[k].flow);
}

static void step_lookup_miss(u32 turn, u32 k)
{
	find(now.used + turn);
}

static int compare(const void *a, const void *b)
{
	const u64 *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static enum hrtimer_restart take_sample(struct hrtimer *timer)
{
#ifdef HAS_SAMPLES
	struct pt_regs *regs = get_irq_regs();

	if (regs && !user_mode(regs) && sample_count < MAX_SAMPLES)
		samples[sample_count++] = instruction_pointer(regs);
#endif
	/* No multiple of what a packet takes. */
	hrtimer_forward_now(timer, ns_to_ktime(SAMPLE_NS + (sample_count * 7919 & 2047)));
	return HRTIMER_RESTART;
}

struct order {
	const char *name;
	/* a packet or connection: which of all, which of its batch */
	void (*step)(u32 turn, u32 k);
	/* turns are flows, not told */
	bool each;
	/* of random flows */
	bool random;
};

/* Batches as the network stack has them: bottom halves off, under RCU. */
static int measure(const struct order *order, u32 turns, bool sample)
{
	u32 size = turns >= 256 * 64 ? 256 : turns >= 64 * 16 ? 64 : 1;
	struct hrtimer timer;
	u32 turn = 0;

	while (turns / size > MAX_BATCHES && size < MAX_BATCH)
		size *= 2;
	result.batches = 0;
	result.total = 0;
	result.turns = turns;
	result.sampled = sample;
	sample_count = 0;
	if (sample) {
		hrtimer_setup(&timer, take_sample, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
		hrtimer_start(&timer, ns_to_ktime(SAMPLE_NS), HRTIMER_MODE_REL_PINNED_HARD);
	}
	while (turn < turns && now.skb) {
		u32 end = min(turn + size, turns);
		u32 had = end - turn, k;
		u64 began, took;

		local_bh_disable();
		rcu_read_lock();
		if (order->random)
			draw(had);
		began = clock_ns();
		for (k = 0; k < had && now.skb; k++)
			order->step(turn + k, k);
		took = clock_ns() - began;
		turn = end;
		rcu_read_unlock();
		local_bh_enable();
		result.total += took;
		if (had == size && result.batches < MAX_BATCHES)
			result.samples[result.batches++] = div_u64(took * 1000, size);
		cond_resched();
	}
	if (sample)
		hrtimer_cancel(&timer);
	sort(result.samples, result.batches, sizeof(u64), compare, NULL);
	return now.skb ? 0 : -ENOMEM;
}

/* More than its time after the last one means that it had to wait. */
static u64 waited(u64 since, u64 period)
{
	u64 gap = clock_ns() - since;

	return gap > period ? gap - period : 0;
}

/* Comes when bottom halves are on. */
static enum hrtimer_restart watch_packets(struct hrtimer *timer)
{
	u64 late = waited(watch.packets_at, WATCH_NS), began;
	u32 k;

	watch.latest = max(watch.latest, late);
	watch.late += late > LATE_NS;
	watch.count++;
	if (watch.packets && now.skb) {
		rcu_read_lock();
		draw(watch.packets);
		began = clock_ns();
		for (k = 0; k < watch.packets && now.skb; k++)
			hit(&picks[k]);
		if (result.batches < MAX_BATCHES)
			result.samples[result.batches++] =
				div_u64((clock_ns() - began) * 1000, watch.packets);
		rcu_read_unlock();
	}
	watch.packets_at = clock_ns();
	hrtimer_forward_now(timer, ns_to_ktime(WATCH_NS));
	return HRTIMER_RESTART;
}

/* Runs when the running task lets another one run. */
static int watch_turns(void *unused)
{
	sched_set_fifo(current);
	while (!kthread_should_stop()) {
		ktime_t time = ns_to_ktime(WATCH_TASK_NS);

		watch.latest_task = max(watch.latest_task, waited(watch.task_at, WATCH_TASK_NS));
		watch.task_at = clock_ns();
		set_current_state(TASK_INTERRUPTIBLE);
		schedule_hrtimeout_range(&time, 0, HRTIMER_MODE_REL);
	}
	return 0;
}

static void stop_watching(void)
{
	if (!watch.task)
		return;
	hrtimer_cancel(&watch.timer);
	kthread_stop(watch.task);
	watch.task = NULL;
	result.turns = (u64)result.batches * watch.packets;
	result.total = 0;
	sort(result.samples, result.batches, sizeof(u64), compare, NULL);
}

static int start_watching(u32 packets)
{
	struct task_struct *task;

	stop_watching();
	if (packets > MAX_BATCH || (packets && !now.count))
		return -EINVAL;
	result.batches = 0;
	result.sampled = false;
	watch.packets = packets;
	watch.latest = 0;
	watch.latest_task = 0;
	watch.late = 0;
	watch.count = 0;
	watch.task_at = clock_ns();
	task = kthread_run(watch_turns, NULL, "packet_bench");
	if (IS_ERR(task))
		return PTR_ERR(task);
	watch.task = task;
	watch.packets_at = clock_ns();
	hrtimer_setup(&watch.timer, watch_packets, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_SOFT);
	hrtimer_start(&watch.timer, ns_to_ktime(WATCH_NS), HRTIMER_MODE_REL_PINNED_SOFT);
	return 0;
}

static void spin(u32 milliseconds)
{
	u64 end = clock_ns() + (u64)milliseconds * NSEC_PER_MSEC;

	while (clock_ns() < end)
		cond_resched();
}

static void sum_up_workers(void)
{
	struct task_struct *group, *task;

	result.workers = 0;
	rcu_read_lock();
	for_each_process_thread(group, task)
		if (task->flags & PF_WQ_WORKER)
			result.workers += task->se.sum_exec_runtime;
	rcu_read_unlock();
}

static unsigned int empty(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	return NF_ACCEPT;
}

static const struct nf_hook_ops hooks[] = {
	{ .hook = empty, .pf = NFPROTO_IPV4, .hooknum = NF_INET_PRE_ROUTING,
	  .priority = NF_IP_PRI_RAW },
	{ .hook = empty, .pf = NFPROTO_IPV4, .hooknum = NF_INET_POST_ROUTING,
	  .priority = NF_IP_PRI_MANGLE },
	{ .hook = empty, .pf = NFPROTO_IPV6, .hooknum = NF_INET_PRE_ROUTING,
	  .priority = NF_IP6_PRI_RAW },
	{ .hook = empty, .pf = NFPROTO_IPV6, .hooknum = NF_INET_POST_ROUTING,
	  .priority = NF_IP6_PRI_MANGLE },
};

static void leave(void)
{
	kfree_skb(now.skb);
	now.skb = NULL;
	dst_release(now.dst);
	now.dst = NULL;
	dev_put(now.dev);
	now.dev = NULL;
	if (!now.net)
		return;
	nf_unregister_net_hooks(now.net, hooks, ARRAY_SIZE(hooks));
	nf_defrag_ipv4_disable(now.net);
	nf_defrag_ipv6_disable(now.net);
	put_net(now.net);
	now.net = NULL;
}

/* Where the writer is, the next packets are. */
static int enter(void)
{
	struct net *net = current->nsproxy->net_ns;
	int error;

	if (now.net == net)
		return 0;
	leave();
	error = nf_defrag_ipv4_enable(net);
	if (error)
		return error;
	error = nf_defrag_ipv6_enable(net);
	if (error)
		goto ipv4;
	error = nf_register_net_hooks(net, hooks, ARRAY_SIZE(hooks));
	if (error)
		goto ipv6;
	now.net = get_net(net);
	now.dev = dev_get_by_name(net, DEVICE);
	if (now.dev)
		return 0;
	leave();
	return -ENODEV;
ipv6:
	nf_defrag_ipv6_disable(net);
ipv4:
	nf_defrag_ipv4_disable(net);
	return error;
}

static int find_route(void)
{
	struct in6_addr address;
	__be16 port;

	dst_release(now.dst);
	now.dst = NULL;
	name_destination(&address, &port);
	if (now.family == NFPROTO_IPV4) {
		struct flowi4 flow = { .daddr = address.s6_addr32[0] };
		struct rtable *route = ip_route_output_key(now.net, &flow);

		if (IS_ERR(route))
			return PTR_ERR(route);
		now.dst = &route->dst;
	} else {
		struct flowi6 flow = { .daddr = address };
		struct dst_entry *dst = ip6_route_output(now.net, NULL, &flow);
		int error = dst->error;

		if (error) {
			dst_release(dst);
			return error;
		}
		now.dst = dst;
	}
	return 0;
}

static int set_up(const char *family, const char *protocol, u32 count)
{
	int error = enter();

	if (error)
		return error;
	if (!count || count > MAX_FLOWS)
		return -EINVAL;
	now.family = strcmp(family, "ip6") ? NFPROTO_IPV4 : NFPROTO_IPV6;
	now.protocol = strcmp(protocol, "tcp") ? IPPROTO_UDP : IPPROTO_TCP;
	error = find_route();
	if (error)
		return error;
	vfree(now.flows);
	now.flows = vzalloc(array_size(count, sizeof(*now.flows)));
	kfree_skb(now.skb);
	now.skb = new_skb();
	if (!now.flows || !now.skb)
		return -ENOMEM;
	now.count = count;
	now.among_first = 0;
	now.among = count;
	now.first = now.used;
	now.used += count;
	now.random = 2463534242;
	return 0;
}

static const struct order table[] = {
	{ "open", step_open, .each = true },
	{ "answer", step_answer, .each = true },
	{ "close", step_close, .each = true },
	{ "hit", step_hit, .random = true },
	{ "miss", step_miss },
	{ "stray", step_stray },
	{ "lookup", step_lookup, .random = true },
	{ "lookup_miss", step_lookup_miss },
};

static int obey(const char *line)
{
	char name[16], family[8], protocol[8];
	const struct order *order;
	bool sample = strstr(line, "sample");
	u32 count = 0;
	int error;

	if (sscanf(line, "%15s", name) != 1)
		return -EINVAL;
	if (!strcmp(name, "setup")) {
		if (watch.task)
			return -EBUSY;
		sscanf(line, "setup %*s %*s %*u %u", &now.used);
		if (sscanf(line, "setup %7s %7s %u", family, protocol, &count) != 3)
			return -EINVAL;
		return set_up(family, protocol, count);
	}
	if (!strcmp(name, "among")) {
		u32 first;

		if (watch.task)
			return -EBUSY;
		if (sscanf(line, "among %u %u", &first, &count) != 2 || !count ||
		    first >= now.count || count > now.count - first)
			return -EINVAL;
		now.among_first = first;
		now.among = count;
		return 0;
	}
	if (!strcmp(name, "spin")) {
		if (sscanf(line, "spin %u", &count) != 1)
			return -EINVAL;
		spin(count);
		return 0;
	}
	if (!strcmp(name, "watched")) {
		stop_watching();
		return 0;
	}
	if (!strcmp(name, "workers")) {
		sum_up_workers();
		return 0;
	}
	memset(now.kinds, 0, sizeof(now.kinds));
	now.dropped = 0;
	now.missed = 0;
	if (!strcmp(name, "watch")) {
		if (sscanf(line, "watch %u", &count) != 1)
			return -EINVAL;
		return start_watching(count);
	}
	if (watch.task)
		return -EBUSY;
	for (order = table; order < table + ARRAY_SIZE(table); order++) {
		if (strcmp(name, order->name))
			continue;
		if (!now.count)
			return -EINVAL;
		if (order->each)
			count = now.count;
		else if (sscanf(line, "%*s %u", &count) != 1 || !count)
			return -EINVAL;
		find_get = (void *)__symbol_get("nf_conntrack_find_get");
		error = measure(order, count, sample);
		if (find_get)
			__symbol_put("nf_conntrack_find_get");
		if (order->step == step_miss || order->step == step_stray)
			now.used += count;
		return error;
	}
	return -EINVAL;
}

static void show(struct seq_file *out)
{
	unsigned int i;

	if (result.sampled)
		for (i = 0; i < sample_count; i++)
			seq_printf(out, "at %pS\n", (void *)samples[i]);
	/* Thousandths of a nanosecond for one turn: the median of the batches, and the mean. */
	seq_printf(out, "turns=%llu median=%llu mean=%llu", result.turns,
		   result.batches ? result.samples[result.batches / 2] : 0,
		   result.turns ? div64_u64(result.total * 1000, result.turns) : 0);
	seq_printf(out, " established=%llu related=%llu new=%llu reply=%llu none=%llu",
		   now.kinds[IP_CT_ESTABLISHED], now.kinds[IP_CT_RELATED], now.kinds[IP_CT_NEW],
		   now.kinds[IP_CT_ESTABLISHED_REPLY], now.kinds[NO_ENTRY]);
	seq_printf(out, " dropped=%llu missed=%llu workers=%llu", now.dropped, now.missed,
		   result.workers);
	seq_printf(out, " watched=%llu late=%llu latest=%llu latest_task=%llu\n", watch.count,
		   watch.late, watch.latest, watch.latest_task);
}

static size_t room_to_show(void)
{
	return result.sampled ? 4 << 20 : 4096;
}

static int __init start(void)
{
	samples = vmalloc(array_size(MAX_SAMPLES, sizeof(*samples)));
	if (!samples)
		return -ENOMEM;
	if (!proc_create(KBUILD_MODNAME, 0600, NULL, &operations)) {
		vfree(samples);
		return -ENOMEM;
	}
	return 0;
}

static void __exit stop(void)
{
	remove_proc_entry(KBUILD_MODNAME, NULL);
	stop_watching();
	leave();
	vfree(now.flows);
	vfree(samples);
}

module_init(start);
module_exit(stop);
MODULE_DESCRIPTION("Packets through netfilter hooks, and what one costs");
MODULE_LICENSE("GPL");
