# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# For scripts that send one packet at a time and tell of each what came of it, so that
# compare.sh can hold it against the other tracker. To be sourced after lib.sh.

# --- steps ------------------------------------------------------------------

# A group of steps has a client's port of its own, so that it meets no entry of another.
# TOOL is the program that made the rules, if that matters.
group='' port=1 number=0 steps=0
begin() { # GROUP [PORT]
	group="${TOOL:+$TOOL }$FAMILY $1" port=${2:-$((port + 1))} number=0 seq=1001
}

# One packet, and what came of it, also into STEP. (SIDE PACKET...)
step() {
	local text="$1 ${*:2}"
	number=$((number + 1)) steps=$((steps + 1))
	t step "$1" "$R" "${@:2}" || ANSWER="error $ANSWER"
	STEP=$ANSWER
	text=${text/"$X"/X}
	text=${text/"$Y"/Y}
	detail "$group / $number ${text:0:100}" "$ANSWER"
}

# What became of the last step's packet. (VERDICT)
went() {
	[[ $STEP == "$1" || $STEP == "$1;"* ]] && return
	diag "'$STEP' and not '$1'"
	return 1
}

hex() { printf %b "$1" | od -An -v -tx1 | tr -d ' \n'; }
zeros() { printf '%0*d' "$((2 * $1))" 0; } # BYTES

# Lifetimes that are all different, so that each tells its state, and so long that a slow machine
# sees their beginning. (NAME...)
set_lifetimes() {
	local name life=1000
	for name; do
		set_ct "$R" "$name" $life
		declare -g "life_$name=$life"
		life=$((life + 300))
	done
}

# What an entry is after something that two kernels did. (ITEM WORD...)
shown() {
	local item=$1 line n=
	t summary "$R" "$FAMILY" "${@:2}"
	for line in "${LINES[@]:-no entry}"; do
		result "$group / $item$n" "$line"
		n=$((n + 1))
	done
}

# The statistics that are not zero. ([BEGINNING-OF-NAME])
show_statistics() {
	local word
	t stats "$R"
	for word in $ANSWER; do
		[[ $word != "${1:-}"* ]] || result "statistics / ${word%=*}" "${word#*=}"
	done
}

# --- what netlink tells -------------------------------------------------------

# Records the events of the router's connections, but not those of the hosts' own. Both trackers'
# events, or none: rust_ct has them without this module. (HOST...)
record_events() {
	local ask=modinfo
	[[ $TRACKER != stock ]] || ask=modprobe
	events=0
	if quiet "$ask" nf_conntrack_netlink 2>&1; then
		set_ct "$R" events 1
		check "netlink is listened to" must events e "$R" "$@"
		events=1
	else
		skip "what netlink tells of each connection" "this kernel has no nf_conntrack_netlink"
	fi
}

# Of each connection its events in their order. They end with the connections, so that this
# comes last. (NUMBER)
show_events() {
	((!events)) || check "no event was lost, and there were some" told_events "$1"
}
told_events() {
	must told e || return
	local line word
	for line in "${LINES[@]}"; do
		detail "events / ${line%%: *}" "${line#*: }"
	done
	for word in $ANSWER; do
		result "events / ${word%=*}" "${word#*=}"
	done
	that "${#LINES[@]} > $1"
}

# --- what helpers expect ------------------------------------------------------

# Into LINES.
list_expectations() { must cat "$R" /proc/net/nf_conntrack_expect; }

expected() { # NUMBER
	list_expectations && same "${#LINES[@]} expectations" "$1 expectations"
}

# Each of them without the seconds it has left. They stand where their hash puts them.
# (ITEM)
show_expectations() {
	local line n=0
	list_expectations
	while read -r line; do
		n=$((n + 1))
		result "$group / $1 $n" "${line:-none}"
	done < <(printf '%s\n' "${LINES[@]#* }" | sort)
}

# --- FTP ----------------------------------------------------------------------

# A connection to the FTP server, and a first command: where a line ends, the helper
# knows that the next begins. ([CLIENT-SIDE SERVER-SIDE])
ftp_opened() {
	ftp_client=${1:-c} seq=1001
	step "$ftp_client" tcp "$X,$port" "$Y,21" S seq=1000 mss=1460
	step "${2:-s}" tcp "$Y,21" "$X,$port" SA seq=5000 ack=1001 mss=1460
	step "$ftp_client" tcp "$X,$port" "$Y,21" A seq=1001 ack=5001
	ftp_says "USER a\r\n"
}
ftp_says() { # TEXT
	local text
	text=$(hex "$1")
	step "$ftp_client" tcp "$X,$port" "$Y,21" PA seq=$seq ack=5001 data="$text"
	[[ $STEP != passed* ]] || seq=$((seq + ${#text} / 2))
}
# The client can be called at a port. (PORT)
ftp_offers() {
	if [[ $FAMILY == ipv4 ]]; then
		ftp_says "PORT ${X//./,},$(($1 >> 8)),$(($1 & 255))\r\n"
	else
		ftp_says "EPRT |2|$X|$1|\r\n"
	fi
}

# --- PPTP ---------------------------------------------------------------------

# A client and a server agree on calls 0x11 and 0x22; the router has a rule for the helper.
readonly PPTP_COOKIE=1a2b3c4d
pptp_client() { step c tcp "$X,5000" "$Y,1723" PA seq="$1" ack="$2" data="$3"; } # SEQ ACK DATA
pptp_server() { step s tcp "$Y,1723" "$X,5000" PA seq="$1" ack="$2" data="$3"; }
pptp_calls() {
	step c tcp "$X,5000" "$Y,1723" S seq=1000 mss=1460
	step s tcp "$Y,1723" "$X,5000" SA seq=5000 ack=1001 mss=1460
	step c tcp "$X,5000" "$Y,1723" A seq=1001 ack=5001
	# Start-Control-Connection-Request and -Reply, Outgoing-Call-Request and -Reply.
	pptp_client 1001 5001 "009c0001${PPTP_COOKIE}0001000001000000$(zeros 140)"
	pptp_server 5001 1157 "009c0001${PPTP_COOKIE}0002000001000100$(zeros 140)"
	pptp_client 1157 5157 "00a80001${PPTP_COOKIE}0007000000110001$(zeros 152)"
	pptp_server 5157 1325 "00200001${PPTP_COOKIE}00080000002200110100$(zeros 14)"
}
# Call-Clear-Request, Call-Disconnect-Notify: the call is over.
pptp_hangs_up() {
	pptp_client 1325 5189 "00100001${PPTP_COOKIE}000c000000110000"
	pptp_server 5189 1341 "00940001${PPTP_COOKIE}000d000000220000$(zeros 132)"
}
