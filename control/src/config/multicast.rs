//! Snooping's keys of `[[bridge]]` and `[[bridge.port]]`, and `[[bridge.mdb]]`, read and written: ip-link(8)'s and bridge(8)'s words.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rigswitch_dataplane::bridge::{
    BridgeConfig, MdbEntryConfig, MulticastConfig, MulticastPort, RouterPort, group_fault,
};
use rigswitch_dataplane::ids::VlanId;
use rigswitch_dataplane::wire::multicast::Group;
use serde::Serialize;

use super::fdb;
use super::fields::{Fields, Shape, suggest};
use super::roles::Roles;
use super::values::{duration, duration_text, unless};

const ENTRY: Shape = Shape { label: "[[bridge.mdb]]", keys: &["device", "grp", "vid"], later: &["src"] };

/// No time of snooping is longer.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The longest time to answer that a query of IGMPv2 can give (RFC 2236 §2.2).
const LONGEST_RESPONSE: Duration = Duration::from_millis(25_500);

/// The kernel's `BR_MULTICAST_QUERY_INTVL_MIN`.
const SHORTEST_QUERY_INTERVAL: Duration = Duration::from_secs(1);

/// What a bridge says of its snooping.
pub(super) fn read_bridge(fields: &Fields<'_>) -> MulticastConfig {
    let plain = MulticastConfig::default();
    let count = |key| fields.integer(key, 0..=255);
    let time = |key, least, most| time(fields, key, least, most);
    let response = |key| time(key, Duration::ZERO, LONGEST_RESPONSE);
    let interval = |key| time(key, SHORTEST_QUERY_INTERVAL, LONGEST);
    let life = |key| time(key, Duration::ZERO, LONGEST);
    MulticastConfig {
        snooping: fields.boolean("mcast_snooping").unwrap_or(plain.snooping),
        querier: fields.boolean("mcast_querier").unwrap_or(plain.querier),
        hash_max: fields.integer("mcast_hash_max", 0..=i64::from(u32::MAX)).unwrap_or(plain.hash_max),
        last_member_count: count("mcast_last_member_count").unwrap_or(plain.last_member_count),
        last_member_interval: response("mcast_last_member_interval").unwrap_or(plain.last_member_interval),
        membership_interval: life("mcast_membership_interval").unwrap_or(plain.membership_interval),
        querier_interval: life("mcast_querier_interval").unwrap_or(plain.querier_interval),
        query_interval: interval("mcast_query_interval").unwrap_or(plain.query_interval),
        query_response_interval: response("mcast_query_response_interval")
            .unwrap_or(plain.query_response_interval),
        startup_query_count: count("mcast_startup_query_count").unwrap_or(plain.startup_query_count),
        startup_query_interval: interval("mcast_startup_query_interval")
            .unwrap_or(plain.startup_query_interval),
    }
}

/// A time between these.
fn time(fields: &Fields<'_>, key: &str, least: Duration, most: Duration) -> Option<Duration> {
    let time = duration(fields, key, LONGEST)?;
    if (least..=most).contains(&time) {
        return Some(time);
    }
    if let Some(value) = fields.value(key) {
        let [time, least, most] = [time, least, most].map(duration_text);
        let rule = format!("`{key}` is {time}, and must be from {least} to {most}");
        fields.problems.push(value.span(), rule, format!("choose a time from {least} to {most}"));
    }
    None
}

/// What a port says of it.
pub(super) fn read_port(fields: &Fields<'_>) -> MulticastPort {
    let plain = MulticastPort::default();
    let routers = [RouterPort::Never, RouterPort::Learned, RouterPort::Always];
    let router = fields.integer("mcast_router", 0..=2).and_then(|number: usize| routers.get(number));
    MulticastPort {
        router: router.copied().unwrap_or(plain.router),
        fast_leave: fields.boolean("mcast_fast_leave").unwrap_or(plain.fast_leave),
        to_unicast: fields.boolean("mcast_to_unicast").unwrap_or(plain.to_unicast),
        max_groups: fields.integer("mcast_max_groups", 0..=i64::from(u32::MAX)).unwrap_or(plain.max_groups),
    }
}

/// Every `[[bridge.mdb]]` of a bridge of which all else is known. One that names no VLAN is of every VLAN of its port.
pub(super) fn read_mdb(fields: &Fields<'_>, of: &BridgeConfig, roles: &Roles<'_>) -> Vec<MdbEntryConfig> {
    let (bridge, snooping, ports) = (&of.name, &of.multicast, &of.ports);
    let mut entries: Vec<MdbEntryConfig> = Vec::new();
    let mut seen = BTreeMap::new();
    for entry in fields.tables("mdb", &ENTRY) {
        let device = entry.required("device", "\"p0\"");
        let text = entry.required("grp", "\"239.1.1.1\"");
        let (Some(device), Some(text)) = (device, text) else { continue };
        let refuse = |span, rule: String, remedy: &str| entry.problems.push(span, rule, remedy.to_owned());
        if !snooping.snooping {
            let rule = format!("an entry in the mdb of {bridge}, which does not snoop");
            refuse(entry.span.clone(), rule, "take it out, or take `mcast_snooping = false` out");
        }
        let Some(port) = ports.iter().find(|port| port.device == device.value) else {
            let rule = format!("`{}` is not a port of {bridge}", device.value);
            let remedy = suggest(device.value, ports.iter().map(|port| &*port.device));
            let remedy = remedy.unwrap_or_else(|| "add it as a [[bridge.port]], or name one that is".into());
            refuse(device.span, rule, &remedy);
            continue;
        };
        let group = match text.value.parse::<Group>() {
            Ok(group) => group,
            Err(error) => {
                refuse(
                    text.span,
                    error.to_string(),
                    "write a group as 239.1.1.1, ff05::1 or 01:00:5e:01:01:01",
                );
                continue;
            }
        };
        if let Some(fault) = group_fault(group) {
            refuse(text.span.clone(), format!("`{group}` {fault}"), "name a group that hosts join");
        }
        for vlan in fdb::vlans(&entry, "vid", of, device.value) {
            if let Some(first) = seen.insert((group, vlan, device.value), text.span.clone()) {
                let of_vlan = vlan.map(|vid| format!(", VLAN {vid},")).unwrap_or_default();
                let (name, line) = (device.value, roles.line(&first));
                let rule = format!("`{name}` is in {group}{of_vlan} twice: line {line} has it");
                refuse(text.span.clone(), rule, "keep one of the two");
                break;
            }
            entries.push(MdbEntryConfig { device: port.device.clone(), group, vlan });
        }
        let groups = seen.keys().map(|(group, vlan, _)| (group, vlan)).collect::<BTreeSet<_>>().len();
        if groups > snooping.hash_max as usize {
            let rule = format!("{bridge} has {groups} groups, and `mcast_hash_max` is {}", snooping.hash_max);
            refuse(text.span.clone(), rule, "raise it, or take groups out");
        }
        let of_port = seen.keys().filter(|(.., of)| *of == device.value).count();
        if port.multicast.max_groups > 0 && of_port > port.multicast.max_groups as usize {
            let (name, most) = (&port.device, port.multicast.max_groups);
            let rule = format!("`{name}` is in {of_port} groups, and its `mcast_max_groups` is {most}");
            refuse(text.span, rule, "raise it, or take groups out");
        }
    }
    entries
}

/// What there is to say of a bridge's snooping that is not taken where nothing is said.
#[derive(Serialize)]
pub(super) struct BridgeWords {
    #[serde(skip_serializing_if = "Option::is_none")]
    mcast_snooping: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcast_querier: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcast_hash_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcast_last_member_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcast_last_member_interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcast_membership_interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcast_querier_interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcast_query_interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcast_query_response_interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcast_startup_query_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcast_startup_query_interval: Option<String>,
}

/// The same of a port.
#[derive(Serialize)]
pub(super) struct PortWords {
    #[serde(skip_serializing_if = "Option::is_none")]
    mcast_router: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcast_fast_leave: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcast_to_unicast: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mcast_max_groups: Option<u32>,
}

/// One `[[bridge.mdb]]`.
#[derive(Serialize)]
pub(super) struct EntryWords<'c> {
    device: &'c str,
    grp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vid: Option<u16>,
}

impl From<MulticastConfig> for BridgeWords {
    fn from(config: MulticastConfig) -> Self {
        let plain = MulticastConfig::default();
        let time = |of: fn(&MulticastConfig) -> Duration| unless(of(&config), of(&plain)).map(duration_text);
        Self {
            mcast_snooping: unless(config.snooping, plain.snooping),
            mcast_querier: unless(config.querier, plain.querier),
            mcast_hash_max: unless(config.hash_max, plain.hash_max),
            mcast_last_member_count: unless(config.last_member_count, plain.last_member_count),
            mcast_last_member_interval: time(|config| config.last_member_interval),
            mcast_membership_interval: time(|config| config.membership_interval),
            mcast_querier_interval: time(|config| config.querier_interval),
            mcast_query_interval: time(|config| config.query_interval),
            mcast_query_response_interval: time(|config| config.query_response_interval),
            mcast_startup_query_count: unless(config.startup_query_count, plain.startup_query_count),
            mcast_startup_query_interval: time(|config| config.startup_query_interval),
        }
    }
}

impl From<MulticastPort> for PortWords {
    fn from(port: MulticastPort) -> Self {
        let plain = MulticastPort::default();
        Self {
            mcast_router: unless(port.router as u8, plain.router as u8),
            mcast_fast_leave: unless(port.fast_leave, plain.fast_leave),
            mcast_to_unicast: unless(port.to_unicast, plain.to_unicast),
            mcast_max_groups: unless(port.max_groups, plain.max_groups),
        }
    }
}

impl<'c> From<&'c MdbEntryConfig> for EntryWords<'c> {
    fn from(entry: &'c MdbEntryConfig) -> Self {
        let vid = entry.vlan.map(VlanId::number);
        Self { device: &entry.device, grp: entry.group.to_string(), vid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Document};

    const SNOOPING: &str = r#"
        port = [{ name = "p0", memory = true }, { name = "p1", memory = true }]
        [[bridge]]
        name = "br0"
        mcast_querier = true
        mcast_hash_max = 2
        mcast_last_member_count = 3
        mcast_last_member_interval = "500ms"
        mcast_membership_interval = "20s"
        mcast_querier_interval = "21s"
        mcast_query_interval = "5s"
        mcast_query_response_interval = "1500ms"
        mcast_startup_query_count = 4
        mcast_startup_query_interval = "1s"
        mdb = [{ device = "p0", grp = "239.1.1.1" }, { device = "p1", grp = "ff05::1" }]
        [[bridge.port]]
        device = "p0"
        mcast_router = 2
        mcast_fast_leave = true
        mcast_to_unicast = true
        mcast_max_groups = 1
        [[bridge.port]]
        device = "p1"
    "#;

    #[test]
    fn every_key_is_read_and_written_again() {
        let config = Config::parse(SNOOPING, "rig.toml").unwrap();
        let [br0] = &config.bridges[..] else { panic!("a bridge") };
        let expected = MulticastConfig {
            snooping: true,
            querier: true,
            hash_max: 2,
            last_member_count: 3,
            last_member_interval: Duration::from_millis(500),
            membership_interval: Duration::from_secs(20),
            querier_interval: Duration::from_secs(21),
            query_interval: Duration::from_secs(5),
            query_response_interval: Duration::from_millis(1500),
            startup_query_count: 4,
            startup_query_interval: Duration::from_secs(1),
        };
        assert_eq!(br0.multicast, expected);
        let port =
            MulticastPort { router: RouterPort::Always, fast_leave: true, to_unicast: true, max_groups: 1 };
        let ports: Vec<_> = br0.ports.iter().map(|port| port.multicast).collect();
        assert_eq!(ports, [port, MulticastPort::default()]);
        let entry = |device: &str, group: &str| MdbEntryConfig {
            device: device.into(),
            group: group.parse().unwrap(),
            vlan: None,
        };
        assert_eq!(br0.mdb, [entry("p0", "239.1.1.1"), entry("p1", "ff05::1")]);
        let written = Document::new(&config).to_toml().unwrap();
        assert_eq!(Config::parse(&written, "written").unwrap(), config, "{written}");
    }

    const IN_VLANS: &str = r#"
        port = [{ name = "p0", memory = true }, { name = "p1", memory = true }]
        [[bridge]]
        name = "br0"
        vlan_filtering = true
        port = [{ device = "p0", trunk = [10, 20] }, { device = "p1", access = 10 }]
        mdb = [{ device = "p0", grp = "239.1.1.1", vid = 20 }, { device = "p0", grp = "ff05::1" }]
    "#;

    #[test]
    fn where_there_are_vlans_a_member_is_in_one_or_in_all_of_its_ports() {
        let config = Config::parse(IN_VLANS, "rig.toml").unwrap();
        let [br0] = &config.bridges[..] else { panic!("a bridge") };
        let read: Vec<_> = br0.mdb.iter().map(|entry| (entry.group.to_string(), entry.vlan)).collect();
        let expected = [("239.1.1.1", 20), ("ff05::1", 10), ("ff05::1", 20)];
        assert_eq!(read, expected.map(|(group, vid)| (group.to_owned(), VlanId::new(vid))));
        let written = Document::new(&config).to_toml().unwrap();
        assert_eq!(Config::parse(&written, "written").unwrap(), config, "{written}");
        for (from, to, rule) in [
            ("vid = 20 }", "vid = 30 }", "`p0` is not in VLAN 30"),
            ("vid = 20 }", "vid = 4095 }", "`vid` is 4095, and must be from 1 to 4094"),
            (
                "grp = \"ff05::1\"",
                "grp = \"239.1.1.1\"",
                "`p0` is in 239.1.1.1, VLAN 20, twice: line 7 has it",
            ),
            (
                "vlan_filtering = true",
                "mcast_hash_max = 9",
                "an entry with a `vid` in br0, which does not filter",
            ),
            ("vlan_filtering = true", "vlan_filtering = true\nmcast_hash_max = 2", "br0 has 3 groups"),
        ] {
            let text = IN_VLANS.replace(from, to).replace(
                "trunk = [10, 20]",
                if rule.contains("does not filter") { "" } else { "trunk = [10, 20]" },
            );
            let said = Config::parse(&text, "rig.toml").unwrap_err().to_string();
            assert!(said.contains(rule), "{said}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let one_more =
            |device, grp| format!("mdb = [{{ device = \"{device}\", grp = \"{grp}\" }}, {{ device = \"p0\"");
        for (from, to, rule) in [
            ("\"1500ms\"", "\"26s\"", "must be from 0s to 25500ms"),
            ("\"5s\"", "\"900ms\"", "`mcast_query_interval` is 900ms, and must be from 1s to 86400s"),
            ("mcast_router = 2", "mcast_router = 3", "`mcast_router` is 3, and must be from 0 to 2"),
            ("mcast_querier = true", "mcast_snooping = false", "in the mdb of br0, which does not snoop"),
            ("239.1.1.1", "224.0.0.5", "`224.0.0.5` is link-local"),
            ("239.1.1.1", "10.0.0.1", "`10.0.0.1` is not a multicast address"),
            ("239.1.1.1", "02:00:00:00:00:01", "`02:00:00:00:00:01` is the address of a station"),
            ("ff05::1", "ff02::1", "`ff02::1` is all nodes"),
            ("ff05::1", "fish", "`fish` is no group"),
            ("mdb = [{ device = \"p0\"", "mdb = [{ device = \"p9\"", "`p9` is not a port of br0"),
            ("mdb = [{ device = \"p0\"", &one_more("p1", "ff05::1"), "`p1` is in ff05::1 twice"),
            (
                "mdb = [{ device = \"p0\"",
                &one_more("p1", "ff05::2"),
                "br0 has 3 groups, and `mcast_hash_max` is 2",
            ),
            (
                "mdb = [{ device = \"p0\"",
                &one_more("p0", "ff05::1"),
                "`p0` is in 2 groups, and its `mcast_max_groups`",
            ),
        ] {
            let said = Config::parse(&SNOOPING.replace(from, to), "rig.toml").unwrap_err().to_string();
            assert!(said.contains(rule), "{said}");
        }
    }
}
