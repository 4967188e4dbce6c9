//! Tunnels: `[[ipip]]`, and what those have in common with `[[vxlan]]`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};

use rigswitch_dataplane::bridge::HostConfig;
use rigswitch_dataplane::tables::Carries;
use rigswitch_dataplane::tunnels::{IpipConfig, TunnelConfig, TunnelKind};
use rigswitch_dataplane::wire::tunnel::{Outer, OverIpv6};
use serde::Serialize;

use super::fields::{Fields, Shape, Text};
use super::host::{self, HostWords};
use super::roles::{Kind, Roles};
use super::values::{device_name, unless};
use super::vxlan::{self, VxlanWords};

pub(super) const IPIP: Shape = Shape {
    label: "[[ipip]]",
    keys: &[
        "name",
        "local",
        "remote",
        "mode",
        "mtu",
        "host",
        "ttl",
        "tos",
        "pmtudisc",
        "ignore_df",
        "hoplimit",
        "tclass",
        "flowlabel",
        "encaplimit",
    ],
    later: &[
        "dev",
        "external",
        "fwmark",
        "encap",
        "encap_sport",
        "encap_dport",
        "encap_csum",
        "dscp",
        "allow_localremote",
    ],
};

/// What is said of tunnels over IPv4 only, and what is said of those over IPv6 in its place, if anything.
const OVER_IPV4: [(&str, Option<&str>); 4] =
    [("ttl", Some("hoplimit")), ("tos", Some("tclass")), ("pmtudisc", None), ("ignore_df", None)];
/// And the other way round.
const OVER_IPV6: [(&str, Option<&str>); 4] =
    [("hoplimit", Some("ttl")), ("tclass", Some("tos")), ("flowlabel", None), ("encaplimit", None)];

/// The most bytes of payload: a packet less its outer header.
const LONGEST_MTU: i64 = 65_535 - 20;
/// The fewest that IPv6 has to be carried with (RFC 8200 §5).
const LEAST_MTU_IPV6: i64 = 1280;

/// Every tunnel, its name entered in `roles`.
pub(super) fn read_all(file: &Fields<'_>, roles: &mut Roles<'_>) -> Vec<TunnelConfig> {
    let mut ends = BTreeMap::new();
    let ipips = file.tables("ipip", &IPIP);
    let ipips: Vec<_> = ipips.iter().filter_map(|fields| ipip(fields, roles, &mut ends)).collect();
    ipips.into_iter().chain(vxlan::read_all(file, roles)).collect()
}

/// Ends that are taken, and where; over IPv4 of IPv4 and of IPv6 packets, and over IPv6.
type Taken = BTreeMap<(Option<IpAddr>, Option<IpAddr>, [bool; 2]), Range<usize>>;

fn ipip(fields: &Fields<'_>, roles: &mut Roles<'_>, taken: &mut Taken) -> Option<TunnelConfig> {
    let text = fields.required("name", "\"tun0\"");
    if let Some(text) = &text {
        roles.declare(Kind::Ipip, text);
    }
    let host = host::read(fields, text.as_ref(), roles);
    let name = text.and_then(|text| device_name(fields, "name", text));
    let [local, remote] = ["local", "remote"].map(|key| end(fields, key));
    let is_over_ipv6 = is_over_ipv6(fields, [local, remote]);
    let (outer, over_ipv6) =
        if is_over_ipv6 { (outer_ipv6(fields), Some(over_ipv6(fields))) } else { (outer(fields), None) };
    let modes = if is_over_ipv6 { IpipConfig::MODES_OVER_IPV6 } else { IpipConfig::MODES };
    let default = if is_over_ipv6 { Carries::Both } else { Carries::Ipv4 };
    let carries = fields.word("mode", &modes).unwrap_or(default);
    let least = if is_over_ipv6 && carries == Carries::Ipv6 { LEAST_MTU_IPV6 } else { 68 };
    let mtu = fields.integer("mtu", least..=LONGEST_MTU);
    let (local, remote) = (local?, remote?);
    if let Some(value) = fields.value("remote").filter(|_| local.is_some() && local == remote) {
        let rule = "`remote` is the address that `local` is";
        fields.problems.push(value.span(), rule, "name the far end's");
    }
    if let Some(host) = &host {
        check_host(fields, host, remote, carries);
    }
    for is_ipv6 in [false, true] {
        let is_carried = if is_ipv6 { carries != Carries::Ipv4 } else { carries != Carries::Ipv6 };
        if !is_carried {
            continue;
        }
        // Over IPv6 it does not matter what is carried (`ip6_tnl_locate`).
        let kind = [is_over_ipv6, is_ipv6 && !is_over_ipv6];
        let first = taken.insert((local, remote, kind), fields.span.clone());
        if let Some(first) = first.filter(|first| *first != fields.span) {
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
    let kind = TunnelKind::Ipip(IpipConfig { local, remote, outer, over_ipv6, carries });
    Some(TunnelConfig { name: name?, kind, mtu, host })
}

/// What the host sends by a tunnel names no next hop, and is of a version that the tunnel carries.
fn check_host(fields: &Fields<'_>, host: &HostConfig, remote: Option<IpAddr>, carries: Carries) {
    let Some(value) = fields.value("host") else { return };
    if remote.is_none() {
        let rule =
            "the host is to have the tunnel, which has no `remote`: a packet of the host's names no router";
        fields.problems.push(value.span(), rule, "name the far end: remote = \"198.51.100.1\"");
    }
    let is_carried = |is_ipv4| if is_ipv4 { carries != Carries::Ipv6 } else { carries != Carries::Ipv4 };
    if let Some(other) = host.addresses.iter().find(|it| !is_carried(it.address.is_ipv4())) {
        let rule =
            format!("the host is to have {other} there, of a version of IP that the tunnel does not carry");
        fields.problems.push(value.span(), rule, "say mode = \"any\", or take the address out");
    }
}

/// Whether it is a tunnel over IPv6: its ends say so, or else its mode. What is not said of such tunnels is refused.
fn is_over_ipv6(fields: &Fields<'_>, ends: [Option<Option<IpAddr>>; 2]) -> bool {
    let [local, remote] = ends.map(Option::flatten);
    if let (Some(local), Some(remote), Some(value)) = (local, remote, fields.value("remote"))
        && local.is_ipv4() != remote.is_ipv4()
    {
        let rule = format!("`local` is {local} and `remote` {remote}, of another version of IP");
        fields.problems.push(value.span(), rule, "give both addresses of one version");
    }
    let mode = fields.value("mode").and_then(|value| value.get_ref().as_str());
    let is_over_ipv6 = match local.or(remote) {
        Some(end) => end.is_ipv6(),
        None => matches!(mode, Some("ipip6" | "ip6ip6")),
    };
    let (own, other, others) =
        if is_over_ipv6 { ("IPv6", "IPv4", OVER_IPV4) } else { ("IPv4", "IPv6", OVER_IPV6) };
    for (key, instead) in others {
        if let Some(value) = fields.value(key) {
            let rule = format!("`{key}` is of tunnels over {other}, and this one is over {own}");
            let remedy = instead.map_or_else(|| "take it out".to_owned(), |instead| format!("say {instead}"));
            fields.problems.push(value.span(), rule, remedy);
        }
    }
    is_over_ipv6
}

/// An end of the tunnel: an address, or any; `None` if it is neither.
fn end(fields: &Fields<'_>, key: &str) -> Option<Option<IpAddr>> {
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
    match text.value.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => Some(None),
        Ok(address) if address.is_multicast() || address == IpAddr::from([255; 4]) => {
            refuse(format!("`{key}` is {address}, which is no station's"), "name the address of one station")
        }
        Ok(IpAddr::V6(address)) if address.is_unicast_link_local() => refuse(
            format!("`{key}` is {address}, which is one of every link"),
            "name an address that routes lead to",
        ),
        Ok(address) => Some(Some(address)),
        Err(_) => refuse(
            format!("`{key}` is `{}`, which is not an IP address", text.value),
            "write one as 192.0.2.1 or 2001:db8::1, or any",
        ),
    }
}

/// Of a tunnel over IPv6, where nothing is fragmented on its way.
fn outer_ipv6(fields: &Fields<'_>) -> Outer {
    let default = Outer::OVER_IPV6;
    let ttl = inherited(fields, "hoplimit", 0..=255).map_or(default.ttl, Option::unwrap_or_default);
    Outer { ttl, tos: inherited(fields, "tclass", 0..=255).unwrap_or(default.tos), ..default }
}

fn over_ipv6(fields: &Fields<'_>) -> OverIpv6 {
    const LONGEST_LABEL: i64 = 0xfffff;
    let default = OverIpv6::default();
    OverIpv6 {
        flow_label: inherited(fields, "flowlabel", 0..=LONGEST_LABEL).unwrap_or(default.flow_label),
        limit: number_or(fields, "encaplimit", "none", 0..=255).unwrap_or(default.limit),
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

/// A number, or `inherit`: none then. Nothing if it is not said.
pub(super) fn inherited<T: TryFrom<i64>>(
    fields: &Fields<'_>,
    key: &str,
    bounds: RangeInclusive<i64>,
) -> Option<Option<T>> {
    number_or(fields, key, "inherit", bounds)
}

/// The same of another word; a number also as text in hex, as iproute2 writes it.
fn number_or<T: TryFrom<i64>>(
    fields: &Fields<'_>,
    key: &str,
    word: &str,
    bounds: RangeInclusive<i64>,
) -> Option<Option<T>> {
    let value = fields.value(key)?;
    let Some(text) = value.get_ref().as_str() else { return fields.integer(key, bounds).map(Some) };
    let hex = text.strip_prefix("0x").and_then(|digits| i64::from_str_radix(digits, 16).ok());
    let number = hex.filter(|number| bounds.contains(number)).and_then(|number| T::try_from(number).ok());
    if text != word && number.is_none() {
        let text = Text { value: text, span: value.span() };
        let rule = format!(
            "`{key}` is \"{}\", and must be from {} to {}, or {word}",
            text.value,
            bounds.start(),
            bounds.end()
        );
        fields.problems.push(text.span, rule, format!("write {key} = \"{word}\", or a number"));
    }
    Some(number)
}

/// The same as it is printed.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum TunnelWords<'c> {
    Ipip(Box<IpipWords<'c>>),
    Vxlan(Box<VxlanWords<'c>>),
}

/// A tunnel of IP in IP as it is printed.
#[derive(Serialize)]
pub(super) struct IpipWords<'c> {
    name: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tos: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pmtudisc: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore_df: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hoplimit: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tclass: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flowlabel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encaplimit: Option<LimitWords>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<HostWords<'c>>,
}

/// An encapsulation limit as it is printed.
#[derive(Serialize)]
#[serde(untagged)]
enum LimitWords {
    Some(u8),
    None(&'static str),
}

impl<'c> From<&'c TunnelConfig> for TunnelWords<'c> {
    fn from(tunnel: &'c TunnelConfig) -> Self {
        match &tunnel.kind {
            TunnelKind::Ipip(ipip) => Self::Ipip(IpipWords::of(tunnel, ipip).into()),
            TunnelKind::Vxlan(vxlan) => Self::Vxlan(VxlanWords::of(tunnel, vxlan).into()),
        }
    }
}

impl<'c> IpipWords<'c> {
    fn of(tunnel: &'c TunnelConfig, ipip: &IpipConfig) -> Self {
        let (outer, is_over_ipv6) = (ipip.outer, ipip.over_ipv6.is_some());
        let default = if is_over_ipv6 { Outer::OVER_IPV6 } else { Outer::default() };
        let plain = if is_over_ipv6 { Carries::Both } else { Carries::Ipv4 };
        // Where neither end says that it is over IPv6, the mode does.
        let mode = unless(ipip.carries, plain).map(|_| ipip.mode_name());
        let ttl = unless(outer.ttl, default.ttl);
        let tos = unless(outer.tos, default.tos).map(tos_word);
        let ([ttl, hoplimit], [tos, tclass]) =
            if is_over_ipv6 { ([None, ttl], [None, tos]) } else { ([ttl, None], [tos, None]) };
        let further = OverIpv6::default();
        let over = ipip.over_ipv6.unwrap_or(further);
        Self {
            name: &tunnel.name,
            local: ipip.local,
            remote: ipip.remote,
            mode,
            mtu: tunnel.mtu,
            ttl,
            tos,
            pmtudisc: unless(outer.pmtudisc, default.pmtudisc),
            ignore_df: unless(outer.ignore_df, default.ignore_df),
            hoplimit,
            tclass,
            flowlabel: unless(over.flow_label, further.flow_label).map(flow_label_word),
            encaplimit: unless(over.limit, further.limit)
                .map(|limit| limit.map_or(LimitWords::None("none"), LimitWords::Some)),
            host: HostWords::of(tunnel.host.as_ref()),
        }
    }
}

/// iproute2's word for a flow label.
pub(crate) fn flow_label_word(label: Option<u32>) -> String {
    label.map_or_else(|| "inherit".to_owned(), |label| format!("0x{label:05x}"))
}

/// And its word for an encapsulation limit.
pub(crate) fn limit_word(limit: Option<u8>) -> String {
    limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string())
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

    #[test]
    fn tunnels_over_ipv6_are_what_their_ends_or_their_mode_say() {
        let text = r#"
            [[ipip]]
            name = "tun0"
            local = "2001:db8::1"
            [[ipip]]
            name = "tun1"
            remote = "2001:db8::2"
            mode = "ipip6"
            hoplimit = "inherit"
            tclass = "0x28"
            flowlabel = "0x12345"
            encaplimit = "none"
            mtu = 68
            host = { addresses = ["10.0.0.1/30"], netns = "blue" }
            [[ipip]]
            name = "tun2"
            mode = "ip6ip6"
            tclass = "inherit"
            flowlabel = "inherit"
            encaplimit = 0
            mtu = 1280
        "#;
        let config = Config::parse(text, "rig.toml").map_err(|refused| refused.to_string()).unwrap();
        let [plain, one, other] = &config.tunnels[..] else { panic!("three") };
        let default = OverIpv6 { limit: Some(4), flow_label: Some(0) };
        assert_eq!((ipip(plain).over_ipv6, ipip(plain).outer), (Some(default), Outer::OVER_IPV6));
        assert_eq!((ipip(plain).carries, ipip(plain).mode_name()), (Carries::Both, "any"));
        assert_eq!(ipip(one).over_ipv6, Some(OverIpv6 { limit: None, flow_label: Some(0x12345) }));
        assert_eq!(ipip(one).outer, Outer { ttl: 0, tos: Some(0x28), ..Outer::OVER_IPV6 });
        assert_eq!(ipip(other).over_ipv6, Some(OverIpv6 { limit: Some(0), flow_label: None }));
        assert_eq!(one.host.as_ref().and_then(|host| host.netns.as_deref()), Some("blue"));
        assert_eq!((ipip(other).outer.tos, ipip(other).carries), (None, Carries::Ipv6));
        let overheads = [plain, one, other].map(|tunnel| tunnel.kind.overhead());
        assert_eq!(overheads, [48, 40, 48]);
        let printed = Document::new(&config).to_toml().unwrap();
        assert_eq!(Config::parse(&printed, "printed").map_err(|e| e.to_string()), Ok(config), "{printed}");
    }
}
