// SPDX-License-Identifier: GPL-2.0

/* devices */

RCT bool rct_netif_is_l3_master(struct net_device *dev)
{
	return netif_is_l3_master(dev);
}

/* devices and their addresses */

RCT int rct_dev_ifindex(const struct net_device *dev)
{
	return dev->ifindex;
}

RCT const char *rct_dev_name(const struct net_device *dev)
{
	return dev->name;
}

RCT struct net *rct_dev_net(const struct net_device *dev)
{
	return dev_net(dev);
}

RCT u64 rct_net_cookie(const struct net *net)
{
	return net->net_cookie;
}

RCT bool rct_net_is_alive(const struct net *net)
{
	return check_net(net);
}

RCT __be32 rct_ipv4_source_for(struct sk_buff *skb, const struct net_device *out)
{
	return inet_select_addr(out, rt_nexthop(skb_rtable(skb), ip_hdr(skb)->daddr),
				RT_SCOPE_UNIVERSE);
}

RCT struct inet6_dev *rct_dev_ipv6(const struct net_device *dev)
{
	return __in6_dev_get(dev);
}

RCT struct in_device *rct_dev_ipv4(const struct net_device *dev)
{
	return __in_dev_get_rcu(dev);
}

RCT struct in_ifaddr *rct_ipv4_first_address(const struct in_device *in)
{
	return rcu_dereference(in->ifa_list);
}

RCT __be32 rct_ipv4_local_address(const struct in_ifaddr *ifa)
{
	return ifa->ifa_local;
}

RCT bool rct_ipv4_device_is_dead(const struct in_ifaddr *ifa)
{
	return ifa->ifa_dev->dead;
}

RCT struct list_head *rct_ipv6_addresses(struct inet6_dev *dev)
{
	return &dev->addr_list;
}

RCT struct inet6_ifaddr *rct_ipv6_address_of(struct list_head *node)
{
	return list_entry(node, struct inet6_ifaddr, if_list);
}

RCT void rct_ipv6_addresses_lock(struct inet6_dev *dev)
{
	read_lock_bh(&dev->lock);
}

RCT void rct_ipv6_addresses_unlock(struct inet6_dev *dev)
{
	read_unlock_bh(&dev->lock);
}

RCT const struct in6_addr *rct_ipv6_address(const struct inet6_ifaddr *ifa)
{
	return &ifa->addr;
}

RCT u32 rct_ipv6_address_flags(const struct inet6_ifaddr *ifa)
{
	return ifa->flags;
}

RCT struct net_device *rct_ipv6_address_dev(const struct inet6_ifaddr *ifa)
{
	return ifa->idev->dev;
}

RCT u32 rct_ipv6_address_type(const struct in6_addr *address)
{
	return ipv6_addr_type(address);
}

RCT struct net_device *rct_netdev_of_event(void *info)
{
	return netdev_notifier_info_to_dev(info);
}

RCT struct net_device *rct_ipv4_address_dev(const struct in_ifaddr *ifa)
{
	return ifa->ifa_dev->dev;
}

RCT __be32 rct_ipv4_address(const struct in_ifaddr *ifa)
{
	return ifa->ifa_address;
}
