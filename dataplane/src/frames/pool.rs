//! The pool: free chunks, and the loans of chunks that a kernel ring holds.

use std::ptr::NonNull;
use std::sync::Arc;

use super::area::{Area, CHUNK, HEADROOM};
use super::frame::{Frame, RESERVED};

/// How much packet memory a worker has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolConfig {
    /// Frames of one chunk each.
    pub frames: usize,
    /// Runs of adjacent chunks, for frames that do not fit one.
    pub runs: usize,
    /// Chunks in a run, 2 to 255; irrelevant without runs.
    pub run_chunks: u8,
}

impl PoolConfig {
    /// Chunks of a run that holds a super-frame: 64 KiB of IP packet, its Ethernet header and tags, and headroom.
    pub const SUPER_FRAME_CHUNKS: u8 = 17;

    /// Only single chunks.
    pub fn singles(frames: usize) -> Self {
        Self { frames, runs: 0, run_chunks: 0 }
    }
}

/// Who holds a loan: one kernel ring pair of one socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Borrower(u16);

/// A frame that was lent: what its descriptor says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loan {
    /// Offset of the first byte from the start of the area.
    pub address: u64,
    /// Bytes of data.
    pub len: u32,
}

/// The state of one chunk, as far as the pool must know it.
#[derive(Clone, Copy)]
struct Lent {
    borrower: u16, // 0: not lent, or not the chunk that a loan is told by
    len: u32,
}

const NOT_LENT: Lent = Lent { borrower: 0, len: 0 };

/// The free frames of one worker, and the book of those lent to the kernel.
///
/// All memory is made when the pool is; nothing here allocates afterwards.
pub struct Pool {
    area: Arc<Area>,
    config: PoolConfig,
    singles: Vec<u32>, // free chunks, last in first out: the warm ones come back first
    runs: Vec<u32>,    // first chunks of free runs
    lent: Box<[Lent]>, // by chunk; a run's loan is told by its last chunk
    borrowers: u16,
}

impl Pool {
    /// A pool with all of its frames free.
    ///
    /// # Panics
    /// If the area would exceed 4 Gi chunks, or a run has fewer than two chunks.
    pub fn new(config: PoolConfig) -> Self {
        assert!(config.runs == 0 || config.run_chunks >= 2, "a run has two chunks or more");
        let chunks = config.frames + config.runs * usize::from(config.run_chunks);
        let index = |chunk: usize| u32::try_from(chunk).expect("chunks are counted in 32 bits");
        let first_run = |run: usize| index(config.frames + run * usize::from(config.run_chunks));
        Self {
            area: Arc::new(Area::new(chunks)),
            config,
            singles: (0..config.frames).rev().map(index).collect(),
            runs: (0..config.runs).rev().map(first_run).collect(),
            lent: vec![NOT_LENT; chunks].into_boxed_slice(),
            borrowers: 0,
        }
    }

    /// The memory, for registering it with a socket.
    pub fn area(&self) -> &Arc<Area> {
        &self.area
    }

    /// How the pool was made.
    pub fn config(&self) -> PoolConfig {
        self.config
    }

    /// Free single frames.
    pub fn free_frames(&self) -> usize {
        self.singles.len()
    }

    /// Frames and runs that are neither free nor lent nor lost: those in somebody's hands.
    pub fn outstanding(&self) -> usize {
        self.config.frames + self.config.runs - self.singles.len() - self.runs.len()
    }

    /// The longest frame this pool can hold, in bytes.
    pub fn longest_frame(&self) -> usize {
        let chunks = if self.config.runs > 0 { usize::from(self.config.run_chunks) } else { 1 };
        chunks * CHUNK - HEADROOM
    }

    /// An empty frame with room for `len` bytes behind the headroom; `None` if there is no free memory of the size.
    #[inline]
    pub fn alloc(&mut self, len: usize) -> Option<Frame> {
        if len <= CHUNK - HEADROOM { self.alloc_single(len, 0) } else { self.alloc_run(len) }
    }

    /// The same, with `len` bytes in it, which hold whatever was there before.
    #[inline]
    pub fn alloc_sized(&mut self, len: usize) -> Option<Frame> {
        if len <= CHUNK - HEADROOM {
            // What fits a chunk fits 32 bits.
            #[allow(clippy::cast_possible_truncation)]
            return self.alloc_single(len, len as u32);
        }
        let mut frame = self.alloc_run(len)?;
        let fits = frame.set_len(len);
        debug_assert!(fits, "a run has the room that was asked for");
        Some(frame)
    }

    /// A chunk with room for `room` bytes behind the headroom, which is no more than a chunk has, and `len` of them in it.
    #[inline(always)]
    fn alloc_single(&mut self, room: usize, len: u32) -> Option<Frame> {
        let index = self.singles.pop()?;
        let head = HEADROOM + colour(index, room);
        // `head` is below a chunk.
        #[allow(clippy::cast_possible_truncation)]
        let head = head as u16;
        // SAFETY: what is on the list of free chunks are chunks of the area.
        let chunk = unsafe { self.area.chunk(index as usize) };
        // SAFETY: the chunk was free, so nobody else has a token for it; the area lives as long as any token,
        // by `Drop`; it is zeroed when made and only ever written since; a chunk holds the headroom, what colours add of it, and
        // `len`, which is `room` or nothing.
        Some(unsafe { Frame::new(chunk, 1, head, len) })
    }

    #[cold]
    fn alloc_run(&mut self, len: usize) -> Option<Frame> {
        if len > self.longest_frame() {
            return None;
        }
        let index = self.runs.pop()?;
        // SAFETY: what is on the list of free runs are chunks of the area.
        let chunk = unsafe { self.area.chunk(index as usize) };
        // SAFETY: as in `alloc_single`, for all chunks of the run.
        Some(unsafe { Frame::new(chunk, self.config.run_chunks, HEADROOM_U16, 0) })
    }

    /// A frame of these bytes; `None` if there is no free memory of the size.
    #[inline]
    pub fn frame_of(&mut self, bytes: &[u8]) -> Option<Frame> {
        let mut frame = self.alloc_sized(bytes.len())?;
        frame.bytes_mut().copy_from_slice(bytes);
        Some(frame)
    }

    /// A copy of `frame`, offload state included; `None` if there is no free memory of its size.
    #[inline]
    pub fn copy(&mut self, frame: &Frame) -> Option<Frame> {
        let mut copy = self.frame_of(frame.bytes())?;
        copy.copy_offload(frame);
        Some(copy)
    }

    /// Takes a frame back.
    ///
    /// # Panics
    /// If the frame is another pool's.
    #[inline]
    pub fn free(&mut self, frame: Frame) {
        let index = self.chunk_index(frame.retire());
        self.put_back(index);
    }

    fn chunk_index(&self, chunk: NonNull<u8>) -> usize {
        self.area.offset_of(chunk).expect("a frame goes back to its own pool") / CHUNK
    }

    // Chunk numbers fit 32 bits, by `new`.
    #[allow(clippy::cast_possible_truncation)]
    fn put_back(&mut self, index: usize) {
        if index < self.config.frames {
            self.singles.push(index as u32);
        } else {
            self.runs.push(index as u32);
        }
    }

    /// A new borrower, for one socket's rings.
    ///
    /// # Panics
    /// After 65,535 of them.
    pub fn borrower(&mut self) -> Borrower {
        self.borrowers = self.borrowers.checked_add(1).expect("fewer than 65,536 sockets a worker");
        Borrower(self.borrowers)
    }

    /// Lends a frame to `borrower`'s ring. The descriptors of a run that spans chunks are the ring's to make; the
    /// loan ends when its *last* chunk comes back.
    pub fn lend(&mut self, borrower: Borrower, frame: Frame) -> Loan {
        let (chunks, len, head) = (frame.chunks(), frame.len(), frame.start());
        let used = (head + len).div_ceil(CHUNK).clamp(1, chunks);
        let first = self.chunk_index(frame.retire());
        // A frame's length fits 32 bits, by its token.
        #[allow(clippy::cast_possible_truncation)]
        let len = len as u32;
        self.lent[first + used - 1] = Lent { borrower: borrower.0, len };
        Loan { address: (first * CHUNK + head) as u64, len }
    }

    /// Ends the loan of the frame whose last byte's chunk holds `address`, and makes the frame again, with data of `len`
    /// bytes from `address` on where these lie within that chunk (a received frame), else empty (a completed one).
    /// `None` if no such loan stands: the descriptor is not to be believed.
    pub fn reclaim(&mut self, borrower: Borrower, address: u64, len: u32) -> Option<Frame> {
        let address = usize::try_from(address).ok()?;
        let last = address / CHUNK;
        let lent = self.lent.get_mut(last).filter(|lent| lent.borrower == borrower.0)?;
        *lent = NOT_LENT;
        Some(self.remake(last, address % CHUNK, len))
    }

    /// The length that was lent with the loan told by `address`'s chunk; `None` if no such loan stands.
    pub fn lent_len(&self, borrower: Borrower, address: u64) -> Option<u32> {
        let chunk = usize::try_from(address).ok()? / CHUNK;
        self.lent.get(chunk).filter(|lent| lent.borrower == borrower.0).map(|lent| lent.len)
    }

    /// Takes back every chunk still lent to `borrower`, whose socket the caller has closed, so that the kernel
    /// touches none of it any more. Returns how many frames came back.
    pub fn recall(&mut self, borrower: Borrower) -> usize {
        let mut count = 0;
        for last in 0..self.lent.len() {
            if self.lent[last].borrower == borrower.0 {
                self.lent[last] = NOT_LENT;
                let frame = self.remake(last, HEADROOM, 0);
                self.free(frame);
                count += 1;
            }
        }
        count
    }

    /// The frame whose loan, told by chunk `last`, has just ended.
    fn remake(&mut self, last: usize, start: usize, len: u32) -> Frame {
        let (first, chunks) = match last.checked_sub(self.config.frames) {
            None => (last, 1),
            Some(in_runs) => {
                let length = usize::from(self.config.run_chunks);
                (self.config.frames + in_runs / length * length, self.config.run_chunks)
            }
        };
        let within = first == last && start >= RESERVED && start + len as usize <= CHUNK;
        let (head, len) = if within { (start, len) } else { (HEADROOM, 0) };
        // An offset within a chunk fits 16 bits.
        #[allow(clippy::cast_possible_truncation)]
        let head = head as u16;
        // SAFETY: `lent` has an entry for each chunk of the area, and `last` had one.
        let chunk = unsafe { self.area.chunk(first) };
        // SAFETY: the loan was the only claim on these chunks (its token was retired by `lend`) and has ended;
        // what the kernel wrote there is initialised memory; head and length were checked just now.
        unsafe { Frame::new(chunk, chunks, head, len) }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let lent = self.lent.iter().filter(|lent| lent.borrower != 0).count();
        if self.outstanding() > lent {
            // Somebody may hold a frame still (a worker that panicked): its bytes must stay mapped. Frames that are lent
            // have no token; who registered the memory keeps it.
            std::mem::forget(Arc::clone(&self.area));
        }
    }
}

#[allow(clippy::cast_possible_truncation)]
const HEADROOM_U16: u16 = HEADROOM as u16;

/// Extra headroom that spreads short frames over the cache: with all data at one offset of its page, a burst would
/// fight for the eight ways of a few sets.
fn colour(index: u32, len: usize) -> usize {
    if len <= CHUNK / 2 { (index as usize % 16) * 64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::Checksum;

    #[test]
    fn a_pool_gives_each_frame_once_and_takes_it_back() {
        let mut pool = Pool::new(PoolConfig::singles(3));
        let frames: Vec<_> = std::iter::from_fn(|| pool.alloc(60)).collect();
        assert_eq!(frames.len(), 3);
        assert_eq!(pool.outstanding(), 3);
        for frame in frames {
            pool.free(frame);
        }
        assert_eq!((pool.outstanding(), pool.free_frames()), (0, 3));
    }

    #[test]
    fn headers_are_pushed_into_headroom_and_the_checksum_start_follows() {
        let mut pool = Pool::new(PoolConfig::singles(1));
        let mut frame = pool.alloc(60).unwrap();
        assert!(frame.fill(&[7; 60]));
        frame.set_checksum(Checksum::Partial { start: 34, offset: 16 });
        assert!(frame.push_front(4));
        assert_eq!(frame.checksum(), Checksum::Partial { start: 38, offset: 16 });
        assert_eq!((frame.len(), frame.bytes()[4]), (64, 7));
        assert!(frame.pull_front(4));
        assert!(!frame.pull_front(61) && !frame.push_front(4000));
        assert_eq!(frame.bytes(), [7; 60]);
        pool.free(frame);
    }

    #[test]
    fn headers_take_all_headroom_but_what_the_offload_state_is_kept_in() {
        let mut pool = Pool::new(PoolConfig::singles(1));
        let mut frame = pool.alloc(60).unwrap();
        assert!(frame.fill(&[7; 60]));
        frame.set_checksum(Checksum::Partial { start: 34, offset: 16 });
        let count = u16::try_from(frame.headroom()).unwrap();
        assert!(frame.push_front(count) && !frame.push_front(1));
        frame.bytes_mut().fill(0xff);
        assert_eq!(frame.checksum(), Checksum::Partial { start: 34 + count, offset: 16 });
        assert!(frame.pull_front(count + 35), "the start is taken off");
        assert!(frame.is_wire_ready());
        frame.set_checksum(Checksum::Unknown);
        assert!(!frame.is_wire_ready() && frame.gso().is_none());
        assert!(frame.push_front(10));
        assert_eq!((frame.checksum(), frame.len()), (Checksum::Unknown, 35));
        pool.free(frame);
    }

    #[test]
    fn long_frames_lie_in_runs_and_copies_keep_their_offload_state() {
        let mut pool = Pool::new(PoolConfig { frames: 1, runs: 2, run_chunks: 3 });
        let mut frame = pool.alloc(9000).unwrap();
        assert!(frame.fill(&[9; 9000]));
        frame.set_checksum(Checksum::Unknown);
        let copy = pool.copy(&frame).unwrap();
        assert_eq!((copy.bytes(), copy.checksum()), (&[9; 9000][..], Checksum::Unknown));
        assert!(pool.alloc(9000).is_none() && pool.alloc(20_000).is_none());
        pool.free(frame);
        pool.free(copy);
        assert_eq!(pool.outstanding(), 0);
    }

    #[test]
    fn only_a_standing_loan_makes_a_frame_again() {
        let mut pool = Pool::new(PoolConfig { frames: 2, runs: 1, run_chunks: 3 });
        let (ring, other) = (pool.borrower(), pool.borrower());
        let mut frame = pool.alloc(100).unwrap();
        assert!(frame.fill(&[1; 100]));
        let loan = pool.lend(ring, frame);
        assert_eq!(loan.len, 100);
        assert!(pool.reclaim(other, loan.address, 100).is_none(), "another ring's loan");
        assert!(pool.reclaim(ring, 1 << 40, 100).is_none(), "outside the area");
        let back = pool.reclaim(ring, loan.address, 100).unwrap();
        assert_eq!(back.bytes(), [1; 100]);
        assert!(pool.reclaim(ring, loan.address, 100).is_none(), "came back already");
        pool.free(back);
    }

    #[test]
    fn a_runs_loan_ends_with_its_last_chunk() {
        let mut pool = Pool::new(PoolConfig { frames: 1, runs: 1, run_chunks: 3 });
        let ring = pool.borrower();
        let mut frame = pool.alloc(5000).unwrap();
        assert!(frame.set_len(5000));
        let loan = pool.lend(ring, frame);
        assert!(pool.reclaim(ring, loan.address, 0).is_none());
        assert_eq!(pool.lent_len(ring, loan.address + CHUNK as u64), Some(5000));
        let back = pool.reclaim(ring, loan.address + CHUNK as u64, 0).unwrap();
        assert_eq!(back.chunks(), 3);
        pool.free(back);
        assert_eq!(pool.outstanding(), 0);
    }

    #[test]
    fn a_recall_brings_all_loans_home() {
        let mut pool = Pool::new(PoolConfig::singles(4));
        let ring = pool.borrower();
        for _ in 0..3 {
            let frame = pool.alloc(60).unwrap();
            pool.lend(ring, frame);
        }
        assert_eq!(pool.recall(ring), 3);
        assert_eq!(pool.outstanding(), 0);
    }

    #[test]
    #[cfg(all(debug_assertions, not(miri)))] // Miri would report the memory that is kept mapped on purpose
    #[should_panic(expected = "dropped outside its pool")]
    fn a_frame_dropped_outside_the_pool_is_a_bug() {
        let mut pool = Pool::new(PoolConfig::singles(1));
        drop(pool.alloc(60));
    }
}
