//! Devices that stand on others: `[[vlan]]`, and what all kinds have.

use std::collections::BTreeMap;

use rigswitch_dataplane::ids::VlanId;
use rigswitch_dataplane::tables::IpvlanFlag;
use rigswitch_dataplane::upper::{UpperConfig, UpperKind};
use rigswitch_dataplane::vlan::VlanConfig;
use rigswitch_dataplane::wire::ethernet::EtherType;
use serde::Serialize;

use super::fields::{Fields, Shape, Text};
use super::host::{self, HostWords, LONGEST_MTU};
use super::ipvlan;
use super::macvlan::{self, Families, MACVLAN, MacvlanWords};
use super::roles::{Kind, Roles};
use super::values::{device_name, station};

pub(super) const VLAN: Shape = Shape {
    label: "[[vlan]]",
    keys: &["name", "link", "id", "protocol", "address", "mtu", "host"],
    later: &[
        "reorder_hdr",
        "gvrp",
        "mvrp",
        "loose_binding",
        "bridge_binding",
        "ingress_qos_map",
        "egress_qos_map",
    ],
};

/// Every device that stands on another, its name, what it stands on and its use by the host entered in `roles`.
pub(super) fn read_all(file: &Fields<'_>, roles: &mut Roles<'_>) -> Vec<UpperConfig> {
    let mut tags = BTreeMap::new();
    let vlans = read_tables(file, "vlan", &VLAN, Kind::Vlan, roles, |fields, link, roles| {
        vlan(fields, link, roles, &mut tags)
    });
    let mut uppers: Vec<_> = vlans.into_iter().chain(ipvlan::read_all(file, roles)).collect();
    let (mut families, macvlans) = (Families::default(), file.tables("macvlan", &MACVLAN));
    for fields in &macvlans {
        let Some(upper) = read(fields, Kind::Macvlan, roles, &mut macvlan::kind) else { continue };
        families.add(fields, &upper, roles);
        uppers.push(upper);
    }
    families.check(&uppers, file.problems);
    uppers
}

/// Every table called `key`; `own` reads what the kind has of its own, given what it stands on.
pub(super) fn read_tables<'d>(
    file: &Fields<'d>,
    key: &str,
    shape: &'static Shape,
    kind: Kind,
    roles: &mut Roles<'_>,
    mut own: impl FnMut(&Fields<'d>, Option<&Text<'d>>, &mut Roles<'_>) -> Option<UpperKind>,
) -> Vec<UpperConfig> {
    file.tables(key, shape).iter().filter_map(|fields| read(fields, kind, roles, &mut own)).collect()
}

/// What all kinds have, and what one has of its own.
fn read<'d>(
    fields: &Fields<'d>,
    kind: Kind,
    roles: &mut Roles<'_>,
    own: &mut impl FnMut(&Fields<'d>, Option<&Text<'d>>, &mut Roles<'_>) -> Option<UpperKind>,
) -> Option<UpperConfig> {
    let example = match kind {
        Kind::Macvlan => "\"mv0\"",
        _ => "\"eth0.10\"",
    };
    let text = fields.required("name", example);
    if let Some(text) = &text {
        roles.declare(kind, text);
    }
    let name = text.clone().and_then(|text| device_name(fields, "name", text));
    let link = fields.required("link", "\"eth0\"");
    if let (Some(name), Some(link)) = (&text, &link) {
        roles.stand(name, link);
    }
    let host = host::read(fields, text.as_ref(), roles);
    let key = ["address", "mac"].into_iter().find(|key| fields.knows(key));
    let address = key.and_then(|key| fields.text(key)).and_then(|text| station(fields, &text));
    let mtu = fields.integer("mtu", 68..=LONGEST_MTU);
    let kind = own(fields, link.as_ref(), roles);
    Some(UpperConfig { name: name?, link: link?.value.to_owned(), kind: kind?, address, mtu, host })
}

/// Which tags of a device are taken, and where.
type Tags<'d> = BTreeMap<(&'d str, u16, VlanId), std::ops::Range<usize>>;

fn vlan<'d>(
    fields: &Fields<'d>,
    link: Option<&Text<'d>>,
    roles: &Roles<'_>,
    tags: &mut Tags<'d>,
) -> Option<UpperKind> {
    if fields.value("id").is_none() {
        fields.problems.push(fields.span.clone(), "[[vlan]] has no `id`", "add id = 10");
    }
    let id = fields.integer("id", 1..=i64::from(VlanId::MAX)).and_then(VlanId::new);
    let protocol = fields.word("protocol", &VlanConfig::PROTOCOLS).unwrap_or(EtherType::CTAG);
    let (id, link) = (id?, link?);
    let kind = VlanConfig { id, protocol };
    if let Some(first) = tags.insert((link.value, protocol.0, id), fields.span.clone()) {
        let line = roles.line(&first);
        let rule = format!(
            "VLAN {id} ({}) of `{}` has a sub-interface: line {line} is it",
            kind.protocol_name(),
            link.value
        );
        fields.problems.push(
            fields.span.clone(),
            rule,
            "keep one of the two, or give this one another id or protocol",
        );
    }
    Some(UpperKind::Vlan(kind))
}

/// The same as it is printed.
#[derive(Serialize)]
pub(super) struct UpperWords<'c> {
    name: &'c str,
    link: &'c str,
    #[serde(flatten)]
    kind: KindWords,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<HostWords<'c>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum KindWords {
    Vlan {
        id: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        protocol: Option<&'static str>,
    },
    Ipvlan {
        mode: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        flag: Option<&'static str>,
    },
    Macvlan(MacvlanWords),
}

impl<'c> From<&'c UpperConfig> for UpperWords<'c> {
    fn from(upper: &'c UpperConfig) -> Self {
        let kind = match &upper.kind {
            UpperKind::Vlan(vlan) => {
                let protocol = (vlan.protocol != EtherType::CTAG).then(|| vlan.protocol_name());
                KindWords::Vlan { id: vlan.id.number(), protocol }
            }
            UpperKind::Ipvlan(ipvlan) => {
                let flag = (ipvlan.flag != IpvlanFlag::default()).then(|| ipvlan.flag_name());
                KindWords::Ipvlan { mode: ipvlan.mode_name(), flag }
            }
            UpperKind::Macvlan(macvlan) => KindWords::Macvlan(macvlan.into()),
        };
        let given = upper.address.map(|address| address.to_string());
        let (address, mac) = if let KindWords::Macvlan(_) = kind { (None, given) } else { (given, None) };
        Self {
            name: &upper.name,
            link: &upper.link,
            kind,
            address,
            mac,
            mtu: upper.mtu,
            host: HostWords::of(upper.host.as_ref()),
        }
    }
}
