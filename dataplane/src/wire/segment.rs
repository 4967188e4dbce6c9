//! Segmentation in software: a super-frame cut into frames as the sender's network card would have cut it.

use super::layers::{Layer, MAX_LAYERS, Version, layers};
use super::tcp::{self, Flags, Tcp};
use super::{IpProtocol, Malformed, ipv4, ipv6, put_u16, udp};
use arrayvec::ArrayVec;

/// What a super-frame carries (`gso_type` of `virtio_net_hdr`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP over either: each segment is a datagram.
    UdpL4,
}

impl Kind {
    fn is(self, layer: &Layer) -> bool {
        match self {
            Self::TcpV4 => (layer.version, layer.protocol) == (Version::V4, IpProtocol::TCP),
            Self::TcpV6 => (layer.version, layer.protocol) == (Version::V6, IpProtocol::TCP),
            Self::UdpL4 => layer.protocol == IpProtocol::UDP,
        }
    }
}

/// A super-frame about to be cut: VLAN tags, tunnel headers and all are repeated in each segment, with
/// the lengths, identifications, sequence numbers, flags and checksums that are its own.
#[derive(Clone, Debug)]
pub struct Segmenter<'a> {
    headers: &'a [u8],
    payload: &'a [u8],
    size: usize,                         // not zero
    layers: ArrayVec<Layer, MAX_LAYERS>, // the last one is cut, and repeated as often as its payload needs
}

impl<'a> Segmenter<'a> {
    /// Prepares to cut `frame`. `size` is the most payload a segment may carry (`gso_size`),
    /// `transport` the offset of the TCP or UDP header whose payload is cut (`csum_start`). Where that
    /// header ends is read from itself: the kernel's `hdr_len` is a hint.
    ///
    /// # Errors
    /// [`Malformed::SuperFrame`] if the headers do not lead to one of that `kind` at `transport`, its
    /// payload is empty, or `size` is 0.
    pub fn new(frame: &'a [u8], kind: Kind, size: u16, transport: usize) -> Result<Self, Malformed> {
        Self::parse(frame, kind, usize::from(size), transport).ok_or(Malformed::SuperFrame)
    }

    fn parse(frame: &'a [u8], kind: Kind, size: usize, transport: usize) -> Option<Self> {
        let layers: ArrayVec<_, MAX_LAYERS> =
            layers(frame).take_while(|layer| layer.transport <= transport).collect();
        let cut = layers.last().filter(|cut| cut.transport == transport && kind.is(cut))?;

        let frame = frame.get(..cut.end())?;
        let header_len = match kind {
            Kind::UdpL4 => udp::HEADER_LEN,
            Kind::TcpV4 | Kind::TcpV6 => Tcp::view(frame.get(transport..)?).ok()?.header_len(),
        };
        let (headers, payload) = frame.split_at_checked(transport + header_len)?;
        let segmenter = Self { headers, payload, size, layers };
        (size > 0 && !payload.is_empty()).then_some(segmenter)
    }

    /// How many segments there are, at least one.
    pub fn count(&self) -> usize {
        self.payload.len().div_ceil(self.size)
    }

    /// Bytes in the longest segment, the first.
    pub fn longest(&self) -> usize {
        self.headers.len() + self.payload.len().min(self.size)
    }

    /// Writes segment `n`, counted from 0, at the start of `out` and returns its length. `None` if there
    /// is no such segment, or if `out` is shorter than it.
    pub fn write(&self, n: usize, out: &mut [u8]) -> Option<usize> {
        let payload = self.payload.chunks(self.size).nth(n)?;
        let segment = out.get_mut(..self.headers.len() + payload.len())?;
        let (headers, body) = segment.split_at_mut_checked(self.headers.len())?;
        headers.copy_from_slice(self.headers);
        body.copy_from_slice(payload);

        let cut = self.layers.last()?;
        if cut.protocol == IpProtocol::TCP {
            self.relabel_tcp(n, segment.get_mut(cut.transport..)?)?;
        }
        let identifications = u16::try_from(n).ok()?;
        // Innermost first: an outer checksum covers the inner one.
        for &layer in self.layers.iter().rev() {
            relabel(layer, identifications, segment)?;
        }
        Some(segment.len())
    }

    /// FIN and PSH belong to the last byte, CWR to the first (RFC 3168 §6.1.2: once a window).
    fn relabel_tcp(&self, n: usize, segment: &mut [u8]) -> Option<()> {
        let whole = Tcp::view(segment).ok()?;
        let sequence = whole.sequence().wrapping_add(u32::try_from(n * self.size).ok()?);
        let mut flags = whole.flags();
        if n > 0 {
            flags = flags.without(Flags::CWR);
        }
        if n + 1 < self.count() {
            flags = flags.without(Flags::FIN).without(Flags::PSH);
        }
        tcp::relabel(segment, sequence, flags)
    }
}

/// Makes lengths, identification and checksums of one layer right for a `segment` it fills to the end.
fn relabel(mut layer: Layer, identifications: u16, segment: &mut [u8]) -> Option<()> {
    layer.len = u16::try_from(segment.len() - layer.transport).ok()?;
    let packet = segment.get_mut(layer.network..)?;
    match layer.version {
        Version::V4 => ipv4::relabel(packet, layer.transport - layer.network, identifications)?,
        Version::V6 => ipv6::relabel(packet)?,
    }
    if layer.protocol == IpProtocol::UDP {
        put_u16(segment, layer.transport + udp::LENGTH_OFFSET, layer.len)?;
    }
    if layer.checksum.is_some() { layer.complete(segment) } else { Some(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::{self, Recipe, Transport, Tunnel};
    use proptest::prelude::*;

    fn kind(recipe: &Recipe) -> Kind {
        match recipe.transport {
            Transport::Udp(_) => Kind::UdpL4,
            Transport::Tcp(_) if recipe.ip.v6 => Kind::TcpV6,
            Transport::Tcp(_) => Kind::TcpV4,
        }
    }

    /// The recipe of segment `n` of what `whole` builds: what a sender without offload would have sent.
    fn segment_of(whole: &Recipe, size: usize, n: usize) -> Recipe {
        let mut recipe = whole.clone();
        recipe.payload = whole.payload.chunks(size).nth(n).unwrap().to_vec();
        let nth = u16::try_from(n).unwrap();
        let ips = recipe.tunnels.iter_mut().map(|tunnel| match tunnel {
            Tunnel::Ip(ip) | Tunnel::Vxlan { ip, .. } => ip,
        });
        for ip in ips.chain([&mut recipe.ip]) {
            ip.identification = ip.identification.wrapping_add(nth);
        }
        if let Transport::Tcp(header) = &mut recipe.transport {
            let skipped = u32::try_from(n * size).unwrap();
            header.sequence_number = header.sequence_number.wrapping_add(skipped);
            let last = (n + 1) * size >= whole.payload.len();
            header.fin &= last;
            header.psh &= last;
            header.cwr &= n == 0;
        }
        recipe
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn segments_are_what_a_sender_without_offload_sends(
            whole in samples::any_recipe(if cfg!(miri) { 300 } else { 9000 }),
            segments in 1..20usize,
        ) {
            let size = whole.payload.len().div_ceil(segments);
            let mut sample = whole.build();
            sample.make_partial(0);
            let transport = sample.parts[0].transport;
            let cutter = Segmenter::new(&sample.frame, kind(&whole), u16::try_from(size).unwrap(), transport).unwrap();
            prop_assert_eq!(cutter.count(), whole.payload.chunks(size).len());
            let mut out = vec![0xa5; cutter.longest()];
            for n in 0..cutter.count() {
                let len = cutter.write(n, &mut out).unwrap();
                prop_assert_eq!(&out[..len], segment_of(&whole, size, n).build().frame);
                prop_assert_eq!(cutter.write(n, &mut out[..len - 1]), None);
            }
            prop_assert_eq!(cutter.write(cutter.count(), &mut out), None);
        }

        #[test]
        fn claims_that_the_headers_do_not_bear_out_are_refused(
            whole in samples::any_recipe(100),
            kinds in prop::sample::select(vec![Kind::TcpV4, Kind::TcpV6, Kind::UdpL4]),
            off in 1..40usize,
        ) {
            let sample = whole.build();
            let (kind, transport) = (kind(&whole), sample.parts[0].transport);
            let refused = |frame: &[u8], kind, size, transport| {
                Segmenter::new(frame, kind, size, transport).err() == Some(Malformed::SuperFrame)
            };
            prop_assert!(!refused(&sample.frame, kind, 10, transport));
            prop_assert_eq!(refused(&sample.frame, kinds, 10, transport), kinds != kind);
            prop_assert!(refused(&sample.frame, kind, 0, transport));
            prop_assert!(refused(&sample.frame, kind, 10, transport + off));
            prop_assert!(refused(&sample.frame[..sample.frame.len() - 1], kind, 10, transport));
        }

        #[test]
        fn mangled_super_frames_are_cut_or_refused(
            whole in samples::any_recipe(200),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut: prop::sample::Index,
            size in 1..300u16,
        ) {
            let sample = whole.build();
            let frame = samples::mangle(sample.frame, &flips, cut);
            let Ok(cutter) = Segmenter::new(&frame, kind(&whole), size, sample.parts[0].transport) else {
                return Ok(());
            };
            let mut out = vec![0; cutter.longest()];
            for n in 0..cutter.count() {
                prop_assert!(cutter.write(n, &mut out).unwrap() <= out.len());
            }
        }
    }
}
