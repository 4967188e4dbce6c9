//! `[[macvlan]]`: what sets one apart from other devices that stand on one, and what those of one device may not have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::macvlan::MacvlanConfig;
use rigswitch_dataplane::tables::MacvlanMode;
use rigswitch_dataplane::upper::{UpperConfig, UpperKind};
use serde::Serialize;

use super::fields::{Fields, Shape, Text};
use super::problem::Problems;
use super::roles::{Kind, Role, Roles};
use super::values::station;

pub(super) const MACVLAN: Shape = Shape {
    label: "[[macvlan]]",
    keys: &[
        "name",
        "link",
        "mode",
        "mac",
        "macaddr",
        "nodst",
        "compat",
        "nopromisc",
        "bcqueuelen",
        "bclim",
        "mtu",
        "host",
    ],
    later: &[],
};

/// The children of each device, by its name, as they are found.
#[derive(Default)]
pub(super) struct Families<'d>(BTreeMap<&'d str, Family>);

#[derive(Default)]
struct Family {
    children: Vec<Child>,
    by_mac: BTreeMap<MacAddr, usize>, // of the children
    whole: Option<usize>,             // the one of mode passthru
    bclim: Option<(i32, Range<usize>)>,
}

struct Child {
    name: String,
    is_passthru: bool,
    span: Range<usize>, // of its address, or of the whole of it
    link: Range<usize>,
}

/// The longest queue that `bcqueuelen` may ask for, the kernel's own default being 1000.
const LONGEST_QUEUE: i64 = u32::MAX as i64;

pub(super) fn kind<'d>(
    fields: &Fields<'d>,
    link: Option<&Text<'d>>,
    roles: &mut Roles<'_>,
) -> Option<UpperKind> {
    if let Some(link) = link {
        roles.enter(Role::Parent(Kind::Macvlan), link);
    }
    let bcqueuelen = fields.integer("bcqueuelen", 0..=LONGEST_QUEUE);
    let bclim = fields.integer("bclim", i32::MIN.into()..=i32::MAX.into());
    let mode = fields.word("mode", &MacvlanConfig::MODES);
    let is_known = mode.is_some() || fields.value("mode").is_none();
    let mode = mode.unwrap_or(MacvlanMode::Vepa);
    let only = |key: &'static str, of: MacvlanMode| {
        if let Some(value) = fields.value(key).filter(|_| is_known && mode != of) {
            let rule = format!("`{key}` is for mode {}, and this is mode {}", of.name(), mode.name());
            fields.problems.push(value.span(), rule, format!("take it out, or add mode = \"{}\"", of.name()));
        }
    };
    only("macaddr", MacvlanMode::Source);
    only("nodst", MacvlanMode::Source);
    only("compat", MacvlanMode::Private);
    only("nopromisc", MacvlanMode::Passthru);
    let is_compat = fields.boolean("compat").unwrap_or(false);
    let mode = if is_compat && mode == MacvlanMode::Private { MacvlanMode::PrivateCompat } else { mode };
    let [nodst, nopromisc] = ["nodst", "nopromisc"].map(|key| fields.boolean(key).unwrap_or(false));
    let macvlan = MacvlanConfig { mode, sources: sources(fields), nodst, nopromisc, bcqueuelen, bclim };
    is_known.then_some(UpperKind::Macvlan(macvlan))
}

fn sources(fields: &Fields<'_>) -> Vec<MacAddr> {
    let (mut sources, mut seen) = (Vec::new(), BTreeSet::new());
    for text in fields.texts("macaddr") {
        let Some(mac) = station(fields, &text) else { continue };
        if seen.insert(mac) {
            sources.push(mac);
        } else {
            fields.problems.push(text.span, format!("`{mac}` is there twice"), "keep one of the two");
        }
    }
    sources
}

impl<'d> Families<'d> {
    /// Another child of this device.
    pub(super) fn add(&mut self, fields: &Fields<'d>, upper: &UpperConfig, roles: &Roles<'_>) {
        let (UpperKind::Macvlan(macvlan), Some(link)) = (&upper.kind, fields.text("link")) else { return };
        let said = fields.text("mac").map(|mac| mac.span);
        let child = Child {
            name: upper.name.clone(),
            is_passthru: macvlan.mode == MacvlanMode::Passthru,
            span: said.clone().unwrap_or(fields.span.clone()),
            link: link.span,
        };
        let Family { children, by_mac, whole, bclim } = self.0.entry(link.value).or_default();
        let number = children.len();
        if child.is_passthru {
            whole.get_or_insert(number);
        }
        if let Some(other) = whole.and_then(|whole| children.get(whole).or(children.first())) {
            let taker = if other.is_passthru { other } else { &child };
            let rule = format!(
                "`{}` is of mode passthru and has the whole of `{}`: line {} has `{}` on it",
                taker.name,
                link.value,
                roles.line(&other.span),
                other.name
            );
            fields.problems.push(fields.span.clone(), rule, "keep one of the two, or give both another mode");
        }
        // It is the device's in the kernel (`port->bc_cutoff`), and the last that is said holds.
        if let (Some(limit), Some(said)) = (macvlan.bclim, fields.value("bclim")) {
            let (first, place) = bclim.get_or_insert((limit, said.span()));
            if *first != limit {
                let line = roles.line(place);
                let rule = format!(
                    "`bclim` is {limit} here and {first} of another macvlan of `{}`: line {line}",
                    link.value
                );
                fields.problems.push(said.span(), rule, "give all on one device the same `bclim`");
            }
        }
        if let Some(mac) = upper.own_address() {
            let other = children.get(*by_mac.entry(mac).or_insert(number));
            if let Some(Child { name, span, .. }) = other {
                let line = roles.line(span);
                let rule = format!("`{name}` has the address {mac}: line {line} has it on the same device");
                let remedy =
                    if said.is_some() { "give each of them another" } else { "give this one a `mac`" };
                fields.problems.push(child.span.clone(), rule, remedy);
            }
        }
        children.push(child);
    }

    /// Judges what they stand on, now that all devices that stand on others are known.
    pub(super) fn check(&self, uppers: &[UpperConfig], problems: &Problems) {
        let by_name: BTreeMap<_, _> = uppers.iter().map(|upper| (&*upper.name, upper)).collect();
        for (link, family) in &self.0 {
            let Some(below) = by_name.get(link) else { continue };
            if let UpperKind::Macvlan(_) = below.kind {
                let rule = format!("`{link}` is a macvlan, and a macvlan stands beside it and not on it");
                let remedy = format!("say link = \"{}\", which it stands on", below.link);
                let places = family.children.iter().map(|child| child.link.clone());
                places.for_each(|place| problems.push(place, rule.clone(), remedy.clone()));
            } else if let Some(mac) = below.own_address()
                && let Some(child) = family.by_mac.get(&mac).map(|&number| &family.children[number])
                && !child.is_passthru
            {
                let rule = format!("`{}` has the address of `{link}`, which it stands on", child.name);
                problems.push(child.span.clone(), rule, "give it a `mac` of its own");
            }
        }
    }
}

/// The same as it is printed.
#[derive(Serialize)]
pub(super) struct MacvlanWords {
    mode: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    macaddr: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    nodst: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    compat: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    nopromisc: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bcqueuelen: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bclim: Option<i32>,
}

impl From<&MacvlanConfig> for MacvlanWords {
    fn from(macvlan: &MacvlanConfig) -> Self {
        Self {
            mode: macvlan.mode.name(),
            macaddr: macvlan.sources.iter().map(ToString::to_string).collect(),
            nodst: macvlan.nodst,
            compat: macvlan.mode == MacvlanMode::PrivateCompat,
            nopromisc: macvlan.nopromisc,
            bcqueuelen: macvlan.bcqueuelen,
            bclim: macvlan.bclim,
        }
    }
}
