# SPDX-License-Identifier: GPL-2.0
#
# What is typed. The module's own build is in Kbuild; the kernel's make never
# reads this file.

KDIR ?=
export DESTDIR KERNELRELEASE

.DEFAULT_GOAL := module
.PHONY: run test lint module install help setup debug test-debug loaded-later heal bench kselftest \
	test-deb deb dist shell symbols uninstall format clean

run: module ## see it at work: a machine with the module loaded
	@scripts/demo

test: module ## every test: on the host and in virtual machines
	@scripts/test

lint: ## every check of the sources: format, clippy, unsafe code, panics, docs, scripts
	@scripts/lint

module: ## rust_ct.ko for the kernel in KDIR=, or for the one of run and test (Debian's 7.3)
	@scripts/build-module $(if $(KDIR),--kdir '$(KDIR)',debian)

install: module ## module, depmod entry, modprobe.d file, udev rule, for the kernel in KDIR=; DESTDIR=
	@scripts/install $(if $(KDIR),rust_ct.ko,build/debian/rust_ct.ko)

deb: ## build/deb/: Debian packages, for DKMS, and with KDIR= compiled for that kernel
	@scripts/deb $(if $(KDIR),--kdir '$(KDIR)')

dist: ## build/rust_ct-VERSION.tar.gz: the sources of the last commit
	@scripts/dist

help: ## this text
	@awk -F ':.*## ' '/^## / { print "\n" substr($$0, 4) } \
		/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "KDIR=FOLDER builds for another kernel, for example /lib/modules/\$$(uname -r)/build (docs/install.md)."

## To measure, to test more, to work on it:

bench: ## either tracker, measured, and a report; METHOD=packets|cpus|..., SCENARIOS=, QUICK=1
	@selftests/bench/run $(or $(METHOD),$(if $(SCENARIOS),packets,all)) $(if $(QUICK),--quick) $(SCENARIOS)

test-debug: ## the tests with every checker: KASAN, lockdep, RCU, kmemleak
	@scripts/test --debug

loaded-later: module ## connections older than the tracker: ours and the C one, side by side
	@scripts/vm --tracker none -- selftests/compare.sh life/loaded_later.sh
	@scripts/vm --tracker none -- selftests/nat/nat_loaded_later.sh

heal: module ## a client on a stale mapping: with the C tracker, and with ours
	@scripts/vm --tracker none --timeout 900 -- selftests/nat/stale_mappings.sh

test-deb: ## the Debian packages that 'make deb KDIR=' built, in a Debian 13 of its own
	@scripts/test-deb

kselftest: ## the kernel's own netfilter tests; TRACKER=rust_ct|stock, TESTS="a.sh b.sh"
	@scripts/build-module fast
	@scripts/kselftest $(if $(TRACKER),--tracker '$(TRACKER)') $(TESTS)

shell: module ## a shell in a machine with the module loaded
	@scripts/vm -i

setup: ## toolchain, kernel source and the two kernels of make test, into the cache
	@scripts/setup

debug: ## rust_ct.ko for the debug kernel
	@scripts/build-module debug

symbols: ## what it exports against what the modules of the fast kernel import
	@scripts/build-module fast
	@scripts/symbols

uninstall: ## undo make install
	@scripts/install --uninstall

format: ## the kernel's format for every Rust file
	@scripts/lint --fix-format

clean: ## what was built from this checkout (kernels and tools stay)
	@scripts/build-module --clean
