//! The VLANs' keys of `[[bridge]]` and `[[bridge.port]]`, and `[[bridge.mac_vlan]]`, read and written.

mod tunnel_info;

pub(crate) use tunnel_info::rows as tunnel_rows;

use std::collections::BTreeMap;
use std::ops::Range;

use rigswitch_dataplane::bridge::{MacVlanConfig, Membership, PortVlans, VlanConfig, VlanProtocol};
use rigswitch_dataplane::ids::{MacAddr, VlanId};
use serde::Serialize;
use toml::Spanned;
use toml::de::DeValue;

use super::fields::{Fields, Shape, Text};
use super::roles::Roles;
use tunnel_info::TunnelInfoWords;

/// What says which VLANs a port is in, each without the others but `native`, which goes with `trunk`.
pub(super) const WAYS: [&str; 5] = ["vlan", "access", "trunk", "native", "tunnel"];

const VLAN: Shape = Shape { label: "vlan", keys: &["pvid", "untagged", "tagged"], later: &[] };
const TRANSLATE: Shape = Shape { label: "translate", keys: &["from", "to"], later: &[] };
const MAC_VLAN: Shape = Shape { label: "[[bridge.mac_vlan]]", keys: &["mac", "vlan"], later: &[] };

/// The identifiers of VLANs.
const VIDS: std::ops::RangeInclusive<i64> = 1..=VlanId::MAX as i64;

/// What a bridge says of VLANs.
pub(super) fn read_bridge(fields: &Fields<'_>, roles: &Roles<'_>) -> VlanConfig {
    let plain = VlanConfig::default();
    let protocols =
        [VlanProtocol::Customer, VlanProtocol::Service].map(|protocol| (protocol.name(), protocol));
    let flag = |key| fields.boolean(key).unwrap_or(false);
    let default_pvid = fields.integer("vlan_default_pvid", 0..=i64::from(VlanId::MAX));
    VlanConfig {
        filtering: flag("vlan_filtering"),
        protocol: fields.word("vlan_protocol", &protocols).unwrap_or(plain.protocol),
        default_pvid: default_pvid.map_or(plain.default_pvid, VlanId::new),
        stats: flag("vlan_stats_enabled"),
        stats_per_port: flag("vlan_stats_per_port"),
        own: read_membership(fields),
        macs: read_macs(fields, roles),
    }
}

/// What a port says of them.
pub(super) fn read_port(fields: &Fields<'_>) -> PortVlans {
    let said = read_ways(fields);
    let translate = read_translation(fields, said.as_ref());
    let flag = |key| fields.boolean(key).unwrap_or(false);
    let tunnel_info = tunnel_info::read(fields, said.as_ref());
    PortVlans { said, mac_vlan: flag("mac_vlan"), translate, vlan_tunnel: flag("vlan_tunnel"), tunnel_info }
}

fn read_ways(fields: &Fields<'_>) -> Option<Membership> {
    let mut ways = WAYS.iter().filter(|way| fields.value(way).is_some());
    let first = *ways.next()?;
    for other in ways {
        if let (Some(value), false) = (fields.value(other), (first, *other) == ("trunk", "native")) {
            let rule = format!("`{other}` beside `{first}`: each says which VLANs the port is in");
            fields.problems.push(value.span(), rule, "keep one of the two; `native` goes with `trunk`");
        }
    }
    let vid = |key| fields.integer::<u16>(key, VIDS).and_then(VlanId::new);
    match first {
        "vlan" => read_membership(fields),
        "access" => vid("access").map(|vid| Membership::untagged(Some(vid))),
        "tunnel" => vid("tunnel").map(|vid| Membership { tunnel: true, ..Membership::untagged(Some(vid)) }),
        "native" => {
            if let Some(value) = fields.value("native") {
                let rule = "`native` without `trunk`: it is the VLAN without a tag among those with one";
                fields.problems.push(value.span(), rule, "add trunk = [\"10-20\"], or write access instead");
            }
            None
        }
        _ => {
            let mut membership = Membership::default();
            add_list(fields, "trunk", false, &mut membership.members);
            if let Some(native) = vid("native") {
                membership.members.insert(native, true);
                membership.pvid = Some(native);
            }
            Some(membership)
        }
    }
}

/// `vlan = { pvid, untagged, tagged }`
fn read_membership(fields: &Fields<'_>) -> Option<Membership> {
    let table = fields.table("vlan", &VLAN)?;
    let mut membership = Membership::default();
    add_list(&table, "untagged", true, &mut membership.members);
    add_list(&table, "tagged", false, &mut membership.members);
    membership.pvid = table.integer::<u16>("pvid", VIDS).and_then(VlanId::new);
    if let (Some(pvid), Some(value)) = (membership.pvid, table.value("pvid"))
        && !membership.members.contains_key(&pvid)
    {
        let rule = format!("`pvid` is {pvid}, which is neither in `untagged` nor in `tagged`");
        let remedy = format!("add it to one of them, as in untagged = [{pvid}]");
        table.problems.push(value.span(), rule, remedy);
    }
    Some(membership)
}

/// Adds the VLANs of the array at `key`: numbers, and ranges as `"20-30"`.
fn add_list(fields: &Fields<'_>, key: &str, untagged: bool, members: &mut BTreeMap<VlanId, bool>) {
    let Some(value) = fields.value(key) else { return };
    let Some(array) = value.get_ref().as_array() else {
        return fields.wrong_type(key, value, "an array of VLANs, as [10, \"20-30\"]");
    };
    for element in array.iter() {
        let Some(range) = read_range(fields, key, element) else { continue };
        let twice = range.clone().filter_map(VlanId::new).find(|vid| members.contains_key(vid));
        if let Some(vid) = twice {
            let other = members.get(&vid).is_some_and(|other| *other != untagged);
            let rule = if other {
                format!("VLAN {vid} is both in `untagged` and in `tagged`")
            } else {
                format!("VLAN {vid} is in `{key}` twice")
            };
            fields.problems.push(element.span(), rule, "name each VLAN once");
        }
        members.extend(range.filter_map(VlanId::new).map(|vid| (vid, untagged)));
    }
}

fn read_range(fields: &Fields<'_>, key: &str, element: &Spanned<DeValue<'_>>) -> Option<Range<u16>> {
    let Some(text) = element.get_ref().as_str() else {
        let vid: u16 = fields.integer_of(key, element, VIDS)?;
        return Some(vid..vid + 1);
    };
    let range = parse_range(text);
    if range.is_none() {
        let rule =
            format!("`{key}`: `{text}` is neither a VLAN nor a range of VLANs from 1 to {}", VlanId::MAX);
        fields.problems.push(
            element.span(),
            rule,
            "write a number, or a range as \"20-30\", the lower first",
        );
    }
    range
}

/// `20-30`, or one VLAN.
pub(crate) fn parse_range(text: &str) -> Option<Range<u16>> {
    let vid = |text: &str| text.parse().ok().and_then(VlanId::new).map(VlanId::number);
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (vid(low)?, vid(high)?);
    (low <= high).then_some(low..high + 1)
}

fn read_translation(fields: &Fields<'_>, said: Option<&Membership>) -> BTreeMap<VlanId, VlanId> {
    let mut pairs: BTreeMap<VlanId, VlanId> = BTreeMap::new();
    for pair in fields.tables("translate", &TRANSLATE) {
        let vid = |key| {
            pair.required_integer(key, "10");
            pair.integer::<u16>(key, VIDS).and_then(VlanId::new)
        };
        let (Some(from), Some(to)) = (vid("from"), vid("to")) else { continue };
        let refuse = |rule: String, remedy: &str| pair.problems.push(pair.span.clone(), rule, remedy);
        if pairs.contains_key(&from) {
            refuse(format!("VLAN {from} is translated twice"), "keep one of the two");
        } else if pairs.values().any(|other| *other == to) {
            refuse(
                format!("two VLANs are translated to {to}, and none could be back"),
                "keep one of the two",
            );
        } else if said.is_some_and(|said| !said.members.contains_key(&to)) {
            refuse(
                format!("VLAN {from} is translated to {to}, which the port is not in"),
                "add it to its VLANs",
            );
        } else if said.is_some_and(|said| said.tunnel) {
            refuse("a tunnel takes no notice of tags, and translates none".into(), "take it out");
        } else {
            pairs.insert(from, to);
        }
    }
    pairs
}

fn read_macs(fields: &Fields<'_>, roles: &Roles<'_>) -> Vec<MacVlanConfig> {
    let mut rules = Vec::new();
    let mut seen = BTreeMap::new();
    for rule in fields.tables("mac_vlan", &MAC_VLAN) {
        rule.required_integer("vlan", "30");
        let text = rule.required("mac", "\"02:00:00:00:00:01\"");
        let vlan = rule.integer::<u16>("vlan", VIDS).and_then(VlanId::new);
        let (Some(text), Some(vlan)) = (text, vlan) else { continue };
        let Some((mac, mask)) = read_masked(&rule, &text) else { continue };
        if let Some(first) = seen.insert((mac, mask), text.span.clone()) {
            let line = roles.line(&first);
            let what = format!("`{}` has a VLAN already: line {line} says so", text.value);
            rule.problems.push(text.span, what, "keep one of the two");
        }
        rules.push(MacVlanConfig { mac, mask, vlan });
    }
    rules
}

/// An address, an address and how many of its bits count, or an address and which.
fn read_masked(rule: &Fields<'_>, text: &Text<'_>) -> Option<(MacAddr, MacAddr)> {
    let refuse = |why: &str, remedy: &str| {
        let what = format!("`{}` {why}", text.value);
        rule.problems.push(text.span.clone(), what, remedy);
        None
    };
    let (address, mask) = match text.value.split_once('/') {
        None => (text.value.parse().ok(), Some(MacAddr::BROADCAST)),
        Some((address, mask)) => (address.parse().ok(), parse_mask(mask)),
    };
    let (Some(mac), Some(mask)): (Option<MacAddr>, _) = (address, mask) else {
        return refuse(
            "is neither a MAC address nor a part of one",
            "write it as 02:00:00:00:00:01, 00:1b:21:00:00:00/24 or 00:1b:21:00:00:00/ff:ff:ff:00:00:00",
        );
    };
    if mac.is_group() {
        return refuse("is of a group, which sends nothing", "give an address whose first octet is even");
    }
    if mac.bits() & !mask.bits() != 0 {
        return refuse("has bits that its mask leaves out", "write zeros behind those that count");
    }
    if mac.is_zero() {
        return refuse("names no station", "name a station, or the first octets of some");
    }
    Some((mac, mask))
}

fn parse_mask(text: &str) -> Option<MacAddr> {
    match text.parse::<u32>() {
        Ok(length @ 1..=48) => Some(MacAddr::from_bits(u64::MAX << (48 - length))),
        Ok(_) => None,
        Err(_) => text.parse().ok().filter(|mask: &MacAddr| !mask.is_zero()),
    }
}

/// An address with the bits that count, as the file has it.
fn masked_text(mac: MacAddr, mask: MacAddr) -> String {
    let length = mask.bits().count_ones();
    if mask == MacAddr::BROADCAST {
        mac.to_string()
    } else if parse_mask(&length.to_string()) == Some(mask) {
        format!("{mac}/{length}")
    } else {
        format!("{mac}/{mask}")
    }
}

/// What a bridge has to say of VLANs that is not taken where nothing is said.
#[derive(Serialize)]
pub(super) struct BridgeWords {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    vlan_filtering: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan_protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan_default_pvid: Option<u16>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    vlan_stats_enabled: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    vlan_stats_per_port: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<MembershipWords>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mac_vlan: Vec<MacWords>,
}

/// What a port has.
#[derive(Serialize)]
pub(super) struct PortWords {
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<MembershipWords>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<NumberWord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    translate: Vec<TranslateWords>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    mac_vlan: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    vlan_tunnel: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tunnel_info: Vec<TunnelInfoWords>,
}

#[derive(Serialize)]
struct MembershipWords {
    #[serde(skip_serializing_if = "Option::is_none")]
    pvid: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    untagged: Vec<NumberWord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tagged: Vec<NumberWord>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum NumberWord {
    One(u32),
    Range(String),
}

#[derive(Serialize)]
struct TranslateWords {
    from: u16,
    to: u16,
}

#[derive(Serialize)]
struct MacWords {
    mac: String,
    vlan: u16,
}

impl From<&VlanConfig> for BridgeWords {
    fn from(vlans: &VlanConfig) -> Self {
        let plain = VlanConfig::default();
        let pvid = vlans.default_pvid.map_or(0, VlanId::number);
        let mac = |rule: &MacVlanConfig| MacWords {
            mac: masked_text(rule.mac, rule.mask),
            vlan: rule.vlan.number(),
        };
        Self {
            vlan_filtering: vlans.filtering,
            vlan_protocol: (vlans.protocol != plain.protocol).then(|| vlans.protocol.name()),
            vlan_default_pvid: (vlans.default_pvid != plain.default_pvid).then_some(pvid),
            vlan_stats_enabled: vlans.stats,
            vlan_stats_per_port: vlans.stats_per_port,
            vlan: vlans.own.as_ref().map(Into::into),
            mac_vlan: vlans.macs.iter().map(mac).collect(),
        }
    }
}

impl From<&PortVlans> for PortWords {
    fn from(port: &PortVlans) -> Self {
        let pair = |(from, to): (&VlanId, &VlanId)| TranslateWords { from: from.number(), to: to.number() };
        let tunnel = port.said.as_ref().filter(|said| said.tunnel).and_then(|said| said.pvid);
        Self {
            vlan: port.said.as_ref().filter(|said| !said.tunnel).map(Into::into),
            tunnel: tunnel.map(|vid| NumberWord::One(vid.number().into())),
            translate: port.translate.iter().map(pair).collect(),
            mac_vlan: port.mac_vlan,
            vlan_tunnel: port.vlan_tunnel,
            tunnel_info: tunnel_info::words(&port.tunnel_info),
        }
    }
}

impl From<&Membership> for MembershipWords {
    fn from(membership: &Membership) -> Self {
        let list = |untagged: bool| {
            let wanted = membership.members.iter().filter(|(_, other)| **other == untagged);
            ranges(wanted.map(|(vid, _)| vid.number().into()))
        };
        Self { pvid: membership.pvid.map(VlanId::number), untagged: list(true), tagged: list(false) }
    }
}

/// Numbers in order, those in a row as a range.
pub(super) fn ranges(vids: impl Iterator<Item = u32>) -> Vec<NumberWord> {
    let mut rows: Vec<(u32, u32)> = Vec::new();
    for vid in vids {
        match rows.last_mut() {
            Some((_, last)) if *last + 1 == vid => *last = vid,
            _ => rows.push((vid, vid)),
        }
    }
    rows.into_iter().map(|(first, last)| NumberWord::of(first, last)).collect()
}

impl NumberWord {
    pub(super) fn of(first: u32, last: u32) -> Self {
        if first == last { Self::One(first) } else { Self::Range(format!("{first}-{last}")) }
    }
}
