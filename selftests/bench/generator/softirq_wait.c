// SPDX-License-Identifier: GPL-2.0
/*
 * Says how long packets would have to wait: for how long bottom halves or interrupts are off.
 *
 * On each processor a timer goes off every few microseconds, at irregular intervals, and raises
 * the softirq that comes before all others. It runs at once, or when what was interrupted turns
 * bottom halves on again. The time in between, from the moment for which the timer was set, is
 * what a packet would wait that arrives at that moment. Where a softirq is at work already,
 * nothing is measured: only what holds all of them off counts. The timer is set anew when the
 * softirq has run, so that it takes no part in the time that it measures.
 *
 * "start" written to /proc/softirq_wait, with a newline behind it, begins, and forgets what was
 * before; "stop" ends. What came of it can then be read there: how many times were measured, the
 * shortest (what a wait of nothing takes), and the longest ones, each with the function that was
 * interrupted.
 */
#include <linux/hrtimer.h>
#include <linux/interrupt.h>
#include <linux/ktime.h>
#include <linux/percpu.h>
#include <linux/smp.h>

#include "orders.h"

#ifdef CONFIG_X86
#include <asm/irq_regs.h>
#endif

#define LONGEST 16
#define LEAST_GAP 9001
#define MORE_GAP 0x3fff

struct wait {
	u64 ns;
	unsigned long at;
};

struct probe {
	struct hrtimer timer;
	struct tasklet_struct tasklet;
	/* when the timer was to go off, and what it interrupted */
	ktime_t wanted;
	unsigned long at;
	u32 random;
	u64 count, least;
	struct wait longest[LONGEST];
};

static DEFINE_PER_CPU(struct probe, probes);
static bool running;

static ktime_t gap(struct probe *probe)
{
	u32 x = probe->random;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	probe->random = x;
	return ns_to_ktime(LEAST_GAP + (x & MORE_GAP));
}

static enum hrtimer_restart go_off(struct hrtimer *timer)
{
	struct probe *probe = container_of(timer, struct probe, timer);

	if (in_serving_softirq()) {
		hrtimer_forward_now(timer, gap(probe));
		return HRTIMER_RESTART;
	}
	probe->wanted = hrtimer_get_expires(timer);
	probe->at = 0;
#ifdef CONFIG_X86
	if (get_irq_regs() && !user_mode(get_irq_regs()))
		probe->at = get_irq_regs()->ip;
#endif
	tasklet_hi_schedule(&probe->tasklet);
	return HRTIMER_NORESTART;
}

static void note(struct probe *probe, u64 ns)
{
	unsigned int i, shortest = 0;

	probe->count++;
	probe->least = min(probe->least, ns);
	for (i = 1; i < LONGEST; i++)
		if (probe->longest[i].ns < probe->longest[shortest].ns)
			shortest = i;
	if (ns > probe->longest[shortest].ns)
		probe->longest[shortest] = (struct wait){ ns, probe->at };
}

static void run(struct tasklet_struct *tasklet)
{
	struct probe *probe = container_of(tasklet, struct probe, tasklet);

	note(probe, ktime_to_ns(ktime_sub(ktime_get(), probe->wanted)));
	if (READ_ONCE(running))
		hrtimer_start(&probe->timer, gap(probe), HRTIMER_MODE_REL_PINNED_HARD);
}

static void begin_here(void *unused)
{
	struct probe *probe = this_cpu_ptr(&probes);

	hrtimer_start(&probe->timer, gap(probe), HRTIMER_MODE_REL_PINNED_HARD);
}

static void end(void)
{
	unsigned int cpu;

	if (!running)
		return;
	WRITE_ONCE(running, false);
	for_each_possible_cpu(cpu) {
		struct probe *probe = per_cpu_ptr(&probes, cpu);

		/* The timer may raise the softirq once more, which does not set it any more. */
		tasklet_kill(&probe->tasklet);
		hrtimer_cancel(&probe->timer);
		tasklet_kill(&probe->tasklet);
	}
}

static void begin(void)
{
	unsigned int cpu;

	end();
	for_each_possible_cpu(cpu) {
		struct probe *probe = per_cpu_ptr(&probes, cpu);

		probe->count = 0;
		probe->least = U64_MAX;
		probe->random = 0x9e3779b9 + cpu;
		memset(probe->longest, 0, sizeof(probe->longest));
	}
	running = true;
	on_each_cpu(begin_here, NULL, 1);
}

static int obey(const char *line)
{
	if (!strcmp(line, "start\n"))
		begin();
	else if (!strcmp(line, "stop\n"))
		end();
	else
		return -EINVAL;
	return 0;
}

static void show(struct seq_file *out)
{
	u64 count = 0, least = U64_MAX;
	unsigned int cpu, i;

	for_each_possible_cpu(cpu) {
		struct probe *probe = per_cpu_ptr(&probes, cpu);

		count += probe->count;
		least = min(least, probe->least);
		for (i = 0; i < LONGEST; i++)
			if (probe->longest[i].ns)
				seq_printf(out, "waited %llu %ps\n", probe->longest[i].ns,
					   (void *)probe->longest[i].at);
	}
	seq_printf(out, "times %llu least %llu\n", count, least);
}

static size_t room_to_show(void)
{
	return 1 << 16;
}

static int __init start(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		struct probe *probe = per_cpu_ptr(&probes, cpu);

		hrtimer_setup(&probe->timer, go_off, CLOCK_MONOTONIC, HRTIMER_MODE_REL_PINNED_HARD);
		tasklet_setup(&probe->tasklet, run);
	}
	return proc_create("softirq_wait", 0600, NULL, &operations) ? 0 : -ENOMEM;
}

static void __exit stop(void)
{
	remove_proc_entry("softirq_wait", NULL);
	mutex_lock(&orders);
	end();
	mutex_unlock(&orders);
}

module_init(start);
module_exit(stop);
MODULE_DESCRIPTION("How long softirqs have to wait");
MODULE_LICENSE("GPL");
