//! `[[ipvlan]]`: devices that share the address of the one they stand on.

use std::collections::BTreeMap;
use std::ops::Range;

use rigswitch_dataplane::ipvlan::IpvlanConfig;
use rigswitch_dataplane::tables::IpvlanFlag;
use rigswitch_dataplane::upper::{UpperConfig, UpperKind};

use super::fields::{Fields, Shape, Text};
use super::roles::{Kind, Role, Roles};
use super::upper;

pub(super) const IPVLAN: Shape =
    Shape { label: "[[ipvlan]]", keys: &["name", "link", "mode", "flag", "mtu", "host"], later: &[] };

/// The mode that there is.
pub(super) const L2: &str = "l2";

/// Every `[[ipvlan]]`, what it stands on entered in `roles` as the parent of such.
pub(super) fn read_all(file: &Fields<'_>, roles: &mut Roles<'_>) -> Vec<UpperConfig> {
    let mut flags = BTreeMap::new();
    let read = |fields: &Fields<'_>, link: Option<&Text<'_>>, roles: &mut Roles<'_>| -> Option<UpperKind> {
        mode(fields);
        let flag = fields.word("flag", &IpvlanConfig::FLAGS);
        let kind = IpvlanConfig { flag: flag.unwrap_or_default() };
        let link = link?;
        roles.enter(Role::Parent(Kind::Ipvlan), link);
        agree(fields, link.value, kind, roles, &mut flags);
        Some(UpperKind::Ipvlan(kind))
    };
    upper::read_tables(file, "ipvlan", &IPVLAN, Kind::Ipvlan, roles, read)
}

/// The mode is to be said, for the kernel has another where nothing is.
fn mode(fields: &Fields<'_>) {
    const LATER: [&str; 2] = ["l3", "l3s"];
    match fields.required("mode", "\"l2\": the kernel's is l3 where nothing is said") {
        Some(Text { value, span }) if LATER.contains(&value) => {
            let rule = format!("`mode = \"{value}\"` in [[ipvlan]]: this version does not have it yet");
            fields.problems.push(span, rule, "it comes with routing: mode = \"l2\" is there");
        }
        Some(_) => drop(fields.word("mode", &[(L2, ())])),
        None => {}
    }
}

/// All on one device have the same flag: there it is the device's (`port->flags`, drivers/net/ipvlan).
fn agree(
    fields: &Fields<'_>,
    link: &str,
    kind: IpvlanConfig,
    roles: &Roles<'_>,
    flags: &mut BTreeMap<String, (IpvlanFlag, Range<usize>)>,
) {
    let span = fields.value("flag").map_or(fields.span.clone(), |value| value.span());
    let (flag, first) = flags.entry(link.to_owned()).or_insert((kind.flag, span.clone()));
    if *flag != kind.flag {
        let (line, first) = (roles.line(first), IpvlanConfig { flag: *flag }.flag_name());
        let rule = format!(
            "`flag` is {} here and {first} of another ipvlan of `{link}`: line {line}",
            kind.flag_name()
        );
        fields.problems.push(span, rule, "give all on one device the same flag");
    }
}
