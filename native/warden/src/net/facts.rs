//! What stands in a network namespace: the Rust side of `NetFacts` in `src/spec/protocol.ts`.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetFamily {
    Ipv4,
    Ipv6,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetAddress {
    pub family: NetFamily,
    pub address: String,
    /// Length of the subnet's prefix in bits.
    pub prefix: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetRoute {
    pub family: NetFamily,
    /// CIDR; the default route is `0.0.0.0/0` or `::/0`.
    pub destination: String,
    /// The next hop; absent for a network that is reached directly.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gateway: Option<String>,
    pub interface: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetInterface {
    pub name: String,
    /// Lower case with colons.
    pub mac: String,
    /// Bytes.
    pub mtu: u32,
    pub up: bool,
    pub addresses: Vec<NetAddress>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetDns {
    pub servers: Vec<String>,
    pub search: Vec<String>,
}

/// Ethernet interfaces without loopback; addresses without IPv6 link-local ones; routes of the main table, best metric
/// first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetFacts {
    pub interfaces: Vec<NetInterface>,
    pub routes: Vec<NetRoute>,
    pub dns: NetDns,
}
