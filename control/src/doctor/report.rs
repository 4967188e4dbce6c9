//! What was found, said: as text grouped by device, or as JSON.

use rigswitch_dataplane::ports::{PortKind, XdpConfig, XdpQueues};
use rigswitch_dataplane::sys::bpf::Attach;
use serde::Serialize;

use super::checks::{CHECKS, Finding, Severity, hook, is_zero_copy};
use super::facts::{Device, Facts, Port, Unseen};

/// Findings, and what they are about.
#[derive(Serialize)]
pub(crate) struct Report {
    findings: Vec<Finding>,
    ports: Vec<PortReport>,
    looked_at: Vec<&'static str>,
    unseen: Vec<Unseen>,
}

/// How a port's frames come and go, or will.
#[derive(Serialize)]
struct PortReport {
    port: String,
    device: String,
    kind: &'static str,
    is_running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xdp: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zero_copy: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queues: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
}

impl Report {
    pub(crate) fn new(mut findings: Vec<Finding>, facts: Facts) -> Self {
        findings.sort_by_key(|finding| (finding.port.clone(), finding.severity));
        let ports = facts.ports.iter().map(PortReport::new).collect();
        Self {
            findings,
            ports,
            looked_at: CHECKS.iter().map(|check| check.name).collect(),
            unseen: facts.unseen,
        }
    }

    /// How many things will lose frames, or keep the switch from starting.
    pub(crate) fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// For people: the host's findings, then each port's, then the sum.
    pub(crate) fn text(&self, colour: bool) -> String {
        let mut text = group("host", self.findings.iter().filter(|finding| finding.port.is_none()), colour);
        for port in &self.ports {
            let own = self.findings.iter().filter(|finding| finding.port.as_ref() == Some(&port.port));
            text += &group(&port.text(), own, colour);
        }
        for unseen in &self.unseen {
            text += &format!("could not look at {}: {}\n", unseen.what, unseen.why);
        }
        text + &self.sum()
    }

    fn sum(&self) -> String {
        let (errors, warnings, notes) =
            (self.errors(), self.count(Severity::Warning), self.count(Severity::Note));
        let looked_at = self.looked_at.join(", ");
        if errors + warnings == 0 {
            let ports: Vec<_> = self.ports.iter().map(PortReport::text).collect();
            let of = if ports.is_empty() { String::new() } else { format!(" of {}", ports.join(", ")) };
            return format!("nothing wrong: looked at {looked_at}{of}\n");
        }
        let many = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        format!("{}, {}, {}\n", many(errors, "error"), many(warnings, "warning"), many(notes, "note"))
    }
}

/// Findings about one thing, under its name.
fn group<'f>(title: &str, findings: impl Iterator<Item = &'f Finding>, colour: bool) -> String {
    let paint =
        |code: &str, text: &str| if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    let mut text = String::new();
    for finding in findings {
        if text.is_empty() {
            text = format!("{}\n", paint("1", title));
        }
        let word = match finding.severity {
            Severity::Error => paint("31", "error"),
            Severity::Warning => paint("33", "warning"),
            Severity::Note => "note".to_owned(),
        };
        text += &format!(
            "  {word}: {}\n    seen: {}\n    fix:  {}\n",
            finding.what, finding.evidence, finding.fix
        );
    }
    text
}

impl PortReport {
    fn new(port: &Port) -> Self {
        let device = port.device();
        let hook = device.and_then(|device| hook(port, device)).map(|(hook, _)| hook);
        Self {
            port: port.name.clone(),
            device: port.label().to_owned(),
            kind: port.kind.name(),
            is_running: port.is_running,
            driver: device.and_then(|device| device.driver.clone()),
            xdp: hook.map(Attach::name),
            zero_copy: hook
                .zip(device)
                .map(|(hook, device)| hook == Attach::Native && is_zero_copy(port, device)),
            queues: device.and_then(|device| queues(port, device)),
            mtu: port.carries(),
        }
    }

    /// In a line: `v1 (port p1, xdp): veth, native, copy, 4 of 4 queues, MTU 1500`.
    fn text(&self) -> String {
        let copies = self.zero_copy.map(|zero_copy| if zero_copy { "zero-copy" } else { "copy" });
        let words = [
            self.driver.clone(),
            self.xdp.map(str::to_owned),
            copies.map(str::to_owned),
            self.queues.map(|[taken, there]| format!("{taken} of {there} queues")),
            self.mtu.map(|mtu| format!("MTU {mtu}")),
        ];
        let words: Vec<_> = words.into_iter().flatten().collect();
        format!(
            "{} (port {}, {}{}{})",
            self.device,
            self.port,
            self.kind,
            if words.is_empty() { "" } else { ": " },
            words.join(", ")
        )
    }
}

/// Receive queues taken, and those there are.
fn queues(port: &Port, device: &Device) -> Option<[u32; 2]> {
    let PortKind::Xdp(XdpConfig { queues, .. }) = port.kind else { return None };
    let there = device.end.rx_queues;
    let taken = match queues {
        XdpQueues::All => there,
        XdpQueues::First(count) => u32::from(count).min(there),
    };
    Some([taken, there])
}
