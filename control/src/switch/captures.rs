//! Captures: arming the workers for whoever reads, and disarming them when nobody does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rigswitch_dataplane::bell::Bell;
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::watch::{Place, Scope, Stages, Watch, WatchId, capture};
use rigswitch_dataplane::worker::Command;
use tokio::sync::mpsc::Receiver;

use super::port::Port;
use super::{Switch, SwitchError, grace};
use crate::capture::{CAPTURES, Named, Names, Request, Session, chunks};

/// Bytes of ring between a worker and a capture: some 30,000 short frames.
const ROOM: usize = 4 << 20;

/// Everybody who captures.
#[derive(Default)]
pub(super) struct Captures {
    running: Vec<Running>,
    begun: u64, // watches
    names: Names,
}

struct Running {
    watch: WatchId,
    id: Option<String>,
    bell: Arc<Bell>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Switch {
    /// Starts a capture: pcapng, in chunks, until nobody takes them or it is ended.
    ///
    /// # Errors
    /// [`SwitchError`] when there is no such port, or as many capture as may.
    pub(crate) fn capture(&mut self, request: &Request) -> Result<Receiver<Vec<u8>>, SwitchError> {
        self.end_unread_captures();
        if self.captures.running.len() >= CAPTURES {
            return Err(SwitchError::TooManyCaptures);
        }
        let find = |name: &String| self.ports.find(name).ok_or_else(|| SwitchError::NotAPort(name.clone()));
        let devices = request.ports.iter().map(find).collect::<Result<Vec<DeviceId>, _>>()?;
        let insides = request.ports.iter().filter_map(|name| self.ports.inside(name));
        let watched: Vec<_> = devices.iter().copied().chain(insides).collect();
        let bell = Arc::new(Bell::new().map_err(SwitchError::Capture)?);
        let stop = Arc::new(AtomicBool::new(false));
        let watch = self.next_watch();
        let longest = usize::try_from(request.snaplen).unwrap_or(usize::MAX);
        let known = self.ports.all().last().map_or(0, |(id, _)| id.index() + 1);
        let (watches, readers): (Vec<_>, _) = self
            .crew
            .members
            .iter()
            .map(|_| capture(request.stages, longest, ROOM, known, Arc::clone(&bell)))
            .unzip();
        let (sender, receiver) = chunks();
        self.name_captured();
        let session = Session::new(
            readers,
            Arc::clone(&bell),
            Arc::clone(&stop),
            Arc::clone(&self.captures.names),
            sender,
        );
        let session = session.bounded(request.snaplen, request.count);
        let shown =
            if devices.is_empty() { self.ports.iter().map(|(id, _)| id).collect() } else { devices.clone() };
        let places = places(request.stages);
        let thread = thread::Builder::new().name("rigswitch-capture".into());
        let thread = thread.spawn(move || session.run(&shown, &places)).map_err(SwitchError::Capture)?;
        for (member, watch_of) in self.crew.members.iter().zip(watches) {
            let mut scope =
                if watched.is_empty() { Scope::all() } else { Scope::devices(watched.iter().copied()) };
            scope.filter = request.filter.as_ref().map(|(_, filter)| filter.clone());
            member.ask(Command::Observe(watch, scope, Watch::Capture(watch_of)));
        }
        // No frame comes from here on that they do not look at.
        grace(&mut self.publisher);
        let id = request.id.clone();
        self.captures.running.push(Running { watch, id, bell, stop, thread });
        Ok(receiver)
    }

    /// A number that no watch has had.
    pub(super) fn next_watch(&mut self) -> WatchId {
        self.captures.begun += 1;
        WatchId(self.captures.begun)
    }

    /// Ends the captures of this name, each with all that its ports have seen by now.
    ///
    /// # Errors
    /// [`SwitchError`] when there is none.
    pub(crate) fn end_captures(&mut self, id: &str) -> Result<(), SwitchError> {
        let mut any = false;
        for running in self.captures.running.iter().filter(|running| running.id.as_deref() == Some(id)) {
            running.stop.store(true, Ordering::Release);
            running.bell.ring();
            any = true;
        }
        if any { Ok(()) } else { Err(SwitchError::NoCapture(id.to_owned())) }
    }

    /// Disarms the workers of what has ended.
    pub(super) fn end_unread_captures(&mut self) {
        let members = &self.crew.members;
        self.captures.running.retain(|running| {
            let runs = !running.thread.is_finished();
            if !runs {
                members.iter().for_each(|member| member.ask(Command::Unobserve(running.watch)));
            }
            runs
        });
    }

    /// Tells those who capture what the ports are called.
    pub(super) fn name_captured(&self) {
        let names = self.ports.iter().map(|(id, port)| (id, port.config.name.clone())).collect();
        let device = |port: &Port| self.ports.find(&port.config.name);
        let insides = self.ports.all().filter(|(_, port)| port.is_inside());
        let insides = insides.filter_map(|(id, port)| Some((id, device(port)?))).collect();
        let now = Named { names, insides };
        let mut known = self.captures.names.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if known.1 != now {
            *known = (known.0 + 1, now);
        }
    }
}

fn places(stages: Stages) -> Vec<Place> {
    let all = [(stages.rx, Place::Rx), (stages.tx, Place::Tx), (stages.drop, Place::Drop)];
    all.into_iter().filter(|(wanted, _)| *wanted).map(|(_, place)| place).collect()
}
