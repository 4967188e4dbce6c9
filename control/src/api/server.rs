//! Connections: who is at the other end, and how long they may take.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fs;
use std::future;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};

use super::guests::{Guest, Guests};
use super::routes::answer;
use crate::switch::Switch;

/// How long a client may take over the head of a request, keeping the connection idle included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may last that is not sent events: who reads this slowly is not reading.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves `switch` to whoever connects. Never ends; run it on a `LocalSet`.
pub async fn serve(listener: UnixListener, switch: Rc<RefCell<Switch>>) {
    let owner = own_uid();
    let guests = Guests::default();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of descriptors, most likely: what is open must close first.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        guests.make_room();
        let guest = Guest::new(stream.peer_cred().ok().map(|peer| peer.uid()));
        let may_change = guest.uid.is_some_and(|uid| uid == 0 || Some(uid) == owner);
        let (switch, served, twin) = (Rc::clone(&switch), Rc::clone(&guest), twin(&stream));
        let task = tokio::task::spawn_local(async move {
            tokio::select! {
                // A client that breaks off or takes too long has only itself to tell.
                _ = converse(stream, may_change, &switch, &served) => {}
                () = overdue(&served) => {}
                () = deserted(twin, &served) => {}
            }
        });
        guests.admit(guest, task.abort_handle());
    }
}

/// Ends when a connection has lasted too long.
async fn overdue(guest: &Guest) {
    loop {
        tokio::time::sleep(CONNECTION_TIMEOUT).await;
        if !guest.listens.get() {
            return;
        }
    }
}

/// The same connection, for looking at.
fn twin(stream: &UnixStream) -> io::Result<UnixStream> {
    UnixStream::from_std(net::UnixStream::from(stream.as_fd().try_clone_to_owned()?))
}

/// Ends when nobody is at the other end any more of a connection that is sent events. As long as it has bytes of a next request, HTTP
/// does not look.
async fn deserted(stream: io::Result<UnixStream>, guest: &Guest) {
    const LOOK: Duration = Duration::from_secs(1);
    let Ok(stream) = stream else { return future::pending().await };
    while let Ok(ready) = stream.ready(Interest::WRITABLE).await
        && !ready.is_write_closed()
    {
        // That there is room is no news: the next is.
        let _ = stream.try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
    // What else was asked for is done, heard or not.
    while !guest.listens.get() {
        tokio::time::sleep(LOOK).await;
    }
}

async fn converse(
    stream: UnixStream,
    may_change: bool,
    switch: &Rc<RefCell<Switch>>,
    guest: &Rc<Guest>,
) -> hyper::Result<()> {
    let service = service_fn(|request| {
        let (switch, guest) = (Rc::clone(switch), Rc::clone(guest));
        async move {
            let answer = answer(&switch, &guest, may_change, request).await;
            guest.served();
            Ok::<_, Infallible>(answer)
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(32)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// The user this process runs as.
fn own_uid() -> Option<u32> {
    fs::metadata("/proc/self").ok().map(|metadata| metadata.uid())
}
