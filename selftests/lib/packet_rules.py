# SPDX-License-Identifier: GPL-2.0
"""Rules and settings by chance that nft takes, for packet_fuzz.py: all that hangs on the tracker."""

HELPERS = (("ftp", "tcp", 21), ("tftp", "udp", 69), ("sip", "udp", 5060), ("sip", "tcp", 5060), ("irc", "tcp", 6667),
           ("pptp", "tcp", 1723), ("Q.931", "tcp", 1720), ("RAS", "udp", 1719), ("amanda", "udp", 10080),
           ("netbios-ns", "udp", 137), ("snmp", "udp", 161), ("sane", "tcp", 6566))

FLAGS = "", "", "", " persistent", " random", " fully-random", " random,persistent"
SNAT = ("masquerade", "masquerade to :2000-2003", "snat to 10.0.2.1", "snat to 10.0.2.100-10.0.2.104",
        "snat to 10.0.2.1:1-65535", "snat to 10.0.2.1:5060", "snat to 10.0.2.7:1024-1026")
SNAT6 = "masquerade", "snat to fd00:2::1", "snat to fd00:2::100-fd00:2::108", "snat to [fd00:2::1]:2000-2004"
DNAT = ("dnat to 10.0.2.9", "dnat to 10.0.2.9-10.0.2.12", "dnat to 10.0.2.10:2000-2010", "dnat to 10.0.2.2:80",
        "redirect", "redirect to :2000-2009", "dnat to 10.0.1.9")
DNAT6 = "dnat to fd00:2::9", "dnat to fd00:2::9-fd00:2::c", "dnat to [fd00:2::2]:80", "redirect to :2000"


def some(chance, share, lines):
    return [line for line in lines if chance.random() < share]


def ruleset(chance):
    """Text for nft -f."""
    def flags():
        return chance.choice(FLAGS)

    def chain(name, hook, rules):
        text = "".join(f"\t\t{rule}\n" for rule in rules)
        return f"\tchain {name} {{\n\t\t{hook};\n{text}\t}}\n"

    helpers = HELPERS if chance.random() < 0.8 else ()
    objects = "".join(f"\tct helper h{i} {{ type \"{name}\" protocol {protocol}; }}\n"
                      for i, (name, protocol, _) in enumerate(helpers))
    objects += "\tct timeout brief { protocol tcp; l3proto ip;" \
        " policy = { established : 3, syn_sent : 2, close : 1 }; }\n"
    objects += "\tct timeout udps { protocol udp; l3proto ip6; policy = { unreplied : 1, replied : 2 }; }\n"
    objects += "\tct expectation more { protocol udp; dport 9; timeout 3s; size 4; l3proto ip; }\n"
    objects += "\tflowtable ft { hook ingress priority 0; devices = { toc, tos }; }\n"
    raw = some(chance, 0.25, (
        "udp dport 7 notrack", "meta l4proto sctp notrack", "iifname toc ct zone set 5",
        "iifname tos ct original zone set 7", "iifname toc ct original zone set 9", "ct zone set 5",
        "ip6 saddr fd00:1::9 ct reply zone set 3"))
    pre = [f"meta l4proto {protocol} th dport {port} ct helper set \"h{i}\""
           for i, (_, protocol, port) in enumerate(helpers)]
    pre += some(chance, 0.4, (
        "ct mark set meta length", "meta mark set ct mark", "ct label set 5", "ct event set new,destroy",
        "meta l4proto tcp ip protocol tcp ct timeout set \"brief\"",
        "meta l4proto udp meta nfproto ipv6 ct timeout set \"udps\"",
        "ip protocol udp udp dport 53 ct expectation set \"more\""))
    forward = some(chance, 0.25, (
        "ct state invalid drop", "ct state established,related counter", "ct count over 20 drop",
        "meta l4proto { tcp, udp } flow add @ft", "ct status assured counter", "ct bytes > 100 counter",
        "ct helper \"ftp\" counter", "ct expiration < 10s counter", "ct state new limit rate 500/second accept",
        "udp dport 9 reject", "tcp dport 9 reject with tcp reset", "ct state untracked accept",
 "ct id 7 counter", "ct direction reply ct packets > 3 counter"))
    dnat = some(chance, 0.3, (
        f"ip daddr 10.0.2.10 meta l4proto {{ tcp, udp }} {chance.choice(DNAT)}{flags()}",
        f"ip daddr 10.0.2.11 {chance.choice(DNAT[:2])}{flags()}",
        f"iifname tos ip daddr 10.0.2.1 dnat to 10.0.1.9{flags()}",
        f"meta nfproto ipv6 ip6 daddr fd00:2::a meta l4proto {{ tcp, udp, sctp }} {chance.choice(DNAT6)}{flags()}",
        "dnat ip to tcp dport map { 80 : 10.0.2.9, 7 : 10.0.2.2 }",
        "dnat ip to udp dport map { 53 : 10.0.2.12 . 54, 9 : 10.0.2.9 . 1000 }",
        "dnat ip prefix to ip daddr map { 10.0.3.0/24 : 10.0.2.0/24 }"))
    snat = some(chance, 0.5, (
        "oifname tos meta nfproto ipv4 meta l4proto { tcp, udp, sctp, icmp } "
        f"{chance.choice(SNAT[:1] + SNAT[2:4])}{flags()}",
        f"oifname tos ip protocol udp {chance.choice(SNAT)}{flags()}",
        f"oifname tos ip protocol tcp {chance.choice(SNAT)}{flags()}",
        f"oifname tos meta nfproto ipv6 meta l4proto {{ tcp, udp }} {chance.choice(SNAT6)}{flags()}",
        f"oifname toc ip daddr 10.0.1.9 masquerade{flags()}"))
    local = some(chance, 0.3, ("meta l4proto udp masquerade", "ct state new ct mark set 7"))
    return "table inet fuzz {\n" + objects + \
        chain("raw", "type filter hook prerouting priority -300", raw) + \
        chain("pre", "type filter hook prerouting priority -150", pre) + \
        chain("prenat", "type nat hook prerouting priority -100", dnat) + \
        chain("forward", "type filter hook forward priority 0", forward) + \
        chain("postnat", "type nat hook postrouting priority 100", snat) + \
        chain("input", "type filter hook input priority 0", local[1:]) + "}\n"


def settings(chance):
    """(name behind nf_conntrack_, value)"""
    for name, values in (("checksum", (0, 1)), ("acct", (0, 1)), ("timestamp", (0, 1)), ("tcp_loose", (0, 1)),
                         ("tcp_be_liberal", (0, 1)), ("tcp_ignore_invalid_rst", (0, 1)), ("tcp_max_retrans", (1, 3)),
                         ("log_invalid", (0, 0)), ("udp_timeout", (1, 5, 30)), ("udp_timeout_stream", (2, 120)),
                         ("tcp_timeout_syn_sent", (1, 5, 120)), ("tcp_timeout_established", (3, 10, 432000)),
                         ("tcp_timeout_close", (1, 10)), ("icmp_timeout", (1, 30)), ("icmpv6_timeout", (1, 30)),
                         ("sctp_timeout_established", (2, 60)), ("gre_timeout", (1, 30)), ("generic_timeout", (1, 60)),
                         ("events", (0, 1, 2))):
        yield name, chance.choice(values)
