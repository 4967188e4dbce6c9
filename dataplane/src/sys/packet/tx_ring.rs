//! The ring that the kernel sends frames from, a slot each, many to a system call (`PACKET_TX_RING`, packet(7)).
//!
//! The kernel would send a slot's own pages, and call it free while they are still being read elsewhere; but what the
//! `virtio_net_hdr` calls headers, it copies. All of a frame is called so here. A socket that has such a ring sends nothing
//! else (`packet_sendmsg`, net/packet/af_packet.c): this one is beside the port's other socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::sync::atomic::Ordering;

use super::slots::Slots;
use super::{PacketSocket, VNET_HEADER_LENGTH};
use crate::sys::{context, set_option};

/// Bytes of a slot before what is to be sent: `struct tpacket2_hdr`, aligned to 16 (`TPACKET_ALIGN`).
const BEFORE: usize = size_of::<libc::tpacket2_hdr>().next_multiple_of(16);

const VNET_HEADER: u8 = 10;
const _: () = assert!(VNET_HEADER as usize == VNET_HEADER_LENGTH);

/// Where a `virtio_net_hdr` has the length of the headers, two bytes in the machine's order.
const HEADERS_LENGTH: usize = 2;

/// Blocks of 64 KiB of a ring: 1 MiB.
const BLOCKS: u32 = 16;

/// A socket that sends from a ring.
#[derive(Debug)]
pub struct TxRing {
    socket: PacketSocket,
    slots: Slots,
    first: usize, // the first of those put; the kernel looks here next
    put: usize,   // how many
}

impl TxRing {
    /// A ring that sends on device `ifindex` of the calling thread's network namespace, with slots for frames of up to `longest`
    /// bytes, at most [`LONGEST_IN_SLOT`](super::LONGEST_IN_SLOT).
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_RAW`; `OutOfMemory` for the ring; `ENODEV` for no such device.
    pub fn open(ifindex: u32, longest: usize) -> io::Result<Self> {
        let socket = PacketSocket::silent(ifindex)?;
        set_option(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_VNET_HDR, &1)?;
        socket.set_buffer(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)?;
        let slots = Slots::new(&socket, libc::PACKET_TX_RING, longest, BLOCKS)
            .map_err(|e| context(e, "a packet socket's transmit ring"))?;
        socket.bind(0)?;
        Ok(Self { socket, slots, first: 0, put: 0 })
    }

    /// Puts a frame behind those to be sent by the next [`TxRing::send`]; `false` if it is longer than a slot, or the next slot
    /// is not free: what was sent from it waits on its way yet.
    #[inline]
    pub fn put(&mut self, mut header: [u8; VNET_HEADER_LENGTH], frame: &[u8]) -> bool {
        let at = self.slots.after(self.first, self.put);
        let is_free = self.slots.status(at).load(Ordering::Acquire) == libc::TP_STATUS_AVAILABLE;
        let length = u16::try_from(frame.len()).ok();
        let length = length.filter(|_| BEFORE + VNET_HEADER_LENGTH + frame.len() <= self.slots.size());
        let Some(length) = length.filter(|_| is_free) else { return false };
        header[HEADERS_LENGTH..HEADERS_LENGTH + 2].copy_from_slice(&length.to_ne_bytes());
        let slot = self.slots.start(at);
        // SAFETY: a slot begins with this header, aligned, and a free one is nobody's but ours.
        let total = unsafe { &raw mut (*slot.cast::<libc::tpacket2_hdr>().as_ptr()).tp_len };
        // SAFETY: as above.
        unsafe { total.write(u32::from(length) + u32::from(VNET_HEADER)) };
        // SAFETY: the slot has room for what comes before the frame, by the check above.
        let start = unsafe { slot.add(BEFORE) };
        // SAFETY: the slot has room for the header, by the same check, and is nobody's but ours; `header` is elsewhere.
        unsafe { ptr::copy_nonoverlapping(header.as_ptr(), start.as_ptr(), VNET_HEADER_LENGTH) };
        // SAFETY: and for the frame behind it.
        let start = unsafe { start.add(VNET_HEADER_LENGTH) };
        // SAFETY: as for the header.
        unsafe { ptr::copy_nonoverlapping(frame.as_ptr(), start.as_ptr(), frame.len()) };
        self.slots.status(at).store(libc::TP_STATUS_SEND_REQUEST, Ordering::Release);
        self.put += 1;
        true
    }

    /// Sends what was put, and answers how many: those before the first that the kernel refused. It
    /// and those behind it are as if they had not been put.
    ///
    /// # Errors
    /// What the kernel has against the very first, as [`PacketSocket::send_batch`] has it.
    pub fn send(&mut self) -> io::Result<usize> {
        // SAFETY: there are no bytes to read: the call is for the ring.
        let answer =
            unsafe { libc::send(self.socket.as_fd().as_raw_fd(), ptr::null(), 0, libc::MSG_DONTWAIT) };
        let refused = io::Error::last_os_error();
        let put = std::mem::take(&mut self.put);
        let sent = (0..put).take_while(|&n| self.is_sent(self.slots.after(self.first, n))).count();
        for n in sent..put {
            let status = self.slots.status(self.slots.after(self.first, n));
            status.store(libc::TP_STATUS_AVAILABLE, Ordering::Release);
        }
        self.first = self.slots.after(self.first, sent);
        match sent {
            0 if answer < 0 => Err(refused),
            0 => Err(io::ErrorKind::InvalidData.into()), // it looked at another slot, or the frame is no frame
            _ => Ok(sent),
        }
    }

    /// Whether what was put in a slot is on its way, or has arrived.
    fn is_sent(&self, at: usize) -> bool {
        let status = self.slots.status(at).load(Ordering::Acquire);
        status & (libc::TP_STATUS_SEND_REQUEST | libc::TP_STATUS_WRONG_FORMAT) == 0
    }
}
