//! The ports by number: dense, kept for as long as the port is there, and given to another only afterwards.

use rigswitch_dataplane::ids::DeviceId;

use super::port::Port;

/// Every port. A number that is free has none.
#[derive(Default)]
pub(super) struct Ports(Vec<Option<Port>>);

impl Ports {
    /// Puts a port in the lowest place that is free.
    pub(super) fn add(&mut self, port: Port) -> DeviceId {
        let place = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        if place == self.0.len() {
            self.0.push(None);
        }
        self.0[place] = Some(port);
        number(place)
    }

    /// Takes a port out. Nothing may name its number any more.
    pub(super) fn remove(&mut self, id: DeviceId) {
        self.0[id.index()] = None;
    }

    /// The port of this number.
    pub(super) fn get(&self, id: DeviceId) -> Option<&Port> {
        self.0.get(id.index())?.as_ref()
    }

    /// The port of this number.
    pub(super) fn get_mut(&mut self, id: DeviceId) -> Option<&mut Port> {
        self.0.get_mut(id.index())?.as_mut()
    }

    /// The number of the port of this name.
    pub(super) fn find(&self, name: &str) -> Option<DeviceId> {
        self.iter().find(|(_, port)| port.config.name == name).map(|(id, _)| id)
    }

    /// All of them with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (DeviceId, &Port)> {
        self.0.iter().enumerate().filter_map(|(place, port)| Some((number(place), port.as_ref()?)))
    }

    /// All of them with their numbers.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (DeviceId, &mut Port)> {
        self.0.iter_mut().enumerate().filter_map(|(place, port)| Some((number(place), port.as_mut()?)))
    }
}

fn number(place: usize) -> DeviceId {
    DeviceId(u16::try_from(place).expect("a configuration has no more devices than there are numbers"))
}
