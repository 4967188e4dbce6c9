//! `vni add` and `vni del`: the networks that a VXLAN device takes packets of, changed by hand (`vxlan_vnifilter_process`,
//! drivers/net/vxlan/vxlan_vnifilter.c).

use serde_json::{Value, json};

use rigswitch_dataplane::ids::Vni;
use rigswitch_dataplane::tunnels::TunnelKind;

use super::Config;
use super::problem::Refused;
use super::vxlan::parse_vnis;
use crate::views::{EditAction, EditRequest};

/// The keys of its table in the file that are another after an edit: `vni`. What comes of it is read as any other configuration.
pub(super) fn edit(config: &Config, document: &mut Value, edit: &EditRequest) -> Result<(), Refused> {
    let refuse = |why: String| Err(Refused::because(why));
    let name = &edit.name;
    let known = config.vxlans().find(|(tunnel, _)| tunnel.name == *name);
    let Some((_, vxlan)) = known else {
        return refuse(format!(
            "there is no VXLAN device {name}: `rigswitch show tunnels` lists those there are"
        ));
    };
    let Some(vnis) = vxlan.external.as_ref().and_then(|external| external.vnis.as_ref()) else {
        return refuse(format!(
            "{name} does not filter networks: they are named for a device with `external` and `vnifilter`"
        ));
    };
    if let Some(other) = edit.keys.keys().find(|key| !["vni", "group", "remote"].contains(&&***key)) {
        return refuse(format!("`{other}` is nothing of a network's: give vni, and group or remote"));
    }
    let asked = match edit.keys.get("vni") {
        Some(Value::Number(number)) => parse_vnis(&number.to_string()),
        Some(Value::String(text)) => parse_vnis(text),
        _ => None,
    };
    let Some(asked) = asked else {
        return refuse(format!("which network? Say vni 100, or vni 100-110, up to {}", Vni::MAX));
    };
    let is_asked = |vni: &Vni| asked.contains(&vni.number());
    if edit.action == EditAction::Del && !vnis.keys().any(is_asked) {
        return refuse(format!("{name} has none of these networks: `rigswitch vni show` lists what it has"));
    }
    // Those that stay as they are.
    let mut left = config.clone();
    for tunnel in left.tunnels.iter_mut().filter(|tunnel| tunnel.name == *name) {
        if let TunnelKind::Vxlan(of) = &mut tunnel.kind
            && let Some(vnis) = of.external.as_mut().and_then(|external| external.vnis.as_mut())
        {
            vnis.retain(|vni, _| !is_asked(vni));
        }
    }
    *document = serde_json::to_value(super::Document::new(&left)).map_err(Refused::because)?;
    if edit.action == EditAction::Del {
        return Ok(());
    }
    let mut table = json!({ "id": format!("{}-{}", asked.start(), asked.end()) });
    for key in ["group", "remote"] {
        if let Some(value) = edit.keys.get(key) {
            table[key] = value.clone();
        }
    }
    for device in super::edit::list(document, "vxlan").iter_mut().filter(|device| device["name"] == *name) {
        super::edit::list(device, "vni").push(table.clone());
    }
    Ok(())
}
