//! The entries of a `[[vxlan]]`: stations, and the far ends that they are behind.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;

use rigswitch_dataplane::bridge::FdbState;
use rigswitch_dataplane::ids::{MacAddr, Vni};
use rigswitch_dataplane::tunnels::{VxlanConfig, VxlanEntryConfig};
use serde::Serialize;

use super::{device, end_at};
use crate::config::fields::{Fields, Shape, Text};
use crate::config::print::{Printed, Words, words};
use crate::config::roles::Roles;
use crate::config::values::unless;

const ENTRY: Shape = Shape {
    label: "fdb of a [[vxlan]]",
    keys: &["mac", "dst", "port", "vni", "src_vni", "via", "state", "router"],
    later: &["nhid"],
};

/// Every entry of a device of which all else is known.
pub(super) fn entries(fields: &Fields<'_>, config: &VxlanConfig, roles: &Roles<'_>) -> Vec<VxlanEntryConfig> {
    let mut entries: Vec<VxlanEntryConfig> = Vec::new();
    let mut seen: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let said = fields.value("remote").or_else(|| fields.value("group"));
    if let (Some(remote), Some(value)) = (config.remote.or(config.group), said) {
        let own = config.entries().find(|entry| entry.dst == remote);
        seen.entry((MacAddr::ZERO, None)).or_default().extend(own.map(|own| (own, value.span())));
    }
    if let (Some(vnis), Some(value)) =
        (config.external.as_ref().and_then(|of| of.vnis.as_ref()), fields.value("vni"))
    {
        for (vni, own) in vnis
            .iter()
            .filter_map(|(vni, end)| Some((*vni, config.of_network(*vni), (*end)?)))
            .filter_map(|(vni, of, end)| Some((vni, of.entries().find(|entry| entry.dst == end)?)))
        {
            let own = VxlanEntryConfig { src_vni: Some(vni), ..own };
            seen.entry((MacAddr::ZERO, Some(vni))).or_default().push((own, value.span()));
        }
    }
    for table in fields.tables("fdb", &ENTRY) {
        let Some((text, entry)) = entry(&table, config, roles) else { continue };
        let before = seen.entry((entry.mac, entry.src_vni)).or_default();
        let is_it = |other: &VxlanEntryConfig| {
            VxlanEntryConfig { state: entry.state, router: entry.router, ..other.clone() } == entry
        };
        let refuse = |first: &Range<usize>, what: &str, remedy: &str| {
            let rule = format!("{} {what}: line {} has it", entry.mac, roles.line(first));
            table.problems.push(text.span.clone(), rule, remedy);
        };
        if let Some((_, first)) = before.iter().find(|(other, _)| is_it(other)) {
            refuse(first, &format!("is behind {} twice", entry.dst), "keep one of the two");
        } else if let Some((other, first)) = before.first().filter(|_| !entry.may_have_several()) {
            let what = format!("is one station, and behind {} already", other.dst);
            let remedy = "keep one of the two; only a group and 00:00:00:00:00:00 have several far ends";
            refuse(first, &what, remedy);
        } else {
            before.push((entry.clone(), text.span.clone()));
            entries.push(entry);
        }
    }
    let count = u32::try_from(seen.values().filter(|of| !of.is_empty()).count()).unwrap_or(u32::MAX);
    if let Some(value) =
        fields.value("maxaddress").filter(|_| config.maxaddress > 0 && count > config.maxaddress)
    {
        let rule = format!("`maxaddress` is {}, and there are {count} addresses already", config.maxaddress);
        fields.problems.push(value.span(), rule, format!("make it {count} at least, or 0 for any number"));
    }
    entries
}

fn entry<'d>(
    table: &Fields<'d>,
    config: &VxlanConfig,
    roles: &Roles<'_>,
) -> Option<(Text<'d>, VxlanEntryConfig)> {
    let text = table.required("mac", "\"00:00:00:00:00:00\"");
    let far_end = table.required("dst", "\"192.0.2.1\"");
    let dst = far_end.as_ref().and_then(|text| end_at(table, "dst", text));
    let port = table.integer("port", 1..=65_535);
    let vni = table.integer("vni", 0..=i64::from(Vni::MAX)).and_then(Vni::new);
    let states = [FdbState::Permanent, FdbState::Static].map(|state| (state.name(), state));
    let state = table.word("state", &states).unwrap_or(FdbState::Permanent);
    if let Some(text) = far_end
        && dst.is_some_and(|dst| dst.is_ipv4() == config.is_ipv6())
    {
        let version = if config.is_ipv6() { 6 } else { 4 };
        let rule = format!("`dst` is {}, and the device sends over IPv{version}", text.value);
        table.problems.push(
            text.span,
            rule,
            format!("name an IPv{version} address, or give the device another `local`"),
        );
    }
    let text = text?;
    let mac = match text.value.parse::<MacAddr>() {
        Ok(mac) => mac,
        Err(_) => {
            let rule = format!("`{}` is not a MAC address", text.value);
            table.problems.push(text.span, rule, "write six octets in hex, as 02:00:00:00:00:01");
            return None;
        }
    };
    let (port, vni) = (
        port.filter(|port| *port != config.dstport),
        vni.filter(|vni| config.external.is_some() || *vni != config.id),
    );
    let via = device(table, "via", roles).filter(|via| Some(via) != config.dev.as_ref());
    let router = table.boolean("router").unwrap_or_default();
    let src_vni = table.integer("src_vni", 0..=i64::from(Vni::MAX)).and_then(Vni::new);
    match (table.value("src_vni"), &config.external) {
        (Some(value), None) => {
            let rule = format!(
                "`src_vni` is for a device that is external, and this one is of network {}",
                config.id
            );
            table.problems.push(value.span(), rule, "take it out");
        }
        (None, Some(_)) => {
            let rule = "the device is external, and the entry does not say which network's frames it is for";
            table.problems.push(table.span.clone(), rule, "add src_vni = 100");
        }
        _ => {}
    }
    let vni = vni.filter(|vni| Some(*vni) != src_vni);
    Some((text, VxlanEntryConfig { mac, dst: dst?, port, vni, via, src_vni, state, router }))
}

/// An entry as it is printed.
#[derive(Serialize)]
pub(in crate::config) struct EntryWords {
    mac: String,
    dst: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vni: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_vni: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    router: Option<bool>,
}

impl From<&VxlanEntryConfig> for EntryWords {
    fn from(entry: &VxlanEntryConfig) -> Self {
        Self {
            mac: entry.mac.to_string(),
            dst: entry.dst,
            port: entry.port,
            vni: entry.vni.map(Vni::number),
            src_vni: entry.src_vni.map(Vni::number),
            via: entry.via.clone(),
            state: unless(entry.state, FdbState::Permanent).map(FdbState::name),
            router: entry.router.then_some(true),
        }
    }
}

impl Printed for VxlanEntryConfig {
    fn words(&self) -> Words {
        words(&EntryWords::from(self))
    }
}
