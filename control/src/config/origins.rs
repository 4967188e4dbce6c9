//! Where a file says what it says: the line of each table, and of each of its keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use rigswitch_dataplane::routing::RouteConfig;
use toml::de::{DeTable, DeValue};

use super::{host, route};

/// The lines of one file. Of a configuration that was changed by hand since nothing is known.
#[derive(Clone, Default, Debug)]
pub(crate) struct Origins(Arc<(String, Lines)>);

/// The lines of tables, by what they are in and what they are, and of their keys.
type Lines = BTreeMap<(Vec<String>, String), usize>;

/// Two configurations that say the same are the same, wherever they say it.
impl PartialEq for Origins {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Origins {}

impl Origins {
    pub(super) fn of(document: &DeTable<'_>, text: &str, file: &str) -> Self {
        let mut found = Finder { lines: BTreeMap::new(), ends: ends(text) };
        for key in ["switch", "routing"] {
            let value = document.get(key);
            if let Some((value, table)) = value.and_then(|value| Some((value, value.get_ref().as_table()?))) {
                found.table(vec![key.to_owned()], value.span().start, table);
            }
        }
        found.tables(document, "port", &["name"], &[]);
        found.tables(document, "bridge", &["name"], &[]);
        found.tables(document, "vlan", &["name"], &[]);
        found.tables(document, "address", &["device"], &[]);
        found.routes(document);
        found.tables(document, "ipvlan", &["name"], &[]);
        found.addresses(document);
        found.tables(document, "macvlan", &["name"], &[]);
        found.tables(document, "ipip", &["name"], &[]);
        found.tables(document, "vxlan", &["name"], &[]);
        found.tables(document, "xconnect", &["a"], &[]);
        found.tables(document, "xconnect", &["b"], &[]);
        found.tables(document, "neighbor", &["device", "address"], &[]);
        found.tables(document, "neighbor", &["device", "address", "vlan"], &[]);
        for bridge in elements(document, "bridge") {
            let Some(name) = text_of(bridge, "name") else { continue };
            found.tables(bridge, "port", &["device"], &["bridge", &name]);
            found.tables(bridge, "fdb", &["mac"], &["bridge", &name]);
            found.tables(bridge, "mdb", &["device", "grp"], &["bridge", &name]);
            found.tables(bridge, "mdb", &["device", "grp", "vid"], &["bridge", &name]);
        }
        Self(Arc::new((file.to_owned(), found.lines)))
    }

    /// `file:line` of a key of a table, or of the table if it does not have the key. A table is known by what it is in and by
    /// its kind and name: `["bridge", "br0", "port", "p0"]`.
    pub(crate) fn place(&self, table: &[&str], key: &str) -> Option<String> {
        let (file, lines) = &*self.0;
        let table: Vec<_> = table.iter().map(|&word| word.to_owned()).collect();
        let line = |key: &str| lines.get(&(table.clone(), key.to_owned()));
        line(key).or_else(|| line("")).map(|line| format!("{file}:{line}"))
    }
}

impl Origins {
    /// `file:line` of the first of these keys that the table has, or of the table if it has none of them.
    pub(crate) fn first_place(&self, table: &[&str], keys: &[&str]) -> Option<String> {
        let path: Vec<_> = table.iter().map(|&word| word.to_owned()).collect();
        let has = |key: &&&str| self.0.1.contains_key(&(path.clone(), (**key).to_owned()));
        self.place(table, keys.iter().find(has).copied().unwrap_or_default())
    }
}

struct Finder {
    lines: Lines,
    ends: Vec<usize>,
}

impl Finder {
    /// Notes the tables at `key`, by the values of `named`, within `parents`.
    fn tables(&mut self, document: &DeTable<'_>, key: &str, named: &[&str], parents: &[&str]) {
        let Some(array) = document.get(key).and_then(|value| value.get_ref().as_array()) else { return };
        for element in array.iter() {
            let Some(table) = element.get_ref().as_table() else { continue };
            let names: Option<Vec<_>> = named.iter().map(|named| text_of(table, named)).collect();
            let Some(name) = names.map(|names| names.join(" ")) else { continue };
            let path: Vec<_> = parents.iter().copied().chain([key, &name]).map(str::to_owned).collect();
            self.table(path, element.span().start, table);
        }
    }

    /// Notes every `[[address]]`, by its device and itself without its prefix.
    fn addresses(&mut self, document: &DeTable<'_>) {
        let Some(array) = document.get("address").and_then(|value| value.get_ref().as_array()) else {
            return;
        };
        for element in array.iter() {
            let Some(table) = element.get_ref().as_table() else { continue };
            let (Some(device), Some(text)) = (text_of(table, "device"), text_of(table, "address")) else {
                continue;
            };
            let Some(address) = host::address(&text) else { continue };
            let path = vec!["address".to_owned(), device, address.address.to_string()];
            self.table(path, element.span().start, table);
        }
    }

    /// Notes every `[[route]]`, by its network and metric, and its ways by their places.
    fn routes(&mut self, document: &DeTable<'_>) {
        let Some(array) = document.get("route").and_then(|value| value.get_ref().as_array()) else { return };
        for element in array.iter() {
            let Some(table) = element.get_ref().as_table() else { continue };
            let Some(to) = text_of(table, "to").as_deref().and_then(route::parse_network) else { continue };
            let metric =
                table.get("metric").and_then(|value| value.get_ref().as_integer()?.as_str().parse().ok());
            let metric = metric.filter(|&metric| metric != 0).unwrap_or(RouteConfig::default_metric(to));
            let path = vec!["route".to_owned(), format!("{to} {metric}")];
            self.table(path.clone(), element.span().start, table);
            let ways = table.get("nexthop").and_then(|value| value.get_ref().as_array());
            for (place, way) in ways.into_iter().flat_map(|ways| ways.iter()).enumerate() {
                let Some(table) = way.get_ref().as_table() else { continue };
                self.table([&path[..], &[place.to_string()]].concat(), way.span().start, table);
            }
        }
    }

    /// Notes a table that starts there, and its keys.
    fn table(&mut self, path: Vec<String>, start: usize, table: &DeTable<'_>) {
        self.lines.insert((path.clone(), String::new()), self.line(start));
        for (word, _) in table.iter() {
            let line = self.line(word.span().start);
            self.lines.insert((path.clone(), word.get_ref().to_string()), line);
        }
    }

    fn line(&self, offset: usize) -> usize {
        self.ends.partition_point(|&end| end < offset) + 1
    }
}

fn ends(text: &str) -> Vec<usize> {
    text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect()
}

fn elements<'d>(document: &'d DeTable<'d>, key: &str) -> impl Iterator<Item = &'d DeTable<'d>> {
    let array = document.get(key).and_then(|value| value.get_ref().as_array());
    array.into_iter().flat_map(|array| array.iter()).filter_map(|element| element.get_ref().as_table())
}

fn text_of(table: &DeTable<'_>, key: &str) -> Option<String> {
    match table.get(key)?.get_ref() {
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        value => value.as_str().map(str::to_owned),
    }
}
