//! A process that a test has started: whatever becomes of the test, it is ended and reaped with this.

use std::io::Read;
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, ExitStatus};

use super::{Said, signal, text, wait_for};

/// One of them.
pub(crate) struct Process(Option<Child>);

impl Process {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(Some(command.spawn().unwrap()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.pid());
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        wait_for("a process to end", || self.try_wait().unwrap())
    }

    /// Everything that it says until its end, of what is piped here.
    pub(crate) fn said(mut self) -> Said {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Kills it, and answers what it said on standard error.
    pub(crate) fn kill(&mut self) -> String {
        let mut text = String::new();
        let Some(child) = &mut self.0 else { return text };
        let _ = child.kill();
        let _ = child.wait();
        if let Some(mut stderr) = child.stderr.take() {
            let _ = stderr.read_to_string(&mut text);
        }
        text
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        self.0.as_ref().unwrap()
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
