//! Somebody who listens to the events of a switch.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use rigswitch::events::{Event, EventLine};

use super::{Folder, PATIENCE};

/// Somebody who listens.
pub(crate) struct Listener(BufReader<UnixStream>);

impl Listener {
    /// Listens once this returns.
    pub(crate) fn new(folder: &Folder) -> Self {
        let mut stream = UnixStream::connect(folder.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /v1/events HTTP/1.0\r\n\r\n").unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(lines.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.0 200 OK"), "{head}");
        Self(lines)
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Event {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        serde_json::from_str::<EventLine>(&line).unwrap().event
    }

    /// The events up to the wanted one.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut events = Vec::new();
        while !events.last().is_some_and(&wanted) {
            events.push(self.next());
        }
        events
    }
}
