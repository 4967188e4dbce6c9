//! A decorator that makes any port misbehave on a seeded schedule: what a rig's worst day looks like, every day.

use std::io;
use std::os::fd::BorrowedFd;

use super::{Capabilities, PortGone, PortIo, PortQueue};
use crate::frames::Burst;

/// One way to misbehave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing is received for this call, though there may be frames.
    RxStall,
    /// Nothing is taken for sending: the ring is full.
    TxFull,
    /// Only one frame is taken for sending.
    TxOne,
    /// The device is gone.
    Gone,
    /// The driver panics.
    Panic,
}

/// A port that asks a schedule, before each call, whether to misbehave.
pub struct Faulty<P, S> {
    inner: P,
    schedule: S,
}

impl<P, S> Faulty<P, S>
where
    P: PortQueue,
    S: FnMut() -> Option<Fault>,
{
    /// `inner`, under `schedule`, which is asked before each receive and each transmit.
    pub fn new(inner: P, schedule: S) -> Self {
        Self { inner, schedule }
    }

    fn next(&mut self) -> Result<Option<Fault>, PortGone> {
        match (self.schedule)() {
            Some(Fault::Gone) => Err(PortGone(io::Error::from_raw_os_error(libc::ENODEV))),
            Some(Fault::Panic) => panic!("a fault was asked for: the port panics"),
            fault => Ok(fault),
        }
    }
}

impl<P, S> PortQueue for Faulty<P, S>
where
    P: PortQueue,
    S: FnMut() -> Option<Fault>,
{
    fn start(&mut self, io: &mut PortIo<'_>) -> Result<(), PortGone> {
        self.inner.start(io)
    }

    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        match self.next()? {
            Some(Fault::RxStall) => Ok(()),
            _ => self.inner.rx_burst(io, burst),
        }
    }

    fn tx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        match self.next()? {
            Some(Fault::TxFull) => Ok(()),
            Some(Fault::TxOne) => {
                let mut first = Burst::new();
                let mut rest = Burst::new();
                for frame in burst.drain() {
                    let target = if first.is_empty() { &mut first } else { &mut rest };
                    if target.push(frame).is_err() {
                        unreachable!("no burst is larger than another");
                    }
                }
                let result = self.inner.tx_burst(io, &mut first);
                for frame in first.drain().chain(rest.drain()) {
                    if burst.push(frame).is_err() {
                        unreachable!("they came from this burst");
                    }
                }
                result
            }
            _ => self.inner.tx_burst(io, burst),
        }
    }

    fn complete(&mut self, io: &mut PortIo<'_>) -> Result<(), PortGone> {
        self.inner.complete(io)
    }

    fn held(&self) -> usize {
        self.inner.held()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        self.inner.readiness()
    }

    fn lost_before_us(&self) -> Vec<(&'static str, u64)> {
        self.inner.lost_before_us()
    }

    fn close(self: Box<Self>, io: &mut PortIo<'_>) {
        Box::new(self.inner).close(io);
    }
}
