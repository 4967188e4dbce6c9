//! The slots of a ring that a packet socket shares with the kernel, and whose each of them is (packet(7)).

use std::io;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use super::PacketSocket;
use crate::sys::mmap::Mapping;
use crate::sys::{Plain, set_option};

/// Bytes that the kernel allocates in one piece.
const BLOCK: u32 = 1 << 16;

/// Bytes of a slot before its frame, at the most: `struct tpacket2_hdr`, an address, the `virtio_net_hdr`, alignment.
const BESIDE_FRAME: usize = 96;

/// The longest frame for which a slot can be asked.
pub const LONGEST_IN_SLOT: usize = 4096 - BESIDE_FRAME;

/// The memory of a ring.
#[derive(Debug)]
pub(super) struct Slots {
    map: Mapping,
    size: usize,      // bytes of each
    per_block: usize, // a block's rest stays empty
    count: usize,
}

impl Slots {
    /// Gives `socket`, which is not started yet, its ring of this kind (`PACKET_RX_RING`, `PACKET_TX_RING`), of so many blocks of 64
    /// KiB, with slots for frames of up to `longest` bytes.
    ///
    /// # Errors
    /// `InvalidInput` for more than [`LONGEST_IN_SLOT`]; `OutOfMemory`.
    pub(super) fn new(
        socket: &PacketSocket,
        kind: libc::c_int,
        longest: usize,
        blocks: u32,
    ) -> io::Result<Self> {
        if longest > LONGEST_IN_SLOT {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let size = (BESIDE_FRAME + longest).next_multiple_of(16);
        let per_block = BLOCK as usize / size;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let request = libc::tpacket_req {
            tp_block_size: BLOCK,
            tp_block_nr: blocks,
            tp_frame_size: number(size),
            tp_frame_nr: number(per_block) * blocks,
        };
        let version = libc::c_int::try_from(libc::tpacket_versions::TPACKET_V2 as u32).unwrap_or_default();
        set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        set_option(socket.as_fd(), libc::SOL_PACKET, kind, &request)?;
        let map = Mapping::shared(socket.as_fd(), 0, BLOCK as usize * blocks as usize)?;
        Ok(Self { map, size, per_block, count: per_block * blocks as usize })
    }

    /// Bytes of each.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The number of the slot `n` behind slot `at`, of which there are more than `n`.
    #[inline]
    pub(super) fn after(&self, at: usize, n: usize) -> usize {
        let number = at + n;
        if number < self.count { number } else { number - self.count }
    }

    /// Where slot `at` begins; aligned to 16 bytes.
    #[inline]
    pub(super) fn start(&self, at: usize) -> NonNull<u8> {
        assert!(at < self.count);
        let (block, within) = (at / self.per_block, at % self.per_block);
        // SAFETY: the slots lie within the mapping, by `new` and the check above.
        unsafe { self.map.start().add(block * BLOCK as usize + within * self.size) }
    }

    /// The word that says whose slot `at` is.
    #[inline]
    pub(super) fn status(&self, at: usize) -> &AtomicU32 {
        // SAFETY: a slot begins with this word, aligned; both sides access it as an atomic while the other may write.
        unsafe { self.start(at).cast::<AtomicU32>().as_ref() }
    }
}

// SAFETY: integers throughout, without padding.
unsafe impl Plain for libc::tpacket_req {}
