//! The ring that the kernel copies received frames into, a slot each (`TPACKET_V2`, packet(7)).
//!
//! A frame longer than a slot is cut there, and waits whole in the socket's queue: `PACKET_COPY_THRESH`.

use std::io;
use std::os::fd::AsFd;
use std::slice;
use std::sync::atomic::Ordering;

use super::slots::Slots;
use super::{PacketSocket, VNET_HEADER_LENGTH, VlanTag};
use crate::sys::set_option;

/// Blocks of 64 KiB of a ring: 2 MiB.
const BLOCKS: u32 = 32;

/// The receive ring of one socket.
#[derive(Debug)]
pub struct RxRing {
    slots: Slots,
    next: usize,
}

impl RxRing {
    /// Gives `socket`, which is not started yet, a ring with slots for frames of up to `longest` bytes, tags included.
    ///
    /// # Errors
    /// `InvalidInput` for more than [`LONGEST_IN_SLOT`](super::LONGEST_IN_SLOT); `OutOfMemory`.
    pub(super) fn new(socket: &PacketSocket, longest: usize) -> io::Result<Self> {
        set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_COPY_THRESH, &1)?;
        let slots = Slots::new(socket, libc::PACKET_RX_RING, longest, BLOCKS)?;
        Ok(Self { slots, next: 0 })
    }

    /// The next frame received, if there is one. Its slot is the kernel's again when the answer is dropped.
    #[inline]
    pub fn receive(&mut self) -> Option<Slot<'_>> {
        let status = self.slots.status(self.next).load(Ordering::Acquire);
        if status & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the slot begins with this header, initialised by the kernel, which leaves the slot alone until its
        // status says so again.
        let header = unsafe { self.slots.start(self.next).cast::<libc::tpacket2_hdr>().read() };
        Some(Slot { ring: self, header })
    }
}

/// How much of a frame is in its slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// All of it.
    Whole,
    /// Its beginning. The next [`PacketSocket::receive_long`] has it whole.
    Queued,
    /// Its beginning, and the rest is lost: the socket's queue was full.
    Cut,
}

/// A received frame in its slot.
#[derive(Debug)]
pub struct Slot<'r> {
    ring: &'r mut RxRing,
    header: libc::tpacket2_hdr,
}

impl Slot<'_> {
    /// How much of the frame is here.
    #[inline]
    pub fn kept(&self) -> Kept {
        match self.header.tp_status & libc::TP_STATUS_COPY {
            _ if self.header.tp_snaplen == self.header.tp_len => Kept::Whole,
            0 => Kept::Cut,
            _ => Kept::Queued,
        }
    }

    /// Bytes in the whole frame, without the tag taken out of it.
    #[inline]
    pub fn frame_len(&self) -> usize {
        self.header.tp_len as usize
    }

    /// What is here of the frame, from the destination address on, without the tag taken out of it.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.part(usize::from(self.header.tp_mac), self.header.tp_snaplen as usize)
    }

    /// The `virtio_net_hdr` of the frame.
    #[inline]
    pub fn vnet_header(&self) -> [u8; VNET_HEADER_LENGTH] {
        let start = usize::from(self.header.tp_mac).saturating_sub(VNET_HEADER_LENGTH);
        self.part(start, VNET_HEADER_LENGTH).first_chunk().copied().unwrap_or_default()
    }

    /// The tag that the kernel took out of the frame.
    #[inline]
    pub fn tag(&self) -> Option<VlanTag> {
        super::tag(self.header.tp_status, self.header.tp_vlan_tpid, self.header.tp_vlan_tci)
    }

    /// `len` bytes from `start` of the slot on; none if they are not in it.
    #[inline]
    fn part(&self, start: usize, len: usize) -> &[u8] {
        let slots = &self.ring.slots;
        if start.saturating_add(len) > slots.size() {
            return &[];
        }
        // SAFETY: `start` lies within the slot, by the check above.
        let first = unsafe { slots.start(self.ring.next).add(start) };
        // SAFETY: the bytes lie within the slot, which the kernel has initialised (its blocks are zeroed) and leaves
        // alone until `drop`; the mapping lives as long as the ring.
        unsafe { slice::from_raw_parts(first.as_ptr(), len) }
    }
}

impl Drop for Slot<'_> {
    #[inline]
    fn drop(&mut self) {
        let RxRing { slots, next } = &mut *self.ring;
        slots.status(*next).store(libc::TP_STATUS_KERNEL, Ordering::Release);
        *next = slots.after(*next, 1);
    }
}
