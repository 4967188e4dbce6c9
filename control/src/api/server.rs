//! Connections: who is at the other end, and how long they may take.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
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
        let (switch, served) = (Rc::clone(&switch), Rc::clone(&guest));
        let task = tokio::task::spawn_local(async move {
            tokio::select! {
                // A client that breaks off or takes too long has only itself to tell.
                _ = converse(stream, may_change, &switch, &served) => {}
                () = overdue(&served) => {}
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
