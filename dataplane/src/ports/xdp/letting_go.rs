//! When a device has let go of packet memory that it received into and sent from without copying.
//!
//! Closing the socket does not say so: the driver keeps its buffers, and a card may write into them, until a work of the kernel's has told it
//! otherwise (`xp_put_pool` and `xp_release_deferred`, net/xdp/xsk_buff_pool.c). Until then nobody else may bind the queue, and that is asked.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::frames::{Area, CHUNK, Pool, PoolConfig};
use crate::sys::poll::PollSet;
use crate::sys::xsk::{Bind, RingSizes, Socket, Umem};

/// A socket that can be bound to a queue once nobody has it.
#[derive(Debug)]
pub(super) struct Successor {
    socket: Socket,
    bind: Bind,
    _memory: Arc<Area>,
}

impl Successor {
    /// One for the queue of `bind`, in the calling thread's network namespace.
    ///
    /// # Errors
    /// As for [`Socket::open`].
    pub(super) fn new(bind: Bind) -> io::Result<Self> {
        let memory = Arc::clone(Pool::new(PoolConfig::singles(1)).area());
        let chunk = u32::try_from(CHUNK).unwrap_or(u32::MAX);
        let sizes = RingSizes { fill: 1, completion: 1, rx: 1, tx: 1 };
        let socket = Socket::open(&*memory, Umem { chunk, headroom: 0, tx_metadata: 0 }, sizes)?;
        let bind = Bind { zero_copy: false, frags: false, ..bind };
        Ok(Self { socket, bind, _memory: memory })
    }

    /// Waits until the queue is let go of, which takes the kernel a few milliseconds beside the some 40 of closing; whether it was.
    pub(super) fn wait(self) -> bool {
        const ATTEMPTS: usize = 250;
        const PAUSE: Duration = Duration::from_millis(1);
        for _ in 0..ATTEMPTS {
            match self.socket.bind(self.bind) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                _ => return true, // it is bound, or there is no such queue any more
            }
            if PollSet::new().wait(Some(PAUSE)).is_err() {
                return false;
            }
        }
        false
    }
}
