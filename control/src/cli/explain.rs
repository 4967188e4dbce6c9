//! `rigswitch explain`: why a frame goes where it goes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use rigswitch_dataplane::ports::Capture;

use super::{Failure, note, print};
use crate::api::client::Client;
use crate::config::Config;
use crate::explain::{ExplainRequest, ExplanationView, FollowRequest, LONGEST, parse};
use crate::switch::{Switch, SwitchError};

#[derive(Args)]
#[command(
    after_help = "A frame in words: eth dst=02:00:00:00:00:02 src=02:00:00:00:00:01 / vlan 10 / ipv4 dst=192.0.2.2 / udp \
                        dport=53 / payload 64\nWhat is not said is such that the frame is a valid one. Layers: eth, vlan, arp, \
                        ipv4, ipv6, udp, tcp, icmp, payload."
)]
pub(super) struct Explain {
    /// The port that it comes in by
    #[arg(long)]
    port: String,
    /// The frame, in words or in hex
    #[arg(required_unless_present_any = ["pcap", "next"])]
    frame: Vec<String>,
    /// The frame is in this capture
    #[arg(long, value_name = "FILE", conflicts_with = "frame")]
    pcap: Option<PathBuf>,
    /// Which of the frames there, from 1
    #[arg(long, value_name = "N", requires = "pcap", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    record: u64,
    /// Ask no running switch, but this configuration: every device up, nobody learned
    #[arg(short, long, value_name = "FILE", conflicts_with = "next")]
    config: Option<PathBuf>,
    /// Follow the next N frames that come in by the port
    #[arg(long, value_name = "N", conflicts_with_all = ["frame", "pcap"], value_parser = clap::value_parser!(u32).range(1..=10_000))]
    next: Option<u32>,
    /// Only those that match, in tcpdump's words
    #[arg(long, value_name = "EXPR", requires = "next")]
    filter: Option<String>,
    /// How long to wait for them, in seconds
    #[arg(long, value_name = "SECONDS", requires = "next", default_value = "10", value_parser = seconds)]
    timeout: Duration,
    /// As JSON
    #[arg(short)]
    json: bool,
}

/// `10`, `10s` or `500ms`.
fn seconds(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').unwrap_or(text), 1000),
    };
    let millis = number.parse::<u32>().ok().and_then(|number| number.checked_mul(unit));
    millis.map(|millis| Duration::from_millis(millis.into())).ok_or_else(|| "write 10s or 500ms".to_owned())
}

impl Explain {
    pub(super) fn run(self, client: &Client) -> Result<(), Failure> {
        if let Some(next) = self.next {
            return self.follow(client, next);
        }
        let bytes = match &self.pcap {
            Some(file) => record(file, self.record)?,
            None => parse(&self.frame.join(" "))?,
        };
        let view = match &self.config {
            Some(file) => offline(Config::load(file)?, &self.port, &bytes)?,
            None => {
                if bytes.len() > LONGEST {
                    return Err(Failure::Refused(SwitchError::TooLong(bytes.len()).to_string()));
                }
                let frame = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                client.send("POST", "/v1/explain", &ExplainRequest { port: self.port.clone(), frame })?
            }
        };
        self.print(&view)
    }

    fn follow(&self, client: &Client, next: u32) -> Result<(), Failure> {
        let timeout_ms = u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX);
        let (port, filter) = (self.port.clone(), self.filter.clone());
        let mut seen = 0;
        let start = Instant::now();
        client.lines("/v1/explain/next", &FollowRequest { port, next, filter, timeout_ms }, |view| {
            seen += 1;
            self.print(&view)
        })?;
        if seen == next {
            return Ok(());
        }
        if start.elapsed() < self.timeout {
            let why = "the switch ended this early: it has gone, or others that came later took the place";
            return Err(Failure::Refused(format!("{why}; {seen} of {next} frames came in by {}", self.port)));
        }
        let came = if seen == 0 { "no such frame".to_owned() } else { format!("{seen} of {next} frames") };
        Err(Failure::Refused(format!("{came} came in by {} within {:?}", self.port, self.timeout)))
    }

    fn print(&self, view: &ExplanationView) -> Result<(), Failure> {
        if !self.json {
            return print(&view.to_string());
        }
        let text = serde_json::to_string(view).map_err(|error| Failure::Refused(error.to_string()))?;
        print(&(text + "\n"))
    }
}

/// What a switch that has just been started would do, without its devices.
fn offline(mut config: Config, port: &str, bytes: &[u8]) -> Result<ExplanationView, Failure> {
    config.without_devices();
    let asked = Switch::by_hand(config, Default::default(), |hand| hand.switch().explain(port, bytes));
    asked.and_then(|view| view).map_err(|error| Failure::Refused(error.to_string()))
}

/// The frame at this place of a capture. What a capture left out of it is taken for zeros, and said to be.
fn record(path: &Path, number: u64) -> Result<Vec<u8>, Failure> {
    let mut capture = Capture::open(path).map_err(|error| Failure::Refused(error.to_string()))?;
    let mut count = 0;
    while let Some(record) = capture.record() {
        let record = record.map_err(|why| Failure::Refused(why.to_owned()))?;
        count += 1;
        if count < number {
            capture.advance();
            continue;
        }
        let mut bytes = record.captured().to_vec();
        let length = usize::try_from(record.original_length).unwrap_or(usize::MAX);
        if length > bytes.len() {
            note(&format!(
                "{}: record {number} has {} of {length} bytes: the rest is taken for zeros",
                path.display(),
                bytes.len()
            ));
            bytes.resize(length.min(LONGEST + 1), 0);
        }
        return Ok(bytes);
    }
    Err(Failure::Refused(format!("{}: there is no record {number}: it has {count}", path.display())))
}
