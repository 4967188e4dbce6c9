//! `[[vxlan]]`: VXLAN devices.

mod fdb;
mod networks;
mod words;

pub(super) use networks::parse_range as parse_vnis;
pub(crate) use networks::{Network, device_of, network_name, vni_of};
pub(super) use words::VxlanWords;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use rigswitch_dataplane::ids::Vni;
use rigswitch_dataplane::ports::{PortConfig, PortKind};
use rigswitch_dataplane::tunnels::{External, TunnelConfig, TunnelKind, VxlanConfig};
use rigswitch_dataplane::wire::vxlan;

use super::Config;
use super::fields::{Fields, Shape, Text};
use super::host;
use super::roles::{Kind, Roles};
use super::tunnel::inherited;
use super::values::{device_name, duration, station};

pub(super) const VXLAN: Shape = Shape {
    label: "[[vxlan]]",
    keys: &[
        "name",
        "id",
        "external",
        "vnifilter",
        "vni",
        "local",
        "remote",
        "group",
        "dev",
        "dstport",
        "srcport",
        "ttl",
        "tos",
        "df",
        "learning",
        "ageing",
        "maxaddress",
        "udpcsum",
        "udp6zerocsumtx",
        "udp6zerocsumrx",
        "compat",
        "reserved_bits",
        "address",
        "mtu",
        "host",
        "proxy",
        "rsc",
        "l2miss",
        "l3miss",
        "fdb",
    ],
    later: &["gbp", "gpe", "remcsumtx", "remcsumrx", "localbypass", "label", "label_policy", "mcroute"],
};

/// The most bytes of payload that a device carries (`ETH_MAX_MTU`).
const LONGEST_MTU: i64 = 65_535;

/// The longest time that an entry lasts: a week, and more than a tick can tell is none.
const LONGEST_AGEING: Duration = Duration::from_secs(604_800);

/// Networks that are taken, and where: by identifier, or none for all others, port and version of IP.
type Taken = BTreeMap<(Option<Vni>, u16, bool), Range<usize>>;

/// Every VXLAN device, its name and its use by the host entered in `roles`.
pub(super) fn read_all(file: &Fields<'_>, roles: &mut Roles<'_>) -> Vec<TunnelConfig> {
    let mut taken = Taken::new();
    let tables = file.tables("vxlan", &VXLAN);
    tables.iter().filter_map(|fields| read(fields, roles, &mut taken)).collect()
}

/// The file's ports as they are to be opened: one on the host's sockets sends from source ports of all devices that may leave by it.
pub(super) fn opened_ports(config: &Config) -> impl Iterator<Item = PortConfig> {
    config.ports.iter().map(|port| {
        let mut port = port.clone();
        if let PortKind::Socket(socket) = &mut port.kind {
            let may = |vxlan: &VxlanConfig| vxlan.dev.as_ref().is_none_or(|dev| *dev == port.name);
            let by_it = config.vxlans().filter(|(_, vxlan)| may(vxlan));
            socket.srcports = by_it.map(|(_, vxlan)| vxlan.srcport).collect();
        }
        port
    })
}

fn read(fields: &Fields<'_>, roles: &mut Roles<'_>, taken: &mut Taken) -> Option<TunnelConfig> {
    let text = fields.required("name", "\"vxlan0\"");
    if let Some(text) = &text {
        roles.declare(Kind::Vxlan, text);
    }
    let host = host::read(fields, text.as_ref(), roles);
    let name = text.and_then(|text| device_name(fields, "name", text));
    let mtu = fields.integer("mtu", 68..=LONGEST_MTU);
    let external = networks::read(fields, roles);
    let is_plain = external.is_none();
    if is_plain {
        fields.required_integer("id", "100");
    }
    let id = fields.integer("id", 0..=i64::from(Vni::MAX)).and_then(Vni::new);
    let plain = VxlanConfig::new(id.or(Vni::new(0))?);
    let local = end(fields, "local");
    let config = VxlanConfig {
        external,
        remote: end(fields, "remote"),
        group: group(fields, fields, roles),
        dev: device(fields, "dev", roles),
        dstport: fields.integer("dstport", 1..=65_535).unwrap_or(plain.dstport),
        srcport: source_ports(fields).unwrap_or(plain.srcport),
        ttl: time_to_live(fields).unwrap_or(plain.ttl),
        tos: inherited(fields, "tos", 0..=255).unwrap_or(plain.tos),
        df: fields.word("df", &VxlanConfig::DF).unwrap_or(plain.df),
        learning: fields.boolean("learning").unwrap_or(is_plain),
        ageing: duration(fields, "ageing", LONGEST_AGEING).unwrap_or(plain.ageing),
        maxaddress: fields.integer("maxaddress", 0..=i64::from(u32::MAX)).unwrap_or(plain.maxaddress),
        udpcsum: fields.boolean("udpcsum").unwrap_or(plain.udpcsum),
        udp6zerocsumtx: fields.boolean("udp6zerocsumtx").unwrap_or(plain.udp6zerocsumtx),
        udp6zerocsumrx: fields.boolean("udp6zerocsumrx").unwrap_or(plain.udp6zerocsumrx),
        reserved_bits: reserved_bits(fields).unwrap_or(plain.reserved_bits),
        address: fields.text("address").and_then(|text| station(fields, &text)),
        local,
        proxy: fields.boolean("proxy").unwrap_or_default(),
        rsc: fields.boolean("rsc").unwrap_or_default(),
        l2miss: fields.boolean("l2miss").unwrap_or_default(),
        l3miss: fields.boolean("l3miss").unwrap_or_default(),
        ..plain
    };
    check_versions(fields, &config, "remote", config.remote);
    check_versions(fields, &config, "group", config.group);
    let is_known = id.is_some() || config.external.is_some();
    if is_known {
        take(fields, roles, &config, taken);
    }
    let fdb = fdb::entries(fields, &config, roles);
    let kind = TunnelKind::Vxlan(VxlanConfig { fdb, ..config });
    name.filter(|_| is_known).map(|name| TunnelConfig { name, kind, mtu, host })
}

/// No two devices take one network at one port (`vxlan_config_validate`).
fn take(fields: &Fields<'_>, roles: &Roles<'_>, config: &VxlanConfig, taken: &mut Taken) {
    let vnis: Vec<Option<Vni>> = match &config.external {
        None => vec![Some(config.id)],
        Some(External { vnis: None }) => vec![None],
        Some(External { vnis: Some(vnis) }) => vnis.keys().copied().map(Some).collect(),
    };
    for vni in vnis {
        let key = (vni, config.dstport, config.is_ipv6());
        let Some(first) = taken.insert(key, fields.span.clone()) else { continue };
        let what = vni.map_or("what has no device of its own".into(), |vni| format!("network {vni}"));
        let (port, line) = (config.dstport, roles.line(&first));
        let rule = format!("{what} at UDP port {port} has a device: line {line} is it");
        return fields.problems.push(fields.span.clone(), rule, "give this one another `id` or `dstport`");
    }
}

/// The address of one station at `key`.
fn end(fields: &Fields<'_>, key: &'static str) -> Option<IpAddr> {
    end_at(fields, key, &fields.text(key)?)
}

fn end_at(fields: &Fields<'_>, key: &'static str, text: &Text<'_>) -> Option<IpAddr> {
    let refuse = |rule: String, remedy: &str| {
        fields.problems.push(text.span.clone(), rule, remedy);
        None
    };
    match text.value.parse::<IpAddr>() {
        Err(_) => refuse(
            format!("`{key}` is `{}`, which is not an IP address", text.value),
            "write one as 192.0.2.1 or 2001:db8::1",
        ),
        Ok(address) if address.is_multicast() => refuse(
            format!("`{key}` is {address}, a group and no station"),
            "name the far end's address; the device's `group` is for groups",
        ),
        Ok(address) if address.is_unspecified() || address == IpAddr::from([255; 4]) => {
            refuse(format!("`{key}` is {address}, which is no station's"), "name the address of one station")
        }
        Ok(address) => Some(address),
    }
}

/// The group at `group` of a device or of a network of its, which takes the place of a `remote` (`vxlan_config_validate`).
fn group(fields: &Fields<'_>, device: &Fields<'_>, roles: &Roles<'_>) -> Option<IpAddr> {
    let text = fields.text("group")?;
    let refuse = |rule: String, remedy: &str| {
        fields.problems.push(text.span.clone(), rule, remedy);
        None
    };
    let dev = device.value("dev").and_then(|value| value.get_ref().as_str());
    match text.value.parse::<IpAddr>() {
        Ok(address) if !address.is_multicast() => {
            refuse(format!("`group` is {address}, which is no group"), "name one station as `remote`")
        }
        Err(_) => refuse(
            format!("`group` is `{}`, which is not an IP address", text.value),
            "write one as 239.1.1.1 or ff05::1",
        ),
        Ok(_) if fields.value("remote").is_some() => {
            refuse("`group` and `remote` are both there".into(), "keep one of the two")
        }
        Ok(_) if dev.is_none() => {
            refuse("a `group` needs a `dev`".into(), "name the device by which it takes part in the group")
        }
        Ok(_) if dev.is_some_and(|dev| roles.is_shared(dev)) => refuse(
            format!(
                "`{}` is shared with the host, which is who is asked for groups there",
                dev.unwrap_or_default()
            ),
            "name the far ends one by one, or give the port `take = \"all\"`",
        ),
        Ok(address) => Some(address),
    }
}

/// The address at `key` is of the version that `local` is of.
fn check_versions(fields: &Fields<'_>, config: &VxlanConfig, key: &str, remote: Option<IpAddr>) {
    let (Some(local), Some(remote)) = (config.local, remote) else { return };
    if let Some(value) = fields.value(key).filter(|_| local.is_ipv4() != remote.is_ipv4()) {
        let rule = format!("`local` is {local} and `{key}` {remote}, of another version of IP");
        fields.problems.push(value.span(), rule, "give both addresses of one version");
    }
    if let Some(value) = fields.value(key).filter(|_| local == remote) {
        let rule = format!("`{key}` is the address that `local` is");
        fields.problems.push(value.span(), rule, "name the far end's");
    }
}

/// A device that it leaves by.
fn device(fields: &Fields<'_>, key: &'static str, roles: &Roles<'_>) -> Option<String> {
    let text = fields.text(key)?;
    if roles.kind(text.value).is_none() {
        let rule = format!("`{key}`: there is no device `{}`", text.value);
        fields.problems.push(text.span, rule, roles.suggest(text.value));
        return None;
    }
    Some(text.value.to_owned())
}

/// `srcport = [49152, 65535]`, as `srcport MIN MAX` of ip-link(8).
fn source_ports(fields: &Fields<'_>) -> Option<(u16, u16)> {
    let value = fields.value("srcport")?;
    let Some([first, last]) = value.get_ref().as_array().and_then(|array| array.first_chunk()) else {
        fields.wrong_type("srcport", value, "two ports, such as [49152, 65535]");
        return None;
    };
    let [first, last] = [first, last].map(|port| fields.integer_of::<u16>("srcport", port, 0..=65_535));
    let (first, last) = (first?, last?);
    if value.get_ref().as_array().is_some_and(|array| array.len() > 2) {
        fields.wrong_type("srcport", value, "two ports, such as [49152, 65535]");
    }
    if first >= last && (first, last) != (0, 0) {
        let rule = format!(
            "`srcport` is from {first} to {last}, and there are no ports between: the last is not taken"
        );
        fields.problems.push(value.span(), rule, "write the lower one first, as [49152, 65535]");
    }
    Some((first, last))
}

/// A number, `auto` or `inherit`, which is none.
fn time_to_live(fields: &Fields<'_>) -> Option<Option<u8>> {
    let is_auto = fields.value("ttl").and_then(|value| value.get_ref().as_str()) == Some("auto");
    if is_auto { Some(Some(0)) } else { inherited(fields, "ttl", 0..=255) }
}

/// What may not be set in the header, as a word in hex; or with `compat` what the kernel takes.
fn reserved_bits(fields: &Fields<'_>) -> Option<u64> {
    let is_compat = fields.boolean("compat").unwrap_or(false);
    let Some(value) = fields.value("reserved_bits") else { return is_compat.then_some(vxlan::RESERVED) };
    let text = fields.text("reserved_bits")?;
    if is_compat {
        let rule = "`compat` stands for `reserved_bits = \"0xf7ffffff000000ff\"`, and both are there";
        fields.problems.push(value.span(), rule, "keep one of the two");
    }
    let bits = text.value.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    if bits.is_none_or(|bits| bits & !vxlan::RESERVED != 0) {
        let rule = format!(
            "`reserved_bits` is `{}`, which is not a word of bits that RFC 7348 reserves",
            text.value
        );
        fields.problems.push(
            text.span,
            rule,
            "write 64 bits in hex, as 0xf7ffffff000000ff, which are all of them",
        );
        return None;
    }
    bits
}
