//! The networks of VXLAN devices: most have one; one that is `external` has as many as are named (`vni`, `src_vni`, `tunnel_info`), each like a device of its
//! own in all tables but that of ports.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use rigswitch_dataplane::ids::{VlanId, Vni};
use rigswitch_dataplane::tunnels::{External, TunnelConfig, TunnelKind, VxlanConfig, VxlanEntryConfig};
use rigswitch_dataplane::wire::ethernet::EtherType;
use toml::Spanned;
use toml::de::DeValue;

use crate::config::Config;
use crate::config::fields::{Fields, Shape};
use crate::config::roles::Roles;

/// One of them.
pub(crate) struct Network<'c> {
    /// That of the device, or of a network of one that is external: see [`network_name`].
    pub(crate) name: Cow<'c, str>,
    pub(crate) tunnel: &'c TunnelConfig,
    /// What is said of it; of the whole where that is external, without entries.
    pub(crate) vxlan: Cow<'c, VxlanConfig>,
    /// Whether packets of it are taken; of a whole that is external, those of networks that are not named.
    pub(crate) takes: bool,
    /// What its bridge knows it by.
    pub(crate) tag: Option<(EtherType, VlanId)>,
}

/// What a network of a device is known by, which is no device's name.
pub(crate) fn network_name(device: &str, vni: Vni) -> String {
    format!("{device}/{vni}")
}

/// The device of a network.
pub(crate) fn device_of(network: &str) -> &str {
    network.split_once('/').map_or(network, |(device, _)| device)
}

/// The VNI that a network is known by, if its device has many.
pub(crate) fn vni_of(network: &str) -> Option<Vni> {
    Vni::new(network.split_once('/')?.1.parse().ok()?)
}

impl Config {
    /// Every VXLAN device, and what sets it apart.
    pub(crate) fn vxlans(&self) -> impl Iterator<Item = (&TunnelConfig, &VxlanConfig)> {
        self.tunnels.iter().filter_map(|tunnel| match &tunnel.kind {
            TunnelKind::Vxlan(vxlan) => Some((tunnel, vxlan)),
            TunnelKind::Ipip(_) => None,
        })
    }

    /// Every network of every VXLAN device; one that is external comes first itself.
    pub(crate) fn networks(&self) -> impl Iterator<Item = Network<'_>> {
        self.vxlans().flat_map(|(tunnel, vxlan)| match &vxlan.external {
            None => {
                let (name, vxlan) = (Cow::Borrowed(&*tunnel.name), Cow::Borrowed(vxlan));
                vec![Network { name, tunnel, vxlan, takes: true, tag: None }]
            }
            Some(external) => self.networks_of(tunnel, vxlan, external),
        })
    }

    fn networks_of<'c>(
        &self,
        tunnel: &'c TunnelConfig,
        vxlan: &VxlanConfig,
        external: &External,
    ) -> Vec<Network<'c>> {
        let tags = self.tags_of(&tunnel.name);
        let mut entries: BTreeMap<Vni, Vec<VxlanEntryConfig>> = BTreeMap::new();
        for (vni, entry) in vxlan.fdb.iter().filter_map(|entry| Some((entry.src_vni?, entry))) {
            entries.entry(vni).or_default().push(entry.clone());
        }
        let said = external.vnis.iter().flat_map(BTreeMap::keys).chain(entries.keys()).chain(tags.keys());
        let vnis: BTreeSet<Vni> = said.copied().collect();
        let whole = VxlanConfig { fdb: Vec::new(), ..vxlan.clone() };
        let of_one = |vni: Vni| {
            let fdb = entries.get(&vni).cloned().unwrap_or_default();
            let vxlan = VxlanConfig { fdb, ..whole.of_network(vni) };
            let (takes, tag) = (external.takes(vni), tags.get(&vni).copied());
            Network {
                name: network_name(&tunnel.name, vni).into(),
                tunnel,
                vxlan: Cow::Owned(vxlan),
                takes,
                tag,
            }
        };
        let mut all: Vec<_> = vnis.into_iter().map(of_one).collect();
        let (name, takes) = (Cow::Borrowed(&*tunnel.name), external.vnis.is_none());
        all.insert(0, Network { name, tunnel, vxlan: Cow::Owned(whole), takes, tag: None });
        all
    }

    /// What the bridge of a device knows its networks by.
    fn tags_of(&self, device: &str) -> BTreeMap<Vni, (EtherType, VlanId)> {
        let filtering = self.bridges.iter().filter(|bridge| bridge.vlans.filtering);
        let ports = filtering.flat_map(|bridge| bridge.ports.iter().map(move |port| (bridge, port)));
        let mut ports = ports.filter(|(_, port)| port.device == device && port.vlans.vlan_tunnel);
        let Some((bridge, port)) = ports.next() else { return BTreeMap::new() };
        let tpid = bridge.vlans.protocol.ether_type();
        port.vlans.tunnel_info.iter().map(|(vlan, vni)| (*vni, (tpid, *vlan))).collect()
    }
}

impl Config {
    /// The groups that tunnels are in beneath, each with the device.
    pub(crate) fn groups(&self) -> BTreeSet<(&str, IpAddr)> {
        let of = |network: Network<'_>| network.vxlan.group;
        let named = self.networks().filter_map(|network| {
            let TunnelKind::Vxlan(vxlan) = &network.tunnel.kind else { return None };
            Some((vxlan.dev.as_deref()?, of(network)?))
        });
        named.collect()
    }
}

/// The most networks that a device names: as many as there are VLANs.
const MOST: usize = VlanId::MAX as usize;

/// `external`, `vnifilter` and `vni` of a device.
pub(super) fn read(fields: &Fields<'_>, roles: &Roles<'_>) -> Option<External> {
    let is = |key| fields.boolean(key).unwrap_or(false);
    let (is_external, filters) = (is("external"), is("vnifilter"));
    let refuse = |key: &str, rule: String, remedy: &str| {
        if let Some(value) = fields.value(key) {
            fields.problems.push(value.span(), rule, remedy);
        }
    };
    if filters && !is_external {
        refuse("vnifilter", "`vnifilter` is for a device that is external".into(), "add external = true");
    }
    if !filters {
        refuse(
            "vni",
            "`vni` names what passes a `vnifilter`, and there is none".into(),
            "add vnifilter = true",
        );
    }
    if !is_external {
        return None;
    }
    for key in ["id", "remote", "group"] {
        refuse(
            key,
            format!("`{key}` beside `external`: each frame says which network it is of"),
            "keep one of the two; `vni` names a `remote` or `group` of one network",
        );
    }
    for key in ["proxy", "rsc"] {
        refuse(
            key,
            format!("`{key}` beside `external`: what the device answers itself would be of no network"),
            "keep one of the two; `neigh_suppress` of its bridge's port answers by VLAN",
        );
    }
    // The kernel takes this and sends as without (`vxlan_xmit_one`).
    if fields.value("df").and_then(|value| value.get_ref().as_str()).is_some_and(|df| df != "unset") {
        refuse(
            "df",
            "`df` beside `external`: what a bridge sends by VLAN may be fragmented outside, as from the kernel".into(),
            "leave it out, or give each network a device of its own",
        );
    }
    let mut vnis = BTreeMap::new();
    let elements = fields.value("vni").and_then(|value| value.get_ref().as_array());
    if let (Some(value), None) = (fields.value("vni"), elements) {
        fields.wrong_type("vni", value, "an array of networks, as [100, \"200-210\"]");
    }
    for element in elements.into_iter().flat_map(|array| array.iter()) {
        let mut remote = None;
        let range = match element.get_ref().as_str() {
            None if element.get_ref().is_table() => {
                let Some((range, end)) = with_remote(fields, element, roles) else { continue };
                remote = end;
                Some(range)
            }
            None => fields.integer_of::<u32>("vni", element, 0..=i64::from(Vni::MAX)).map(|vni| vni..=vni),
            Some(text) => {
                let range = parse_range(text);
                if range.is_none() {
                    let rule = format!(
                        "`vni`: `{text}` is neither a network nor a range of networks up to {}",
                        Vni::MAX
                    );
                    fields.problems.push(
                        element.span(),
                        rule,
                        "write a number, or a range as \"200-210\", the lower first",
                    );
                }
                range
            }
        };
        let named = range.into_iter().flatten().take(MOST + 1).filter_map(Vni::new);
        vnis.extend(named.map(|vni| (vni, remote)));
        if vnis.len() > MOST {
            let rule = format!("`vni` names more than {MOST} networks, which is as many as there are VLANs");
            fields.problems.push(element.span(), rule, "name those that are used");
            break;
        }
    }
    Some(External { vnis: filters.then_some(vnis) })
}

const NETWORK: Shape = Shape { label: "vni", keys: &["id", "remote", "group"], later: &[] };

/// `{ id = 200, group = "239.1.1.1" }`: networks, and the far end or the group of each.
fn with_remote<'d>(
    fields: &Fields<'d>,
    element: &'d Spanned<DeValue<'d>>,
    roles: &Roles<'_>,
) -> Option<(RangeInclusive<u32>, Option<IpAddr>)> {
    let table = fields.sub("vni", element, &NETWORK)?;
    let refuse = |rule: String, remedy: &str| {
        table.problems.push(table.span.clone(), rule, remedy);
        None
    };
    let id = match table.value("id").map(|value| value.get_ref().as_str()) {
        Some(Some(text)) => parse_range(text),
        _ => table.integer::<u32>("id", 0..=i64::from(Vni::MAX)).map(|vni| vni..=vni),
    };
    let Some(id) = id else {
        return refuse(
            "`vni` names no network".into(),
            "write { id = 200, group = \"239.1.1.1\" }, or a range as id = \"200-210\"",
        );
    };
    let remote = super::end(&table, "remote");
    let group = super::group(&table, fields, roles);
    // As of a whole device (`is_ipv6`).
    let is_ipv6 = || fields.text("local").is_some_and(|local| local.value.contains(':'));
    match remote.or(group) {
        Some(end) if end.is_ipv6() != is_ipv6() => {
            let (version, other) = if end.is_ipv6() { (6, 4) } else { (4, 6) };
            refuse(
                format!("{end} is of IPv{version}, and the device sends over IPv{other}"),
                "name an address of the version that `local` is of; without a `local` that is IPv4",
            )
        }
        end => Some((id, end)),
    }
}

/// `200-210`, or one network.
pub(crate) fn parse_range(text: &str) -> Option<RangeInclusive<u32>> {
    let vni = |text: &str| text.parse().ok().and_then(Vni::new).map(Vni::number);
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (vni(low)?, vni(high)?);
    (low <= high).then_some(low..=high)
}
