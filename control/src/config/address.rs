//! `[[address]]`: which device has an IP address, `ip addr`'s.

use std::collections::BTreeMap;

use rigswitch_dataplane::ports::AddressConfig;
use serde::Serialize;

use super::fields::{Fields, Shape, Text};
use super::host;
use super::roles::{Kind, Role, Roles};

const ADDRESS: Shape = Shape { label: "[[address]]", keys: &["device", "address"], later: &[] };

/// Every `[[address]]`. When all devices have been read, so that it is known who has which already.
pub(super) fn read_all(file: &Fields<'_>, roles: &mut Roles<'_>) -> Vec<AddressConfig> {
    let mut addresses = Vec::new();
    for fields in file.tables("address", &ADDRESS) {
        let device = fields.required("device", "\"iv1\"").and_then(|text| device(&fields, &text, roles));
        let text = fields.required("address", "\"10.66.0.1/24\"");
        let address = text.as_ref().and_then(|text| host::address_at(&fields, text));
        let (Some(device), Some(text), Some(address)) = (device, text, address) else { continue };
        roles.assign(&device, address.address, &text);
        addresses.push(AddressConfig { device, address });
    }
    check(file, roles);
    addresses
}

/// The device that has it.
fn device(fields: &Fields<'_>, text: &Text<'_>, roles: &mut Roles<'_>) -> Option<String> {
    let refuse = |rule: String, remedy: String| fields.problems.push(text.span.clone(), rule, remedy);
    match roles.kind(text.value) {
        // It goes by the address, whatever else it is used for.
        Some(Kind::Ipvlan) => {}
        Some(_) => roles.enter(Role::Routed, text),
        None => {
            refuse(format!("there is no device `{}`", text.value), roles.suggest(text.value));
            return None;
        }
    }
    Some(text.value.to_owned())
}

/// An address is that of one ipvlan of a device (`ipvlan_addr_busy`, drivers/net/ipvlan/ipvlan_main.c).
fn check(file: &Fields<'_>, roles: &Roles<'_>) {
    let mut owners = BTreeMap::new();
    for (device, address, span) in roles.addresses() {
        let Some(link) = roles.link(device).filter(|_| roles.kind(device) == Some(Kind::Ipvlan)) else {
            continue;
        };
        let Some((owner, first)) = owners.insert((link, address), (device, span)) else { continue };
        let line = roles.line(first);
        let rule = match owner == device {
            true => format!("{address} is an address of `{device}` already: line {line} has it"),
            false => format!(
                "{address} is an address of `{device}`, and line {line} makes it one of `{owner}`: both are ipvlans of `{link}`"
            ),
        };
        file.problems.push(span.clone(), rule, "an address is one ipvlan's: keep one of the two");
    }
}

/// The same as it is printed.
#[derive(Serialize)]
pub(super) struct AddressWords<'c> {
    device: &'c str,
    address: String,
}

impl<'c> From<&'c AddressConfig> for AddressWords<'c> {
    fn from(said: &'c AddressConfig) -> Self {
        Self { device: &said.device, address: said.address.to_string() }
    }
}
