//! The spanning tree's keys of `[[bridge]]` and `[[bridge.port]]`, read and written: ip-link(8)'s words.

use std::time::Duration;

use rigswitch_dataplane::bridge::{SpanningTreeConfig, SpanningTreePort};
use rigswitch_dataplane::wire::bpdu::PortId;
use serde::Serialize;

use super::fields::Fields;
use super::values::{duration, duration_text, unless};

/// The kernel's `BR_MIN_*` and `BR_MAX_*` (net/bridge/br_private_stp.h), in seconds.
const HELLO_TIME: [u64; 2] = [1, 10];
const MAX_AGE: [u64; 2] = [6, 40];
const FORWARD_DELAY: [u64; 2] = [2, 30];

/// What a bridge says of its spanning tree.
pub(super) fn read_bridge(fields: &Fields<'_>, members: &[Fields<'_>]) -> SpanningTreeConfig {
    let plain = SpanningTreeConfig::default();
    let enabled = fields.boolean("stp_state").unwrap_or(plain.enabled);
    let (ports, most) = (members.len(), usize::from(PortId::MAX_NUMBER));
    if enabled
        && ports > most
        && let Some(value) = fields.value("stp_state")
    {
        let rule =
            format!("{ports} ports are too many for a spanning tree: a bridge with one has at most {most}");
        fields.problems.push(value.span(), rule, "divide them between bridges, or take stp_state out");
    }
    for state in members.iter().filter(|_| enabled).filter_map(|member| member.value("state")) {
        let rule = "`state` of a port whose bridge has stp_state: the spanning tree decides about it";
        fields.problems.push(state.span(), rule, "take one of the two out");
    }
    SpanningTreeConfig {
        enabled,
        priority: fields.integer("priority", 0..=0xffff).unwrap_or(plain.priority),
        hello_time: time(fields, "hello_time", HELLO_TIME).unwrap_or(plain.hello_time),
        max_age: time(fields, "max_age", MAX_AGE).unwrap_or(plain.max_age),
        forward_delay: time(fields, "forward_delay", FORWARD_DELAY).unwrap_or(plain.forward_delay),
    }
}

/// A time within the bounds that the standard gives it.
fn time(fields: &Fields<'_>, key: &str, [least, most]: [u64; 2]) -> Option<Duration> {
    let time = duration(fields, key, Duration::from_secs(most))?;
    if time >= Duration::from_secs(least) {
        return Some(time);
    }
    if let Some(value) = fields.value(key) {
        let rule = format!("`{key}` is {}, and must be at least {least}s", duration_text(time));
        fields.problems.push(value.span(), rule, format!("choose a time from {least}s to {most}s"));
    }
    None
}

/// What a port says of it.
pub(super) fn read_port(fields: &Fields<'_>) -> SpanningTreePort {
    let plain = SpanningTreePort::default();
    SpanningTreePort {
        priority: fields.integer("priority", 0..=i64::from(PortId::MAX_PRIORITY)).unwrap_or(plain.priority),
        cost: fields.integer("cost", 1..=0xffff),
        guard: fields.boolean("guard").unwrap_or(plain.guard),
        root_block: fields.boolean("root_block").unwrap_or(plain.root_block),
    }
}

/// What there is to say of a bridge's spanning tree that is not taken where nothing is said.
#[derive(Serialize)]
pub(super) struct BridgeWords {
    #[serde(skip_serializing_if = "Option::is_none")]
    stp_state: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hello_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forward_delay: Option<String>,
}

/// The same of a port's part in it.
#[derive(Serialize)]
pub(super) struct PortWords {
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guard: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_block: Option<bool>,
}

impl From<SpanningTreeConfig> for BridgeWords {
    fn from(config: SpanningTreeConfig) -> Self {
        let plain = SpanningTreeConfig::default();
        let time = |time, plain| unless(time, plain).map(duration_text);
        Self {
            stp_state: unless(config.enabled, plain.enabled),
            priority: unless(config.priority, plain.priority),
            hello_time: time(config.hello_time, plain.hello_time),
            max_age: time(config.max_age, plain.max_age),
            forward_delay: time(config.forward_delay, plain.forward_delay),
        }
    }
}

impl From<SpanningTreePort> for PortWords {
    fn from(port: SpanningTreePort) -> Self {
        let plain = SpanningTreePort::default();
        Self {
            priority: unless(port.priority, plain.priority),
            cost: port.cost,
            guard: unless(port.guard, plain.guard),
            root_block: unless(port.root_block, plain.root_block),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Document};

    const TREE: &str = r#"
        [[port]]
        name = "p0"
        memory = true
        [[port]]
        name = "p1"
        memory = true
        [[bridge]]
        name = "br0"
        stp_state = true
        priority = 4096
        hello_time = "1s"
        max_age = 6
        forward_delay = "2500ms"
        port = [{ device = "p0", priority = 63, cost = 7, guard = true, root_block = true }, { device = "p1" }]
    "#;

    #[test]
    fn every_key_is_read_and_written_again() {
        let config = Config::parse(TREE, "rig.toml").unwrap();
        let [br0] = &config.bridges[..] else { panic!("a bridge") };
        let expected = SpanningTreeConfig {
            enabled: true,
            priority: 4096,
            hello_time: Duration::from_secs(1),
            max_age: Duration::from_secs(6),
            forward_delay: Duration::from_millis(2500),
        };
        assert_eq!(br0.spanning_tree, expected);
        let port = SpanningTreePort { priority: 63, cost: Some(7), guard: true, root_block: true };
        let ports: Vec<_> = br0.ports.iter().map(|port| port.spanning_tree).collect();
        assert_eq!(ports, [port, SpanningTreePort::default()]);
        let written = Document::new(&config).to_toml().unwrap();
        assert_eq!(Config::parse(&written, "written").unwrap(), config, "{written}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (from, to, rule) in [
            ("\"1s\"", "\"900ms\"", "`hello_time` is 900ms, and must be at least 1s"),
            ("max_age = 6", "max_age = 41", "`max_age` is 41, and must be at most 40s"),
            ("\"2500ms\"", "1", "`forward_delay` is 1s, and must be at least 2s"),
            ("cost = 7", "cost = 0", "`cost` is 0, and must be from 1 to 65535"),
            ("priority = 63", "priority = 64", "`priority` is 64, and must be from 0 to 63"),
            ("cost = 7", "state = \"blocking\"", "`state` of a port whose bridge has stp_state"),
        ] {
            let said = Config::parse(&TREE.replace(from, to), "rig.toml").unwrap_err().to_string();
            assert!(said.contains(rule), "{said}");
        }
    }
}
