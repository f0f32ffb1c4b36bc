// SPDX-License-Identifier: GPL-2.0

/* time, work, log, the tracker's hook */

RCT unsigned long rct_jiffies(void)
{
	return jiffies;
}

RCT u64 rct_ktime_real_ns(void)
{
	return ktime_get_real_ns();
}

RCT u64 rct_jiffies_to_nsecs(unsigned long j)
{
	return jiffies_to_nsecs(j);
}

RCT void rct_delayed_work_init(struct delayed_work *work, work_func_t run)
{
	INIT_DELAYED_WORK(work, run);
}

RCT void rct_delayed_work_queue(struct delayed_work *work, unsigned long delay)
{
	queue_delayed_work(system_power_efficient_wq, work, delay);
}

RCT void rct_delayed_work_hasten(struct delayed_work *work)
{
	mod_delayed_work(system_power_efficient_wq, work, 0);
}

RCT bool rct_cond_resched(void)
{
	return cond_resched();
}

RCT bool rct_net_ratelimit(void)
{
	return net_ratelimit();
}

RCT bool rct_ct_hook_present(void)
{
	return rcu_access_pointer(nf_ct_hook);
}

RCT void rct_ct_hook_set(const struct nf_ct_hook *hook)
{
	rcu_assign_pointer(nf_ct_hook, hook);
}

RCT bool rct_nf_checksum_bad(struct sk_buff *skb, unsigned int hook, unsigned int offset,
			     u8 protocol, u8 family)
{
	return nf_checksum(skb, hook, offset, protocol, family) != 0;
}
