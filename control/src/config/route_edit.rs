//! `address`, `route` and `neighbor add` and `del`: what a router is told, changed by hand.

use std::net::IpAddr;

use serde_json::Value;

use super::edit::list;
use super::host;
use super::problem::Refused;
use super::route::parse_network;
use crate::views::{EditAction, EditRequest};

/// An address is told with its prefix and its device, and has nothing else.
pub(super) fn address(document: &mut Value, edit: &EditRequest) -> Result<(), Refused> {
    let address = host::address(&edit.name).map_or_else(|| edit.name.clone(), |address| address.to_string());
    let device = edit.keys.get("device").and_then(Value::as_str).unwrap_or_default();
    let addresses = list(document, "address");
    let place = addresses.iter().position(|said| said["address"] == *address && said["device"] == *device);
    match (edit.action, place) {
        (EditAction::Del, Some(place)) => drop(addresses.remove(place)),
        (EditAction::Del, None) => {
            let why =
                format!("{address} is no address of {device}: `rigswitch show config` lists those there are");
            return Err(Refused::because(why));
        }
        (EditAction::Add, Some(_)) => {
            return Err(Refused::because(format!("{address} is an address of {device} already")));
        }
        (EditAction::Add | EditAction::Set, _) => {
            addresses.retain(|said| said["address"] != *address || said["device"] != *device);
            let mut table = edit.keys.clone();
            table.insert("address".into(), address.into());
            addresses.push(table.into());
        }
    }
    Ok(())
}

/// A route is told by the network that it leads to, and its metric if it says one.
pub(super) fn route(document: &mut Value, edit: &EditRequest) -> Result<(), Refused> {
    let to = parse_network(&edit.name).map_or_else(|| edit.name.clone(), |network| network.to_string());
    let routes = list(document, "route");
    let metric = |metric: Option<&Value>| metric.and_then(Value::as_u64).filter(|&metric| metric != 0);
    let said = metric(edit.keys.get("metric"));
    // `ip route del` takes the first away if it is told no metric.
    let is_any = edit.action == EditAction::Del && said.is_none();
    let is_it = |route: &Value| route["to"] == *to && (is_any || metric(route.get("metric")) == said);
    let place = routes.iter().position(is_it);
    match (edit.action, place) {
        (EditAction::Add, Some(_)) => {
            let why = format!("there is a route to {to} already: `route replace` changes it");
            return Err(Refused::because(why));
        }
        (EditAction::Del, Some(place)) => drop(routes.remove(place)),
        (EditAction::Del, None) => {
            let why = format!("there is no route to {to}: `rigswitch show routes` lists those there are");
            return Err(Refused::because(why));
        }
        (EditAction::Add | EditAction::Set, place) => {
            let mut table = edit.keys.clone();
            table.insert("to".into(), to.into());
            match place {
                Some(place) => routes[place] = table.into(),
                None => routes.push(table.into()),
            }
        }
    }
    Ok(())
}

/// A neighbour is told by its address, its bridge, and its VLAN if it has one.
pub(super) fn neighbor(document: &mut Value, edit: &EditRequest) -> Result<(), Refused> {
    let address = edit.name.parse().map_or_else(|_| edit.name.clone(), |address: IpAddr| address.to_string());
    let device = edit.keys.get("device").and_then(Value::as_str).unwrap_or_default();
    let vlan = edit.keys.get("vlan").unwrap_or(&Value::Null);
    let is_it =
        |other: &Value| other["address"] == *address && other["device"] == *device && other["vlan"] == *vlan;
    let neighbors = list(document, "neighbor");
    let place = neighbors.iter().position(is_it);
    match (edit.action, place) {
        (EditAction::Add, Some(_)) => {
            let why = format!("{address} is a neighbour of {device} already: `neighbor replace` changes it");
            return Err(Refused::because(why));
        }
        (EditAction::Del, Some(place)) => drop(neighbors.remove(place)),
        (EditAction::Del, None) => {
            let why = format!(
                "{address} is no neighbour of {device}: `rigswitch show neighbors` lists those there are"
            );
            return Err(Refused::because(why));
        }
        (EditAction::Add | EditAction::Set, place) => {
            let mut table = edit.keys.clone();
            table.insert("address".into(), address.into());
            match place {
                Some(place) => neighbors[place] = table.into(),
                None => neighbors.push(table.into()),
            }
        }
    }
    Ok(())
}
