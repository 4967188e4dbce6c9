//! Telling systemd how the switch does (sd_notify(3)): one datagram to the socket it names.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rigswitch_dataplane::sys::time::monotonic;

/// The switch forwards, and answers on its socket.
pub const READY: &str = "READY=1";

/// The switch reads its file again, as of this moment; `READY` follows.
pub fn reloading() -> String {
    format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic().as_micros())
}

/// The switch is about to end.
pub const STOPPING: &str = "STOPPING=1";

/// Says `state` to the service manager, if there is one.
///
/// # Errors
/// The kernel's, when the socket named by `NOTIFY_SOCKET` takes no datagram.
pub fn notify(state: &str) -> io::Result<()> {
    match env::var_os("NOTIFY_SOCKET") {
        Some(name) if !name.is_empty() => send(&name, state),
        _ => Ok(()),
    }
}

fn send(name: &OsStr, state: &str) -> io::Result<()> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_reach_named_and_abstract_sockets() {
        let path = env::temp_dir().join(format!("rigswitch-notify-{}", std::process::id()));
        let abstract_name = format!("rigswitch-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let sockets = [UnixDatagram::bind(&path).unwrap(), UnixDatagram::bind_addr(&address).unwrap()];
        send(path.as_os_str(), READY).unwrap();
        send(OsStr::new(&format!("@{abstract_name}")), READY).unwrap();
        std::fs::remove_file(&path).unwrap();
        for socket in sockets {
            let mut datagram = [0; 64];
            let length = socket.recv(&mut datagram).unwrap();
            assert_eq!(&datagram[..length], READY.as_bytes());
        }
    }
}
