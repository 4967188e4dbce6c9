//! A port in memory: frames are handed over as bytes through two bounded queues. No privilege, no kernel.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::{Capabilities, PortGone, PortIo, PortQueue};
use crate::drops::{Direction, DropReason};
use crate::frames::{Burst, Checksum, Gso};

/// A frame as it crosses the border: bytes, and the offload state a virtio device would tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wire {
    /// From the destination address on.
    pub bytes: Vec<u8>,
    /// How the transport checksum stands.
    pub checksum: Checksum,
    /// How to cut it, if it is a super-frame.
    pub gso: Option<Gso>,
}

impl From<Vec<u8>> for Wire {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, checksum: Checksum::Complete, gso: None }
    }
}

/// The switch's end of a memory port. Clones are handles on the same queue.
#[derive(Clone)]
pub struct Memory {
    rx: Receiver<Wire>,
    tx: Sender<Wire>,
    capabilities: Capabilities,
}

/// The far end: what a host on the other side of the wire would do.
#[derive(Clone)]
pub struct MemoryEnd {
    to_switch: Sender<Wire>,
    from_switch: Receiver<Wire>,
}

impl Memory {
    /// A port that holds up to `depth` frames each way, with its far end.
    pub fn new(depth: usize, capabilities: Capabilities) -> (Self, MemoryEnd) {
        let (to_switch, rx) = bounded(depth);
        let (tx, from_switch) = bounded(depth);
        (Self { rx, tx, capabilities }, MemoryEnd { to_switch, from_switch })
    }
}

impl MemoryEnd {
    /// Sends a frame to the switch; gives it back when the queue is full or the port closed.
    pub fn send(&self, frame: impl Into<Wire>) -> Result<(), Wire> {
        self.to_switch.try_send(frame.into()).map_err(TrySendError::into_inner)
    }

    /// The next frame the switch has sent.
    pub fn receive(&self) -> Option<Wire> {
        self.from_switch.try_recv().ok()
    }

    /// Frames the switch has not received yet.
    pub fn unread(&self) -> usize {
        self.to_switch.len()
    }
}

impl PortQueue for Memory {
    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        while burst.spare() > 0 {
            let Ok(wire) = self.rx.try_recv() else { break };
            let Some(mut frame) = io.pool.frame_of(&wire.bytes) else {
                io.receive_failed(wire.bytes.len(), DropReason::PoolEmpty);
                continue;
            };
            frame.set_checksum(wire.checksum);
            frame.set_gso(wire.gso);
            if burst.push(frame).is_err() {
                unreachable!("the burst had room");
            }
        }
        Ok(())
    }

    fn tx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        let room = self.tx.capacity().unwrap_or(0).saturating_sub(self.tx.len());
        for frame in burst.drain_front(room) {
            let wire = Wire { bytes: frame.bytes().to_vec(), checksum: frame.checksum(), gso: frame.gso() };
            match self.tx.try_send(wire) {
                Ok(()) => {
                    io.counters.sent.add(1, frame.len() as u64);
                    io.pool.free(frame);
                }
                Err(_) => io.discard(frame, Direction::Tx, DropReason::PortDown),
            }
        }
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn close(self: Box<Self>, _io: &mut PortIo<'_>) {}
}
