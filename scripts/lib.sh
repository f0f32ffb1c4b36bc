# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# What the scripts share: pinned versions, where things lie in the cache, and
# the environment a build of the kernel or of the module needs. To be sourced.

RCT_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
RCT_CACHE=${RUST_CT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rust_ct}

# The pins. Another value can be tried from the environment without an edit.
KERNEL_VERSION=${RUST_CT_KERNEL_VERSION:-7.3.4-1~bpo13+1}
KERNEL_SERIES=${KERNEL_VERSION%%-*}
KERNEL_SERIES=${KERNEL_SERIES%.*}
KERNEL_PACKAGE=linux-source-$KERNEL_SERIES
# Debian's own kernels, by the names that scripts have for them: version and flavour. (The cloud
# flavour has no file system that a virtual machine here could start from: it is for compiling.)
declare -rA DEBIAN_KERNELS=(
	[debian]="$KERNEL_VERSION amd64"
	[debian-cloud]="$KERNEL_VERSION cloud-amd64"
	[debian-7.2]="7.2.12-1~bpo13+1 amd64"
)
# Debian's packages of these versions have it in their names.
DEBIAN_RELEASE=deb13
# What rust_ct can be built for.
readonly SUPPORTED_SERIES=(7.2 7.3)
LLVM_MAJOR=22
# With libclang $LLVM_MAJOR, older ones find no fields in any struct.
BINDGEN_VERSION=0.73.2
BINDGEN_MINIMUM=0.72.1
# Debian 13's, which takes less time to fetch than the other to build, and an older libclang.
BINDGEN_PACKAGED=0.71.1
LIBCLANG_PACKAGED=19
RUSTC_MINIMUM=1.85
VNG_VERSION=1.42
NFT_VERSION=1.1.3
NFT_MINIMUM=1.0.9

KERNEL_SOURCE=$RCT_CACHE/src/linux-$KERNEL_VERSION
SELFTESTS_DIR=$RCT_CACHE/selftests/$KERNEL_VERSION
NFT_DIR=$RCT_CACHE/nft/$NFT_VERSION
# conntrackd, ulogd2 and node_exporter, in the folders that they would be installed into.
CLIENTS_DIR=$RCT_CACHE/clients
VNG_DIR=$RCT_CACHE/vng/$VNG_VERSION

say() { printf '%s\n' "$*" >&2; }

die() {
	say "${0##*/}: $*"
	exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Prints the version number of the rustc that is in use ("1.95.0").
rustc_version() { rustc --version 2>/dev/null | awk '{ print $2 }'; }

# Prints the major version of the LLVM that rustc has.
rustc_llvm() { rustc --version --verbose | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p'; }

# Prints the library/ folder that belongs to the rustc in use, or fails.
rust_library() {
	local version candidate
	version=$(rustc_version)
	[[ -n $version ]] || return 1
	for candidate in \
		"${RUST_LIB_SRC:-}" \
		"$(rustc --print sysroot)/lib/rustlib/src/rust/library" \
		"/usr/src/rustc-$version/library" \
		"$RCT_CACHE/rust-src/$version/usr/src/rustc-$version/library"; do
		if [[ -n $candidate && -f $candidate/core/src/lib.rs ]]; then
			printf '%s\n' "$candidate"
			return
		fi
	done
	return 1
}

# What the module is compiled of.
readonly MODULE_SOURCES=(Kbuild VERSION rust_ct.rs nf ct nat proto stub scripts/clang-for-gcc)

# Puts the toolchain into the environment: the kernel's own make finds it there.
use_toolchain() {
	local library
	[[ -d $RCT_CACHE/bindgen/$BINDGEN_VERSION/bin ]] &&
		PATH=$RCT_CACHE/bindgen/$BINDGEN_VERSION/bin:$PATH
	# A rustc without the source of its library cannot build a kernel; the
	# distribution's, where setup installed one, can.
	if ! library=$(rust_library) && [[ -x /usr/bin/rustc ]]; then
		PATH=/usr/bin:$PATH
		library=$(rust_library) || library=
	fi
	export PATH LLVM=-$LLVM_MAJOR LIBCLANG_PATH=/usr/lib/llvm-$LLVM_MAJOR/lib
	export RUST_LIB_SRC=$library
	# These would reach the kernel's make and mean something else there.
	unset ARCH CROSS_COMPILE O KBUILD_OUTPUT
}

# Prints the value of an option of the kernel in a build folder, without quotes.
kernel_option() { # FOLDER NAME
	sed -n "s/^CONFIG_$2=//p" "$1/.config" | tr -d '"'
}

is_clang_kernel() { # FOLDER
	[[ $(kernel_option "$1" CC_IS_CLANG) == y ]]
}

# Puts the toolchain into the environment for a kernel in a build folder. For one that gcc
# built, clang is that of rustc's LLVM.
use_toolchain_of() { # FOLDER
	use_toolchain
	! is_clang_kernel "$1" || return 0
	LLVM_MAJOR=$(rustc_llvm)
	bindgen_is "$BINDGEN_PACKAGED" || PATH=$RCT_CACHE/bindgen/$BINDGEN_PACKAGED/bin:$PATH
	use_llvm
	export RUST_CT_CLANG=clang-$LLVM_MAJOR
	unset LLVM
}

# Makes the programs of LLVM_MAJOR known by the names that Debian gives them, and libclang to bindgen.
# Other distributions have one LLVM, whose programs have no number in their names.
use_llvm() {
	local tool folder=$RCT_CACHE/llvm/$LLVM_MAJOR
	for tool in clang llvm-link; do
		if ! have "$tool-$LLVM_MAJOR" && [[ $("$tool" --version 2>/dev/null) == *" version $LLVM_MAJOR."* ]]; then
			mkdir -p "$folder"
			ln -sf "$(command -v "$tool")" "$folder/$tool-$LLVM_MAJOR"
		fi
	done
	[[ ! -d $folder ]] || PATH=$folder:$PATH
	export LIBCLANG_PATH
	for LIBCLANG_PATH in "/usr/lib/llvm-$(libclang_major)/lib" /usr/lib64 /usr/lib; do
		! compgen -G "$LIBCLANG_PATH/libclang*.so*" >/dev/null || break
	done
}

# Whether there is a bindgen of this version or a later one.
bindgen_is() { # LEAST
	local version
	version=$(bindgen --version 2>/dev/null | awk '{ print $2 }')
	[[ -n $version ]] && printf '%s\n' "$1" "$version" | sort -CV
}

# Prints the major version of the libclang that bindgen can read the headers with: that of
# rustc's LLVM, or an older one.
libclang_major() {
	if ((LLVM_MAJOR < 22)) || bindgen_is "$BINDGEN_MINIMUM"; then
		echo "$LLVM_MAJOR"
	else
		echo "$LIBCLANG_PACKAGED"
	fi
}

# Prints what tells the kernel's make which C compiler to use, a word per line. Where the gcc
# is missing that built the kernel, clang takes its place.
compiler_arguments() { # FOLDER
	local gcc
	if is_clang_kernel "$1"; then
		echo "LLVM=$LLVM"
	else
		gcc=$(kernel_option "$1" CC_VERSION_TEXT)
		have "${gcc%% *}" || echo "CC=$RCT_ROOT/scripts/clang-for-gcc"
	fi
}

# What the makefiles of headers say each time, for sed to leave out: another pahole than the
# kernel's, no type information for the module, no rustfmt for generated files.
readonly USUAL_NOISE='/^warning: pahole version differs/,+2d; /^Skipping BTF generation/d; /^Failed to run rustfmt/d'

toolchain_text() {
	rustc --version
	"clang-$LLVM_MAJOR" --version | head -n 1
	bindgen --version
}

# The kernel's selftests are of its day: they have rules that Debian 12's nft does not
# take. Succeeds if the machine's own takes them, or setup has fetched one that does.
has_recent_nft() {
	local version
	[[ ! -x $NFT_DIR/bin/nft ]] || return 0
	version=$(nft --version 2>/dev/null | sed 's/^nftables v\([0-9.]*\).*/\1/')
	[[ -n $version ]] && printf '%s\n' "$NFT_MINIMUM" "$version" | sort -CV
}

kernel_fragments() { # KIND
	local folder=$RCT_ROOT/scripts/kernel
	[[ $1 == uml ]] || printf '%s\n' "$folder/base.config" "$folder/netfilter.config"
	[[ $1 != uml-debug ]] || printf '%s\n' "$folder/debug.config"
	printf '%s\n' "$folder/$1.config"
}

# Prints the build folder of a kernel: its name has everything that it was built
# from, so that a changed option or compiler is another folder.
kernel_dir() { # KIND
	local key fragments version flavour
	if is_debian_kernel "$1"; then
		read -r version flavour <<<"${DEBIAN_KERNELS[$1]}"
		[[ $flavour == amd64 ]] || version+=-${flavour%-amd64}
		printf '%s\n' "$RCT_CACHE/debian/$version"
		return
	fi
	mapfile -t fragments < <(kernel_fragments "$1")
	key=$({
		echo "$KERNEL_VERSION"
		grep -h '^CONFIG_' "${fragments[@]}"
		! is_uml_kernel "$1" || echo "${UML_ARGUMENTS[@]}"
		toolchain_text
	} 2>/dev/null | sha256sum | cut -c 1-12)
	printf '%s\n' "$RCT_CACHE/kernel/$1-$key"
}

# The same, and it must be there.
built_kernel_dir() { # KIND
	local dir
	dir=$(kernel_dir "$1")
	[[ -e $dir/.rust_ct-complete ]] ||
		die "the $1 kernel is not built yet: run 'scripts/setup kernel $1'"
	printf '%s\n' "$dir"
}

# Prints the build folder that a module for a kernel is compiled against, and its image.
module_build_dir() { # KIND
	local dir
	dir=$(built_kernel_dir "$1") || return 1
	! is_debian_kernel "$1" || dir=$(echo "$dir"/usr/src/linux-headers-*-amd64)
	printf '%s\n' "$dir"
}

kernel_image() { # KIND
	local dir
	dir=$(built_kernel_dir "$1") || return 1
	if is_debian_kernel "$1"; then
		echo "$dir"/usr/lib/modules/*/vmlinuz
	else
		printf '%s\n' "$dir/arch/x86/boot/bzImage"
	fi
}

# Those that scripts/vm starts, and those that are programs (scripts/uml).
# Prints the series of a version ("7.3"). (VERSION)
series_of() { cut -d. -f1,2 <<<"$1"; }

is_debian_kernel() { [[ -n ${DEBIAN_KERNELS[$1]:-} ]]; }
is_vm_kernel() { [[ $1 == fast || $1 == debug ]] || is_debian_kernel "$1"; }
is_uml_kernel() { [[ $1 == uml || $1 == uml-debug ]]; }

# Those that tests run on.
require_test_kernel() { # KIND
	is_vm_kernel "$1" || [[ $1 == uml-debug ]] ||
		die "--kernel is one of fast, debug, uml-debug, ${!DEBIAN_KERNELS[*]}, not '$1'"
}

require_kernel_kind() { # KIND
	is_vm_kernel "$1" || is_uml_kernel "$1" ||
		die "the kernels are fast, debug, uml, uml-debug, ${!DEBIAN_KERNELS[*]}: there is no '$1'"
}

# Passes on what the command in a guest says, as long as the process lives that is the guest, by
# two processes: tails.
follow_output() { # FOLDER PID
	tail -qf -s 0.1 --pid="$2" "$1/stdout" &
	tails=($!)
	tail -qf -s 0.1 --pid="$2" "$1/stderr" >&2 &
	tails+=($!)
}

# User-Mode Linux is compiled for the large code model. Clang puts data of that into sections
# (.ldata, .lbss) which the kernel's linker script has no place for, so that lockdep does not
# take it for the kernel's own, and switches itself off, and kmemleak does not search it.
readonly UML_FLAG=-Xclang=-mlarge-data-threshold=2147483647
readonly UML_ARGUMENTS=(ARCH=um "KCFLAGS=$UML_FLAG")

# What the kernel's make must be told, beyond the compiler, to build in a folder.
arch_arguments() { # FOLDER
	! grep -q '^CONFIG_UML=y' "$1/.config" 2>/dev/null || echo "${UML_ARGUMENTS[@]}"
}

minutes() { # SECONDS -> 4m12s
	printf '%dm%02ds' $(($1 / 60)) $(($1 % 60))
}

# Everything that the kernel says when something is wrong with it: a file of patterns.
KERNEL_REPORTS=$RCT_ROOT/selftests/lib/kernel-reports.txt

# From here on the log of a guest (scripts/vm-guest) is judged.
GUEST_MARK='rust_ct-vm: the tracker is loaded from here on'
