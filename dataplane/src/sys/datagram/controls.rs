//! What goes beside a datagram: a `sockaddr`, and a row of `cmsghdr`s with their values (cmsg(3)).

use std::net::{IpAddr, Ipv4Addr};

use super::Header;

/// Bytes for all that a datagram has beside it: addresses, type of service, hops, segment size.
pub(super) const ROOM: usize = 128;

/// `struct sockaddr_in` or `struct sockaddr_in6`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Name(pub(super) [u8; 32]);

impl Name {
    pub(super) const EMPTY: Self = Self([0; 32]);

    /// The address of a far end, and how long it is.
    pub(super) fn of(address: IpAddr, port: u16) -> (Self, usize) {
        let mut name = Self::EMPTY;
        let bytes = &mut name.0;
        bytes[2..4].copy_from_slice(&port.to_be_bytes());
        let (family, length) = match address {
            IpAddr::V4(address) => {
                bytes[4..8].copy_from_slice(&address.octets());
                (libc::AF_INET, size_of::<libc::sockaddr_in>())
            }
            IpAddr::V6(address) => {
                bytes[8..24].copy_from_slice(&address.octets());
                (libc::AF_INET6, size_of::<libc::sockaddr_in6>())
            }
        };
        bytes[..2].copy_from_slice(&u16::try_from(family).unwrap_or_default().to_ne_bytes());
        (name, length)
    }

    /// The address and the port that the kernel wrote.
    pub(super) fn read(&self, is_ipv6: bool) -> (IpAddr, u16) {
        let port = u16::from_be_bytes([self.0[2], self.0[3]]);
        let address = match is_ipv6 {
            false => octets::<4>(&self.0[4..]).map(IpAddr::from),
            true => octets::<16>(&self.0[8..]).map(IpAddr::from),
        };
        (address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), port)
    }
}

/// Bytes of `struct cmsghdr`; each one, and each value, begins at a multiple of eight.
const HEADER: usize = 16;

const _: () = assert!(size_of::<libc::cmsghdr>() == HEADER, "the kernel's on 64 bits");

/// A row of control messages.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Controls {
    pub(super) bytes: [u8; ROOM],
    pub(super) length: usize,
}

impl Controls {
    pub(super) const EMPTY: Self = Self { bytes: [0; ROOM], length: 0 };

    /// What says of a datagram to be sent where from and how, and in what segments if it is cut.
    pub(super) fn of(header: &Header, segment: Option<u16>) -> Self {
        let mut all = Self::EMPTY;
        let (tos, ttl) = (i32::from(header.tos).to_ne_bytes(), i32::from(header.ttl).to_ne_bytes());
        match header.source {
            IpAddr::V4(source) => {
                let mut info = [0; size_of::<libc::in_pktinfo>()];
                info[4..8].copy_from_slice(&source.octets()); // ipi_spec_dst
                all.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
                all.push(libc::IPPROTO_IP, libc::IP_TOS, &tos);
                all.push(libc::IPPROTO_IP, libc::IP_TTL, &ttl);
            }
            IpAddr::V6(source) => {
                let mut info = [0; size_of::<libc::in6_pktinfo>()];
                info[..16].copy_from_slice(&source.octets());
                all.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
                all.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &tos);
                all.push(libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, &ttl);
            }
        }
        if let Some(segment) = segment {
            all.push(libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
        }
        all
    }

    fn push(&mut self, level: libc::c_int, kind: libc::c_int, value: &[u8]) {
        let at = self.length;
        let header = &mut self.bytes[at..at + HEADER];
        header[..8].copy_from_slice(&(HEADER + value.len()).to_ne_bytes());
        header[8..12].copy_from_slice(&level.to_ne_bytes());
        header[12..].copy_from_slice(&kind.to_ne_bytes());
        self.bytes[at + HEADER..at + HEADER + value.len()].copy_from_slice(value);
        self.length = at + (HEADER + value.len()).next_multiple_of(8);
    }

    /// Every message of the first `length` bytes: level, kind and value.
    pub(super) fn iter(&self, length: usize) -> impl Iterator<Item = (libc::c_int, libc::c_int, &[u8])> {
        let mut left = self.bytes.get(..length).unwrap_or_default();
        std::iter::from_fn(move || {
            let (header, rest) = left.split_first_chunk::<HEADER>()?;
            let [a, b, c, d, e, f, g, h, l0, l1, l2, l3, k0, k1, k2, k3] = *header;
            let whole = usize::from_ne_bytes([a, b, c, d, e, f, g, h]);
            let value = rest.get(..whole.checked_sub(HEADER)?)?;
            left = left.get(whole.next_multiple_of(8)..).unwrap_or_default();
            Some((i32::from_ne_bytes([l0, l1, l2, l3]), i32::from_ne_bytes([k0, k1, k2, k3]), value))
        })
    }

    /// What the kernel says of a datagram that came: the address that it was for, its type of service, the size of its segments.
    pub(super) fn read(&self, length: usize) -> (Option<IpAddr>, u8, Option<u16>) {
        let (mut to, mut tos, mut segment) = (None, 0, None);
        for (level, kind, value) in self.iter(length) {
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    to = value.get(8..).and_then(octets::<4>).map(IpAddr::from);
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    to = octets::<16>(value).map(IpAddr::from);
                }
                // One byte of IPv4, a number of IPv6.
                (libc::IPPROTO_IP, libc::IP_TOS) => tos = value.first().copied().unwrap_or(0),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => tos = number(value),
                (libc::SOL_UDP, libc::UDP_GRO) => segment = Some(number(value)),
                _ => {}
            }
        }
        (to, tos, segment)
    }
}

fn octets<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.first_chunk().copied()
}

/// An `int`, as what it fits in.
fn number<T: TryFrom<i32> + Default>(value: &[u8]) -> T {
    octets(value).and_then(|octets| T::try_from(i32::from_ne_bytes(octets)).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_beside_a_datagram_reads_back() {
        for (source, destination) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
            let (source, destination): (IpAddr, IpAddr) =
                (source.parse().unwrap(), destination.parse().unwrap());
            let header = Header { source, destination, port: 4789, tos: 0xb8, ttl: 3 };
            let controls = Controls::of(&header, Some(1400));
            assert!(controls.length <= ROOM);
            let kinds: Vec<_> =
                controls.iter(controls.length).map(|(_, kind, value)| (kind, value.len())).collect();
            assert_eq!(kinds.len(), 4, "{kinds:?}");
            let (name, length) = Name::of(destination, 4789);
            assert_eq!(name.read(source.is_ipv6()), (destination, 4789));
            assert_eq!(length, if source.is_ipv6() { 28 } else { 16 });
        }
    }

    #[test]
    fn what_is_cut_off_says_nothing() {
        let header = Header {
            source: "192.0.2.1".parse().unwrap(),
            destination: "192.0.2.2".parse().unwrap(),
            port: 1,
            tos: 4,
            ttl: 1,
        };
        let mut controls = Controls::of(&header, Some(9));
        for length in 0..ROOM * 2 {
            let _ = controls.read(length);
        }
        controls.bytes[..8].copy_from_slice(&usize::MAX.to_ne_bytes());
        assert_eq!(controls.read(ROOM), (None, 0, None));
        controls.bytes[..8].copy_from_slice(&3usize.to_ne_bytes());
        assert_eq!(controls.read(ROOM), (None, 0, None));
    }
}
