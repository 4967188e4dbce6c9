//! The command line's end of the socket: one request, one answer, with time limits.

use std::io::{self, BufRead, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::views::ErrorView;

/// How long the switch may be silent: it opens many devices for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A switch, by its socket.
pub struct Client {
    path: PathBuf,
}

/// Why the switch did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no switch.
    #[error("no switch answers on {0}: start one with `rigswitch run`, or name its socket with --socket")]
    NotRunning(PathBuf),
    /// The socket is not ours to use.
    #[error("{0}: permission denied: ask as root or as a member of the socket's group")]
    Denied(PathBuf),
    /// The connection broke.
    #[error("{0}: {1}")]
    Broken(PathBuf, io::Error),
    /// What came back is not an answer.
    #[error("{0}: what answers there is no rigswitch of this version")]
    NotOurs(PathBuf),
    /// The switch refused.
    #[error("{0}")]
    Refused(String),
}

impl Client {
    /// The switch whose socket is at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// What is at `target`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, ClientError> {
        self.read(&self.exchange("GET", target, &[])?)
    }

    /// The text at `target`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn text(&self, target: &str) -> Result<String, ClientError> {
        let body = self.exchange("GET", target, &[])?;
        String::from_utf8(body).map_err(|_| ClientError::NotOurs(self.path.clone()))
    }

    /// What is at `target`, as it comes and for as long as it comes.
    ///
    /// # Errors
    /// [`ClientError`]
    pub(crate) fn stream(&self, target: &str) -> Result<UnixStream, ClientError> {
        let mut stream = self.ask("GET", target, &[]).map_err(|error| self.failed(error))?;
        let mut head = Vec::new();
        // A byte at a time: what follows is not ours.
        let mut byte = [0];
        while !head.ends_with(END) && head.len() < LONGEST_HEAD {
            stream.read_exact(&mut byte).map_err(|error| self.failed(error))?;
            head.push(byte[0]);
        }
        if !matches!(parse_answer(&head), Some((200, _))) {
            stream.read_to_end(&mut head).map_err(|error| self.failed(error))?;
            self.body(&head)?;
        }
        stream.set_read_timeout(None).map_err(|error| self.failed(error))?;
        Ok(stream)
    }

    /// Takes away what is at `target`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub(crate) fn delete<T: DeserializeOwned>(&self, target: &str) -> Result<T, ClientError> {
        self.read(&self.exchange("DELETE", target, &[])?)
    }

    /// What the switch answers when `body` is sent to `target`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: &str,
        target: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|e| ClientError::Broken(self.path.clone(), e.into()))?;
        self.read(&self.exchange(method, target, &body)?)
    }

    /// What the switch answers when this text is sent to `target`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn send_text<T: DeserializeOwned>(&self, target: &str, text: &[u8]) -> Result<T, ClientError> {
        self.read(&self.exchange("POST", target, text)?)
    }

    /// Hands on each line of what the switch answers when `body` is sent to `target`, as it comes.
    ///
    /// # Errors
    /// [`ClientError`], and whatever `each` makes of a line.
    pub fn lines<B: Serialize, T: DeserializeOwned, E: From<ClientError>>(
        &self,
        target: &str,
        body: &B,
        mut each: impl FnMut(T) -> Result<(), E>,
    ) -> Result<(), E> {
        let broken = |error: io::Error| ClientError::Broken(self.path.clone(), error);
        let body = serde_json::to_vec(body).map_err(|error| broken(error.into()))?;
        let stream = self.ask("POST", target, &body).map_err(|error| self.failed(error))?;
        // What comes between two lines may take its time.
        stream.set_read_timeout(None).map_err(broken)?;
        let mut answer = io::BufReader::new(stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if answer.read_until(b'\n', &mut head).map_err(broken)? == 0 {
                return Err(ClientError::NotOurs(self.path.clone()).into());
            }
        }
        if parse_answer(&head).is_none_or(|(status, _)| status != 200) {
            answer.read_to_end(&mut head).map_err(broken)?;
            self.body(&head)?;
            return Ok(());
        }
        for line in answer.lines() {
            each(self.read(line.map_err(broken)?.as_bytes())?)?;
        }
        Ok(())
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|_| ClientError::NotOurs(self.path.clone()))
    }

    fn exchange(&self, method: &str, target: &str, body: &[u8]) -> Result<Vec<u8>, ClientError> {
        let mut stream = self.ask(method, target, body).map_err(|error| self.failed(error))?;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        // Of a switch that has closed with something unread, the answer comes first and then an error.
        match read {
            Err(error) if answer.is_empty() || error.kind() != io::ErrorKind::ConnectionReset => {
                Err(self.failed(error))
            }
            _ => self.body(&answer),
        }
    }

    fn failed(&self, error: io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning(self.path.clone())
            }
            io::ErrorKind::PermissionDenied => ClientError::Denied(self.path.clone()),
            _ => ClientError::Broken(self.path.clone(), error),
        }
    }

    /// The body of an answer, if it is what was asked for.
    fn body(&self, answer: &[u8]) -> Result<Vec<u8>, ClientError> {
        let (status, body) = parse_answer(answer).ok_or_else(|| ClientError::NotOurs(self.path.clone()))?;
        if status == 200 {
            return Ok(body.to_vec());
        }
        let refused: ErrorView = self.read(body)?;
        Err(ClientError::Refused(refused.error))
    }

    /// HTTP/1.0, so that the answer is whole when the switch closes: nothing to frame, nothing to keep alive.
    fn ask(&self, method: &str, target: &str, body: &[u8]) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let length = body.len();
        let head = format!(
            "{method} {target} HTTP/1.0\r\nHost: rig\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        match stream.write_all(body) {
            // It has heard enough, and has said so: that is to be read.
            Err(error)
                if ![io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset].contains(&error.kind()) =>
            {
                Err(error)
            }
            _ => Ok(stream),
        }
    }
}

/// What is between the head of an answer and its body.
const END: &[u8] = b"\r\n\r\n";

/// The longest head, in bytes.
const LONGEST_HEAD: usize = 16 << 10;

/// Status and body of an answer.
fn parse_answer(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(END.len()).position(|window| window == END)?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, &answer[end + END.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_status_and_a_body() {
        assert_eq!(parse_answer(b"HTTP/1.0 200 OK\r\na: b\r\n\r\n[]"), Some((200, &b"[]"[..])));
        for noise in [&b""[..], b"\r\n\r\n", b"HTTP/1.1 xx\r\n\r\n", b"SSH-2.0\r\n\r\n", b"HTTP/1.0 200 OK"] {
            assert_eq!(parse_answer(noise), None);
        }
    }
}
