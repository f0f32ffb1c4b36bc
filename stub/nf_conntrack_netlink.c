// SPDX-License-Identifier: GPL-2.0
/* As nf_conntrack.c, for the name of the C tracker's netlink view. */
#include <linux/module.h>

/* Makes the loader see that this lives on rust_ct. */
extern bool rct_param_acct;
static const bool *const lives_on __used = &rct_param_acct;

MODULE_IMPORT_NS("RUST_CT");
MODULE_DESCRIPTION("Stands for rust_ct under the name of the C tracker's netlink view");
MODULE_LICENSE("GPL");
