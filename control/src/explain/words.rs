//! The steps of a frame in words, each with the line of the file that decided.

use std::net::IpAddr;

use rigswitch_dataplane::bridge::Class;
use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::ids::{DeviceId, DomainId, MacAddr, VlanId, Vni};
use rigswitch_dataplane::pipeline::{LeftOut, Lesson, Step, Verdict, VlanFrom};
use rigswitch_dataplane::punt::PuntReason;
use rigswitch_dataplane::tables::{Entry, Flags, Flood, Tables};
use rigswitch_dataplane::wire::ethernet::{EtherType, Ethernet};
use rigswitch_dataplane::wire::vlan::Tci;

use super::view::{ExplainedDrop, ExplanationView, StepView};
use super::{Roads, Seen, devices, macvlan, tunnels, vlans};
use crate::config::Origins;
use crate::snooping::{GroupIn, Membership};

/// What things are called, and where the file says what they are.
pub(crate) struct Setting<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) origins: &'a Origins,
    pub(crate) name: &'a dyn Fn(DeviceId) -> &'a str,
    pub(crate) bridge: &'a dyn Fn(DomainId) -> &'a str,
    /// Where packets are routed.
    pub(crate) roads: Roads<'a>,
    /// The memberships in a group.
    pub(crate) members: &'a dyn Fn(DomainId, GroupIn) -> Vec<Membership>,
}

/// The way of a frame of `length` bytes, of which these are the first, from the port `from`.
pub(crate) fn explain(
    setting: &Setting<'_>,
    from: DeviceId,
    bytes: &[u8],
    length: usize,
    steps: &[Seen],
) -> ExplanationView {
    let mut story = Story {
        setting,
        from,
        entry: None,
        vid: None,
        network: None,
        bytes: bytes.to_vec(),
        is_snooped: steps.iter().any(|seen| matches!(seen.step, Step::Snooped(_))),
        is_answered: steps.iter().any(|seen| matches!(seen.step, Step::Answered(..))),
        answer: None,
        flooded: None,
        steps: Vec::new(),
        out: Vec::new(),
        drops: Vec::new(),
    };
    steps.iter().for_each(|seen| story.tell(*seen));
    let verdict = story.verdict(steps);
    let names = |devices: &[DeviceId]| devices.iter().map(|&id| (setting.name)(id).to_owned()).collect();
    ExplanationView {
        port: (setting.name)(from).to_owned(),
        frame: headers(bytes),
        length: u64::try_from(length).unwrap_or(u64::MAX),
        verdict,
        leaves_by: names(&story.out),
        drops: story.drops.iter().map(|drop| explained(setting, *drop)).collect(),
        steps: story.steps,
    }
}

/// What a drop's reason means, for whoever asks.
pub(crate) fn reason(reason: DropReason) -> String {
    let (meaning, cause, remedy) = (reason.meaning(), reason.cause(), reason.remedy());
    format!("{}\n  {meaning}\n  How it arises: {cause}\n  What to do: {remedy}\n", reason.name())
}

type Drop = (DeviceId, Direction, DropReason);

fn explained(setting: &Setting<'_>, (device, direction, reason): Drop) -> ExplainedDrop {
    ExplainedDrop {
        device: (setting.name)(device).to_owned(),
        direction: direction.name().to_owned(),
        reason: reason.name().to_owned(),
        meaning: reason.meaning().to_owned(),
        cause: reason.cause().to_owned(),
        remedy: reason.remedy().to_owned(),
    }
}

fn headers(bytes: &[u8]) -> String {
    match Ethernet::view(bytes) {
        Ok(header) => {
            format!("{} → {}, {:#06x}", header.source(), header.destination(), header.ether_type().0)
        }
        Err(_) => "no Ethernet header".to_owned(),
    }
}

/// Why control gets a frame, or a copy of one.
pub(super) fn heard(reason: PuntReason) -> &'static str {
    match reason {
        PuntReason::ReservedAddress => "it is for bridges",
        PuntReason::Membership => "it says something about groups",
        PuntReason::Move => "a station has moved",
        PuntReason::Arp => "it asks for a neighbour, or tells one",
        PuntReason::Local => "it is for an address of the switch, or about neighbours",
        PuntReason::Unresolved => "nobody knows the neighbour that is next",
        PuntReason::TtlExceeded
        | PuntReason::TooBig
        | PuntReason::Unreachable
        | PuntReason::Prohibited
        | PuntReason::BeyondScope
        | PuntReason::TunnelLimit => "its sender is told",
        PuntReason::Fragment => "it is put together with the others of its packet",
        PuntReason::Outgoing => "nobody knows the next hop to the far end",
        PuntReason::FarEnd => "it came from a far end that nobody knows yet",
        PuntReason::Miss => "the device does not know what it is asked for",
        PuntReason::TunnelTooBig | PuntReason::TunnelFailing => "the sender of what is inside is told",
    }
}

/// A tag as tcpdump would tell it.
fn tag(tpid: EtherType, tci: Tci) -> String {
    let kind = if tpid == EtherType::STAG { "802.1ad" } else { "802.1Q" };
    let dei = if tci.dei() { ", DEI" } else { "" };
    format!("{kind} vlan {}, p {}{dei}", tci.vid(), tci.pcp())
}

pub(super) struct Story<'s, 'n> {
    pub(super) setting: &'s Setting<'n>,
    from: DeviceId,
    entry: Option<Entry>,
    vid: Option<VlanId>,
    pub(super) network: Option<Vni>, // of a device that has many
    pub(super) bytes: Vec<u8>,       // with the addresses that it has by now
    is_snooped: bool,
    is_answered: bool,
    pub(super) answer: Option<DeviceId>, // what is queued there next
    pub(super) flooded: Option<DomainId>,
    steps: Vec<StepView>,
    out: Vec<DeviceId>,
    drops: Vec<Drop>,
}

impl Story<'_, '_> {
    pub(super) fn name(&self, device: DeviceId) -> &str {
        (self.setting.name)(device)
    }

    pub(super) fn push(&mut self, step: &str, text: String, place: Option<String>) {
        self.steps.push(StepView { step: step.to_owned(), text, place });
    }

    fn tell(&mut self, Seen { step, length }: Seen) {
        match step {
            Step::Turn(_) | Step::Resumed => {}
            Step::Surfaced(device) => {
                self.from = device;
                self.role(device);
            }
            Step::Popped(tpid, tci) => self.push("untag", format!("{} off", tag(tpid, tci)), None),
            Step::Pushed(tpid, tci) => self.push("tag", format!("{} on", tag(tpid, tci)), None),
            Step::Macvlan(ruling) => {
                let (text, place) = macvlan::ruling(self.setting, ruling, &self.bytes);
                self.push("macvlan", text, place);
            }
            Step::Descended(device) => {
                let is_up = devices::is_inside(self.setting, device);
                let way = if is_up { "up" } else { "down" };
                self.push(way, format!("{}, {length} bytes", self.name(device)), None);
            }
            Step::Received(device) | Step::Originated(device) => self.role(device),
            Step::Sought(address, child) => self.sought(address, child),
            Step::Classified(class) => self.class(class),
            Step::InVlan(vid, from) => self.in_vlan(vid, from),
            Step::Learned(lesson) => self.lesson(lesson),
            Step::Unlearned => {
                let text = format!("{} learns nothing from it", self.name(self.from));
                self.push("learn", text, self.knob(self.from, "learning"));
            }
            Step::Decided(entry, verdict) => self.decision(entry, verdict),
            Step::LeftOut(device, why) => self.left_out(device, why),
            Step::CopiedToControl(reason, taken) => {
                let what = if taken {
                    "control gets a copy"
                } else {
                    "control, which was to get a copy, has no room"
                };
                self.push("control", format!("{what}: {}", heard(reason)), None);
            }
            Step::Punted(_) => self.push("control", "control takes it".into(), None),
            Step::Snooped(why) => self.snooped(why),
            Step::Answered(device, address, mac) => self.answered(device, address, mac),
            Step::Routed(to, fate) => self.routed(to, fate),
            Step::Encapsulated(device, remote) => {
                let (text, place) = tunnels::encapsulated(self.setting, device, remote);
                self.push("tunnel", text, place);
            }
            Step::Remotes(..)
            | Step::EntersNetwork(..)
            | Step::LeavesNetwork(..)
            | Step::PathTold(..)
            | Step::Proxied(..)
            | Step::Shortened(..)
            | Step::LearnedBehind(..) => self.vxlan(step),
            Step::Fragmented(device, count) => {
                let text =
                    format!("into {count} pieces, for {} carries no longer packets", self.name(device));
                self.push("fragment", text, None);
            }
            Step::Retagged(device, retag) => {
                let text = vlans::retagged(self.name(device), retag);
                self.push("tag", text, self.member(device, vlans::MEMBERSHIP));
            }
            Step::ChecksumsFound(count) => {
                self.push("checksum", format!("{count} that its sender left unfinished, completed"), None);
            }
            Step::ChecksumCompleted(device) => {
                let text = format!("completed, for {} does not do it", self.name(device));
                self.push("checksum", text, None);
            }
            Step::Cut(device, segments) => {
                let text =
                    format!("cut into {segments} segments, for {} takes no super-frames", self.name(device));
                self.push("segment", text, None);
            }
            Step::Queued(device) if self.answer == Some(device) => self.answer = None,
            Step::Queued(device) => {
                if !self.out.contains(&device) {
                    self.out.push(device);
                }
                self.push("out", format!("{}, {length} bytes", self.name(device)), None);
            }
            Step::Dropped(device, direction, reason) => self.dropped(device, direction, reason, length),
        }
    }

    fn role(&mut self, device: DeviceId) {
        let (text, place) = devices::role(self.setting, device);
        self.push("in", text, place);
    }

    /// Who has the address that a frame is for.
    fn sought(&mut self, address: IpAddr, child: Option<DeviceId>) {
        let Some(child) = child else {
            return self.push("look up", format!("no ipvlan has {address}"), None);
        };
        let name = self.name(child).to_owned();
        let origins = self.setting.origins;
        let said = origins.place(&["address", &name, &address.to_string()], "address");
        let place = said.or_else(|| origins.place(&["ipvlan", &name], "host"));
        self.push("look up", format!("{address} is {name}'s"), place);
    }

    fn class(&mut self, class: Class) {
        let text = match class {
            Class::Individual => "to one station",
            Class::Multicast => "to a group",
            Class::Broadcast => "to all",
            Class::Punted => "to a reserved address, which is control's",
            Class::Ended => "to a reserved address, which ends here",
            Class::Refused(reason) => reason.meaning(),
        };
        self.push("parse", text.to_owned(), None);
    }

    fn in_vlan(&mut self, vid: VlanId, from: VlanFrom) {
        self.vid = Some(vid);
        let text = vlans::in_vlan(self.name(self.from), vid, from);
        let place = match (from, vlans::keys(from)) {
            (VlanFrom::Mac, _) => self.setting.origins.place(&["bridge", self.bridge()], "mac_vlan"),
            (_, []) => None,
            (_, keys) => self.member(self.from, keys),
        };
        self.push("vlan", text, place);
    }

    fn lesson(&mut self, lesson: Lesson) {
        let source = Ethernet::view(&self.bytes).map(|header| header.source()).unwrap_or(MacAddr::ZERO);
        let here = self.name(self.from).to_owned();
        let (text, place) = match lesson {
            Lesson::Known => (format!("{source} is known to be behind {here}"), None),
            Lesson::Learned => (format!("{source} is new: behind {here} from now on"), None),
            Lesson::Moved(before) => {
                (format!("{source} was behind {}: behind {here} from now on", self.name(before)), None)
            }
            Lesson::Pinned => (format!("{source} has an entry that does not move"), self.fdb(source)),
            Lesson::TableFull => {
                let place = self.setting.origins.place(&["switch"], "mac_table");
                (format!("{source} is not learned: the table has no room for it"), place)
            }
            Lesson::Limited => {
                let text = format!("{source} is not learned: the bridge has as many as fdb_max_learned");
                (text, self.setting.origins.place(&["bridge", self.bridge()], "fdb_max_learned"))
            }
        };
        self.push("learn", text, place);
    }

    fn decision(&mut self, entry: Option<Entry>, verdict: Verdict) {
        self.entry = entry;
        let destination =
            Ethernet::view(&self.bytes).map(|header| header.destination()).unwrap_or(MacAddr::ZERO);
        if let Some(entry) = entry {
            let how = match entry.flags() {
                flags if flags.has(Flags::LOCAL) => "permanent",
                flags if flags.has(Flags::STATIC) => "static",
                flags if flags.has(Flags::DYNAMIC) => "dynamic, set by hand",
                _ => "learned",
            };
            let text = format!("{destination} is behind {} ({how})", self.name(entry.egress().device));
            self.push("look up", text, self.fdb(destination));
        }
        let (text, place) = match verdict {
            Verdict::Forward(to) => (format!("forward to {}", self.name(to)), None),
            Verdict::Flood(domain, kind) => {
                self.flooded = Some(domain);
                let bridge = (self.setting.bridge)(domain);
                let why = match kind {
                    Flood::Unicast => format!("nobody knows where {destination} is: flood to"),
                    Flood::Multicast => "a group: to".to_owned(),
                    Flood::Broadcast => "broadcast: flood to".to_owned(),
                };
                match kind {
                    _ if self.is_answered => (format!("a question: {bridge} knows the answer"), None),
                    Flood::Multicast if self.is_snooped => {
                        let place = self.setting.origins.place(&["bridge", bridge], "mcast_snooping");
                        (format!("a group: {bridge} snoops, and looks who is in it"), place)
                    }
                    _ => (format!("{why} the other ports of {bridge}"), None),
                }
            }
            Verdict::Host(host) => (devices::up(self.setting, host.device), None),
            Verdict::Punt(_) => ("to control".to_owned(), None),
            Verdict::Drop(reason) => (format!("drop: {}", reason.name()), self.decided_by(reason)),
        };
        self.push("decide", text, place);
    }

    fn left_out(&mut self, device: DeviceId, why: LeftOut) {
        let name = self.name(device).to_owned();
        let (why, knob) = match why {
            LeftOut::Ingress => ("it came from there", Some("hairpin")),
            LeftOut::State => {
                let state = self.setting.tables.device(device).knobs.state.name();
                return self.push("not to", format!("{name}: it is {state}"), self.knob(device, "state"));
            }
            LeftOut::Isolated => ("isolated, as the port it came from is", Some("isolated")),
            LeftOut::Unwanted => ("it takes no floods of this kind", self.flood_knob()),
            LeftOut::Suppressed if self.setting.tables.device(device).knobs.neigh_suppress => {
                ("spared such questions", Some("neigh_suppress"))
            }
            LeftOut::Suppressed => ("it takes no floods of this kind", self.flood_knob()),
            LeftOut::Vlan => {
                let vid = self.vid.map_or_else(|| "the VLAN".to_owned(), |vid| format!("VLAN {vid}"));
                let place = self.member(device, vlans::MEMBERSHIP);
                return self.push("not to", format!("{name}: it is not in {vid}"), place);
            }
            LeftOut::NoMember => ("nobody there is in the group", None),
        };
        let place = knob.and_then(|knob| self.knob(device, knob));
        self.push("not to", format!("{name}: {why}"), place);
    }

    /// The knob that keeps floods of this frame's kind from a port.
    fn flood_knob(&self) -> Option<&'static str> {
        let destination = Ethernet::view(&self.bytes).ok()?.destination();
        Some(match destination {
            MacAddr::BROADCAST => "bcast_flood",
            group if group.is_group() => "mcast_flood",
            _ => "flood",
        })
    }

    fn dropped(&mut self, device: DeviceId, direction: Direction, reason: DropReason, length: usize) {
        self.drops.push((device, direction, reason));
        self.out.retain(|&out| direction == Direction::Rx || out != device);
        let (name, reason_name) = (self.name(device).to_owned(), reason.name());
        let (text, place) = match reason {
            DropReason::MtuExceeded => {
                let longest = self.setting.tables.device(device).longest;
                let text = format!("{name}: {reason_name}: {length} bytes, and it sends at most {longest}");
                (text, self.setting.origins.place(&["port", &name], "mtu"))
            }
            _ if direction == Direction::Rx => (format!("{name}: {reason_name}"), None),
            _ => (format!("the copy for {name}: {reason_name}"), None),
        };
        self.push("drop", text, place);
    }

    /// Where the file says what drops a frame for this reason.
    fn decided_by(&self, reason: DropReason) -> Option<String> {
        let bridge = self.bridge();
        match reason {
            DropReason::Locked => self.knob(self.from, "locked"),
            DropReason::Isolated => self.knob(self.from, "isolated"),
            DropReason::SamePort => self.knob(self.from, "hairpin"),
            DropReason::PortState => {
                let there = self.entry.map_or(self.from, |entry| entry.egress().device);
                self.knob(there, "state")
            }
            DropReason::VlanNoPvid | DropReason::VlanNotMember => self.member(self.from, vlans::MEMBERSHIP),
            DropReason::VlanEgress => {
                let there = self.entry.map_or(self.from, |entry| entry.egress().device);
                self.member(there, vlans::MEMBERSHIP)
            }
            DropReason::ReservedAddress => self.setting.origins.place(&["bridge", bridge], "group_fwd_mask"),
            DropReason::NoHost => self.setting.origins.place(&["bridge", bridge], "host"),
            _ => None,
        }
    }

    pub(super) fn bridge(&self) -> &str {
        let domain = self.setting.tables.device(self.from).role.domain();
        domain.map_or("?", |domain| (self.setting.bridge)(domain))
    }

    /// Where the file says something about a member of the bridge.
    pub(super) fn knob(&self, device: DeviceId, key: &str) -> Option<String> {
        self.setting.origins.place(&["bridge", self.bridge(), "port", self.name(device)], key)
    }

    /// The same of the first of these keys that it has; the host's port is the bridge itself.
    fn member(&self, device: DeviceId, keys: &[&str]) -> Option<String> {
        let (bridge, name) = (self.bridge(), self.name(device));
        let of_bridge = ["bridge", bridge];
        let of_port = ["bridge", bridge, "port", name];
        let table: &[&str] = if bridge == name { &of_bridge } else { &of_port };
        self.setting.origins.first_place(table, keys)
    }

    /// Where the file has the entry of an address.
    fn fdb(&self, mac: MacAddr) -> Option<String> {
        self.setting.origins.place(&["bridge", self.bridge(), "fdb", &mac.to_string()], "mac")
    }

    fn verdict(&self, steps: &[Seen]) -> String {
        let list =
            |devices: &[DeviceId]| devices.iter().map(|&id| self.name(id)).collect::<Vec<_>>().join(", ");
        let punted = steps.iter().any(|seen| matches!(seen.step, Step::Punted(_)));
        let ended = self.drops.iter().map(|(_, _, reason)| reason.name()).collect::<Vec<_>>();
        if self.is_answered {
            return match &self.out[..] {
                [] => "answered by the bridge".to_owned(),
                out => format!("answered by the bridge; the question leaves by {}", list(out)),
            };
        }
        match (&self.out[..], &ended[..]) {
            ([], []) if punted => "consumed by control".to_owned(),
            ([], []) => "not told to its end".to_owned(),
            ([], [reason, ..]) => format!("dropped: {reason}"),
            (out, []) => format!("leaves by {}", list(out)),
            (out, ended) => {
                format!("leaves by {}; {} of its copies dropped: {}", list(out), ended.len(), ended[0])
            }
        }
    }
}
