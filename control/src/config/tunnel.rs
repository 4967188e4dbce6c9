//! Tunnels: `[[ipip]]`, and what those have in common with `[[vxlan]]`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Range;

use rigswitch_dataplane::tables::Carries;
use rigswitch_dataplane::tunnels::{IpipConfig, TunnelConfig, TunnelKind};
use rigswitch_dataplane::wire::tunnel::Outer;
use serde::Serialize;

use super::fields::{Fields, Shape, Text};
use super::roles::{Kind, Roles};
use super::values::{device_name, unless};
use super::vxlan::{self, VxlanWords};

pub(super) const IPIP: Shape = Shape {
    label: "[[ipip]]",
    keys: &["name", "local", "remote", "ttl", "tos", "pmtudisc", "ignore_df", "mode", "mtu"],
    later: &["dev", "external", "fwmark", "encap", "encap_sport", "encap_dport", "encap_csum", "host"],
};

/// The most bytes of payload: a packet less its outer header.
const LONGEST_MTU: i64 = 65_535 - 20;

/// Every tunnel, its name entered in `roles`.
pub(super) fn read_all(file: &Fields<'_>, roles: &mut Roles<'_>) -> Vec<TunnelConfig> {
    let mut ends = BTreeMap::new();
    let ipips = file.tables("ipip", &IPIP);
    let ipips: Vec<_> = ipips.iter().filter_map(|fields| ipip(fields, roles, &mut ends)).collect();
    ipips.into_iter().chain(vxlan::read_all(file, roles)).collect()
}

/// Ends that are taken, and where; of IPv4 and of IPv6 packets.
type Taken = BTreeMap<(Option<Ipv4Addr>, Option<Ipv4Addr>, bool), Range<usize>>;

fn ipip(fields: &Fields<'_>, roles: &mut Roles<'_>, taken: &mut Taken) -> Option<TunnelConfig> {
    let text = fields.required("name", "\"tun0\"");
    if let Some(text) = &text {
        roles.declare(Kind::Ipip, text);
    }
    let name = text.and_then(|text| device_name(fields, "name", text));
    let [local, remote] = ["local", "remote"].map(|key| end(fields, key));
    let outer = outer(fields);
    let carries = fields.word("mode", &IpipConfig::MODES).unwrap_or_default();
    let mtu = fields.integer("mtu", 68..=LONGEST_MTU);
    let (local, remote) = (local?, remote?);
    if let Some(value) = fields.value("remote").filter(|_| local.is_some() && local == remote) {
        let rule = "`remote` is the address that `local` is";
        fields.problems.push(value.span(), rule, "name the far end's");
    }
    for is_ipv6 in [false, true] {
        let is_carried = if is_ipv6 { carries != Carries::Ipv4 } else { carries != Carries::Ipv6 };
        if !is_carried {
            continue;
        }
        if let Some(first) = taken.insert((local, remote, is_ipv6), fields.span.clone()) {
            let rule =
                format!("another [[ipip]] has the same `local` and `remote`: line {}", roles.line(&first));
            fields.problems.push(
                fields.span.clone(),
                rule,
                "one tunnel takes what comes: keep one of the two",
            );
            break;
        }
    }
    let kind = TunnelKind::Ipip(IpipConfig { local, remote, outer, carries });
    Some(TunnelConfig { name: name?, kind, mtu, host: None })
}

/// An end of the tunnel: an address, or any; `None` if it is neither.
fn end(fields: &Fields<'_>, key: &str) -> Option<Option<Ipv4Addr>> {
    if fields.value(key).is_none() {
        return Some(None);
    }
    let text = fields.text(key)?;
    if text.value == "any" {
        return Some(None);
    }
    let refuse = |rule: String, remedy: &str| {
        fields.problems.push(text.span.clone(), rule, remedy);
        None
    };
    match text.value.parse::<Ipv4Addr>() {
        Ok(address) if address.is_unspecified() => Some(None),
        Ok(address) if address.is_multicast() || address.is_broadcast() => {
            refuse(format!("`{key}` is {address}, which is no station's"), "name the address of one station")
        }
        Ok(address) => Some(Some(address)),
        Err(_) => refuse(
            format!("`{key}` is `{}`, which is not an IPv4 address", text.value),
            "write one as 192.0.2.1, or any",
        ),
    }
}

fn outer(fields: &Fields<'_>) -> Outer {
    let default = Outer::default();
    let ttl = inherited(fields, "ttl", 0..=255).map_or(default.ttl, Option::unwrap_or_default);
    let tos = inherited(fields, "tos", 0..=255).unwrap_or(default.tos);
    let pmtudisc = fields.boolean("pmtudisc").unwrap_or(default.pmtudisc);
    let ignore_df = fields.boolean("ignore_df").unwrap_or(default.ignore_df);
    if let Some(value) = fields.value("pmtudisc").filter(|_| ttl != 0 && !pmtudisc) {
        let rule = format!("`ttl` is {ttl}, and `pmtudisc` is false: the two are incompatible");
        fields.problems.push(value.span(), rule, "take pmtudisc out, or ttl");
    }
    if let Some(value) = fields.value("ignore_df").filter(|_| ignore_df && pmtudisc) {
        let rule = "`ignore_df` is true, and so is `pmtudisc`, which sets DF always";
        fields.problems.push(value.span(), rule, "add pmtudisc = false, or take it out");
    }
    Outer { ttl, tos, pmtudisc, ignore_df }
}

/// A number, also as text in hex as iproute2 writes it, or `inherit`: none then. Nothing if it is not said.
pub(super) fn inherited(
    fields: &Fields<'_>,
    key: &str,
    bounds: std::ops::RangeInclusive<i64>,
) -> Option<Option<u8>> {
    let value = fields.value(key)?;
    let Some(text) = value.get_ref().as_str() else { return fields.integer(key, bounds).map(Some) };
    let hex = text.strip_prefix("0x").and_then(|digits| u8::from_str_radix(digits, 16).ok());
    if text != "inherit" && hex.is_none() {
        let text = Text { value: text, span: value.span() };
        let rule = format!(
            "`{key}` is \"{}\", and must be from {} to {}, or inherit",
            text.value,
            bounds.start(),
            bounds.end()
        );
        fields.problems.push(text.span, rule, format!("write {key} = \"inherit\", or a number"));
    }
    Some(hex)
}

/// The same as it is printed.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum TunnelWords<'c> {
    Ipip(IpipWords<'c>),
    Vxlan(Box<VxlanWords<'c>>),
}

/// A tunnel of IP in IP as it is printed.
#[derive(Serialize)]
pub(super) struct IpipWords<'c> {
    name: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tos: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pmtudisc: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore_df: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u16>,
}

impl<'c> From<&'c TunnelConfig> for TunnelWords<'c> {
    fn from(tunnel: &'c TunnelConfig) -> Self {
        match &tunnel.kind {
            TunnelKind::Ipip(ipip) => Self::Ipip(IpipWords::of(tunnel, ipip)),
            TunnelKind::Vxlan(vxlan) => Self::Vxlan(VxlanWords::of(tunnel, vxlan).into()),
        }
    }
}

impl<'c> IpipWords<'c> {
    fn of(tunnel: &'c TunnelConfig, ipip: &IpipConfig) -> Self {
        let (outer, default) = (ipip.outer, Outer::default());
        Self {
            name: &tunnel.name,
            local: ipip.local,
            remote: ipip.remote,
            ttl: unless(outer.ttl, default.ttl),
            tos: unless(outer.tos, default.tos).map(tos_word),
            pmtudisc: unless(outer.pmtudisc, default.pmtudisc),
            ignore_df: unless(outer.ignore_df, default.ignore_df),
            mode: unless(ipip.carries, Carries::default()).map(|_| ipip.mode_name()),
            mtu: tunnel.mtu,
        }
    }
}

/// iproute2's word for a type of service.
pub(crate) fn tos_word(tos: Option<u8>) -> String {
    tos.map_or_else(|| "inherit".to_owned(), |tos| format!("0x{tos:x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Document};

    fn ipip(tunnel: &TunnelConfig) -> &IpipConfig {
        let TunnelKind::Ipip(ipip) = &tunnel.kind else { panic!("a VXLAN device") };
        ipip
    }

    #[test]
    fn tunnels_are_read_and_printed_as_they_were_said() {
        let text = r#"
            [[ipip]]
            name = "tun0"
            [[ipip]]
            name = "tun1"
            local = "192.0.2.1"
            remote = "198.51.100.1"
            ttl = 7
            tos = "0x28"
            mode = "any"
            mtu = 1400
            [[ipip]]
            name = "tun2"
            local = "any"
            remote = "198.51.100.1"
            tos = "inherit"
            ttl = "inherit"
            pmtudisc = false
            ignore_df = true
            mode = "ip6ip"
        "#;
        let config = Config::parse(text, "rig.toml").map_err(|refused| refused.to_string()).unwrap();
        let [plain, both, free] = &config.tunnels[..] else { panic!("three") };
        assert_eq!((ipip(plain), plain.mtu), (&IpipConfig::default(), None));
        let ends = |ipip: &IpipConfig| [ipip.local, ipip.remote].map(|end| end.map(|end| end.to_string()));
        assert_eq!(ends(ipip(both)), [Some("192.0.2.1".into()), Some("198.51.100.1".into())]);
        let outer = Outer { ttl: 7, tos: Some(0x28), pmtudisc: true, ignore_df: false };
        assert_eq!((ipip(both).outer, ipip(both).carries, both.mtu), (outer, Carries::Both, Some(1400)));
        assert_eq!(ends(ipip(free)), [None, Some("198.51.100.1".into())]);
        let outer = Outer { ttl: 0, tos: None, pmtudisc: false, ignore_df: true };
        assert_eq!((ipip(free).outer, ipip(free).carries), (outer, Carries::Ipv6));
        let printed = Document::new(&config).to_toml().unwrap();
        assert_eq!(Config::parse(&printed, "printed").map_err(|e| e.to_string()), Ok(config), "{printed}");
    }
}
