//! The fuzz target about tunnels: frames into a router with one. A plain function, as in [`frames.rs`](frames.rs).

use rigswitch_dataplane::frames::{Checksum, Gso, GsoKind, PoolConfig};
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::ports::{Capabilities, Memory, Wire};
use rigswitch_dataplane::wire::forward;

use crate::support::tunnel::{self, OURS};
use crate::support::{Rig, worker};

/// Frames into a router with a tunnel: two bytes of length, one of where and how, then the packet, which a header is put before, or the whole frame; and
/// again. Nothing is lost from the ledger, and what comes out are packets with a right header that fit their link.
pub(crate) fn ipip(mut bytes: &[u8]) {
    const MTU: usize = 1500;
    let memory = PoolConfig { frames: 64, runs: 4, run_chunks: PoolConfig::SUPER_FRAME_CHUNKS };
    let (rig, mut links) = Rig::new(1, tunnel::tables(true), memory, 16);
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], (), &mut at);
    let ends = [0, 1].map(|id| {
        let (port, end) = Memory::new(256, Capabilities::default());
        rig.open(0, DeviceId(id), Box::new(port));
        end
    });
    while let [low, high, how, rest @ ..] = bytes {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (packet, rest) = rest.split_at(length);
        bytes = rest;
        let port = usize::from(how & 1);
        let mut wire = Wire::from(if how & 2 == 0 { framed(port, packet) } else { packet.to_vec() });
        match how >> 4 {
            1 => wire.checksum = Checksum::Unknown,
            2 => wire.checksum = Checksum::Partial { start: u16::from(*how), offset: 16 },
            3 => {
                wire.checksum = Checksum::Partial { start: 34 + 20 * u16::from(how & 1), offset: 16 };
                wire.gso = Some(Gso { kind: GsoKind::TcpV4, size: 1 + u16::from(*how), ecn: false });
            }
            _ => {}
        }
        let _ = ends[port].send(wire);
        worker.turn();
        assert_eq!(rig.ledger().imbalance(), (0, 0));
        for end in &ends {
            while let Some(sent) = end.receive() {
                assert!(sent.gso.is_none() && sent.bytes.len() <= MTU + 14);
                let packet = sent.bytes.get(14..).expect("a header is before it");
                assert!(forward::accept_ipv4(packet).is_ok() || forward::accept_ipv6(packet).is_ok());
            }
        }
    }
}

/// In a frame to the router at this port.
fn framed(port: usize, packet: &[u8]) -> Vec<u8> {
    let ether_type = if packet.first().is_some_and(|first| first >> 4 == 6) { [0x86, 0xdd] } else { [8, 0] };
    [&OURS[port][..], &[2, 0, 0, 0, 1, 9], &ether_type, packet].concat()
}
