//! Events, or frames, as the body of an answer that does not end.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc::Receiver;

use super::guests::Guest;

/// Lines of JSON, or pieces of a capture, as they come. What the client does not take waits in the queue they come from, which is bounded.
pub(super) struct Lines {
    lines: Receiver<Vec<u8>>,
    guest: Rc<Guest>,
}

impl Lines {
    /// These lines, for this client, whose connection lasts as long as it likes from here on.
    pub(super) fn new(lines: Receiver<Vec<u8>>, guest: &Rc<Guest>) -> Self {
        guest.listens.set(true);
        Self { lines, guest: Rc::clone(guest) }
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.lines.poll_recv(cx);
        self.guest.served();
        next.map(|line| line.map(|line| Ok(Frame::data(line.into()))))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.guest.listens.set(false);
    }
}
