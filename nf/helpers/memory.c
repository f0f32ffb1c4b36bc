// SPDX-License-Identifier: GPL-2.0

/* memory */

RCT struct kmem_cache *rct_conn_cache_create(unsigned int size, unsigned int align, unsigned int freeptr_offset)
{
	return kmem_cache_create("nf_conntrack", size, &((struct kmem_cache_args){ .align = align, .use_freeptr_offset = true, .freeptr_offset = freeptr_offset }), SLAB_TYPESAFE_BY_RCU | SLAB_HWCACHE_ALIGN);
}

RCT void *rct_percpu_read(void *slot)
{
	return __this_cpu_read(*(void * __percpu *)slot);
}

RCT void rct_percpu_write(void *slot, void *value)
{
	__this_cpu_write(*(void * __percpu *)slot, value);
}

RCT void *rct_percpu_xchg(void *slot, void *value)
{
	return this_cpu_xchg(*(void * __percpu *)slot, value);
}

RCT void *rct_percpu_cmpxchg(void *slot, void *expected, void *value)
{
	return this_cpu_cmpxchg(*(void * __percpu *)slot, expected, value);
}

RCT void rct_assert_not_in_hardirq(void)
{
	lockdep_assert(!in_hardirq());
}

RCT void *rct_krealloc(void *p, size_t size, gfp_t flags)
{
	return krealloc(p, size, flags);
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
