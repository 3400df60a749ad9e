//! Reads what stands in the calling thread's network namespace, by three netlink dumps.

use super::facts::{NetAddress, NetDns, NetFacts, NetFamily, NetInterface, NetRoute};
use super::link;
use super::netlink::{Message, attributes, read_u16, read_u32};
use crate::error::{Context, Result};
use serde_json::Value;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Sizes of the fixed parts: `struct ifinfomsg`, `ifaddrmsg`, `rtmsg`, `rtnexthop`.
const LINK_FIXED: usize = 16;
const ADDRESS_FIXED: usize = 8;
const ROUTE_FIXED: usize = 12;
const NEXTHOP_FIXED: usize = 8;
/// linux/rtnetlink.h
const RTA_VIA: u16 = 18;

/// What stands in this network namespace now. Name servers are those of `dns`, a CNI result; none without one.
/// Interfaces that are not Ethernet are left out: a guest has no way to take their place.
pub fn look(dns: Option<&Value>) -> Result<NetFacts> {
    let mut socket = link::open()?;
    let links = socket
        .dump(
            &Message::new(libc::RTM_GETLINK, 0).fixed(&[0; LINK_FIXED]),
            decode_link,
        )
        .or_system(|| "cannot list the network interfaces")?;
    let addresses = socket
        .dump(
            &Message::new(libc::RTM_GETADDR, 0).fixed(&[0; ADDRESS_FIXED]),
            decode_address,
        )
        .or_system(|| "cannot list the network addresses")?;
    let hops = socket
        .dump(
            &Message::new(libc::RTM_GETROUTE, 0).fixed(&[0; ROUTE_FIXED]),
            decode_route,
        )
        .or_system(|| "cannot list the network routes")?;

    let mut interfaces: Vec<(u32, NetInterface)> = links.into_iter().collect();
    interfaces.sort_by_key(|(index, _)| *index);
    for (index, address) in addresses {
        if let Some((_, interface)) = interfaces.iter_mut().find(|(known, _)| *known == index) {
            interface.addresses.push(address);
        }
    }
    let names: HashMap<u32, String> = interfaces
        .iter()
        .map(|(index, interface)| (*index, interface.name.clone()))
        .collect();
    let mut hops: Vec<Hop> = hops.into_iter().flatten().collect();
    hops.sort_by_key(|hop| hop.metric);
    let routes = hops
        .into_iter()
        .filter_map(|hop| {
            Some(NetRoute {
                family: hop.family,
                destination: hop.destination,
                gateway: hop.gateway.map(|gateway| gateway.to_string()),
                interface: names.get(&hop.interface)?.clone(),
            })
        })
        .collect();
    let interfaces = interfaces.into_iter().map(|(_, interface)| interface).collect();
    Ok(NetFacts {
        interfaces,
        routes,
        dns: dns.map(read_dns).unwrap_or_default(),
    })
}

fn decode_link(body: &[u8]) -> Option<(u32, NetInterface)> {
    let device_type = read_u16(body, 2)?;
    let index = read_u32(body, 4)?;
    let flags = read_u32(body, 8)? as i32;
    if flags & libc::IFF_LOOPBACK != 0 || device_type != libc::ARPHRD_ETHER {
        return None;
    }
    let (mut name, mut mac, mut mtu) = (None, None, None);
    for (kind, value) in attributes(body.get(LINK_FIXED..)) {
        match kind {
            libc::IFLA_IFNAME => name = text(value),
            libc::IFLA_ADDRESS => mac = mac_text(value),
            libc::IFLA_MTU => mtu = read_u32(value, 0),
            _ => {}
        }
    }
    let up = flags & libc::IFF_UP != 0;
    Some((
        index,
        NetInterface {
            name: name?,
            mac: mac?,
            mtu: mtu?,
            up,
            addresses: Vec::new(),
        },
    ))
}

fn decode_address(body: &[u8]) -> Option<(u32, NetAddress)> {
    let family = family(*body.first()?)?;
    let prefix = *body.get(1)?;
    let index = read_u32(body, 4)?;
    let mut flags = u32::from(*body.get(2)?);
    let (mut local, mut peer) = (None, None);
    for (kind, value) in attributes(body.get(ADDRESS_FIXED..)) {
        match kind {
            libc::IFA_LOCAL => local = address(family, value),
            libc::IFA_ADDRESS => peer = address(family, value),
            libc::IFA_FLAGS => flags = read_u32(value, 0)?,
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL, where given, is always ours.
    let found = local.or(peer)?;
    let unusable = flags & (libc::IFA_F_DADFAILED | libc::IFA_F_TEMPORARY) != 0 && family == NetFamily::Ipv6;
    if unusable || is_link_local(found) {
        return None;
    }
    Some((
        index,
        NetAddress {
            family,
            address: found.to_string(),
            prefix,
        },
    ))
}

/// One way to a destination.
struct Hop {
    family: NetFamily,
    destination: String,
    gateway: Option<IpAddr>,
    interface: u32,
    metric: u32,
}

/// The ways of one route: several where it has several next hops, none where it is no plain route of the main table.
fn decode_route(body: &[u8]) -> Option<Vec<Hop>> {
    let family = family(*body.first()?)?;
    let prefix = *body.get(1)?;
    let (kind, flags) = (*body.get(7)?, read_u32(body, 8)?);
    let mut table = u32::from(*body.get(4)?);
    let mut destination = match family {
        NetFamily::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        NetFamily::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let (mut gateway, mut interface, mut metric, mut several) = (None, None, 0, None);
    for (kind, value) in attributes(body.get(ROUTE_FIXED..)) {
        match kind {
            libc::RTA_TABLE => table = read_u32(value, 0)?,
            libc::RTA_DST => destination = address(family, value)?,
            libc::RTA_GATEWAY => gateway = address(family, value),
            RTA_VIA => gateway = via(value),
            libc::RTA_OIF => interface = read_u32(value, 0),
            libc::RTA_PRIORITY => metric = read_u32(value, 0)?,
            libc::RTA_MULTIPATH => several = Some(value),
            _ => {}
        }
    }
    let plain = kind == libc::RTN_UNICAST && flags & libc::RTM_F_CLONED == 0;
    if !plain || table != u32::from(libc::RT_TABLE_MAIN) || is_link_local(destination) {
        return None;
    }
    let destination = format!("{destination}/{prefix}");
    let hop = |gateway, interface| Hop {
        family,
        destination: destination.clone(),
        gateway,
        interface,
        metric,
    };
    match several {
        Some(bytes) => Some(
            nexthops(family, bytes)
                .map(|(gateway, interface)| hop(gateway, interface))
                .collect(),
        ),
        None => Some(vec![hop(gateway, interface?)]),
    }
}

/// The `struct rtnexthop`s of a multipath route.
fn nexthops(family: NetFamily, mut bytes: &[u8]) -> impl Iterator<Item = (Option<IpAddr>, u32)> {
    std::iter::from_fn(move || {
        let length = usize::from(read_u16(bytes, 0)?);
        let interface = read_u32(bytes, 4)?;
        let mut gateway = None;
        for (kind, value) in attributes(Some(bytes.get(NEXTHOP_FIXED..length)?)) {
            match kind {
                libc::RTA_GATEWAY => gateway = address(family, value),
                RTA_VIA => gateway = via(value),
                _ => {}
            }
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((gateway, interface))
    })
}

/// `struct rtvia`: a gateway of another family than the destination's.
fn via(value: &[u8]) -> Option<IpAddr> {
    let family = family(u8::try_from(read_u16(value, 0)?).ok()?)?;
    address(family, value.get(2..)?)
}

/// The `dns` of a CNI result. What is no address is left out: a resolver would not understand it either.
fn read_dns(result: &Value) -> NetDns {
    let strings = |key: &str| -> Vec<String> {
        let list = result["dns"][key]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        list.iter()
            .filter_map(Value::as_str)
            .map(str::to_string)
            .collect()
    };
    let mut servers = strings("nameservers");
    servers.retain(|server| server.parse::<IpAddr>().is_ok());
    let mut search = strings("search");
    if search.is_empty() {
        search.extend(
            result["dns"]["domain"]
                .as_str()
                .filter(|domain| !domain.is_empty())
                .map(str::to_string),
        );
    }
    NetDns { servers, search }
}

fn family(number: u8) -> Option<NetFamily> {
    match i32::from(number) {
        libc::AF_INET => Some(NetFamily::Ipv4),
        libc::AF_INET6 => Some(NetFamily::Ipv6),
        _ => None,
    }
}

fn address(family: NetFamily, value: &[u8]) -> Option<IpAddr> {
    match family {
        NetFamily::Ipv4 => Some(IpAddr::from(<[u8; 4]>::try_from(value).ok()?)),
        NetFamily::Ipv6 => Some(IpAddr::from(<[u8; 16]>::try_from(value).ok()?)),
    }
}

/// IPv6 only: an IPv4 169.254.0.0/16 address can be an interface's real one.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local() || v6.is_multicast())
}

fn text(value: &[u8]) -> Option<String> {
    String::from_utf8(value.strip_suffix(&[0]).unwrap_or(value).to_vec()).ok()
}

fn mac_text(value: &[u8]) -> Option<String> {
    let [a, b, c, d, e, f] = *value else { return None };
    Some(format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"))
}
