//! The ports by number: dense, kept for as long as the port is there, and given to another only afterwards.

use std::collections::BTreeMap;

use rigswitch_dataplane::ids::DeviceId;

use super::port::Port;

/// Every port. A number that is free has none.
#[derive(Default)]
pub(super) struct Ports {
    places: Vec<Option<Port>>,
    insides: BTreeMap<String, DeviceId>, // of bridges' own devices, by their name
}

impl Ports {
    /// Puts a port in the lowest place that is free.
    pub(super) fn add(&mut self, port: Port) -> DeviceId {
        let place = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(None);
        }
        if port.is_inside() {
            self.insides.insert(port.config.name.clone(), number(place));
        }
        self.places[place] = Some(port);
        number(place)
    }

    /// Takes a port out. Nothing may name its number any more.
    pub(super) fn remove(&mut self, id: DeviceId) {
        self.places[id.index()] = None;
        self.insides.retain(|_, inside| *inside != id);
    }

    /// The port of this number.
    pub(super) fn get(&self, id: DeviceId) -> Option<&Port> {
        self.places.get(id.index())?.as_ref()
    }

    /// The port of this number.
    pub(super) fn get_mut(&mut self, id: DeviceId) -> Option<&mut Port> {
        self.places.get_mut(id.index())?.as_mut()
    }

    /// The number of the port of this name.
    pub(super) fn find(&self, name: &str) -> Option<DeviceId> {
        self.iter().find(|(_, port)| port.config.name == name).map(|(id, _)| id)
    }

    /// That of the inside of the bridge's own device of this name, unless the tables are not to have it any more.
    pub(super) fn inside(&self, name: &str) -> Option<DeviceId> {
        let is_there = |id: &DeviceId| self.get(*id).is_some_and(|port| !port.leaving);
        self.insides.get(name).copied().filter(is_there)
    }

    /// The number by which a bridge knows the port of this name, or its own device.
    pub(super) fn member(&self, name: &str) -> Option<DeviceId> {
        self.inside(name).or_else(|| self.find(name))
    }

    /// Those that have names of their own, with their numbers: all but the insides of bridges' devices.
    pub(super) fn iter(&self) -> impl Iterator<Item = (DeviceId, &Port)> {
        self.all().filter(|(_, port)| !port.is_inside())
    }

    /// All of them with their numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = (DeviceId, &Port)> {
        self.places.iter().enumerate().filter_map(|(place, port)| Some((number(place), port.as_ref()?)))
    }

    /// The same, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (DeviceId, &mut Port)> {
        self.places.iter_mut().enumerate().filter_map(|(place, port)| Some((number(place), port.as_mut()?)))
    }
}

fn number(place: usize) -> DeviceId {
    DeviceId(u16::try_from(place).expect("a configuration has no more devices than there are numbers"))
}
