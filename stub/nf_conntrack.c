// SPDX-License-Identifier: GPL-2.0
/*
 * A module of the C tracker's name without code, for programs that look for the name in
 * /proc/modules, and for its parameters in /sys/module. They are rust_ct's own; permissions are
 * those of the C module. Loaded behind rust_ct (scripts/modprobe.d/rust_ct.conf).
 */
#include <linux/module.h>
#include <linux/moduleparam.h>

extern const struct kernel_param_ops rct_hashsize_ops;
extern bool rct_param_acct, rct_param_tstamp;
extern unsigned int nf_ct_expect_hsize;

module_param_cb(hashsize, &rct_hashsize_ops, NULL, 0600);
module_param_cb(expect_hashsize, &param_ops_uint, &nf_ct_expect_hsize, 0400);
module_param_cb(acct, &param_ops_bool, &rct_param_acct, 0644);
module_param_cb(tstamp, &param_ops_bool, &rct_param_tstamp, 0644);

MODULE_IMPORT_NS("RUST_CT");
MODULE_DESCRIPTION("Stands for rust_ct under the name of the C tracker");
MODULE_LICENSE("GPL");
