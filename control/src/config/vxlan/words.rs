//! A VXLAN device as it is printed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rigswitch_dataplane::ids::Vni;
use rigswitch_dataplane::tunnels::{TunnelConfig, VxlanConfig};
use rigswitch_dataplane::wire::vxlan;
use serde::Serialize;

use super::fdb::EntryWords;
use crate::config::host::HostWords;
use crate::config::tunnel::tos_word;
use crate::config::values::{duration_text, unless};
use crate::config::vlans::NumberWord;

/// A VXLAN device as it is printed.
#[derive(Serialize)]
pub(in crate::config) struct VxlanWords<'c> {
    name: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vnifilter: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vni: Vec<NetworkWord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<&'c str>,
    dstport: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    srcport: Option<(u16, u16)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<TtlWord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tos: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    df: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    learning: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ageing: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maxaddress: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    udpcsum: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    udp6zerocsumtx: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    udp6zerocsumrx: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compat: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reserved_bits: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rsc: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l2miss: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l3miss: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<HostWords<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fdb: Vec<EntryWords>,
}

/// Some networks in a row, and the far end or the group that each has.
#[derive(Serialize)]
#[serde(untagged)]
enum NetworkWord {
    Plain(NumberWord),
    Remote { id: NumberWord, remote: IpAddr },
    Group { id: NumberWord, group: IpAddr },
}

fn networks(vnis: &BTreeMap<Vni, Option<IpAddr>>) -> Vec<NetworkWord> {
    let word = |(first, last, end): (u32, u32, Option<IpAddr>)| {
        let id = NumberWord::of(first, last);
        match end {
            None => NetworkWord::Plain(id),
            Some(group) if group.is_multicast() => NetworkWord::Group { id, group },
            Some(remote) => NetworkWord::Remote { id, remote },
        }
    };
    rows(vnis).into_iter().map(word).collect()
}

/// Networks, those in a row together that have the same far end, or none: the first, the last, and that.
fn rows(vnis: &BTreeMap<Vni, Option<IpAddr>>) -> Vec<(u32, u32, Option<IpAddr>)> {
    let mut rows: Vec<(u32, u32, Option<IpAddr>)> = Vec::new();
    for (vni, end) in vnis {
        match rows.last_mut() {
            Some((_, last, before)) if *last + 1 == vni.number() && before == end => *last += 1,
            _ => rows.push((vni.number(), vni.number(), *end)),
        }
    }
    rows
}

#[derive(Serialize)]
#[serde(untagged)]
enum TtlWord {
    Fixed(u8),
    Inherited(&'static str),
}

impl<'c> VxlanWords<'c> {
    pub(in crate::config) fn of(tunnel: &'c TunnelConfig, vxlan: &'c VxlanConfig) -> Self {
        let plain = VxlanConfig::new(vxlan.id);
        let vnis = vxlan.external.as_ref().and_then(|external| external.vnis.as_ref());
        let ttl = unless(vxlan.ttl, plain.ttl);
        let is_compat = vxlan.reserved_bits == vxlan::RESERVED;
        let bits = unless(vxlan.reserved_bits, plain.reserved_bits).filter(|_| !is_compat);
        Self {
            name: &tunnel.name,
            id: vxlan.external.is_none().then(|| vxlan.id.number()),
            external: vxlan.external.is_some().then_some(true),
            vnifilter: vnis.map(|_| true),
            vni: vnis.map(networks).unwrap_or_default(),
            local: vxlan.local,
            remote: vxlan.remote,
            group: vxlan.group,
            dev: vxlan.dev.as_deref(),
            dstport: vxlan.dstport,
            srcport: unless(vxlan.srcport, plain.srcport),
            ttl: ttl.map(|ttl| ttl.map_or(TtlWord::Inherited("inherit"), TtlWord::Fixed)),
            tos: unless(vxlan.tos, plain.tos).map(tos_word),
            df: unless(vxlan.df, plain.df).map(|_| vxlan.df_name()),
            learning: unless(vxlan.learning, vxlan.external.is_none()),
            ageing: unless(vxlan.ageing, plain.ageing).map(duration_text),
            maxaddress: unless(vxlan.maxaddress, plain.maxaddress),
            udpcsum: unless(vxlan.udpcsum, plain.udpcsum),
            udp6zerocsumtx: unless(vxlan.udp6zerocsumtx, plain.udp6zerocsumtx),
            udp6zerocsumrx: unless(vxlan.udp6zerocsumrx, plain.udp6zerocsumrx),
            compat: is_compat.then_some(true),
            reserved_bits: bits.map(|bits| format!("{bits:#018x}")),
            address: vxlan.address.map(|address| address.to_string()),
            mtu: tunnel.mtu,
            proxy: vxlan.proxy.then_some(true),
            rsc: vxlan.rsc.then_some(true),
            l2miss: vxlan.l2miss.then_some(true),
            l3miss: vxlan.l3miss.then_some(true),
            host: HostWords::of(tunnel.host.as_ref()),
            fdb: vxlan.fdb.iter().map(Into::into).collect(),
        }
    }
}
