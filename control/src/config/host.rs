//! `host`: a bridge, a tunnel, or a device that stands on another, as a device of the host's own, and what that is like.

use std::net::IpAddr;

use rigswitch_dataplane::bridge::HostConfig;
use rigswitch_dataplane::ports::HostAddress;
use serde::Serialize;

use super::fields::{Fields, Shape, Text};
use super::roles::{Role, Roles};
use super::values::netns_name;

const HOST: Shape = Shape { label: "host", keys: &["addresses", "netns"], later: &[] };

/// The most bytes of payload that a TAP carries (the kernel's `MAX_MTU` less an Ethernet header).
pub(super) const LONGEST_MTU: i64 = 65_521;

/// How the host has the device that is called `name`, if it does. Its TAP or TUN is entered in `roles`.
pub(super) fn read(
    fields: &Fields<'_>,
    name: Option<&Text<'_>>,
    roles: &mut Roles<'_>,
) -> Option<HostConfig> {
    let host = host(fields, name, roles)?;
    if let Some(name) = name {
        roles.take_device(host.netns.as_deref(), name);
        roles.enter(Role::Host, name);
    }
    Some(host)
}

/// The MTU of a bridge's own device.
pub(super) fn read_mtu(fields: &Fields<'_>, name: Option<&Text<'_>>, roles: &mut Roles<'_>) -> Option<u16> {
    let mtu = fields.integer("mtu", 68..=LONGEST_MTU);
    if let (Some(name), Some(value)) = (name, fields.value("mtu")) {
        let rule = "`mtu` is that of the bridge's own device, which nothing uses";
        let remedy = "take it out, or add host = true, an [[address]] or a [[vlan]] of the bridge";
        roles.expect_device(name.value, value.span(), rule.into(), remedy);
    }
    mtu
}

fn host(fields: &Fields<'_>, name: Option<&Text<'_>>, roles: &mut Roles<'_>) -> Option<HostConfig> {
    let value = fields.value("host")?;
    if !value.get_ref().is_table() {
        return fields.boolean("host")?.then(HostConfig::default);
    }
    let table = fields.table("host", &HOST)?;
    let netns = table.text("netns").and_then(|text| netns_name(&table, text));
    Some(HostConfig { addresses: addresses(&table, name, roles), netns })
}

fn addresses(table: &Fields<'_>, name: Option<&Text<'_>>, roles: &mut Roles<'_>) -> Vec<HostAddress> {
    let mut addresses = Vec::new();
    for text in table.texts("addresses") {
        let Some(address) = address_at(table, &text) else { continue };
        if addresses.contains(&address) {
            table.problems.push(text.span, format!("`{address}` is there twice"), "keep one of the two");
            continue;
        }
        name.iter().for_each(|name| roles.assign(name.value, address.address, &text));
        addresses.push(address);
    }
    addresses
}

/// The address with its prefix at `text`.
pub(super) fn address_at(fields: &Fields<'_>, text: &Text<'_>) -> Option<HostAddress> {
    let address = address(text.value);
    if address.is_none() {
        let rule = format!("`{}` is not an address of a host with its prefix", text.value);
        fields.problems.push(text.span.clone(), rule, "write it as 192.0.2.1/24 or 2001:db8::1/64");
    }
    address
}

pub(super) fn address(text: &str) -> Option<HostAddress> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr =
        address.parse().ok().filter(|it: &IpAddr| !it.is_unspecified() && !it.is_multicast())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix_length = prefix.parse().ok().filter(|&length| length <= longest)?;
    Some(HostAddress { address, prefix_length })
}

/// The same as it is printed.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum HostWords<'c> {
    Plain(bool),
    Table {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        addresses: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        netns: Option<&'c str>,
    },
}

impl<'c> HostWords<'c> {
    pub(super) fn of(host: Option<&'c HostConfig>) -> Option<Self> {
        let host = host?;
        if *host == HostConfig::default() {
            return Some(Self::Plain(true));
        }
        let addresses = host.addresses.iter().map(ToString::to_string).collect();
        Some(Self::Table { addresses, netns: host.netns.as_deref() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_a_host_with_a_prefix() {
        for text in ["192.0.2.1/24", "10.0.0.1/32", "2001:db8::1/64", "fe80::1/128", "192.0.2.1/0"] {
            assert_eq!(address(text).map(|address| address.to_string()).as_deref(), Some(text));
        }
        for text in [
            "",
            "/",
            "192.0.2.1",
            "192.0.2.1/33",
            "2001:db8::1/129",
            "0.0.0.0/8",
            "224.0.0.1/24",
            "::/64",
            "ff02::1/64",
        ] {
            assert_eq!(address(text), None, "{text}");
        }
    }
}
