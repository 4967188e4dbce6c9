//! The table of `show tunnels`.

use super::super::table::{Table, colour};
use crate::views::TunnelView;

/// A line a far end; a tunnel without any has one too.
pub(super) fn table(tunnels: &Vec<TunnelView>) -> String {
    let mut table = Table::new(&[
        "TUNNEL",
        "KIND",
        "MODE",
        "LOCAL",
        "REMOTE",
        "TTL",
        "TOS",
        ">MTU",
        "FAR END",
        "BY",
        "STATE",
        ">PATH MTU",
    ]);
    for tunnel in tunnels {
        let mut own = vec![
            tunnel.ifname.clone(),
            tunnel.kind.clone(),
            tunnel.mode.clone(),
            tunnel.local.clone(),
            tunnel.remote.clone(),
            tunnel.ttl.clone(),
            tunnel.tos.clone(),
            tunnel.mtu.to_string(),
        ];
        let none = vec![String::new(); own.len()];
        if tunnel.far_ends.is_empty() {
            table.put([&own[..], &[const { String::new() }; 4]].concat());
        }
        for end in &tunnel.far_ends {
            let mtu = end.mtu.map(|mtu| mtu.to_string()).unwrap_or_default();
            let end = [end.dst.clone(), end.dev.clone().unwrap_or_default(), end.state.clone(), mtu];
            table.put([&std::mem::replace(&mut own, none.clone())[..], &end].concat());
        }
    }
    table.text(colour())
}
