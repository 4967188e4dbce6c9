//! The fuzz target about what comes to a tunnel, and what goes into one. A plain function, as in [`frames.rs`](frames.rs).

use rigswitch_dataplane::frames::{Checksum, Gso, GsoKind, PoolConfig};
use rigswitch_dataplane::ids::Vni;
use rigswitch_dataplane::ports::{Capabilities, Memory, Wire};
use rigswitch_dataplane::wire::ethernet::Ethernet;
use rigswitch_dataplane::wire::ipv4::Ipv4;
use rigswitch_dataplane::wire::udp::Udp;
use rigswitch_dataplane::wire::vxlan::{self, Vxlan};

use crate::support::vxlan::{BENEATH, INSIDE, OVERHEAD, VNI, around, bridged};
use crate::support::{Rig, worker};

/// One byte of how, one of length in units of two, what of a frame that is, and again: as it is to the underlay, behind good outer headers or a
/// VXLAN header as well, or into the tunnel. Nothing is lost from the ledger; what comes out was inside; what goes in is wrapped right.
pub(crate) fn decap(mut bytes: &[u8]) {
    let memory = PoolConfig { frames: 64, runs: 4, run_chunks: PoolConfig::SUPER_FRAME_CHUNKS };
    let (rig, mut links) = Rig::new(1, bridged(3, true), memory, 64);
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], (), &mut at);
    let [inside, beneath] = [INSIDE, BENEATH].map(|device| {
        let (port, end) = Memory::new(256, Capabilities::default());
        rig.open(0, device, Box::new(port));
        end
    });
    while let [how, length, rest @ ..] = bytes {
        let (part, rest) = rest.split_at(rest.len().min(usize::from(*length) * 2));
        bytes = rest;
        let is_out = how & 3 == 3;
        let header = vxlan::header(Vni::new(VNI).expect("24 bits"));
        let frame = match how & 3 {
            0 | 3 => part.to_vec(),
            1 => around(2 + (how >> 2 & 3), part),
            _ => around(2 + (how >> 2 & 3), &[&header[..], part].concat()),
        };
        let longest = frame.len();
        let mut wire = Wire::from(frame);
        match how >> 4 {
            1 => wire.checksum = Checksum::Unknown,
            2 => wire.checksum = Checksum::Partial { start: 34 + u16::from(*how & 15) * 8, offset: 16 },
            3 => {
                wire.checksum = Checksum::Partial { start: if is_out { 34 } else { 84 }, offset: 16 };
                wire.gso = Some(Gso { kind: GsoKind::TcpV4, size: 1 + u16::from(*how), ecn: false });
            }
            _ => {}
        }
        let end = if is_out { &inside } else { &beneath };
        let _ = end.send(wire);
        worker.turn();
        assert_eq!(rig.ledger().imbalance(), (0, 0));
        while let Some(sent) = inside.receive() {
            // What it is told of a way that is too narrow has been longer.
            assert!(sent.bytes.len() >= 14 && sent.bytes.len() <= longest && sent.gso.is_none());
            assert!(is_out || sent.bytes.len() + OVERHEAD <= longest);
        }
        while let Some(sent) = beneath.receive() {
            if !is_out {
                continue; // what is routed is not this target's
            }
            let ethernet = Ethernet::view(&sent.bytes).expect("an outer header");
            let ip = Ipv4::view(ethernet.payload()).expect("of IPv4");
            assert!(ip.is_intact());
            if !ip.is_fragment() {
                let datagram = Udp::view(ip.payload()).expect("and UDP");
                let inner = Vxlan::view(datagram.payload()).expect("and VXLAN");
                assert_eq!((inner.header().vni().number(), datagram.destination()), (VNI, vxlan::PORT));
                assert!(inner.payload().len() >= 14);
            }
        }
    }
}
