//! Frames lent to the kernel for sending, until it says that it is done with them.

use crate::drops::{Direction, DropReason};
use crate::frames::{Borrower, CHUNK, Frame, Pool};
use crate::ports::PortIo;
use crate::sys::ring::Descriptor;

/// The most descriptors a sent frame may take: an skb holds its head and 17 fragments, and a frame with more is
/// dropped by the kernel without ever completing.
pub(super) const PIECES: usize = 17;

/// The loans of one transmit side.
#[derive(Debug)]
pub(super) struct Sending {
    borrower: Borrower,
    /// Frames lent, and their bytes.
    held: u32,
    held_bytes: u64,
    /// Completions that named no loan of ours.
    bad: u64,
}

impl Sending {
    pub(super) fn new(borrower: Borrower) -> Self {
        Self { borrower, held: 0, held_bytes: 0, bad: 0 }
    }

    /// How many frames are lent.
    pub(super) fn held(&self) -> u32 {
        self.held
    }

    /// How many completions were not believed.
    pub(super) fn bad(&self) -> u64 {
        self.bad
    }

    /// Lends a frame; its descriptors, as many as [`pieces`] said, are to be put on the ring.
    #[inline]
    pub(super) fn lend(&mut self, pool: &mut Pool, frame: Frame) -> impl Iterator<Item = Descriptor> + use<> {
        let loan = pool.lend(self.borrower, frame);
        self.held += 1;
        self.held_bytes += u64::from(loan.len);
        let (mut addr, mut left) = (loan.address, loan.len);
        std::iter::from_fn(move || {
            let len = left.min(bytes_to_chunk_end(addr));
            let options = if left > len { Descriptor::CONTINUES } else { 0 };
            let piece = Descriptor { addr, len, options };
            addr += u64::from(len);
            left -= len;
            (len > 0).then_some(piece)
        })
    }

    /// The kernel is done with the chunk of `address`: its frame, if that was all of it, is sent.
    #[inline]
    pub(super) fn completed(&mut self, io: &mut PortIo<'_>, address: u64) {
        let len = io.pool.lent_len(self.borrower, address);
        match (len, io.pool.reclaim(self.borrower, address, 0)) {
            (Some(len), Some(frame)) => {
                io.pool.free(frame);
                self.held -= 1;
                self.held_bytes -= u64::from(len);
                io.counters.sent.add(1, u64::from(len));
            }
            // Only the last chunk of a run ends its loan; the others say nothing.
            _ if in_a_run(io.pool, address) => {}
            _ => self.bad += 1,
        }
    }

    /// Takes back everything lent, as dropped, for the socket is closed; or if the device has not let go of it, leaves it to the device for good.
    pub(super) fn recall(self, io: &mut PortIo<'_>, is_let_go: bool) {
        if is_let_go {
            io.pool.recall(self.borrower);
        }
        let dropped = io.counters.drops(Direction::Tx, DropReason::PortGone);
        dropped.add(u64::from(self.held), self.held_bytes);
    }
}

/// Descriptors that the frame takes: chunks that its bytes touch.
#[inline]
pub(super) fn pieces(frame: &Frame) -> usize {
    (frame.start() % CHUNK + frame.len()).div_ceil(CHUNK)
}

/// Whether a chunk is part of a run: those lie behind the single ones.
fn in_a_run(pool: &Pool, addr: u64) -> bool {
    let chunks = pool.area().bytes() / CHUNK;
    usize::try_from(addr).is_ok_and(|addr| (pool.config().frames..chunks).contains(&(addr / CHUNK)))
}

/// Bytes from `addr` to the end of its chunk.
#[inline]
fn bytes_to_chunk_end(addr: u64) -> u32 {
    let chunk = CHUNK as u64;
    u32::try_from(chunk - addr % chunk).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::{DeviceCounters, Volume};
    use crate::frames::PoolConfig;
    use crate::ports::Now;

    fn with_loans(test: impl FnOnce(&mut PortIo<'_>, &mut Sending)) -> DeviceCounters {
        let mut pool = Pool::new(PoolConfig { frames: 4, runs: 2, run_chunks: 4 });
        let mut sending = Sending::new(pool.borrower());
        let counters = DeviceCounters::default();
        let mut io = PortIo::new(&mut pool, &counters, Now::default());
        test(&mut io, &mut sending);
        sending.recall(&mut io, true);
        assert_eq!(pool.outstanding(), 0, "every frame came home");
        counters
    }

    fn frame(pool: &mut Pool, len: usize) -> Frame {
        let mut frame = pool.alloc(len).unwrap();
        assert!(frame.set_len(len));
        frame
    }

    #[test]
    fn a_frame_in_one_chunk_is_one_descriptor_and_is_sent_when_it_completes() {
        let counters = with_loans(|io, sending| {
            let frame = frame(io.pool, 60);
            let descriptors: Vec<_> = sending.lend(io.pool, frame).collect();
            assert_eq!((descriptors.len(), descriptors[0].len, descriptors[0].options), (1, 60, 0));
            assert_eq!(sending.held(), 1);
            sending.completed(io, descriptors[0].addr);
            sending.completed(io, descriptors[0].addr);
            assert_eq!((sending.held(), sending.bad()), (0, 1), "and only once");
        });
        assert_eq!(counters.sent.volume(), Volume { packets: 1, bytes: 60 });
        assert_eq!(counters.dropped(Direction::Tx), Volume::default());
    }

    #[test]
    fn a_run_is_cut_at_its_chunks_and_is_sent_with_the_last() {
        let counters = with_loans(|io, sending| {
            let frame = frame(io.pool, 9000);
            assert_eq!(pieces(&frame), 3);
            let descriptors: Vec<_> = sending.lend(io.pool, frame).collect();
            let shape: Vec<_> = descriptors.iter().map(|d| (d.addr % 4096, d.len, d.options)).collect();
            let goes_on = Descriptor::CONTINUES;
            assert_eq!(shape, [(256, 3840, goes_on), (0, 4096, goes_on), (0, 1064, 0)]);
            for descriptor in &descriptors {
                assert_eq!(sending.held(), 1);
                sending.completed(io, descriptor.addr);
            }
            assert_eq!((sending.held(), sending.bad()), (0, 0));
        });
        assert_eq!(counters.sent.volume(), Volume { packets: 1, bytes: 9000 });
    }

    #[test]
    fn a_frame_that_fills_its_run_to_the_last_byte_takes_no_piece_more() {
        with_loans(|io, sending| {
            let frame = frame(io.pool, 4 * CHUNK - 256);
            assert_eq!(pieces(&frame), 4);
            assert_eq!(sending.lend(io.pool, frame).count(), 4);
        });
    }

    #[test]
    fn a_completion_from_outside_is_not_believed() {
        with_loans(|io, sending| {
            for address in [0, 4096, 1 << 40, u64::MAX] {
                sending.completed(io, address);
            }
            assert_eq!(sending.bad(), 4);
        });
    }

    #[test]
    fn what_was_not_sent_is_counted_as_dropped() {
        let counters = with_loans(|io, sending| {
            for len in [60, 9000] {
                let frame = frame(io.pool, len);
                assert!(sending.lend(io.pool, frame).count() > 0);
            }
        });
        let dropped = counters.drops(Direction::Tx, DropReason::PortGone).volume();
        assert_eq!(dropped, Volume { packets: 2, bytes: 9060 });
    }
}
