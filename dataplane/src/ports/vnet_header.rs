//! `struct virtio_net_hdr`: how the kernel tells the offload state of a frame, and is told it (virtio 1.2 §5.1.6).

use crate::drops::DropReason;
use crate::frames::{Checksum, Frame, Gso, GsoKind};

/// Bytes in the header, the form without merged buffers. Numbers are in the machine's byte order.
pub(super) const LENGTH: usize = 10;

const NEEDS_CSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

const ETHERNET: usize = 14;
const TCP: Transport = Transport { shortest: 20, checksum: 16 };
const UDP: Transport = Transport { shortest: 8, checksum: 6 };

struct Transport {
    shortest: usize, // bytes of header without options
    checksum: u16,   // where the checksum lies in it
}

/// Notes on `frame`, whose bytes are in place, what `header` says of it. A header that contradicts itself or the
/// frame changes nothing.
pub(super) fn apply(header: [u8; LENGTH], frame: &mut Frame) -> Result<(), DropReason> {
    if header[..2] == [0, 0] {
        return Ok(()); // complete, and one frame: most of them
    }
    let (checksum, gso) = parse(header, frame.bytes()).ok_or(DropReason::MalformedOffload)?;
    frame.set_checksum(checksum);
    frame.set_gso(gso);
    Ok(())
}

/// What `header` says of a packet, of the frame that has it behind an Ethernet header; one that says nothing stays as it is.
pub(super) fn behind_ethernet(header: [u8; LENGTH]) -> [u8; LENGTH] {
    moved(header, |start| start.saturating_add(ETHERNET_LEN))
}

/// The other way round.
pub(super) fn without_ethernet(header: [u8; LENGTH]) -> [u8; LENGTH] {
    moved(header, |start| start.saturating_sub(ETHERNET_LEN))
}

const ETHERNET_LEN: u16 = 14;

/// The same with other places for where headers end, a hint, and where what is summed starts.
fn moved(mut header: [u8; LENGTH], place: impl Fn(u16) -> u16) -> [u8; LENGTH] {
    if header[..2] != [0, 0] {
        for at in [2, 6] {
            let before = u16::from_ne_bytes([header[at], header[at + 1]]);
            header[at..at + 2].copy_from_slice(&place(before).to_ne_bytes());
        }
    }
    header
}

/// The header that says of `frame` what it says of itself. A checksum that is not known to be partial counts as complete.
pub(super) fn of(frame: &Frame) -> [u8; LENGTH] {
    let Checksum::Partial { start, offset } = frame.checksum() else { return [0; LENGTH] };
    let (kind, size, header_length) = frame.gso().map_or((0, 0, 0), |gso| {
        let (kind, transport) = match gso.kind {
            GsoKind::TcpV4 => (GSO_TCPV4, TCP),
            GsoKind::TcpV6 => (GSO_TCPV6, TCP),
            GsoKind::UdpL4 => (GSO_UDP_L4, UDP),
        };
        let end = header_end(frame.bytes(), start, &transport).and_then(|end| u16::try_from(end).ok());
        // The length of the headers is a hint; the kernel does without.
        (if gso.ecn { kind | GSO_ECN } else { kind }, gso.size, end.unwrap_or(0))
    });
    let [h0, h1] = header_length.to_ne_bytes();
    let [g0, g1] = size.to_ne_bytes();
    let [s0, s1] = start.to_ne_bytes();
    let [o0, o1] = offset.to_ne_bytes();
    [NEEDS_CSUM, kind, h0, h1, g0, g1, s0, s1, o0, o1]
}

fn parse(header: [u8; LENGTH], frame: &[u8]) -> Option<(Checksum, Option<Gso>)> {
    let [flags, kind, _, _, g0, g1, s0, s1, o0, o1] = header;
    let start = u16::from_ne_bytes([s0, s1]);
    let offset = u16::from_ne_bytes([o0, o1]);
    let checksum = match flags & NEEDS_CSUM {
        0 => Checksum::Complete,
        _ => {
            let end = usize::from(start) + usize::from(offset) + 2;
            let inside = usize::from(start) >= ETHERNET && end <= frame.len();
            inside.then_some(Checksum::Partial { start, offset })?
        }
    };
    if kind == 0 {
        return Some((checksum, None));
    }
    let (gso_kind, transport) = match kind & !GSO_ECN {
        GSO_TCPV4 => (GsoKind::TcpV4, TCP),
        GSO_TCPV6 => (GsoKind::TcpV6, TCP),
        GSO_UDP_L4 if kind & GSO_ECN == 0 => (GsoKind::UdpL4, UDP),
        _ => return None,
    };
    // Whoever cuts writes each segment's checksum, so a super-frame's is partial, and where its protocol has it.
    let size = u16::from_ne_bytes([g0, g1]);
    let consistent = checksum != Checksum::Complete && offset == transport.checksum && size != 0;
    header_end(frame, start, &transport).filter(|_| consistent)?;
    Some((checksum, Some(Gso { kind: gso_kind, size, ecn: kind & GSO_ECN != 0 })))
}

/// Where the transport header that starts at `start` ends, if it does so within the frame.
fn header_end(frame: &[u8], start: u16, transport: &Transport) -> Option<usize> {
    let header = frame.get(usize::from(start)..)?;
    let fixed = header.get(..transport.shortest)?;
    let length = if transport.shortest == TCP.shortest {
        usize::from(fixed[12] >> 4) * 4 // data offset, RFC 9293 §3.1
    } else {
        transport.shortest
    };
    (length >= transport.shortest && length <= header.len()).then_some(usize::from(start) + length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{Pool, PoolConfig};
    use proptest::prelude::*;

    /// Applies `header` to a frame of `bytes`, and answers the frame's state and the header made of it.
    fn through(
        header: [u8; LENGTH],
        bytes: &[u8],
    ) -> Result<(Checksum, Option<Gso>, [u8; LENGTH]), DropReason> {
        let mut pool = Pool::new(PoolConfig::singles(1));
        let mut frame = pool.alloc(bytes.len()).unwrap();
        assert!(frame.fill(bytes));
        let result = apply(header, &mut frame);
        let state = (frame.checksum(), frame.gso(), of(&frame));
        pool.free(frame);
        result.map(|()| state)
    }

    /// Ethernet, IPv4 and a TCP header of 32 bytes (data offset 8), then payload.
    fn tcp_frame() -> Vec<u8> {
        let mut bytes = vec![0; 14 + 20 + 32 + 3000];
        bytes[34 + 12] = 8 << 4;
        bytes
    }

    fn header(flags: u8, kind: u8, size: u16, start: u16, offset: u16) -> [u8; LENGTH] {
        let mut header = [0; LENGTH];
        header[0] = flags;
        header[1] = kind;
        header[4..6].copy_from_slice(&size.to_ne_bytes());
        header[6..8].copy_from_slice(&start.to_ne_bytes());
        header[8..10].copy_from_slice(&offset.to_ne_bytes());
        header
    }

    #[test]
    fn what_a_header_says_is_said_again() {
        let partial = Checksum::Partial { start: 34, offset: 16 };
        let tcp = Gso { kind: GsoKind::TcpV4, size: 1448, ecn: true };
        let (checksum, gso, again) = through(header(1, 0x81, 1448, 34, 16), &tcp_frame()).unwrap();
        assert_eq!((checksum, gso), (partial, Some(tcp)));
        assert_eq!(again[2..4], 66u16.to_ne_bytes(), "headers end after 14 + 20 + 32 bytes");
        assert_eq!(through(again, &tcp_frame()).unwrap(), (checksum, gso, again));
    }

    #[test]
    fn an_ethernet_header_moves_what_a_header_says_and_makes_nothing_of_nothing() {
        let packet = header(1, 0x81, 1448, 20, 16);
        let frame = behind_ethernet(packet);
        assert_eq!(frame, {
            let mut framed = header(1, 0x81, 1448, 34, 16);
            framed[2..4].copy_from_slice(&14u16.to_ne_bytes());
            framed
        });
        assert_eq!(without_ethernet(frame), packet);
        assert_eq!((behind_ethernet([0; LENGTH]), without_ethernet([0; LENGTH])), ([0; LENGTH], [0; LENGTH]));
        // One from nowhere, and one that would be: neither lies within a frame.
        let start = |header: [u8; LENGTH]| u16::from_ne_bytes([header[6], header[7]]);
        assert_eq!(start(behind_ethernet(header(1, 0, 0, u16::MAX, 0))), u16::MAX);
        assert_eq!(start(without_ethernet(header(1, 0, 0, 13, 0))), 0);
    }

    #[test]
    fn a_checksum_that_was_verified_is_complete() {
        const DATA_VALID: u8 = 2;
        let state = through(header(DATA_VALID, 0, 0, 0, 0), &tcp_frame()).unwrap();
        assert_eq!(state, (Checksum::Complete, None, [0; LENGTH]));
    }

    #[test]
    fn a_header_that_contradicts_the_frame_is_refused() {
        let length = u16::try_from(tcp_frame().len()).unwrap();
        let malformed = [
            header(1, 0, 0, length - 1, 0),      // checksum half behind the end
            header(1, 0, 0, 34, u16::MAX),       // far behind it
            header(1, 0, 0, 13, 16),             // inside the Ethernet header
            header(1, 1, 0, 34, 16),             // segments of nothing
            header(0, 1, 1448, 34, 16),          // a super-frame with a complete checksum
            header(1, 1, 1448, 34, 6),           // TCP with its checksum where UDP's is
            header(1, 5, 1448, 34, 16),          // and the other way round
            header(1, 0x85, 1448, 34, 6),        // UDP has no CWR
            header(1, 3, 1448, 34, 6),           // IP fragmentation of UDP was not agreed on
            header(1, 2, 1448, 34, 16),          // no such kind
            header(1, 1, 1448, length - 19, 16), // TCP header cut off
        ];
        for header in malformed {
            assert_eq!(through(header, &tcp_frame()), Err(DropReason::MalformedOffload), "{header:?}");
        }
        let mut odd = tcp_frame();
        odd[34 + 12] = 4 << 4; // a TCP header shorter than one can be
        assert_eq!(through(header(1, 1, 1448, 34, 16), &odd), Err(DropReason::MalformedOffload));
    }

    proptest! {
        #[test]
        fn noise_is_refused_or_survives_the_round_trip(
            noise in any::<[u8; LENGTH]>(),
            bytes in proptest::collection::vec(any::<u8>(), 14..200),
        ) {
            if let Ok((checksum, gso, again)) = through(noise, &bytes) {
                if let Checksum::Partial { start, offset } = checksum {
                    prop_assert!(usize::from(start) + usize::from(offset) + 2 <= bytes.len());
                }
                prop_assert!(gso.is_none_or(|gso| gso.size > 0));
                prop_assert_eq!(through(again, &bytes), Ok((checksum, gso, again)));
            }
        }
    }
}
