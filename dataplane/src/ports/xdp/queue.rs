//! One queue of an AF_XDP device: its rings kept moving, and the kernel called when it wants to be.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::device::{Attachment, Bound, DEPTH};
use super::letting_go::Successor;
use super::receiving::Receiving;
use super::sending::{self, Sending};
use crate::drops::{Direction, DropReason};
use crate::frames::{Area, Burst, Pool};
use crate::ports::{Capabilities, Now, PortGone, PortIo, PortQueue};
use crate::sys::bpf::Attach;
use crate::sys::xsk::Socket;

/// Frames are lent for receiving in groups, so that the ring's indices do not bounce between CPUs frame by frame.
const REFILL: u32 = 64;

/// Calls to the kernel for one burst. Each may end early for reasons that pass; what is left goes with the next burst
/// or turn.
const KICKS: usize = 4;

/// Empty receive calls between two questions whether the device is still there, which no poll tells; and the longest time
/// between them, for a worker that sleeps makes few calls.
const QUIET: u32 = 64;
const QUIET_NS: u64 = 500_000_000;

/// One receive queue and the transmit queue of the same number. Made by
/// [`XdpDevice::open_queue`](super::XdpDevice::open_queue).
#[derive(Debug)]
pub struct XdpQueue {
    socket: Socket,
    number: u16,
    zero_copy: bool,
    /// The most pieces that a frame may be sent in.
    pieces: usize,
    /// Tells when the device is done with packet memory; none where the kernel copies, for then it is so with the socket.
    successor: Option<Successor>,
    /// What the kernel has of the worker's memory; nothing before the worker's first call.
    loans: Option<Loans>,
    /// The most frames lent for receiving.
    share: u32,
    /// The device was down when the kernel was last called.
    down: bool,
    /// Receive calls since anything was received or the kernel was asked.
    quiet: u32,
    /// When that was.
    heard: Now,
    // Declared last, dropped last: the socket closes first.
    attachment: Arc<Attachment>,
    _area: Arc<Area>,
}

#[derive(Debug)]
struct Loans {
    rx: Receiving,
    tx: Sending,
}

impl XdpQueue {
    /// The most frames a queue holds at a time, both ways together: what a pool needs for each.
    pub const FRAMES: u32 = 2 * DEPTH;

    /// Queue `number` of a device, on a bound socket that has `area` registered.
    pub(super) fn new(attachment: Arc<Attachment>, number: u16, area: Arc<Area>, bound: Bound) -> Self {
        Self {
            socket: bound.socket,
            number,
            zero_copy: bound.zero_copy,
            pieces: bound.pieces.min(sending::PIECES),
            successor: bound.successor,
            loans: None,
            share: DEPTH,
            down: false,
            quiet: 0,
            heard: Now::default(),
            attachment,
            _area: area,
        }
    }

    /// The same, lending no more than `frames` for receiving, at least one: its share of a pool that other queues receive
    /// into as well.
    #[must_use]
    pub fn with_share(mut self, frames: u32) -> Self {
        self.share = frames.clamp(1, DEPTH);
        self
    }

    /// How frames are moved, in words: where the program runs, and whether the kernel copies them.
    pub fn mode(&self) -> &'static str {
        match (self.attachment.hook, self.zero_copy) {
            (Attach::Native, true) => "native, zero-copy",
            (Attach::Native, false) => "native, copy",
            (Attach::Generic, _) => "generic, copy",
        }
    }

    /// Lends free frames for receiving once a group of them is missing. Not more than the ring has room for: the kernel hands over what it has
    /// received before it says which slots that took (`xsk_flush`, net/xdp/xsk.c).
    fn refill(&mut self, pool: &mut Pool) -> Result<(), PortGone> {
        let rx = &mut loans(&mut self.loans, pool).rx;
        if rx.lent() + REFILL.min(self.share.div_ceil(2)) > self.share {
            return Ok(());
        }
        let room = self.socket.fill.free().min(self.share - rx.lent());
        for _ in 0..room {
            let Some(address) = rx.lend(pool) else { break };
            let pushed = self.socket.fill.push(address);
            debug_assert!(pushed, "there was room");
        }
        self.socket.fill.submit();
        if self.socket.fill.needs_wakeup() { self.told(self.socket.kick_rx()) } else { Ok(()) }
    }

    /// Has the kernel send what the ring holds, unless it does so by itself.
    fn kick(&mut self, io: &mut PortIo<'_>) -> Result<(), PortGone> {
        for _ in 0..KICKS {
            if !self.socket.tx.needs_wakeup() {
                break;
            }
            let answer = self.socket.kick_tx();
            let sent_all = answer.is_ok();
            self.told(answer)?;
            if sent_all || self.down {
                break;
            }
            self.reap(io);
        }
        Ok(())
    }

    /// Takes back what the kernel has sent.
    fn reap(&mut self, io: &mut PortIo<'_>) {
        let tx = &mut loans(&mut self.loans, io.pool).tx;
        let mut popped = false;
        while let Some(address) = self.socket.completion.pop() {
            popped = true;
            tx.completed(io, address);
        }
        if popped {
            self.socket.completion.release();
        }
    }

    /// What an answer of the kernel says of the device: up, down, or gone. That it could not go on just now
    /// (`EAGAIN`, `EBUSY`, `ENOBUFS`) says it is up.
    fn told(&mut self, answer: io::Result<()>) -> Result<(), PortGone> {
        let Err(error) = answer else {
            self.down = false;
            return Ok(());
        };
        self.down = error.raw_os_error() == Some(libc::ENETDOWN);
        match error.raw_os_error() {
            Some(libc::ENXIO | libc::EBADF | libc::ENODEV) => Err(PortGone(error)),
            _ => Ok(()),
        }
    }
}

impl PortQueue for XdpQueue {
    fn start(&mut self, io: &mut PortIo<'_>) -> Result<(), PortGone> {
        self.refill(io.pool)
    }

    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        let rx = &mut loans(&mut self.loans, io.pool).rx;
        let mut popped = false;
        while burst.spare() > 0
            && let Some(descriptor) = self.socket.rx.pop()
        {
            popped = true;
            let Some(frame) = rx.take(io, descriptor) else { continue };
            if burst.push(frame).is_err() {
                unreachable!("the burst had room");
            }
        }
        if popped {
            (self.quiet, self.heard) = (0, io.now);
            self.socket.rx.release();
        } else {
            self.quiet += 1;
            if self.quiet >= QUIET || io.now.unix_ns.abs_diff(self.heard.unix_ns) >= QUIET_NS {
                (self.quiet, self.heard) = (0, io.now);
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
            let pieces = sending::pieces(frame);
            let fits = pieces <= room;
            room = room.saturating_sub(pieces);
            fits
        });
        let count = fitting.count();
        let tx = &mut loans(&mut self.loans, io.pool).tx;
        for frame in burst.drain_front(count) {
            if frame.len() == 0 || sending::pieces(&frame) > self.pieces {
                io.discard(frame, Direction::Tx, DropReason::PortError);
                continue;
            }
            for descriptor in tx.lend(io.pool, frame) {
                let pushed = self.socket.tx.push(descriptor);
                debug_assert!(pushed, "its room was counted");
            }
        }
        self.socket.tx.submit();
        // Also without room for any: only the kernel makes room.
        self.kick(io)
    }

    fn complete(&mut self, io: &mut PortIo<'_>) -> Result<(), PortGone> {
        if self.held() == 0 {
            return Ok(());
        }
        self.reap(io);
        // What an earlier kick left behind would otherwise wait for the next frame.
        let waiting = self.held() > 0 && !self.down && self.socket.tx.free() < self.socket.tx.size();
        if waiting { self.kick(io) } else { Ok(()) }
    }

    fn held(&self) -> usize {
        self.loans.as_ref().map_or(0, |loans| loans.tx.held() as usize)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            may_lose_tags: self.attachment.may_lose_tags,
            measures_tags: true,
            ..Capabilities::default()
        }
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn lost_before_us(&self) -> Vec<(&'static str, u64)> {
        let seen = self.socket.statistics().unwrap_or_default();
        let bad = self.loans.as_ref().map_or(0, |loans| loans.rx.bad() + loans.tx.bad());
        // Who copies looks for memory frame by frame. A driver that does not looks ahead, first of all when the socket is bound, and what it does
        // not find is no frame yet.
        let no_memory = if self.zero_copy { 0 } else { seen.rx_fill_ring_empty };
        vec![
            ("rx_dropped", seen.rx_dropped),
            ("rx_ring_full", seen.rx_ring_full),
            ("rx_fill_ring_empty", no_memory),
            ("tx_invalid", seen.tx_invalid),
            ("bad_descriptors", bad),
        ]
    }

    fn close(mut self: Box<Self>, io: &mut PortIo<'_>) {
        self.reap(io);
        let (loans, successor) = (self.loans.take(), self.successor.take());
        drop(self); // The kernel must let go of packet memory before its loans are called back.
        let is_let_go = successor.is_none_or(Successor::wait);
        if let Some(Loans { rx, tx }) = loans {
            tx.recall(io, is_let_go);
            rx.recall(io.pool, is_let_go);
        }
    }
}

impl Drop for XdpQueue {
    fn drop(&mut self) {
        // Closing the socket does this too, but for a process that is just being forked and still has it open.
        self.attachment.forget(self.number);
    }
}

/// The loans, on the books of the pool of whoever calls first: the owner.
#[inline]
fn loans<'a>(loans: &'a mut Option<Loans>, pool: &mut Pool) -> &'a mut Loans {
    loans.get_or_insert_with(|| Loans {
        rx: Receiving::new(pool.borrower()),
        tx: Sending::new(pool.borrower()),
    })
}
