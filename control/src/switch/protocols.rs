//! What the switch does by itself: what ports have heard is given to whom it is for, and what is due is done.

use rigswitch_dataplane::punt::{Move, PuntReason};
use rigswitch_dataplane::tunnels::{FarEnd, Miss};

use super::Switch;
use crate::events::Event;

impl Switch {
    /// What ports have heard, what is due, and what follows from both.
    pub(super) fn run_protocols(&mut self) {
        let now = self.time.elapsed();
        for member in &mut self.crew.members {
            while let Some((punted, frame)) = member.punts.receive() {
                match punted.reason {
                    PuntReason::ReservedAddress => self.trees.hear(punted.device, &frame, now),
                    PuntReason::Move => self.moves.hear(punted.device, Move::decode(&frame)),
                    PuntReason::Membership => {
                        self.groups.hear(punted.device, &frame, self.publisher.current(), now);
                    }
                    PuntReason::FarEnd => self.vxlans.hear(punted.device, FarEnd::decode(&frame)),
                    PuntReason::Miss => {
                        let ifname = self.ports.get(punted.device).map(|port| port.config.name.clone());
                        let miss = Miss::decode(&frame).zip(ifname);
                        miss.into_iter()
                            .for_each(|(miss, ifname)| self.events.tell(Event::of_miss(ifname, miss)));
                    }
                    reason => self.roads.hear(punted.device, reason, &frame, now),
                }
            }
        }
        if self.vxlans.has_met() {
            self.learn_far_ends();
        }
        let (queries, has_moved) = self.groups.tick(now);
        self.run_trees(has_moved);
        self.send_queries(queries);
        self.tell_groups();
        let has_news = self.roads.tick(now);
        self.route_on(has_news);
    }
}
