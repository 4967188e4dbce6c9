//! The ring that the kernel copies received frames into, a slot each (`TPACKET_V2`, packet(7)).
//!
//! A frame longer than a slot is cut there, and waits whole in the socket's queue: `PACKET_COPY_THRESH`.

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{PacketSocket, VNET_HEADER_LENGTH, VlanTag};
use crate::sys::mmap::Mapping;
use crate::sys::{Plain, set_option};

/// Bytes that the kernel allocates in one piece.
const BLOCK: u32 = 1 << 16;

/// Blocks of a ring: 2 MiB.
const BLOCKS: u32 = 32;

/// Bytes before a frame in its slot, at the most: `struct tpacket2_hdr`, an address, the `virtio_net_hdr`, alignment.
const BESIDE_FRAME: usize = 96;

/// The longest frame for which a slot can be asked.
pub const LONGEST_IN_SLOT: usize = 4096 - BESIDE_FRAME;

/// The receive ring of one socket.
#[derive(Debug)]
pub struct RxRing {
    map: Mapping,
    slot: usize,      // bytes
    per_block: usize, // slots; a block's rest stays empty
    slots: usize,
    next: usize,
}

impl RxRing {
    /// Gives `socket`, which is not started yet, a ring with slots for frames of up to `longest` bytes, tags included.
    ///
    /// # Errors
    /// `InvalidInput` for more than [`LONGEST_IN_SLOT`]; `OutOfMemory`.
    pub(super) fn new(socket: &PacketSocket, longest: usize) -> io::Result<Self> {
        if longest > LONGEST_IN_SLOT {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let slot = (BESIDE_FRAME + longest).next_multiple_of(16);
        let per_block = BLOCK as usize / slot;
        let slots = per_block * BLOCKS as usize;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let version = libc::c_int::try_from(libc::tpacket_versions::TPACKET_V2 as u32).unwrap_or_default();
        let request = libc::tpacket_req {
            tp_block_size: BLOCK,
            tp_block_nr: BLOCKS,
            tp_frame_size: number(slot),
            tp_frame_nr: number(slots),
        };
        set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_COPY_THRESH, &1)?;
        set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let map = Mapping::shared(socket.as_fd(), 0, BLOCK as usize * BLOCKS as usize)?;
        Ok(Self { map, slot, per_block, slots, next: 0 })
    }

    /// The next frame received, if there is one. Its slot is the kernel's again when the answer is dropped.
    #[inline]
    pub fn receive(&mut self) -> Option<Slot<'_>> {
        let status = self.status().load(Ordering::Acquire);
        if status & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the slot begins with this header, initialised by the kernel, which leaves the slot alone until its
        // status says so again.
        let header = unsafe { self.start().cast::<libc::tpacket2_hdr>().read() };
        Some(Slot { ring: self, header })
    }

    /// Where the next slot begins; aligned to 16 bytes.
    #[inline]
    fn start(&self) -> NonNull<u8> {
        let (block, within) = (self.next / self.per_block, self.next % self.per_block);
        // SAFETY: the slots lie within the mapping, by `new`.
        unsafe { self.map.start().add(block * BLOCK as usize + within * self.slot) }
    }

    /// The word that says whose the next slot is.
    #[inline]
    fn status(&self) -> &AtomicU32 {
        // SAFETY: a slot begins with this word, aligned; both sides access it as an atomic while the other may write.
        unsafe { self.start().cast::<AtomicU32>().as_ref() }
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
        if start.saturating_add(len) > self.ring.slot {
            return &[];
        }
        // SAFETY: `start` lies within the slot, by the check above.
        let first = unsafe { self.ring.start().add(start) };
        // SAFETY: the bytes lie within the slot, which the kernel has initialised (its blocks are zeroed) and leaves
        // alone until `drop`; the mapping lives as long as the ring.
        unsafe { slice::from_raw_parts(first.as_ptr(), len) }
    }
}

impl Drop for Slot<'_> {
    #[inline]
    fn drop(&mut self) {
        self.ring.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.ring.next = (self.ring.next + 1) % self.ring.slots;
    }
}

// SAFETY: integers throughout, without padding.
unsafe impl Plain for libc::tpacket_req {}
