//! Network namespaces, each looked at once: its devices, its addresses, and which one a veth's other end is in.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rigswitch_dataplane::ports::PortKind;
use rigswitch_dataplane::sys::links::Links;
use rigswitch_dataplane::sys::netns::{Netns, inside};
use rigswitch_dataplane::sys::stacking::{self, Stacked};

use crate::doctor::facts::{Address, Place, Unseen};

/// Those that have been looked at.
#[derive(Default)]
pub(super) struct Spaces {
    all: Vec<Space>,
    pub(super) unseen: Vec<Unseen>,
}

/// One of them.
pub(super) struct Space {
    pub(super) place: Place,
    /// None: the process's own.
    pub(super) netns: Option<Netns>,
    pub(super) devices: Vec<Stacked>,
    pub(super) addresses: Vec<(u32, IpAddr, u8)>,
    links: Links,
}

/// Its number among them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Which(usize);

impl Spaces {
    /// The namespace of this name, or the process's own.
    pub(super) fn enter(&mut self, name: Option<&str>) -> io::Result<Which> {
        let place = name.map_or(Place::Here, |name| Place::Named(name.to_owned()));
        if let Some(known) = self.all.iter().position(|space| space.place == place) {
            return Ok(Which(known));
        }
        let netns = name.map(Netns::open).transpose()?;
        self.insert(place, netns)
    }

    /// The IP addresses in all of them, with what has them.
    pub(super) fn addresses(&self) -> Vec<Address> {
        let of_space = |space: &Space| {
            let address = |(index, address, prefix): &(u32, IpAddr, u8)| {
                let device = space.devices.iter().find(|device| device.link.index == *index)?;
                let (place, device) = (space.place.clone(), device.link.name.clone());
                Some(Address { place, device, address: *address, prefix: *prefix })
            };
            space.addresses.iter().filter_map(address).collect::<Vec<_>>()
        };
        self.all.iter().flat_map(of_space).collect()
    }

    pub(super) fn of(&self, which: Which) -> &Space {
        &self.all[which.0]
    }

    fn insert(&mut self, place: Place, netns: Option<Netns>) -> io::Result<Which> {
        let (devices, addresses) =
            inside(netns.as_ref(), || io::Result::Ok((stacking::all()?, stacking::addresses()?)))??;
        let links = Links::open(netns.as_ref())?;
        self.all.push(Space { place, netns, devices, addresses, links });
        Ok(Which(self.all.len() - 1))
    }

    /// The namespace that `which` knows by this number, if it can be found: it has a name or a process.
    pub(super) fn numbered(&mut self, which: Which, number: u32) -> io::Result<Which> {
        let is_it = |netns: &Netns| self.of(which).links.number_of(netns).ok().flatten() == Some(number);
        let own = Netns::current()?;
        if is_it(&own) {
            return self.enter(None);
        }
        let names = Netns::names().unwrap_or_default().into_iter();
        let mut named = names.filter_map(|name| Some((Netns::open(&name).ok()?, name)));
        if let Some((_, name)) = named.find(|(netns, _)| is_it(netns)) {
            return self.enter(Some(&name));
        }
        let open = |pid: u32| Some((pid, File::open(format!("/proc/{pid}/ns/net")).ok()?));
        let mut held =
            processes().filter_map(open).map(|(pid, file)| (pid, Netns::from(OwnedFd::from(file))));
        let (pid, netns) = held
            .find(|(_, netns)| is_it(netns))
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no name and no process leads there"))?;
        match self.all.iter().position(|space| space.place == Place::Process(pid)) {
            Some(known) => Ok(Which(known)),
            None => self.insert(Place::Process(pid), Some(netns)),
        }
    }

    /// Where there is a device of this name that nothing else can be meant by.
    pub(super) fn elsewhere(&mut self, device: &str) -> Option<Place> {
        let names = Netns::names().unwrap_or_default();
        let places: Vec<_> = names.iter().map(|name| Some(name.as_str())).chain([None]).collect();
        let mut found = places.into_iter().filter_map(|name| {
            let space = self.enter(name).ok()?;
            let space = self.of(space);
            space.devices.iter().any(|there| there.link.name == device).then(|| space.place.clone())
        });
        found.next().filter(|_| found.next().is_none())
    }

    /// The kind of port that the switch chooses for this device.
    pub(super) fn chosen(&self, kind: &PortKind, device: &str, netns: Option<&str>) -> io::Result<PortKind> {
        let place = netns.map_or(Place::Here, |name| Place::Named(name.to_owned()));
        let space = self.all.iter().find(|space| space.place == place);
        kind.chosen(device, space.and_then(|space| space.netns.as_ref()))
    }

    /// Notes that something could not be looked at, once.
    pub(super) fn miss(&mut self, what: String, why: &io::Error) {
        let why = why.to_string();
        if !self.unseen.iter().any(|unseen| unseen.what == what) {
            self.unseen.push(Unseen { what, why });
        }
    }
}

/// The numbers of all processes that can be seen.
pub(super) fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
