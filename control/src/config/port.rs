//! `[[port]]`: a device the switch takes frames from.

use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::ports::{
    PacketConfig, PcapConfig, PortConfig, PortKind, SocketConfig, TapConfig, XdpConfig, XdpMode, XdpQueues,
    XdpTake,
};

use super::fields::{Fields, Shape, Text, suggest};
use super::roles::{Kind, Roles};
use super::values::{device_name, netns_name, station};

pub(super) const PORT: Shape = Shape {
    label: "[[port]]",
    keys: &[
        "name", "xdp", "tap", "packet", "device", "socket", "pcap", "memory", "netns", "worker", "mtu",
        "address",
    ],
    later: &["mac", "vlan"],
};
/// What is said of a port whose device the host goes on using.
pub(super) const SHARED: &str = "shared with the host";

const XDP: Shape = Shape { label: "xdp", keys: &["device", "mode", "queues", "take"], later: &[] };
const TAP: Shape = Shape { label: "tap", keys: &["device", "offload", "queues"], later: &[] };
const PACKET: Shape = Shape { label: "packet", keys: &["device", "queues"], later: &[] };
const SOCKET: Shape = Shape { label: "socket", keys: &["udp", "ipip"], later: &[] };
const PCAP: Shape = Shape { label: "pcap", keys: &["input", "output"], later: &[] };
pub(super) const KINDS: [&str; 7] = ["xdp", "tap", "packet", "device", "socket", "pcap", "memory"];

/// Every `[[port]]`, its name and its kernel device entered in `roles`.
pub(super) fn read_all(file: &Fields<'_>, workers: u16, roles: &mut Roles<'_>) -> Vec<PortConfig> {
    file.tables("port", &PORT).iter().filter_map(|fields| read(fields, workers, roles)).collect()
}

fn read(fields: &Fields<'_>, workers: u16, roles: &mut Roles<'_>) -> Option<PortConfig> {
    let name = fields.required("name", "\"p0\"").and_then(|text| {
        roles.declare(Kind::Port, &text);
        device_name(fields, "name", text)
    });
    let kind = kind(fields);
    let special = match &kind {
        Some((PortKind::Xdp(XdpConfig { take: XdpTake::Mine, .. }), _)) => Some(SHARED),
        Some((PortKind::Socket(_), _)) => Some("of the host's sockets"),
        _ => None,
    };
    if let (Some(name), Some(words)) = (&name, special) {
        roles.keep_routed(name, words);
    }
    let netns = netns(fields, kind.as_ref().map(|(kind, _)| kind));
    if let Some((kind, span)) = &kind
        && let Some(device) = kind.device()
    {
        roles.take_device(netns.as_deref(), &Text { value: device, span: span.clone() });
    }
    let worker = fields.integer("worker", 0..=i64::from(workers) - 1);
    let mtu = fields.integer("mtu", 68..=65_535);
    let address = address(fields, kind.as_ref().map(|(kind, _)| kind));
    Some(PortConfig { name: name?, kind: kind?.0, netns, worker, mtu, address })
}

type Span = std::ops::Range<usize>;

/// What kind of port it is, and where its device is named.
fn kind(fields: &Fields<'_>) -> Option<(PortKind, Span)> {
    let mut said = KINDS.into_iter().filter(|kind| fields.value(kind).is_some());
    let Some(kind) = said.next() else {
        let remedy = "add one of device = \"eth0\", xdp = \"eth0\", tap = \"tap0\", packet = \"veth0\", pcap = \"in.pcap\", memory = true";
        fields.problems.push(fields.span.clone(), "[[port]] does not say what it is", remedy);
        return None;
    };
    if let Some(other) = said.next() {
        let span = fields.value(other).map_or(fields.span.clone(), |value| value.span());
        let rule = format!("[[port]] is both `{kind}` and `{other}`");
        fields.problems.push(span, rule, "keep one of the two");
        return None;
    }
    match kind {
        "xdp" => xdp(fields),
        "tap" => tap(fields),
        "packet" => packet(fields),
        "device" => device(fields, "device", fields.text("device")?)
            .map(|(name, span)| (PortKind::Device(name), span)),
        "socket" => socket(fields),
        "pcap" => pcap(fields),
        _ => memory(fields),
    }
}

fn xdp(fields: &Fields<'_>) -> Option<(PortKind, Span)> {
    if is_text(fields, "xdp") {
        let (device, span) = device(fields, "xdp", fields.text("xdp")?)?;
        return Some((PortKind::Xdp(XdpConfig::new(device)), span));
    }
    let table = fields.table("xdp", &XDP)?;
    let mode = [
        ("auto", XdpMode::Auto),
        ("native", XdpMode::Native),
        ("generic", XdpMode::Generic),
        ("copy", XdpMode::Copy),
        ("zerocopy", XdpMode::ZeroCopy),
    ];
    let mode = table.word("mode", &mode);
    let queues = queues(&table);
    let take = table.word("take", &[("all", XdpTake::All), ("mine", XdpTake::Mine)]);
    let (device, span) = device(&table, "device", table.required("device", "\"eth0\"")?)?;
    let kind = XdpConfig { device, mode: mode.unwrap_or_default(), queues, take: take.unwrap_or_default() };
    Some((PortKind::Xdp(kind), span))
}

fn queues(table: &Fields<'_>) -> XdpQueues {
    match table.value("queues") {
        Some(value) if value.get_ref().is_str() => {
            table.word("queues", &[("all", XdpQueues::All)]).unwrap_or_default()
        }
        Some(_) => table.integer("queues", 1..=1024).map_or(XdpQueues::All, XdpQueues::First),
        None => XdpQueues::All,
    }
}

fn tap(fields: &Fields<'_>) -> Option<(PortKind, Span)> {
    let (offload, queues, named) = if is_text(fields, "tap") {
        (None, None, device(fields, "tap", fields.text("tap")?))
    } else {
        let table = fields.table("tap", &TAP)?;
        let (offload, queues) = (table.boolean("offload"), table.integer("queues", 1..=256));
        (
            offload,
            queues,
            table.required("device", "\"tap0\"").and_then(|text| device(&table, "device", text)),
        )
    };
    let (device, span) = named?;
    let kind = TapConfig { device, offload: offload.unwrap_or(true), queues: queues.unwrap_or(1) };
    Some((PortKind::Tap(kind), span))
}

fn packet(fields: &Fields<'_>) -> Option<(PortKind, Span)> {
    let (queues, named) = if is_text(fields, "packet") {
        (None, device(fields, "packet", fields.text("packet")?))
    } else {
        let table = fields.table("packet", &PACKET)?;
        let queues = table.integer("queues", 1..=256);
        (queues, table.required("device", "\"veth0\"").and_then(|text| device(&table, "device", text)))
    };
    let (device, span) = named?;
    Some((PortKind::Packet(PacketConfig { device, queues: queues.unwrap_or(1) }), span))
}

fn socket(fields: &Fields<'_>) -> Option<(PortKind, Span)> {
    let span = fields.value("socket")?.span();
    let table = fields.table("socket", &SOCKET)?;
    let (udp, ipip) = (udp(&table), table.boolean("ipip").unwrap_or(false));
    if table.value("udp").is_none() && !ipip {
        let remedy = "name the ports that packets are taken at (udp = [4789]), or say ipip = true";
        fields.problems.push(span.clone(), "socket takes nothing", remedy);
        return None;
    }
    Some((PortKind::Socket(SocketConfig { udp, ipip, ..SocketConfig::default() }), span))
}

/// The list of ports at `udp`; none is as good as empty.
fn udp(table: &Fields<'_>) -> Vec<u16> {
    let Some(value) = table.value("udp") else { return Vec::new() };
    let Some(list) = value.get_ref().as_array() else {
        table.wrong_type("udp", value, "an array of ports");
        return Vec::new();
    };
    let mut ports = Vec::new();
    for element in list.iter() {
        let Some(port) = table.integer_of("udp", element, 1..=65_535) else { continue };
        if ports.contains(&port) {
            table.problems.push(element.span(), format!("`udp` has {port} twice"), "take one out");
        }
        ports.push(port);
    }
    ports
}

fn pcap(fields: &Fields<'_>) -> Option<(PortKind, Span)> {
    let span = fields.value("pcap")?.span();
    if is_text(fields, "pcap") {
        let input = fields.text("pcap").map(|text| text.value.into());
        return Some((PortKind::Pcap(PcapConfig { input, output: None, pace: None }), span));
    }
    let table = fields.table("pcap", &PCAP)?;
    let input = table.text("input").map(|text| text.value.into());
    let output = table.text("output").map(|text| text.value.into());
    if table.value("input").is_none() && table.value("output").is_none() {
        let remedy = "name a file to receive from (input), to write to (output), or both";
        fields.problems.push(span.clone(), "pcap names no file", remedy);
        return None;
    }
    Some((PortKind::Pcap(PcapConfig { input, output, pace: None }), span))
}

fn memory(fields: &Fields<'_>) -> Option<(PortKind, Span)> {
    let span = fields.value("memory")?.span();
    if fields.boolean("memory")? {
        return Some((PortKind::Memory, span));
    }
    fields.problems.push(span, "`memory = false` leaves the port without a kind", "write memory = true");
    None
}

fn netns(fields: &Fields<'_>, kind: Option<&PortKind>) -> Option<String> {
    let text = fields.text("netns")?;
    if let Some(kind @ (PortKind::Pcap(_) | PortKind::Memory)) = kind {
        let rule = format!("`netns`: a {} port has no device in any namespace", kind.name());
        fields.problems.push(text.span, rule, "take it out");
        return None;
    }
    netns_name(fields, text)
}

/// The switch's own address there. Elsewhere it is that of the device, which one that is shared need not be known by.
fn address(fields: &Fields<'_>, kind: Option<&PortKind>) -> Option<MacAddr> {
    let text = fields.text("address")?;
    match kind {
        Some(PortKind::Xdp(XdpConfig { take: XdpTake::Mine, .. })) => {}
        Some(kind @ (PortKind::Xdp(_) | PortKind::Packet(_) | PortKind::Device(_))) => {
            let rule = format!("`address`: that of {} port is its device's", article(kind.name()));
            let device = kind.device().unwrap_or("DEV");
            let remedy = format!("take it out, and `ip link set {device} address {}`", text.value);
            fields.problems.push(text.span, rule, remedy);
            return None;
        }
        Some(PortKind::Socket(_)) => {
            fields.problems.push(
                text.span,
                "`address`: a socket port has no link, and none there",
                "take it out",
            );
            return None;
        }
        _ => {}
    }
    station(fields, &text)
}

fn article(word: &str) -> String {
    let article = if word.starts_with('x') { "an" } else { "a" };
    format!("{article} {word}")
}

fn device(fields: &Fields<'_>, key: &str, text: Text<'_>) -> Option<(String, Span)> {
    let span = text.span.clone();
    device_name(fields, key, text).map(|device| (device, span))
}

fn is_text(fields: &Fields<'_>, key: &str) -> bool {
    fields.value(key).is_some_and(|value| value.get_ref().is_str())
}

/// "did you mean …?" for a port that is not there.
pub(super) fn suggest_port<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> String {
    suggest(name, known).unwrap_or_else(|| format!("add a [[port]] with name = \"{name}\""))
}
