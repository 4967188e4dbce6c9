//! Who is who in a file: every name stands for one device, and every device has one role.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use rigswitch_dataplane::upper::UpperConfig;

use super::fields::Text;
use super::heights::Heights;
use super::port::suggest_port;
use super::problem::{Problems, line_number};

/// What a name was given to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Port,
    Bridge,
    Vlan,
    Ipvlan,
    Macvlan,
    Ipip,
    Vxlan,
}

impl Kind {
    /// What an operator calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::Bridge => "bridge",
            Self::Vlan => "vlan",
            Self::Ipvlan => "ipvlan",
            Self::Macvlan => "macvlan",
            Self::Ipip => "ipip",
            Self::Vxlan => "vxlan",
        }
    }
}

/// What a device is used for.
pub(super) enum Role {
    /// A port of this bridge.
    Member(String),
    /// Cross-connected with this device.
    Wire(String),
    /// Handed to the host.
    Host,
    /// Devices of this kind stand on it, and take what it receives.
    Parent(Kind),
    /// Ipvlans of mode L3 stand on it, for which it routes.
    RoutedParent,
    /// Routed, for it has addresses.
    Routed,
}

impl Role {
    /// Whether a device can have both: more of one kind stand on it beside each other, and it may have several addresses.
    fn goes_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Parent(one), Self::Parent(other)) => one == other,
            (Self::Routed | Self::RoutedParent, Self::Routed | Self::RoutedParent) => true,
            _ => false,
        }
    }
}

impl Role {
    fn is_parent(&self) -> bool {
        matches!(self, Self::Parent(_) | Self::RoutedParent)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(bridge) => write!(f, "a port of {bridge}"),
            Self::Wire(other) => write!(f, "cross-connected with {other}"),
            Self::Host => write!(f, "handed to the host"),
            Self::Parent(kind) => write!(f, "the parent of {}s", kind.name()),
            Self::RoutedParent => write!(f, "the parent of ipvlans of mode l3"),
            Self::Routed => write!(f, "routed: it has an address"),
        }
    }
}

/// What may be done with a port that can be nothing else.
const ROUTED_ONLY: &str =
    "give it an [[address]] and nothing else, or make it a port that has all of a device";

/// Names and roles as they are found; [`Roles::check`] judges them when all are known.
pub(super) struct Roles<'d> {
    problems: &'d Problems,
    text: &'d str,
    names: BTreeMap<String, Kind>,
    name_spans: BTreeMap<String, Range<usize>>,
    devices: BTreeMap<(Option<String>, String), Range<usize>>,
    routed_only: BTreeMap<String, &'static str>, // ports that can be nothing else, and what they are
    uses: Vec<(Role, String, Range<usize>)>,
    links: BTreeMap<String, (String, Range<usize>)>, // of devices that stand on others
    of_devices: Vec<(String, Range<usize>, String, String)>, // what is said of bridges that are devices: rule and remedy
    addresses: Vec<(String, IpAddr, Range<usize>)>,
}

impl<'d> Roles<'d> {
    pub(super) fn new(problems: &'d Problems, text: &'d str) -> Self {
        Self {
            problems,
            text,
            names: BTreeMap::new(),
            name_spans: BTreeMap::new(),
            devices: BTreeMap::new(),
            routed_only: BTreeMap::new(),
            uses: Vec::new(),
            links: BTreeMap::new(),
            of_devices: Vec::new(),
            addresses: Vec::new(),
        }
    }

    /// The line that `span` starts on.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        line_number(self.text, span.start)
    }

    /// A device of this name is declared.
    pub(super) fn declare(&mut self, kind: Kind, name: &Text<'_>) {
        if let Some(first) = self.name_spans.get(name.value) {
            let rule = format!("the name `{}` is taken: line {} has it", name.value, self.line(first));
            self.problems.push(name.span.clone(), rule, "give each device a name of its own");
            return;
        }
        self.names.insert(name.value.to_owned(), kind);
        self.name_spans.insert(name.value.to_owned(), name.span.clone());
    }

    /// A port takes this device of the kernel.
    pub(super) fn take_device(&mut self, netns: Option<&str>, device: &Text<'_>) {
        let key = (netns.map(str::to_owned), device.value.to_owned());
        if let Some(first) = self.devices.get(&key) {
            let rule =
                format!("the device `{}` is in two ports: line {} has it", device.value, self.line(first));
            self.problems.push(device.span.clone(), rule, "one device is one port: keep one of the two");
            return;
        }
        self.devices.insert(key, device.span.clone());
    }

    /// A port can be routed and nothing else, for it is what these words say.
    pub(super) fn keep_routed(&mut self, port: &str, words: &'static str) {
        self.routed_only.insert(port.to_owned(), words);
    }

    /// A device is given a role.
    pub(super) fn enter(&mut self, role: Role, device: &Text<'_>) {
        self.uses.push((role, device.value.to_owned(), device.span.clone()));
    }

    /// A device stands on another.
    pub(super) fn stand(&mut self, upper: &Text<'_>, link: &Text<'_>) {
        self.links.insert(upper.value.to_owned(), (link.value.to_owned(), link.span.clone()));
    }

    /// A device has this address.
    pub(super) fn assign(&mut self, device: &str, address: IpAddr, text: &Text<'_>) {
        self.addresses.push((device.to_owned(), address, text.span.clone()));
    }

    /// Every address that a device has, and where the file says so.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (&str, IpAddr, &Range<usize>)> {
        self.addresses.iter().map(|(device, address, span)| (&**device, *address, span))
    }

    /// What the device of this name is, if there is one.
    pub(super) fn kind(&self, name: &str) -> Option<Kind> {
        self.names.get(name).copied()
    }

    /// Whether a device is handed to the host.
    pub(super) fn is_hosts(&self, name: &str) -> bool {
        self.uses.iter().any(|(role, device, _)| matches!(role, Role::Host) && device == name)
    }

    /// Whether a port's device is the host's too.
    pub(super) fn is_shared(&self, name: &str) -> bool {
        self.routed_only.get(name) == Some(&super::port::SHARED)
    }

    /// What a device stands on, if it does.
    pub(super) fn link(&self, name: &str) -> Option<&str> {
        self.links.get(name).map(|(link, _)| &**link)
    }

    /// The device that may be meant by a name that none has.
    pub(super) fn suggest(&self, name: &str) -> String {
        suggest_port(name, self.devices_below())
    }

    /// What stands here is said of the bridge's own device; this is the problem and the remedy if it is none.
    pub(super) fn expect_device(&mut self, bridge: &str, span: Range<usize>, rule: String, remedy: &str) {
        self.of_devices.push((bridge.to_owned(), span, rule, remedy.to_owned()));
    }

    /// Every use is of a device that exists and has no other use, and what stands on others does so without a ring.
    pub(super) fn check(&self) {
        self.check_links();
        let mut first_uses: BTreeMap<&str, (&Role, &Range<usize>)> = BTreeMap::new();
        for (role, device, span) in &self.uses {
            match self.names.get(device) {
                // What is wrong with the device below is said of what stands on it.
                None if role.is_parent() => {}
                None => {
                    let rule = format!("there is no port `{device}`");
                    self.problems.push(span.clone(), rule, suggest_port(device, self.devices_below()));
                }
                Some(Kind::Bridge) if matches!(role, Role::Member(_)) => {
                    let rule = format!("`{device}` is a bridge, and cannot be {role}");
                    self.problems.push(span.clone(), rule, "name a port");
                }
                // The same.
                Some(_) if self.routed_only.contains_key(device) && role.is_parent() => {}
                Some(_) if self.routed_only.contains_key(device) && !matches!(role, Role::Routed) => {
                    let rule = format!("`{device}` is {}, and cannot be {role}", self.routed_only[device]);
                    self.problems.push(span.clone(), rule, ROUTED_ONLY);
                }
                Some(Kind::Ipip) if !matches!(role, Role::Routed | Role::Host) => {
                    let rule = format!(
                        "`{device}` is an ipip tunnel, and cannot be {role}: it carries packets, not frames"
                    );
                    let remedy = "route to it: [[route]] with device = \"".to_owned() + device + "\"";
                    self.problems.push(span.clone(), rule, remedy);
                }
                Some(_) => {
                    if let Some((first, at)) = first_uses.get(&**device) {
                        if first.goes_with(role) {
                            continue;
                        }
                        let rule = format!("`{device}` is already {first}: line {} says so", self.line(at));
                        self.problems.push(span.clone(), rule, "a device has one role: keep one of the two");
                    } else {
                        first_uses.entry(device).or_insert((role, span));
                    }
                }
            }
        }
        self.check_routed_parents();
        let is_below = |name: &String| self.links.values().any(|(link, _)| link == name);
        for (bridge, span, rule, remedy) in &self.of_devices {
            if !first_uses.contains_key(&**bridge) && !is_below(bridge) {
                self.problems.push(span.clone(), rule.clone(), remedy.clone());
            }
        }
    }

    /// A device that routes for ipvlans is routed itself.
    fn check_routed_parents(&self) {
        let is = |name: &String, wanted: fn(&Role) -> bool| {
            self.uses.iter().any(|(role, device, _)| device == name && wanted(role))
        };
        let parents = self.uses.iter().filter(|(role, ..)| matches!(role, Role::RoutedParent));
        for (_, link, span) in parents {
            if self.names.contains_key(link) && !is(link, |role| !matches!(role, Role::RoutedParent)) {
                let rule = format!("`{link}` has no [[address]], and is to route for ipvlans of mode l3");
                let remedy = format!("add an [[address]] with device = \"{link}\", or say mode = \"l2\"");
                self.problems.push(span.clone(), rule, remedy);
            }
        }
    }

    /// What another device can stand on: all but tunnels of packets.
    fn devices_below(&self) -> impl Iterator<Item = &str> {
        self.names.iter().filter(|(_, kind)| **kind != Kind::Ipip).map(|(name, _)| &**name)
    }

    fn check_links(&self) {
        let members = self.uses.iter().filter_map(|(role, device, _)| match role {
            Role::Member(bridge) => Some((&**bridge, &**device)),
            _ => None,
        });
        let links = self.links.iter().map(|(upper, (link, _))| (&**upper, &**link));
        let mut heights = Heights::new(members.chain(links));
        for (upper, (link, span)) in &self.links {
            let refuse = |rule: String, remedy: String| self.problems.push(span.clone(), rule, remedy);
            match self.names.get(link) {
                None => {
                    refuse(format!("there is no device `{link}`"), suggest_port(link, self.devices_below()))
                }
                Some(Kind::Ipip) => {
                    let rule = format!(
                        "`{link}` is an ipip tunnel, and nothing can stand on it: it carries packets, not frames"
                    );
                    refuse(rule, "name a port, or a device that stands on one".into());
                }
                Some(Kind::Ipvlan) if self.names.get(upper) == Some(&Kind::Ipvlan) => {
                    let rule = format!("`{link}` is an ipvlan itself, and cannot be the parent of ipvlans");
                    refuse(rule, format!("name the device below: {}", self.link(link).unwrap_or("its link")));
                }
                Some(_) if self.routed_only.contains_key(link) => {
                    let words = self.routed_only[link];
                    refuse(format!("`{link}` is {words}, and nothing stands on it"), ROUTED_ONLY.into());
                }
                Some(_) if heights.of(upper).is_none() => {
                    let most = UpperConfig::HIGHEST;
                    let rule = format!(
                        "`{upper}` stands on `{link}`, and with that on itself or on more than {most} devices"
                    );
                    refuse(rule, "name the device below them all, or one nearer to it".into());
                }
                Some(_) => {}
            }
        }
    }
}
