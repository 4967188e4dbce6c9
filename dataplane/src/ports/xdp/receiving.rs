//! Frames lent to the kernel for receiving, and how its descriptors become frames again: none is believed unread.

use arrayvec::ArrayVec;

use crate::drops::DropReason;
use crate::frames::{Borrower, Checksum, Frame, Pool};
use crate::ports::PortIo;
use crate::sys::ring::Descriptor;

/// The most descriptors a received frame may take: 64 KiB and its headers, in chunks less the kernel's headroom.
const PIECES: usize = 18;

/// The loans of one receive side.
#[derive(Debug)]
pub(super) struct Receiving {
    borrower: Borrower,
    /// Frames that the fill ring, the kernel or the receive ring has.
    lent: u32,
    /// The descriptors so far of a frame that goes on.
    pieces: ArrayVec<Descriptor, PIECES>,
    /// That frame has more pieces than any we take: the bytes of those let go of so far.
    overlong: Option<usize>,
    /// Descriptors that named no loan of ours, or left their chunk.
    bad: u64,
}

impl Receiving {
    pub(super) fn new(borrower: Borrower) -> Self {
        Self { borrower, lent: 0, pieces: ArrayVec::new(), overlong: None, bad: 0 }
    }

    /// How many frames are lent.
    pub(super) fn lent(&self) -> u32 {
        self.lent
    }

    /// How many descriptors were not believed.
    pub(super) fn bad(&self) -> u64 {
        self.bad
    }

    /// Lends one more frame and answers its address. A quarter of the pool stays free for everything else.
    pub(super) fn lend(&mut self, pool: &mut Pool) -> Option<u64> {
        if pool.free_frames() <= pool.config().frames / 4 {
            return None;
        }
        let frame = pool.alloc(0)?;
        self.lent += 1;
        Some(pool.lend(self.borrower, frame).address)
    }

    /// The frame that this descriptor completes. `None` when it goes on, or was dropped and counted.
    #[inline]
    pub(super) fn take(&mut self, io: &mut PortIo<'_>, descriptor: Descriptor) -> Option<Frame> {
        let in_pieces = descriptor.options & Descriptor::CONTINUES != 0 || !self.pieces.is_empty();
        let mut frame = match in_pieces || self.overlong.is_some() {
            false => self.reclaim(io.pool, descriptor)?,
            true => self.gather(io, descriptor)?,
        };
        frame.prefetch();
        // An offloading far end may have left checksums partial, and AF_XDP does not say.
        frame.set_checksum(Checksum::Unknown);
        Some(frame)
    }

    /// The frame of one descriptor, its loan ended.
    fn reclaim(&mut self, pool: &mut Pool, descriptor: Descriptor) -> Option<Frame> {
        let Some(frame) = pool.reclaim(self.borrower, descriptor.addr, descriptor.len) else {
            self.bad += 1;
            return None;
        };
        self.lent -= 1;
        if frame.len() == descriptor.len as usize {
            return Some(frame);
        }
        // It leaves its chunk, so there are no such bytes; the chunk itself is ours again.
        self.bad += 1;
        pool.free(frame);
        None
    }

    /// One more piece of a frame in several; with the last one, the whole frame in a run.
    #[cold]
    fn gather(&mut self, io: &mut PortIo<'_>, descriptor: Descriptor) -> Option<Frame> {
        if self.pieces.is_full() {
            self.overlong = Some(self.overlong.unwrap_or(0) + self.let_go(io.pool));
        }
        self.pieces.push(descriptor);
        if descriptor.options & Descriptor::CONTINUES != 0 {
            return None;
        }
        let bytes = self.pieces.iter().map(|piece| piece.len as usize).sum::<usize>();
        let fits = self.overlong.is_none() && bytes <= io.pool.longest_frame();
        let Some(mut whole) = fits.then(|| io.pool.alloc(bytes)).flatten() else {
            let bytes = self.overlong.take().unwrap_or(0) + self.let_go(io.pool);
            io.receive_failed(bytes, if fits { DropReason::PoolEmpty } else { DropReason::Truncated });
            return None;
        };
        for piece in std::mem::take(&mut self.pieces) {
            let Some(part) = self.reclaim(io.pool, piece) else { continue };
            let at = whole.len();
            let room = whole.set_len(at + part.len());
            debug_assert!(room, "alloc gave the room that was asked for");
            whole.bytes_mut()[at..].copy_from_slice(part.bytes());
            io.pool.free(part);
        }
        if whole.len() == bytes {
            return Some(whole);
        }
        io.receive_failed(bytes, DropReason::PortError);
        io.pool.free(whole);
        None
    }

    /// Frees the pieces gathered, and answers how many bytes they were.
    fn let_go(&mut self, pool: &mut Pool) -> usize {
        let mut bytes = 0;
        for piece in std::mem::take(&mut self.pieces) {
            bytes += piece.len as usize;
            if let Some(frame) = self.reclaim(pool, piece) {
                pool.free(frame);
            }
        }
        bytes
    }

    /// Takes back everything lent, for the socket is closed; or if the device has not let go of it, leaves it to the device for good.
    pub(super) fn recall(self, pool: &mut Pool, is_let_go: bool) {
        if is_let_go {
            pool.recall(self.borrower);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::DeviceCounters;
    use crate::drops::Direction;
    use crate::frames::PoolConfig;
    use crate::ports::Now;

    const GOES_ON: u32 = Descriptor::CONTINUES;

    /// Runs `test` with a pool, the loans of one ring, and `count` chunks lent to it.
    fn with_lent(count: usize, test: impl FnOnce(&mut PortIo<'_>, &mut Receiving, &[u64])) -> DeviceCounters {
        let mut pool = Pool::new(PoolConfig { frames: 64, runs: 2, run_chunks: 4 });
        let mut receiving = Receiving::new(pool.borrower());
        let lent: Vec<_> = (0..count).map(|_| receiving.lend(&mut pool).unwrap()).collect();
        let counters = DeviceCounters::default();
        let mut io = PortIo::new(&mut pool, &counters, Now::default());
        test(&mut io, &mut receiving, &lent);
        receiving.recall(&mut pool, true);
        assert_eq!(pool.outstanding(), 0, "every frame came home");
        counters
    }

    fn descriptor(addr: u64, len: u32, options: u32) -> Descriptor {
        Descriptor { addr, len, options }
    }

    #[test]
    fn a_descriptor_of_a_standing_loan_is_a_frame_once() {
        with_lent(1, |io, receiving, lent| {
            let frame = receiving.take(io, descriptor(lent[0], 60, 0)).unwrap();
            assert_eq!((frame.len(), frame.checksum()), (60, Checksum::Unknown));
            io.pool.free(frame);
            assert!(receiving.take(io, descriptor(lent[0], 60, 0)).is_none());
            assert_eq!((receiving.lent(), receiving.bad()), (0, 1));
        });
    }

    #[test]
    fn a_descriptor_that_leaves_the_area_or_its_chunk_is_not_believed() {
        with_lent(2, |io, receiving, lent| {
            for (addr, len) in [(u64::MAX, 60), (1 << 40, 60), (lent[0], 4096), (lent[1], u32::MAX)] {
                assert!(receiving.take(io, descriptor(addr, len, 0)).is_none());
            }
            assert_eq!((receiving.lent(), receiving.bad()), (0, 4));
        });
    }

    #[test]
    fn pieces_become_one_frame() {
        with_lent(3, |io, receiving, lent| {
            assert!(receiving.take(io, descriptor(lent[0], 3000, GOES_ON)).is_none());
            assert!(receiving.take(io, descriptor(lent[1], 3000, GOES_ON)).is_none());
            let whole = receiving.take(io, descriptor(lent[2], 100, 0)).unwrap();
            assert_eq!((whole.len(), receiving.lent(), receiving.bad()), (6100, 0, 0));
            io.pool.free(whole);
        });
    }

    #[test]
    fn a_frame_with_a_piece_that_is_none_of_ours_is_dropped_whole() {
        let counters = with_lent(2, |io, receiving, lent| {
            for (addr, options) in [(lent[0], GOES_ON), (1 << 40, GOES_ON), (lent[1], 0)] {
                assert!(receiving.take(io, descriptor(addr, 3000, options)).is_none());
            }
            assert_eq!((receiving.lent(), receiving.bad()), (0, 1));
        });
        assert_eq!(counters.drops(Direction::Rx, DropReason::PortError).volume().bytes, 9000);
    }

    #[test]
    fn a_frame_without_end_is_dropped_and_the_next_one_is_not() {
        let counters = with_lent(42, |io, receiving, lent| {
            for &addr in &lent[..40] {
                assert!(receiving.take(io, descriptor(addr, 100, GOES_ON)).is_none());
            }
            assert!(receiving.take(io, descriptor(lent[40], 100, 0)).is_none());
            let frame = receiving.take(io, descriptor(lent[41], 100, 0)).unwrap();
            io.pool.free(frame);
            assert_eq!(receiving.lent(), 0);
        });
        let dropped = counters.drops(Direction::Rx, DropReason::Truncated).volume();
        assert_eq!((dropped.packets, dropped.bytes), (1, 4100));
    }

    #[test]
    fn without_a_free_run_a_long_frame_is_dropped_by_that_name() {
        let counters = with_lent(2, |io, receiving, lent| {
            let runs: Vec<_> = (0..2).map(|_| io.pool.alloc(5000).unwrap()).collect();
            assert!(receiving.take(io, descriptor(lent[0], 3000, GOES_ON)).is_none());
            assert!(receiving.take(io, descriptor(lent[1], 3000, 0)).is_none());
            runs.into_iter().for_each(|run| io.pool.free(run));
        });
        assert_eq!(counters.drops(Direction::Rx, DropReason::PoolEmpty).volume().bytes, 6000);
    }

    #[test]
    fn a_quarter_of_the_pool_is_never_lent_for_receiving() {
        with_lent(48, |io, receiving, _| assert_eq!(receiving.lend(io.pool), None));
    }
}
