//! `[[ipvlan]]`: devices that share the address of the one they stand on.

use std::collections::BTreeMap;
use std::ops::Range;

use rigswitch_dataplane::ipvlan::IpvlanConfig;
use rigswitch_dataplane::upper::{UpperConfig, UpperKind};

use super::fields::{Fields, Shape, Text};
use super::roles::{Kind, Role, Roles};
use super::upper;

pub(super) const IPVLAN: Shape =
    Shape { label: "[[ipvlan]]", keys: &["name", "link", "mode", "flag", "mtu", "host"], later: &[] };

/// Every `[[ipvlan]]`, what it stands on entered in `roles` as the parent of such.
pub(super) fn read_all(file: &Fields<'_>, roles: &mut Roles<'_>) -> Vec<UpperConfig> {
    let mut families = BTreeMap::new();
    let read = |fields: &Fields<'_>, link: Option<&Text<'_>>, roles: &mut Roles<'_>| -> Option<UpperKind> {
        // It is to be said, for the kernel has another than might be thought where nothing is.
        fields.required("mode", "\"l2\": the kernel's is l3 where nothing is said");
        let mode = fields.value("mode").and_then(|_| fields.word("mode", &IpvlanConfig::MODES));
        let flag = fields.word("flag", &IpvlanConfig::FLAGS);
        let kind = IpvlanConfig { mode: mode.unwrap_or_default(), flag: flag.unwrap_or_default() };
        let link = link?;
        let is_routed = kind.mode.is_routed();
        roles.enter(if is_routed { Role::RoutedParent } else { Role::Parent(Kind::Ipvlan) }, link);
        agree(fields, link.value, kind, roles, &mut families);
        Some(UpperKind::Ipvlan(kind))
    };
    upper::read_tables(file, "ipvlan", &IPVLAN, Kind::Ipvlan, roles, read)
}

/// All on one device have the same mode and flag: there they are the device's (`port->mode` and `port->flags`, drivers/net/ipvlan).
fn agree(
    fields: &Fields<'_>,
    link: &str,
    kind: IpvlanConfig,
    roles: &Roles<'_>,
    families: &mut BTreeMap<String, (IpvlanConfig, [Range<usize>; 2])>,
) {
    const KEYS: [&str; 2] = ["mode", "flag"];
    let spans = KEYS.map(|key| fields.value(key).map_or(fields.span.clone(), |value| value.span()));
    let (other, first) = families.entry(link.to_owned()).or_insert((kind, spans.clone()));
    let names = |kind: &IpvlanConfig| [kind.mode_name(), kind.flag_name()];
    for (n, (here, there)) in names(&kind).into_iter().zip(names(other)).enumerate() {
        if here != there {
            let (key, line) = (KEYS[n], roles.line(&first[n]));
            let rule =
                format!("`{key}` is {here} here and {there} of another ipvlan of `{link}`: line {line}");
            fields.problems.push(spans[n].clone(), rule, format!("give all on one device the same {key}"));
        }
    }
}
