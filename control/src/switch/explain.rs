//! What becomes of a frame, and why: of one that is made up, without anybody noticing; and of the next that come.

use std::collections::BTreeMap;
use std::sync::Arc;

use rigswitch_dataplane::filter::Filter;
use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::watch::{Account, FollowReader, Scope, Watch, WatchId, follow};
use rigswitch_dataplane::worker::Command;

use super::{Switch, SwitchError};
use crate::explain::{ExplanationView, FollowRequest, LONGEST, Roads, Seen, Setting, StepView, explain, run};

/// Steps that may wait to be read: what is behind is missed.
const ROOM: usize = 4096;

/// Frames on their way to be explained: what was told of each so far.
pub(crate) struct Following {
    id: WatchId,
    reader: FollowReader,
    open: BTreeMap<u32, (DeviceId, usize, Vec<u8>, Vec<Seen>)>,
    left: u32,
}

impl Switch {
    /// What would become of this frame now, if it came in by this port.
    ///
    /// # Errors
    /// [`SwitchError::NoPort`], [`SwitchError::TooLong`]
    pub fn explain(&self, port: &str, frame: &[u8]) -> Result<ExplanationView, SwitchError> {
        let device = self.device_to_explain(port)?;
        if frame.len() > LONGEST {
            return Err(SwitchError::TooLong(frame.len()));
        }
        if self.leaves(port, frame) {
            let step = "in".to_owned();
            let text =
                format!("the program on its device leaves it to the host: it is for no address of {port}");
            let steps = vec![StepView { step, text, place: None }];
            let verdict = "is the host's".to_owned();
            return Ok(ExplanationView { steps, verdict, ..self.in_words(device, frame, frame.len(), &[]) });
        }
        let (tables, macs) = (Arc::clone(self.publisher.current()), self.macs.table().copy());
        let ran = run(&tables, &macs, (self.clock.now(), self.clock.tick()), device, frame);
        Ok(self.in_words(device, frame, frame.len(), &ran.steps))
    }

    /// Has the workers tell what becomes of the next frames.
    ///
    /// # Errors
    /// [`SwitchError::NoPort`]
    pub(crate) fn follow_frames(
        &mut self,
        asked: &FollowRequest,
        filter: Option<Filter>,
    ) -> Result<Following, SwitchError> {
        let device = self.device_to_explain(&asked.port)?;
        let id = self.next_watch();
        let (next, reader) = follow(asked.next, ROOM);
        for member in &self.crew.members {
            let scope = Scope { filter: filter.clone(), ..Scope::devices([device]) };
            member.ask(Command::Observe(id, scope, Watch::Follow(next.clone())));
        }
        Ok(Following { id, reader, open: BTreeMap::new(), left: asked.next })
    }

    /// The frames whose way is known to its end by now.
    pub(crate) fn followed(&self, following: &mut Following) -> Vec<ExplanationView> {
        let mut whole = Vec::new();
        while let Some(account) = following.reader.receive() {
            match account {
                Account::Frame { number, device, length, bytes, .. } => {
                    following.open.insert(number, (device, length, bytes.to_vec(), Vec::new()));
                }
                Account::Step(number, step) => {
                    if let Some((_, length, _, steps)) = following.open.get_mut(&number) {
                        steps.push(Seen { step, length: *length });
                    }
                }
                Account::End(number) => {
                    let Some((device, length, bytes, steps)) = following.open.remove(&number) else {
                        continue;
                    };
                    following.left = following.left.saturating_sub(1);
                    whole.push(self.in_words(device, &bytes, length, &steps));
                }
            }
        }
        whole
    }

    /// Has the workers tell no more.
    pub(crate) fn unfollow(&mut self, following: &Following) {
        self.crew.members.iter().for_each(|member| member.ask(Command::Unobserve(following.id)));
    }

    fn device_to_explain(&self, port: &str) -> Result<DeviceId, SwitchError> {
        self.ports.find(port).ok_or_else(|| SwitchError::NoPort(port.to_owned()))
    }

    fn in_words(&self, device: DeviceId, bytes: &[u8], length: usize, steps: &[Seen]) -> ExplanationView {
        let neighbors = self.neighbor_states();
        let setting = Setting {
            tables: self.publisher.current(),
            roads: Roads {
                known: &|to| self.roads.known(to),
                asleep: &|to| self.roads.asleep(to),
                neighbor: &|device, address| neighbors.get(&(device, address)).copied(),
            },
            origins: &self.config.origins,
            name: &|device| self.name(device),
            bridge: &|domain| self.bridge(domain),
            members: &|domain, of| self.groups.members(domain, of),
        };
        explain(&setting, device, bytes, length, steps)
    }
}

impl Following {
    /// Whether there is more to come.
    pub(crate) fn goes_on(&self) -> bool {
        self.left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_next_frames_are_explained_as_they_come() {
        let text = r#"
            port = [{ name = "p0", memory = true }, { name = "p1", memory = true }]
            bridge = [{ name = "br0", port = [{ device = "p0" }, { device = "p1" }] }]
        "#;
        let config = Config::parse(text, "rig.toml").unwrap();
        let frame = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5][..], &[0; 46]].concat();
        Switch::by_hand(config, Default::default(), |hand| {
            let asked = FollowRequest { port: "p0".into(), next: 2, filter: None, timeout_ms: 0 };
            let filter = Filter::compile("ether src 02:00:00:00:00:02").unwrap();
            let mut following = hand.switch().follow_frames(&asked, Some(filter)).unwrap();
            let end = hand.switch().memory_end("p0").unwrap();
            for _ in 0..3 {
                end.send(frame.clone()).unwrap();
            }
            // Another station's.
            let mut other = frame.clone();
            other[11] = 3;
            end.send(other).unwrap();
            while hand.step() > 0 {}
            let told = hand.switch().followed(&mut following);
            let verdicts: Vec<_> = told.iter().map(|view| &*view.verdict).collect();
            assert_eq!(verdicts, ["leaves by p1"; 2]);
            assert_eq!(told[0].steps[2].text, "02:00:00:00:00:02 is new: behind p0 from now on");
            assert_eq!(told[1].steps[2].text, "02:00:00:00:00:02 is known to be behind p0");
            assert!(!following.goes_on());
            let made_up = hand.switch().explain("p0", &frame).unwrap();
            assert_eq!(made_up.steps[2].text, told[1].steps[2].text);
            hand.switch().unfollow(&following);
        })
        .unwrap();
    }
}
