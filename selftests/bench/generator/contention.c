// SPDX-License-Identifier: GPL-2.0
/*
 * Counts how often a processor that is at work on packets finds a spin lock taken, and where
 * that happens.
 *
 * Only the slow path is probed, on which a processor waits (the kernel's own tracepoint there is
 * passed by on virtual machines): a lock that is free costs no more. Writing to /proc/contention
 * begins anew; reading it says how often, and for each caller of a lock function how often there.
 */
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/stacktrace.h>

#include "orders.h"

#define MAX_PLACES 256
#define DEPTH 16

static struct {
	/* The caller that waits. That may be a lock function, which was called from above. */
	unsigned long at, above;
	atomic_long_t count;
} places[MAX_PLACES];

static atomic_long_t total;

static void count_place(unsigned long at, unsigned long above)
{
	unsigned int i;

	for (i = 0; i < MAX_PLACES; i++) {
		unsigned long is = READ_ONCE(places[i].above);

		if (!is) {
			is = cmpxchg(&places[i].above, 0, above) ?: above;
			if (is == above)
				WRITE_ONCE(places[i].at, at);
		}
		if (is == above) {
			atomic_long_inc(&places[i].count);
			return;
		}
	}
}

/*
 * Whether the processor was at work on packets: a task that has bottom halves off. (The
 * breakpoint counts as one interrupt.)
 */
static bool is_of_packets(void)
{
	return softirq_count() && !in_serving_softirq() && hardirq_count() <= HARDIRQ_OFFSET;
}

static int note(struct kprobe *probe, struct pt_regs *regs)
{
	unsigned long trace[DEPTH], was = regs->ip;
	unsigned int count, i;

	if (!is_of_packets())
		return 0;
	atomic_long_inc(&total);
	/* The unwinder has to see the function's beginning, not what is behind our breakpoint. */
	regs->ip = (unsigned long)probe->addr;
	count = stack_trace_save(trace, DEPTH, 0);
	regs->ip = was;
	for (i = 0; i + 2 < count; i++)
		if (trace[i] == (unsigned long)probe->addr) {
			count_place(trace[i + 1], trace[i + 2]);
			break;
		}
	return 0;
}

static struct kprobe probe = {
	.symbol_name = "queued_spin_lock_slowpath",
	.pre_handler = note,
};

static void show(struct seq_file *out)
{
	unsigned int i;

	seq_printf(out, "total %ld\n", atomic_long_read(&total));
	for (i = 0; i < MAX_PLACES && places[i].above; i++) {
		char name[KSYM_SYMBOL_LEN];

		snprintf(name, sizeof(name), "%ps", (void *)places[i].at);
		if (strstarts(name, "_raw_"))
			snprintf(name, sizeof(name), "%ps", (void *)places[i].above);
		seq_printf(out, "at %ld %s\n", atomic_long_read(&places[i].count), name);
	}
}

static size_t room_to_show(void)
{
	return MAX_PLACES * 128;
}

/* Any order begins anew. (No processor is at work on packets at that time.) */
static int obey(const char *line)
{
	unsigned int i;

	for (i = 0; i < MAX_PLACES; i++) {
		WRITE_ONCE(places[i].above, 0);
		atomic_long_set(&places[i].count, 0);
	}
	atomic_long_set(&total, 0);
	return 0;
}

/*
 * The function may begin with the jump of a static key ("is this no virtual machine?"), where no
 * probe can be. In a virtual machine that does nothing, and what is behind its two bytes follows.
 */
static int __init place_probe(void)
{
	int error = register_kprobe(&probe);

	if (error == -EINVAL) {
		probe.addr = NULL;
		probe.offset = 2;
		error = register_kprobe(&probe);
	}
	return error;
}

static int __init start(void)
{
	int error = place_probe();

	if (error)
		return error;
	if (!proc_create("contention", 0600, NULL, &operations)) {
		unregister_kprobe(&probe);
		return -ENOMEM;
	}
	return 0;
}

static void __exit stop(void)
{
	remove_proc_entry("contention", NULL);
	unregister_kprobe(&probe);
}

module_init(start);
module_exit(stop);
MODULE_DESCRIPTION("Counts waiting for spin locks");
MODULE_LICENSE("GPL");
