//! The checks: plain functions from facts to findings, in one table.

mod host;
mod mtu;
mod napi;
mod offloads;
mod pinning;
mod place;
mod queues;
mod routes;
mod running;
mod vlans;
mod xdp;
mod zero_copy;

#[cfg(test)]
mod tests;

use serde::Serialize;

pub(crate) use xdp::hook;
pub(crate) use zero_copy::is_zero_copy;

use super::facts::{Device, Facts, Port};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// The switch will not start, or frames will be lost.
    Error,
    /// It costs speed.
    Warning,
    /// Good to know.
    Note,
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// The check.
    pub(crate) check: &'static str,
    /// The port, and the kernel's name of its device; none for what is the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<String>,
    /// What is wrong, and what comes of it.
    pub(crate) what: String,
    /// The value that was read, and where.
    pub(crate) evidence: String,
    /// What to paste into a shell.
    pub(crate) fix: String,
}

impl Finding {
    fn new(severity: Severity, what: String, evidence: String, fix: String) -> Self {
        Self { severity, check: "", port: None, device: None, what, evidence, fix }
    }

    fn error(what: impl Into<String>, evidence: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(Severity::Error, what.into(), evidence.into(), fix.into())
    }

    fn warning(what: impl Into<String>, evidence: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(Severity::Warning, what.into(), evidence.into(), fix.into())
    }

    fn note(what: impl Into<String>, evidence: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(Severity::Note, what.into(), evidence.into(), fix.into())
    }
}

/// What a check is called, what it looks at, and how.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    look: Look,
}

enum Look {
    /// At everything.
    Host(fn(&Facts) -> Vec<Finding>),
    /// At each port.
    Port(fn(&Facts, &Port) -> Vec<Finding>),
    /// At each port whose device is there.
    Device(fn(&Facts, &Port, &Device) -> Vec<Finding>),
}

/// All of them, in the order in which an operator would mend things.
pub(crate) const CHECKS: &[Check] = &[
    check("kernel", Look::Host(host::kernel)),
    check("capabilities", Look::Host(host::capabilities)),
    check("locked memory", Look::Host(host::locked_memory)),
    check("open files", Look::Host(host::open_files)),
    check("/dev/net/tun", Look::Host(host::tun)),
    check("pinning", Look::Host(pinning::pinning)),
    check("presence", Look::Port(place::presence)),
    check("link", Look::Device(place::link)),
    check("other XDP programs", Look::Device(place::program)),
    check("masters", Look::Device(place::master)),
    check("devices on it", Look::Device(place::uppers)),
    check("addresses", Look::Device(place::addresses)),
    check("br_netfilter", Look::Device(place::netfilter)),
    check("queues", Look::Device(queues::queues)),
    check("XDP mode", Look::Device(xdp::mode)),
    check("zero-copy", Look::Device(zero_copy::zero_copy)),
    check("VLAN tags", Look::Device(xdp::tags)),
    check("choice", Look::Device(xdp::choice)),
    check("offloads", Look::Device(offloads::offloads)),
    check("MTU of the far end", Look::Device(mtu::far_end)),
    check("MTU chain", Look::Host(mtu::chain)),
    check("VLANs that are devices", Look::Host(vlans::taken)),
    check("forwarding", Look::Host(routes::forwarding)),
    check("addresses of two", Look::Host(routes::twice)),
    check("gateways", Look::Host(routes::gateways)),
    check("reverse path", Look::Host(routes::reverse_path)),
    check("NAPI", Look::Device(napi::napi)),
    check("drops before the switch", Look::Host(running::lost)),
];

const fn check(name: &'static str, look: Look) -> Check {
    Check { name, look }
}

/// What all checks find.
pub(crate) fn run(facts: &Facts) -> Vec<Finding> {
    CHECKS.iter().flat_map(|check| check.run(facts)).collect()
}

impl Check {
    fn run(&self, facts: &Facts) -> Vec<Finding> {
        let of_port = |port: &Port, findings: Vec<Finding>| {
            let (name, device) = (port.name.clone(), port.label().to_owned());
            let named =
                move |finding| Finding { port: Some(name.clone()), device: Some(device.clone()), ..finding };
            findings.into_iter().map(named).collect::<Vec<_>>()
        };
        let found: Vec<_> = match self.look {
            Look::Host(look) => look(facts),
            Look::Port(look) => {
                facts.ports.iter().flat_map(|port| of_port(port, look(facts, port))).collect()
            }
            Look::Device(look) => {
                let there = facts.ports.iter().filter_map(|port| Some((port, port.device()?)));
                there.flat_map(|(port, device)| of_port(port, look(facts, port, device))).collect()
            }
        };
        found.into_iter().map(|finding| Finding { check: self.name, ..finding }).collect()
    }
}
