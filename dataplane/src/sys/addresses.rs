//! The addresses of a network device, put there and taken away (rtnetlink(7)).

use std::io;
use std::net::IpAddr;

use super::context;
use super::netdev::Netdev;
use super::netlink::{Netlink, request};
use super::netns::{Netns, inside};

/// Gives the device `name` in `netns`, or in the calling thread's namespace, an address with its prefix. It is usable at once:
/// IPv6 does not look for duplicates first. That the device has it already is no error.
///
/// # Errors
/// `NotFound` without such a device; `PermissionDenied` where its IPv6 is off, and without `CAP_NET_ADMIN`.
pub fn add(name: &str, netns: Option<&Netns>, address: IpAddr, prefix_length: u8) -> io::Result<()> {
    const NO_DUPLICATES: u8 = 2; // IFA_F_NODAD
    let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
    let doing = |e| context(e, format_args!("giving {name} the address {address}/{prefix_length}"));
    ask(libc::RTM_NEWADDR, flags, name, netns, (address, prefix_length), NO_DUPLICATES).map_err(doing)
}

/// Takes an address away. That the device has it no more is no error.
///
/// # Errors
/// `NotFound` without such a device; `PermissionDenied` without `CAP_NET_ADMIN`.
pub fn remove(name: &str, netns: Option<&Netns>, address: IpAddr, prefix_length: u8) -> io::Result<()> {
    match ask(libc::RTM_DELADDR, 0, name, netns, (address, prefix_length), 0) {
        Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(()),
        result => {
            result.map_err(|e| context(e, format_args!("taking {address}/{prefix_length} from {name}")))
        }
    }
}

fn ask(
    kind: u16,
    flags: libc::c_int,
    name: &str,
    netns: Option<&Netns>,
    (address, prefix_length): (IpAddr, u8),
    address_flags: u8,
) -> io::Result<()> {
    const ADDRESS: u16 = 1; // IFA_ADDRESS
    const LOCAL: u16 = 2; // IFA_LOCAL
    const BROADCAST: u16 = 4; // IFA_BROADCAST
    let index = Netdev::new(name, netns)?.index()?;
    let (family, octets, broadcast) = match address {
        IpAddr::V4(v4) => {
            let host = u32::MAX.checked_shr(prefix_length.into()).unwrap_or(0);
            // A prefix of 31 or 32 bits has no room for one.
            let broadcast = (host > 1).then(|| (v4.to_bits() | host).to_be_bytes().to_vec());
            (libc::AF_INET, v4.octets().to_vec(), broadcast)
        }
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec(), None),
    };
    let [a, b, c, d] = index.to_ne_bytes();
    let family = u8::try_from(family).unwrap_or_default();
    // struct ifaddrmsg: family, prefix, flags, scope, index.
    let header = [family, prefix_length, address_flags, 0, a, b, c, d];
    let mut attributes = vec![(LOCAL, &octets[..]), (ADDRESS, &octets)];
    attributes.extend(broadcast.as_deref().map(|broadcast| (BROADCAST, broadcast)));
    let question = request(kind, flags | libc::NLM_F_ACK, &header, &attributes);
    inside(netns, || Netlink::open(libc::NETLINK_ROUTE, 0)?.transact(&question, 1))?
}
