// SPDX-License-Identifier: GPL-2.0

/* RCU */

RCT void rct_synchronize_rcu_expedited(void)
{
	synchronize_rcu_expedited();
}

/* locks, counters, barriers */

RCT void rct_local_bh_disable(void)
{
	local_bh_disable();
}

RCT void rct_local_bh_enable(void)
{
	local_bh_enable();
}

RCT void rct_spin_lock_nested(spinlock_t *lock)
{
	spin_lock_nested(lock, SINGLE_DEPTH_NESTING);
}

RCT void rct_spin_lock_bh(spinlock_t *lock)
{
	spin_lock_bh(lock);
}

RCT bool rct_spin_trylock_bh(spinlock_t *lock)
{
	return spin_trylock_bh(lock);
}

RCT void rct_spin_unlock_bh(spinlock_t *lock)
{
	spin_unlock_bh(lock);
}

RCT bool rct_in_softirq(void)
{
	return in_softirq();
}

#ifdef CONFIG_PROVE_RCU
RCT void rct_rcu_assert_held(void)
{
	RCU_LOCKDEP_WARN(!rcu_read_lock_any_held(), "no RCU read-side critical section");
}
#endif

RCT void rct_seqcount_init(seqcount_t *count)
{
	seqcount_init(count);
}

RCT unsigned int rct_seqcount_read(const seqcount_t *count)
{
	return smp_load_acquire(&count->sequence);
}

RCT void rct_seqcount_write_begin(seqcount_t *count)
{
	write_seqcount_begin(count);
}

RCT void rct_seqcount_write_end(seqcount_t *count)
{
	write_seqcount_end(count);
}

RCT void rct_smp_acquire_after_ctrl_dep(void)
{
	smp_acquire__after_ctrl_dep();
}

RCT void rct_smp_mb_before_atomic(void)
{
	smp_mb__before_atomic();
}

RCT void rct_set_bit(unsigned int bit, unsigned long *word)
{
	set_bit(bit, word);
}

RCT void rct_clear_bit(unsigned int bit, unsigned long *word)
{
	clear_bit(bit, word);
}

RCT bool rct_test_and_set_bit(unsigned int bit, unsigned long *word)
{
	return test_and_set_bit(bit, word);
}

RCT u8 rct_read_once_u8(const u8 *p)
{
	return READ_ONCE(*p);
}

RCT void rct_atomic64_add(s64 n, atomic64_t *v)
{
	atomic64_add(n, v);
}

RCT s64 rct_atomic64_read(const atomic64_t *v)
{
	return atomic64_read(v);
}
