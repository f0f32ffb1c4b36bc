// SPDX-License-Identifier: GPL-2.0

/* memory */

RCT struct kmem_cache *rct_conn_cache_create(unsigned int size, unsigned int align,
					     unsigned int free_link)
{
	struct kmem_cache_args args = {
		/* The low bits of skb->_nfct carry the packet's state. */
		.align = max_t(unsigned int, align, NFCT_INFOMASK + 1),
		.use_freeptr_offset = true,
		.freeptr_offset = free_link,
	};

	return kmem_cache_create("nf_conntrack", size, &args,
				 SLAB_TYPESAFE_BY_RCU | SLAB_HWCACHE_ALIGN);
}

RCT void *rct_percpu_slot_alloc(void)
{
	return (__force void *)alloc_percpu(void *);
}

RCT void rct_free_percpu(void *area)
{
	free_percpu((void __percpu *)area);
}

RCT void **rct_percpu_slot_of(void *slot, unsigned int cpu)
{
	return per_cpu_ptr((void * __percpu *)slot, cpu);
}

/*
 * With bottom halves off nobody else on this processor comes to a slot: neither a task nor a
 * softirq runs then (on PREEMPT_RT they do), and a hard interrupt frees no packet that has an
 * entry. Plain accesses do then, where atomic ones may turn interrupts off.
 */
static __always_inline bool percpu_slot_is_ours(void)
{
	lockdep_assert(!in_hardirq());
	return !IS_ENABLED(CONFIG_PREEMPT_RT) && softirq_count();
}

RCT void *rct_percpu_slot_take(void *slot)
{
	void * __percpu *place = (void * __percpu *)slot;
	void *value;

	if (unlikely(!percpu_slot_is_ours()))
		return this_cpu_xchg(*place, NULL);
	value = __this_cpu_read(*place);
	__this_cpu_write(*place, NULL);
	return value;
}

RCT bool rct_percpu_slot_fill(void *slot, void *value)
{
	void * __percpu *place = (void * __percpu *)slot;

	if (unlikely(!percpu_slot_is_ours()))
		return !this_cpu_cmpxchg(*place, NULL, value);
	if (__this_cpu_read(*place))
		return false;
	__this_cpu_write(*place, value);
	return true;
}

RCT unsigned long rct_page_offset(void)
{
	return PAGE_OFFSET;
}

RCT unsigned long rct_memory_end(void)
{
	return (unsigned long)high_memory;
}

RCT void *rct_kmem_cache_alloc(struct kmem_cache *cache, gfp_t flags)
{
	return kmem_cache_alloc(cache, flags);
}

RCT void *rct_kzalloc(size_t size, gfp_t flags)
{
	return kzalloc(size, flags);
}

RCT void *rct_krealloc_zeroed(void *p, size_t old_size, size_t new_size, gfp_t flags)
{
	void *bigger = krealloc(p, new_size, flags);

	if (bigger)
		memset(bigger + old_size, 0, new_size - old_size);
	return bigger;
}

RCT void *rct_kvzalloc(size_t size)
{
	return kvzalloc(size, GFP_KERNEL);
}

RCT void rct_kvfree_rcu(void *memory)
{
	kvfree_rcu_mightsleep(memory);
}

RCT unsigned long rct_totalram_bytes(void)
{
	return totalram_pages() << PAGE_SHIFT;
}
