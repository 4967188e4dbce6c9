//! `show vlans`: a table, or what `bridge -j vlan show` prints.

use serde::Serialize;

use super::super::table::{Table, colour};
use crate::views::{PortVlansView, VlanTrafficView, VlanView};

/// Those in a row that are alike as one; nothing is said of their traffic.
fn compressed(vlans: &[VlanView]) -> Vec<VlanView> {
    let mut rows: Vec<VlanView> = Vec::new();
    for vlan in vlans {
        match rows.last_mut() {
            Some(last) if last.flags == vlan.flags && last.vlan_end.unwrap_or(last.vlan) + 1 == vlan.vlan => {
                last.vlan_end = Some(vlan.vlan);
            }
            _ => rows.push(VlanView { traffic: None, ..vlan.clone() }),
        }
    }
    rows
}

/// The table.
pub(super) fn table(ports: &[PortVlansView]) -> String {
    let counts = ports.iter().flat_map(|port| &port.vlans).any(|vlan| vlan.traffic.is_some());
    let columns = ["PORT", ">VLAN", "FLAGS", ">RX PACKETS", ">RX BYTES", ">TX PACKETS", ">TX BYTES"];
    let mut plain = Table::new(&columns[..3]);
    let mut counted = Table::new(&columns);
    for port in ports {
        let rows = if counts { port.vlans.clone() } else { compressed(&port.vlans) };
        for vlan in rows {
            let vids = vlan.vlan_end.map_or(vlan.vlan.to_string(), |end| format!("{}-{end}", vlan.vlan));
            let [port, vids, flags] = [port.ifname.clone(), vids, vlan.flags.join(", ")];
            if !counts {
                plain.row([port, vids, flags]);
                continue;
            }
            let count = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
            let of = vlan.traffic;
            let [rx_packets, rx_bytes] = [of.map(|of| of.rx_packets), of.map(|of| of.rx_bytes)].map(count);
            let [tx_packets, tx_bytes] = [of.map(|of| of.tx_packets), of.map(|of| of.tx_bytes)].map(count);
            counted.row([port, vids, flags, rx_packets, rx_bytes, tx_packets, tx_bytes]);
        }
    }
    if counts { counted.text(colour()) } else { plain.text(colour()) }
}

/// A port as iproute2 prints it.
#[derive(Serialize)]
pub(super) struct Port {
    ifname: String,
    vlans: Vec<Words>,
}

/// One of its VLANs, or some in a row.
#[derive(Serialize)]
struct Words {
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<u16>,
    /// What it is called beside its traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    vid: Option<u16>,
    #[serde(rename = "vlanEnd", skip_serializing_if = "Option::is_none")]
    vlan_end: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<Vec<String>>,
    #[serde(flatten)]
    traffic: Option<VlanTrafficView>,
}

/// What iproute2 prints, with `-s` the traffic, or with `-c` those together that are alike.
pub(super) fn json(ports: &[PortVlansView], statistics: bool, compress: bool) -> Vec<Port> {
    let words = |VlanView { vlan, vlan_end, flags, traffic }| Words {
        vlan: (!statistics).then_some(vlan),
        vid: statistics.then_some(vlan),
        vlan_end,
        // A range has flags, even if none.
        flags: Some(flags).filter(|flags| vlan_end.is_some() || !flags.is_empty()),
        traffic: traffic.filter(|_| statistics),
    };
    let port = |port: &PortVlansView| {
        let vlans = if compress && !statistics { compressed(&port.vlans) } else { port.vlans.clone() };
        Port { ifname: port.ifname.clone(), vlans: vlans.into_iter().map(words).collect() }
    };
    ports.iter().filter(|port| !port.vlans.is_empty()).map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(traffic: Option<VlanTrafficView>) -> Vec<PortVlansView> {
        let vlan = |vlan, flags: &[&str]| VlanView {
            vlan,
            vlan_end: None,
            flags: flags.iter().map(|&flag| flag.into()).collect(),
            traffic,
        };
        let own = &["PVID", "Egress Untagged"][..];
        vec![
            PortVlansView { ifname: "p1".into(), vlans: vec![vlan(1, &own[1..]), vlan(10, own)] },
            PortVlansView { ifname: "p3".into(), vlans: vec![vlan(10, &[]), vlan(20, &[]), vlan(21, &[])] },
            PortVlansView { ifname: "p4".into(), vlans: vec![] },
        ]
    }

    #[test]
    fn json_is_what_iproute2_prints() {
        let text = |statistics, compress, traffic| {
            serde_json::to_string(&json(&ports(traffic), statistics, compress)).unwrap()
        };
        assert_eq!(
            text(false, false, Some(VlanTrafficView::default())),
            r#"[{"ifname":"p1","vlans":[{"vlan":1,"flags":["Egress Untagged"]},{"vlan":10,"flags":["PVID","Egress Untagged"]}]},{"ifname":"p3","vlans":[{"vlan":10},{"vlan":20},{"vlan":21}]}]"#
        );
        assert_eq!(
            text(false, true, None),
            r#"[{"ifname":"p1","vlans":[{"vlan":1,"flags":["Egress Untagged"]},{"vlan":10,"flags":["PVID","Egress Untagged"]}]},{"ifname":"p3","vlans":[{"vlan":10},{"vlan":20,"vlanEnd":21,"flags":[]}]}]"#
        );
        let traffic = VlanTrafficView { rx_bytes: 284, rx_packets: 4, tx_bytes: 432, tx_packets: 6 };
        let counted = text(true, false, Some(traffic));
        let one = r#"{"vid":10,"flags":["PVID","Egress Untagged"],"rx_bytes":284,"rx_packets":4,"tx_bytes":432,"tx_packets":6}"#;
        assert!(counted.contains(one), "{counted}");
    }

    #[test]
    fn the_table_has_ranges_or_counters() {
        let text = table(&ports(None));
        assert!(text.ends_with("p3       10\np3    20-21\n"), "{text}");
        let counted = table(&ports(Some(VlanTrafficView { rx_packets: 7, ..VlanTrafficView::default() })));
        assert!(counted.contains("p3      21"), "{counted}");
    }
}
