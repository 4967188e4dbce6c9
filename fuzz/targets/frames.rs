//! The fuzz targets as plain functions: libFuzzer calls them with what it makes up, `cargo test --test corpus` with what it
//! has found before.

use rigswitch_dataplane::frames::{Checksum, Gso, GsoKind, PoolConfig};
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::ports::{Capabilities, Memory, Wire};
use rigswitch_dataplane::tables::Tables;
use rigswitch_dataplane::wire::{checksum, ethernet, layers, partial, segment, vlan};

use crate::support::{Rig, access_and_trunks, macvlans, one_bridge, worker};

/// Anything that reads a frame's headers: no bytes make it panic, and what it writes stays within them.
pub(crate) fn parse(bytes: &[u8]) {
    let _ = ethernet::Ethernet::view(bytes);
    let _ = vlan::untagged(bytes);
    assert!(layers::layers(bytes).count() <= layers::MAX_LAYERS);
    let mut frame = bytes.to_vec();
    partial::complete_partial(&mut frame);
    // What was completed once is complete.
    let again = frame.clone();
    partial::complete_partial(&mut frame);
    assert_eq!(frame, again);
    let [size, start, offset, ..] = *bytes else { return };
    let _ = checksum::complete(&mut frame, start.into(), offset.into());
    for kind in [segment::Kind::TcpV4, segment::Kind::TcpV6, segment::Kind::UdpL4] {
        if let Ok(segmenter) = segment::Segmenter::new(bytes, kind, size.into(), start.into()) {
            let mut out = vec![0; segmenter.longest()];
            for n in 0..segmenter.count() {
                assert!(segmenter.write(n, &mut out).is_some());
            }
        }
    }
}

/// Frames into a whole switch: two bytes of length, one of where and how, then the frame; and again. Nothing is lost from the
/// ledger, and nothing comes out that did not go in. Through a plain bridge, one that filters by VLAN, and macvlans.
pub(crate) fn switch(bytes: &[u8]) {
    through::<3>(one_bridge(3, 1), bytes);
    through::<3>(access_and_trunks(3, 12), bytes);
    through::<2>(macvlans(false, 4), bytes);
}

fn through<const PORTS: usize>(tables: Tables, mut bytes: &[u8]) {
    let memory = PoolConfig { frames: 64, runs: 4, run_chunks: PoolConfig::SUPER_FRAME_CHUNKS };
    let (rig, mut links) = Rig::new(1, tables, memory, 16);
    let mut at = None;
    let (mut worker, _) = worker(&mut links[0], (), &mut at);
    let ends: [_; PORTS] = std::array::from_fn(|id| {
        let (port, end) = Memory::new(256, Capabilities::default());
        rig.open(0, DeviceId(u16::try_from(id).unwrap()), Box::new(port));
        end
    });
    while let [low, high, how, rest @ ..] = bytes {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (frame, rest) = rest.split_at(length);
        bytes = rest;
        let mut wire = Wire::from(frame.to_vec());
        match how >> 4 {
            1 => wire.checksum = Checksum::Unknown,
            2 => wire.checksum = Checksum::Partial { start: u16::from(*how), offset: 16 },
            3 => {
                wire.checksum = Checksum::Partial { start: 34, offset: 16 };
                wire.gso = Some(Gso { kind: GsoKind::TcpV4, size: 1 + u16::from(*how), ecn: false });
            }
            _ => {}
        }
        let _ = ends[usize::from(*how) % PORTS].send(wire);
        worker.turn();
        assert_eq!(rig.ledger().imbalance(), (0, 0));
        for end in &ends {
            while let Some(sent) = end.receive() {
                assert!(sent.bytes.len() >= 14 && sent.gso.is_none());
            }
        }
    }
}
