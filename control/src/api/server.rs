//! Connections: how many there may be, who is at the other end, and how long they may take.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::routes::answer;
use crate::switch::Switch;

/// Connections at a time; more wait in the listener's queue.
const CONNECTIONS: usize = 64;

/// How long a client may take over the head of a request, keeping the connection idle included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may last: who reads this slowly is not reading.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves `switch` to whoever connects. Never ends; run it on a `LocalSet`.
pub async fn serve(listener: UnixListener, switch: Rc<RefCell<Switch>>) {
    let owner = own_uid();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of descriptors, most likely: what is open must close first.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let switch = Rc::clone(&switch);
        tokio::task::spawn_local(async move {
            // A client that breaks off or takes too long has only itself to tell.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, converse(stream, owner, switch)).await;
            drop(place);
        });
    }
}

async fn converse(stream: UnixStream, owner: Option<u32>, switch: Rc<RefCell<Switch>>) -> hyper::Result<()> {
    let peer = stream.peer_cred().ok().map(|peer| peer.uid());
    let may_change = peer.is_some_and(|uid| uid == 0 || Some(uid) == owner);
    let service = service_fn(|request| {
        let switch = Rc::clone(&switch);
        async move { Ok::<_, Infallible>(answer(&switch, may_change, request).await) }
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
