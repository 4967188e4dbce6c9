//! One queue of an AF_XDP device: the frames it lends to the kernel's rings, and how they come back.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use arrayvec::ArrayVec;

use super::device::{Attachment, DEPTH};
use crate::drops::{Direction, DropReason};
use crate::frames::{Area, Borrower, Burst, CHUNK, Checksum, Frame, Pool};
use crate::ports::{Capabilities, PortGone, PortIo, PortQueue};
use crate::sys::bpf::Attach;
use crate::sys::ring::Descriptor;
use crate::sys::xsk::Socket;

/// The most descriptors one sent frame may take: an skb holds its head and 17 fragments, and a frame with more is
/// dropped by the kernel without ever completing.
const PIECES_SENT: usize = 17;

/// The most descriptors a received frame may take: 64 KiB and its headers, in chunks less the kernel's headroom.
const PIECES_RECEIVED: usize = 18;

/// Frames are lent for receiving in groups, so that the ring's indices do not bounce between CPUs frame by frame.
const REFILL: u32 = 64;

/// Calls to the kernel for one burst. Each may end early for reasons that pass; what is left goes with the next burst
/// or turn.
const KICKS: usize = 4;

/// Empty receive calls between two questions whether the device is still there.
const QUIET: u32 = 64;

/// One receive queue and the transmit queue of the same number. Made by
/// [`XdpDevice::open_queue`](super::XdpDevice::open_queue).
#[derive(Debug)]
pub struct XdpQueue {
    socket: Socket,
    zero_copy: bool,
    /// Who holds the loans of the receive and of the transmit side; the first call makes them.
    borrowers: Option<Borrowers>,
    /// Frames lent for receiving.
    lent_rx: u32,
    /// Frames lent for sending, and their bytes.
    held: u32,
    held_bytes: u64,
    /// The descriptors so far of a frame that goes on.
    pieces: ArrayVec<Descriptor, PIECES_RECEIVED>,
    /// That frame is longer than any we take: its bytes so far.
    overlong: Option<usize>,
    /// The device was down when last asked to send.
    down: bool,
    /// Receive calls since anything was received.
    quiet: u32,
    /// Descriptors that named no chunk of ours.
    bad: u64,
    // Declared last, dropped last: the socket closes first.
    attachment: Arc<Attachment>,
    _area: Arc<Area>,
}

#[derive(Clone, Copy, Debug)]
struct Borrowers {
    rx: Borrower,
    tx: Borrower,
}

impl XdpQueue {
    pub(super) fn new(socket: Socket, zero_copy: bool, area: Arc<Area>, attachment: Arc<Attachment>) -> Self {
        Self {
            socket,
            zero_copy,
            borrowers: None,
            lent_rx: 0,
            held: 0,
            held_bytes: 0,
            pieces: ArrayVec::new(),
            overlong: None,
            down: false,
            quiet: 0,
            bad: 0,
            attachment,
            _area: area,
        }
    }

    /// The most frames a queue holds at a time, both ways together: what a pool needs for each.
    pub const FRAMES: u32 = 2 * DEPTH;

    /// How frames are moved, in words: where the program runs, and whether the kernel copies them.
    pub fn mode(&self) -> &'static str {
        match (self.attachment.hook, self.zero_copy) {
            (Attach::Native, true) => "native, zero-copy",
            (Attach::Native, false) => "native, copy",
            (Attach::Generic, _) => "generic, copy",
        }
    }

    fn borrowers(&mut self, pool: &mut Pool) -> Borrowers {
        *self.borrowers.get_or_insert_with(|| Borrowers { rx: pool.borrower(), tx: pool.borrower() })
    }

    /// Lends free frames for receiving, as long as a quarter of the pool stays free for everything else.
    fn refill(&mut self, pool: &mut Pool) -> Result<(), PortGone> {
        if self.lent_rx + REFILL > DEPTH {
            return Ok(());
        }
        let borrower = self.borrowers(pool).rx;
        let kept_free = pool.config().frames / 4;
        while self.lent_rx < DEPTH && pool.free_frames() > kept_free {
            let Some(frame) = pool.alloc(0) else { break };
            let loan = pool.lend(borrower, frame);
            // No more is lent than the ring holds, so there is room.
            let pushed = self.socket.fill.push(loan.address);
            debug_assert!(pushed, "the fill ring holds all that is lent");
            self.lent_rx += 1;
        }
        self.socket.fill.submit();
        if self.socket.fill.needs_wakeup() {
            self.told(self.socket.kick_rx())?;
        }
        Ok(())
    }

    /// The frame of a descriptor, its loan ended; nothing if there was no such loan.
    fn reclaim(&mut self, pool: &mut Pool, descriptor: Descriptor) -> Option<Frame> {
        let borrower = self.borrowers(pool).rx;
        let frame = pool.reclaim(borrower, descriptor.addr, descriptor.len);
        match frame {
            Some(_) => self.lent_rx -= 1,
            None => self.bad += 1,
        }
        frame
    }

    /// A frame that lies in one chunk.
    fn receive(&mut self, io: &mut PortIo<'_>, descriptor: Descriptor) -> Option<Frame> {
        let frame = self.reclaim(io.pool, descriptor)?;
        if frame.len() != descriptor.len as usize {
            // It is said to leave its chunk: its loan has ended, its bytes are not to be believed.
            self.bad += 1;
            io.receive_failed(0, DropReason::PortError);
            io.pool.free(frame);
            return None;
        }
        Some(frame)
    }

    /// One more piece of a frame in several; the whole frame, in a run, with its last.
    #[cold]
    fn gather(&mut self, io: &mut PortIo<'_>, descriptor: Descriptor) -> Option<Frame> {
        if self.pieces.is_full() {
            let so_far = self.overlong.unwrap_or(0);
            self.overlong = Some(so_far + self.abandon_pieces(io.pool));
        }
        self.pieces.push(descriptor);
        if descriptor.options & Descriptor::CONTINUES != 0 {
            return None;
        }
        if let Some(so_far) = self.overlong.take() {
            let bytes = so_far + self.abandon_pieces(io.pool);
            io.receive_failed(bytes, DropReason::Truncated);
            return None;
        }
        let bytes = self.pieces.iter().map(|piece| piece.len as usize).sum();
        let Some(mut whole) = io.pool.alloc(bytes).map(|frame| with_len(frame, bytes)) else {
            self.abandon_pieces(io.pool);
            let fits = bytes <= io.pool.longest_frame();
            io.receive_failed(bytes, if fits { DropReason::PoolEmpty } else { DropReason::Truncated });
            return None;
        };
        let mut at = 0;
        for piece in std::mem::take(&mut self.pieces) {
            let Some(part) = self.receive(io, piece) else { continue };
            whole.bytes_mut()[at..at + part.len()].copy_from_slice(part.bytes());
            at += part.len();
            io.pool.free(part);
        }
        if at < bytes {
            io.receive_failed(bytes, DropReason::PortError);
            io.pool.free(whole);
            return None;
        }
        Some(whole)
    }

    /// Frees the pieces gathered, and answers how many bytes they were.
    fn abandon_pieces(&mut self, pool: &mut Pool) -> usize {
        let mut bytes = 0;
        for piece in std::mem::take(&mut self.pieces) {
            bytes += piece.len as usize;
            if let Some(frame) = self.reclaim(pool, piece) {
                pool.free(frame);
            }
        }
        bytes
    }

    /// Puts a frame on the transmit ring, in as many descriptors as it spans chunks. The caller saw to the room.
    fn lend_to_send(&mut self, pool: &mut Pool, frame: Frame) {
        let borrower = self.borrowers(pool).tx;
        let loan = pool.lend(borrower, frame);
        self.held += 1;
        self.held_bytes += u64::from(loan.len);
        let (mut addr, mut left) = (loan.address, loan.len);
        while left > 0 {
            let len = left.min(bytes_to_chunk_end(addr));
            let options = if left > len { Descriptor::CONTINUES } else { 0 };
            let pushed = self.socket.tx.push(Descriptor { addr, len, options });
            debug_assert!(pushed, "the caller saw to the room");
            addr += u64::from(len);
            left -= len;
        }
    }

    /// Has the kernel send what the ring holds, unless it does so by itself.
    fn kick(&mut self, io: &mut PortIo<'_>) -> Result<(), PortGone> {
        for _ in 0..KICKS {
            if !self.socket.tx.needs_wakeup() {
                return Ok(());
            }
            let answer = self.socket.kick_tx();
            let sent_all = answer.is_ok();
            self.told(answer)?;
            if sent_all || self.down {
                return Ok(());
            }
            self.reap(io);
        }
        Ok(())
    }

    /// Takes back what the kernel has sent.
    fn reap(&mut self, io: &mut PortIo<'_>) {
        let Some(Borrowers { tx, .. }) = self.borrowers else { return };
        let (mut popped, mut packets, mut bytes) = (false, 0, 0);
        while let Some(address) = self.socket.completion.pop() {
            popped = true;
            let len = io.pool.lent_len(tx, address);
            match (len, io.pool.reclaim(tx, address, 0)) {
                (Some(len), Some(frame)) => {
                    io.pool.free(frame);
                    packets += 1;
                    bytes += u64::from(len);
                }
                // Only the last chunk of a run ends its loan; the others say nothing.
                _ if in_a_run(io.pool, address) => {}
                _ => self.bad += 1,
            }
        }
        if popped {
            self.socket.completion.release();
            self.held -= packets;
            self.held_bytes -= bytes;
            io.counters.sent.add(u64::from(packets), bytes);
        }
    }

    /// What an answer of the kernel says of the device: up, down, or gone. That it could not go on just now
    /// (`EAGAIN`, `EBUSY`, `ENOBUFS`) says it is up.
    fn told(&mut self, answer: io::Result<()>) -> Result<(), PortGone> {
        let error = answer.err();
        let code = error.as_ref().and_then(io::Error::raw_os_error);
        self.down = code == Some(libc::ENETDOWN);
        match (code, error) {
            (Some(libc::ENXIO | libc::EBADF | libc::ENODEV), Some(error)) => Err(PortGone(error)),
            _ => Ok(()),
        }
    }
}

impl PortQueue for XdpQueue {
    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        let mut popped = false;
        while burst.spare() > 0 {
            let Some(descriptor) = self.socket.rx.pop() else { break };
            popped = true;
            let in_pieces = descriptor.options & Descriptor::CONTINUES != 0 || !self.pieces.is_empty();
            let received = if in_pieces { self.gather(io, descriptor) } else { self.receive(io, descriptor) };
            let Some(mut frame) = received else { continue };
            frame.set_checksum(Checksum::Unknown);
            if burst.push(frame).is_err() {
                unreachable!("the burst had room");
            }
        }
        if popped {
            self.quiet = 0;
            self.socket.rx.release();
        } else {
            self.quiet += 1;
            if self.quiet >= QUIET {
                self.quiet = 0;
                self.told(self.socket.kick_rx())?;
            }
        }
        self.refill(io.pool)
    }

    fn tx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        if self.down {
            self.told(self.socket.kick_tx())?;
        }
        if self.down {
            for frame in burst.drain() {
                io.discard(frame, Direction::Tx, DropReason::PortDown);
            }
            return Ok(());
        }
        let mut room = self.socket.tx.free() as usize;
        let fitting = burst.iter().take_while(|frame| {
            let pieces = pieces(frame);
            let fits = pieces <= room;
            room = room.saturating_sub(pieces);
            fits
        });
        let count = fitting.count();
        for frame in burst.drain_front(count) {
            if frame.len() == 0 || pieces(&frame) > PIECES_SENT {
                io.discard(frame, Direction::Tx, DropReason::PortError);
            } else {
                self.lend_to_send(io.pool, frame);
            }
        }
        self.socket.tx.submit();
        self.kick(io)
    }

    fn complete(&mut self, io: &mut PortIo<'_>) -> Result<(), PortGone> {
        if self.held == 0 {
            return Ok(());
        }
        self.reap(io);
        // What an earlier kick left behind would otherwise wait for the next frame.
        let waiting = self.held > 0 && !self.down && self.socket.tx.free() < self.socket.tx.size();
        if waiting { self.kick(io) } else { Ok(()) }
    }

    fn held(&self) -> usize {
        self.held as usize
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { may_lose_tags: self.attachment.may_lose_tags, ..Capabilities::default() }
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn lost_before_us(&self) -> Vec<(&'static str, u64)> {
        let seen = self.socket.statistics().unwrap_or_default();
        vec![
            ("rx_dropped", seen.rx_dropped),
            ("rx_ring_full", seen.rx_ring_full),
            ("rx_fill_ring_empty", seen.rx_fill_ring_empty),
            ("tx_invalid", seen.tx_invalid),
            ("bad_descriptors", self.bad),
        ]
    }

    fn close(mut self: Box<Self>, io: &mut PortIo<'_>) {
        self.reap(io);
        let Some(Borrowers { rx, tx }) = self.borrowers else { return };
        let (held, held_bytes) = (self.held, self.held_bytes);
        drop(self); // The kernel lets go of packet memory before its loans are called back.
        io.pool.recall(rx);
        io.pool.recall(tx);
        io.counters.drops(Direction::Tx, DropReason::PortGone).add(u64::from(held), held_bytes);
    }
}

/// Chunks that the frame's bytes touch.
fn pieces(frame: &Frame) -> usize {
    (frame.headroom() % CHUNK + frame.len()).div_ceil(CHUNK)
}

/// Whether a chunk is part of a run: those lie behind the single ones.
fn in_a_run(pool: &Pool, addr: u64) -> bool {
    usize::try_from(addr).is_ok_and(|addr| addr / CHUNK >= pool.config().frames)
}

/// Bytes from `addr` to the end of its chunk.
fn bytes_to_chunk_end(addr: u64) -> u32 {
    let chunk = CHUNK as u64;
    u32::try_from(chunk - addr % chunk).unwrap_or(u32::MAX)
}

fn with_len(mut frame: Frame, len: usize) -> Frame {
    let fits = frame.set_len(len);
    debug_assert!(fits, "alloc gave the room that was asked for");
    frame
}
