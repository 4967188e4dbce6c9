//! How the devices of a namespace stand on each other, what runs on them, and what addresses they have (rtnetlink(7)).

use std::io;
use std::net::IpAddr;

use super::addresses::{ADDRESS_HEADER, told};
use super::bpf::Attach;
use super::context;
use super::links::{self, LINK_HEADER, Link};
use super::netlink::{Netlink, attribute, number, request};

/// A device and what there is around it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stacked {
    /// The device.
    pub link: Link,
    /// What the kernel calls its kind: `veth`, `bridge`, `macvlan`; none for a card.
    pub kind: Option<String>,
    /// The index of the bridge, bond or team that has taken it.
    pub master: Option<u32>,
    /// The index of the device that it is on, or of a veth's other end.
    pub lower: Option<u32>,
    /// The namespace that the other device is in, by the number that this one knows it by; none for this one.
    pub lower_netns: Option<u32>,
    /// The XDP program on it.
    pub xdp: Option<XdpProgram>,
}

/// An XDP program on a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct XdpProgram {
    /// The kernel's number for it.
    pub id: u32,
    /// Where it runs.
    pub hook: Attach,
}

/// Every device of the calling thread's network namespace.
///
/// # Errors
/// The kernel's.
pub fn all() -> io::Result<Vec<Stacked>> {
    let answer = dump(libc::RTM_GETLINK, &[0; LINK_HEADER])?;
    Ok(answer.iter().filter_map(|body| stacked(body)).collect())
}

/// Every address that routes of other hosts may lead to, with its device and its prefix length.
///
/// # Errors
/// The kernel's.
pub fn addresses() -> io::Result<Vec<(u32, IpAddr, u8)>> {
    const GLOBAL: u8 = 0; // RT_SCOPE_UNIVERSE
    let answer = dump(libc::RTM_GETADDR, &[0; ADDRESS_HEADER])?;
    let told = answer.iter().filter_map(|body| told(body)).filter(|told| told.scope == GLOBAL);
    Ok(told.map(|told| (told.index, told.address, told.prefix_length)).collect())
}

fn dump(kind: u16, header: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let ask = || Netlink::open(libc::NETLINK_ROUTE, 0)?.ask(&request(kind, libc::NLM_F_DUMP, header, &[]));
    let answer = ask().map_err(|e| context(e, "asking for network devices"))?;
    Ok(answer.into_iter().map(|(_, body)| body).collect())
}

fn stacked(body: &[u8]) -> Option<Stacked> {
    const LINK: u16 = 5; // IFLA_LINK
    const MASTER: u16 = 10; // IFLA_MASTER
    const LINK_INFO: u16 = 18; // IFLA_LINKINFO
    const INFO_KIND: u16 = 1; // IFLA_INFO_KIND
    const LINK_NETNS: u16 = 37; // IFLA_LINK_NETNSID
    const XDP: u16 = 43; // IFLA_XDP
    let attributes = body.get(LINK_HEADER..)?;
    let told = |kind| attribute(attributes, kind).and_then(|value| u32::try_from(number(value)).ok());
    let kind = attribute(attributes, LINK_INFO).and_then(|info| attribute(info, INFO_KIND));
    Some(Stacked {
        link: links::link(body)?,
        kind: kind.map(|text| String::from_utf8_lossy(text.strip_suffix(&[0]).unwrap_or(text)).into_owned()),
        master: told(MASTER),
        lower: told(LINK).filter(|&index| index != 0),
        lower_netns: told(LINK_NETNS),
        xdp: attribute(attributes, XDP).and_then(xdp_program),
    })
}

fn xdp_program(attributes: &[u8]) -> Option<XdpProgram> {
    const ATTACHED: u16 = 2; // IFLA_XDP_ATTACHED
    const PROGRAM: u16 = 4; // IFLA_XDP_PROG_ID
    const GENERIC: &[u8] = &[2]; // XDP_ATTACHED_SKB
    let id = u32::try_from(number(attribute(attributes, PROGRAM)?)).ok()?;
    let is_generic = attribute(attributes, ATTACHED) == Some(GENERIC);
    Some(XdpProgram { id, hook: if is_generic { Attach::Generic } else { Attach::Native } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_stands_alone_and_nobody_is_routed_to_it() {
        let all = all().unwrap();
        let lo = all.iter().find(|device| device.link.name == "lo").unwrap();
        assert_eq!((&lo.kind, lo.master, lo.lower, lo.xdp), (&None, None, None, None));
        assert!(addresses().unwrap().iter().all(|(index, ..)| *index != lo.link.index));
    }
}
