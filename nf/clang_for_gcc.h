/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included right after the kernel's configuration where clang compiles for a kernel that gcc
 * built. The configuration says what gcc can do. With named address spaces gcc itself puts
 * "%gs:" before the per-CPU operands of inline assembly, so the kernel's headers leave it
 * out; clang does not put it there, and the instruction would access another address.
 */
#undef CONFIG_CC_HAS_NAMED_AS
#undef CONFIG_CC_HAS_NAMED_AS_FIXED_SANITIZERS
#undef CONFIG_USE_X86_SEG_SUPPORT
