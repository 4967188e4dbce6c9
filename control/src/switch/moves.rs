//! Stations that move too often: the moves that workers tell of are counted address by address, and what the bridge is to
//! do about them is done, and undone in time.

use std::collections::{BTreeMap, HashMap};

use rigswitch_dataplane::bridge::{MacMoveAction, MacMoves};
use rigswitch_dataplane::ids::{DeviceId, VlanId};
use rigswitch_dataplane::punt::Move;
use rigswitch_dataplane::tables::{Flags, Key, PortState, Tick};

use super::Switch;
use super::fdb::ticks;
use crate::events::Event;

/// Addresses whose moves are counted at a time; those beyond wait until the window of others is over.
const MOST: usize = 1 << 16;

/// Addresses held at a time: entries of control's make learned ones give way.
const HELD: usize = 1 << 12;

/// Addresses told of in one tick: more at once are one trouble, and the operator knows by then.
const TOLD: usize = 10;

/// What has moved, and what was done about it.
#[derive(Default)]
pub(super) struct Moves {
    counts: HashMap<Key, Count>,
    held: HashMap<Key, Until>,
    disabled: BTreeMap<DeviceId, Until>,
    news: Vec<(DeviceId, Move)>,
    pub(super) alarms: u64,
}

/// The moves of an address, since the first.
struct Count {
    since: Tick,
    window: u32,
    moves: u32,
}

/// A time, in ticks from another.
struct Until {
    since: Tick,
    time: u32,
}

impl Until {
    fn is_over(&self, now: Tick) -> bool {
        now.since(self.since) >= self.time
    }
}

impl Moves {
    /// A station has moved to `device`.
    pub(super) fn hear(&mut self, device: DeviceId, moved: Option<Move>) {
        self.news.extend(moved.map(|moved| (device, moved)));
    }

    /// The state of a port that was disabled for what moved to it.
    pub(super) fn state(&self, device: DeviceId) -> Option<PortState> {
        self.disabled.contains_key(&device).then_some(PortState::Disabled)
    }

    /// A port is as if nothing had moved to it; whether it was disabled.
    pub(super) fn forgive(&mut self, device: DeviceId) -> bool {
        self.disabled.remove(&device).is_some()
    }

    /// Counts a move; whether it is one too many, with which counting begins again.
    fn count(&mut self, key: Key, rule: &MacMoves, now: Tick) -> bool {
        let window = ticks(rule.window);
        let fresh = Count { since: now, window, moves: 0 };
        let has_room = self.counts.len() < MOST;
        let Some(count) = (match has_room {
            true => Some(self.counts.entry(key).or_insert(fresh)),
            false => self.counts.get_mut(&key),
        }) else {
            return false;
        };
        if now.since(count.since) > window {
            *count = Count { since: now, window, moves: 0 };
        }
        count.moves += 1;
        let is_too_many = count.moves >= rule.limit;
        if is_too_many {
            self.counts.remove(&key);
        }
        is_too_many
    }
}

impl Switch {
    /// Does what is to be done about what has moved since, and undoes what was done for long enough.
    pub(super) fn guard_moves(&mut self) {
        let now = self.clock.tick();
        let (mut told, mut disabled) = (0, Vec::new());
        for (device, moved) in std::mem::take(&mut self.moves.news) {
            let name = self.bridge(moved.key.domain());
            let Some(bridge) = self.config.bridges.iter().find(|bridge| bridge.name == name) else {
                continue;
            };
            let rule = bridge.mac_moves;
            if rule.limit == 0 || !self.moves.count(moved.key, &rule, now) {
                continue;
            }
            self.moves.alarms += 1;
            if told < TOLD {
                told += 1;
                self.tell_moves(device, &moved, &rule);
            }
            let until = Until { since: now, time: ticks(rule.time) };
            match rule.action {
                MacMoveAction::Alarm => {}
                MacMoveAction::Hold => self.hold(&moved, until),
                MacMoveAction::Disable => {
                    if self.moves.disabled.insert(device, until).is_none() {
                        disabled.push(device);
                    }
                }
            }
        }
        if !disabled.is_empty() {
            self.publish();
            for device in disabled {
                self.forget_stations(device);
                self.tell_state(device, PortState::Disabled);
            }
        }
        self.let_go(now);
    }

    /// Keeps a station where it was before it moved.
    fn hold(&mut self, moved: &Move, until: Until) {
        let is_there = self.entry(moved.key).is_some_and(|entry| entry.is_learned());
        // One that somebody has put somewhere meanwhile is theirs, and one that has no room is not held.
        if is_there && self.moves.held.len() < HELD && self.put(moved.key, moved.from, Flags::HELD).is_ok() {
            self.moves.held.insert(moved.key, until);
        }
    }

    /// Undoes what was done for long enough.
    fn let_go(&mut self, now: Tick) {
        self.moves.counts.retain(|_, count| now.since(count.since) <= count.window);
        let mut free = Vec::new();
        self.moves.held.retain(|key, until| {
            let is_over = until.is_over(now);
            free.extend(is_over.then_some(*key));
            !is_over
        });
        if !free.is_empty() {
            self.forget(|key, entry| entry.flags().has(Flags::HELD) && free.contains(&key));
        }
        let over = self.moves.disabled.iter().filter(|(_, until)| until.is_over(now));
        let over: Vec<_> = over.map(|(device, _)| *device).collect();
        for device in &over {
            self.moves.forgive(*device);
        }
        if !over.is_empty() {
            self.publish();
            over.into_iter().for_each(|device| self.tell_state(device, PortState::Forwarding));
        }
    }

    fn tell_state(&mut self, device: DeviceId, state: PortState) {
        let (ifname, state) = (self.name(device).to_owned(), state.name().to_owned());
        self.events.tell(Event::PortState { ifname, state });
    }

    fn tell_moves(&mut self, device: DeviceId, moved: &Move, rule: &MacMoves) {
        let event = Event::MovesTooOften {
            mac: moved.key.mac().to_string(),
            ifname: self.name(device).to_owned(),
            from: self.name(moved.from).to_owned(),
            master: self.bridge(moved.key.domain()).to_owned(),
            vlan: self.domains.vlan(moved.key.domain()).map(VlanId::number),
            moves: rule.limit,
            action: rule.action.name().to_owned(),
        };
        self.events.tell(event);
    }
}

#[cfg(test)]
mod tests {
    use rigswitch_dataplane::ids::{DomainId, MacAddr};

    use super::*;

    fn key(number: u64) -> Key {
        Key::new(DomainId::new(1).unwrap(), MacAddr::from_bits(number))
    }

    #[test]
    fn however_many_addresses_move_only_so_many_are_counted_at_a_time() {
        let rule = MacMoves { limit: 3, ..MacMoves::default() };
        let mut moves = Moves::default();
        let rounds = [0, 1, 2].map(|tick| {
            (0..100_000).filter(|&number| moves.count(key(number), &rule, Tick::new(tick))).count()
        });
        assert_eq!(rounds, [0, 0, MOST]);
        assert_eq!(moves.counts.len(), 100_000 - MOST, "those who had to wait");
    }

    #[test]
    fn moves_are_counted_from_the_first_on_for_as_long_as_the_window() {
        let rule = MacMoves { limit: 2, window: std::time::Duration::from_secs(1), ..MacMoves::default() };
        let mut moves = Moves::default();
        let mut count = |tick| moves.count(key(1), &rule, Tick::new(tick));
        assert_eq!([0, 11, 21, 22].map(&mut count), [false, false, true, false]);
    }
}
