//! Wireshark's extcap dialogue: what can be captured, with which arguments, and the capture itself into Wireshark's pipe.
//!
//! A link to this program in Wireshark's extcap folder is all it takes: <https://www.wireshark.org/docs/wsdg_html_chunked/ChCaptureExtcap.html>.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Parser;

use super::super::{Failure, print};
use super::files::{Files, Rotation};
use super::{Stage, record, request};
use crate::api::client::Client;
use crate::api::socket::default_path;
use crate::capture::snaplen;
use crate::views::PortView;

/// The interface that is every port; of one port, a space and its name follow.
const ALL: &str = "rigswitch";

/// What Wireshark says.
#[derive(Parser)]
#[command(name = "rigswitch", disable_help_flag = true, args_override_self = true)]
struct Extcap {
    #[arg(long)]
    extcap_interfaces: bool,
    #[arg(long)]
    extcap_dlts: bool,
    #[arg(long)]
    extcap_config: bool,
    #[arg(long)]
    capture: bool,
    #[arg(long, default_value = ALL)]
    extcap_interface: String,
    #[arg(long)]
    fifo: Option<PathBuf>,
    #[arg(long, default_value = "")]
    extcap_capture_filter: String,
    #[arg(long, value_enum, value_delimiter = ',')]
    stage: Vec<Stage>,
    #[arg(long, default_value_t = 0)]
    snaplen: u64,
    #[arg(long, env = "RIGSWITCH_SOCKET")]
    socket: Option<PathBuf>,
    // Said by Wireshark, of no concern here.
    #[arg(long)]
    extcap_version: Option<String>,
    #[arg(long)]
    extcap_reload_option: Option<String>,
    #[arg(long)]
    extcap_control_in: Option<PathBuf>,
    #[arg(long)]
    extcap_control_out: Option<PathBuf>,
}

/// Whether these are the words of Wireshark.
pub(in crate::cli) fn is_asked(words: &[OsString]) -> bool {
    words.iter().skip(1).any(|word| word.to_string_lossy().starts_with("--extcap-"))
}

/// Answers Wireshark.
pub(in crate::cli) fn answer(words: Vec<OsString>) -> Result<(), Failure> {
    let said = Extcap::try_parse_from(words).map_err(|error| Failure::Usage(error.to_string()))?;
    let client = || Client::new(said.socket.clone().unwrap_or_else(default_path));
    if said.capture {
        return said.capture(client());
    }
    if said.extcap_interfaces {
        return print(&interfaces(&client()));
    }
    if said.extcap_dlts {
        return print("dlt {number=1}{name=EN10MB}{display=Ethernet}\n");
    }
    if said.extcap_config {
        return print(CONFIG);
    }
    // Alone, a filter is to be checked: what is printed is what is wrong with it.
    match request(&[], &[], &said.extcap_capture_filter) {
        Err(Failure::Refused(why)) => print(&format!("{why}\n")),
        _ => Ok(()),
    }
}

const CONFIG: &str = "\
arg {number=0}{call=--stage}{display=Where}{type=multicheck}{tooltip=Where frames are captured: everywhere, if none is chosen}
value {arg=0}{value=rx}{display=As they come in}{default=true}
value {arg=0}{value=tx}{display=As they leave}{default=true}
value {arg=0}{value=drop}{display=Where they are discarded}{default=true}
arg {number=1}{call=--snaplen}{display=Bytes of a frame}{type=unsigned}{default=0}{tooltip=0 is all}
arg {number=2}{call=--socket}{display=Socket}{type=string}{tooltip=Of the switch, if it is not where it is by default}{required=false}
";

/// All ports and each port, if a switch answers.
fn interfaces(client: &Client) -> String {
    let mut text = format!(
        "extcap {{version={}}}{{help={}}}\n",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_REPOSITORY")
    );
    // Without a switch there is nothing to capture, which is not wrong.
    let Ok(ports) = client.get::<Vec<PortView>>("/v1/ports") else { return text };
    text += &format!("interface {{value={ALL}}}{{display=rigswitch: all ports}}\n");
    for PortView { ifname, .. } in ports {
        text += &format!("interface {{value={ALL} {ifname}}}{{display=rigswitch: {ifname}}}\n");
    }
    text
}

impl Extcap {
    fn capture(&self, client: Client) -> Result<(), Failure> {
        let port = self.extcap_interface.strip_prefix(ALL).unwrap_or(&self.extcap_interface).trim();
        let ports: Vec<_> = Some(port.to_owned()).filter(|port| !port.is_empty()).into_iter().collect();
        let mut request = request(&ports, &self.stage, &self.extcap_capture_filter)?;
        request.snaplen = snaplen(self.snaplen);
        let Some(fifo) = &self.fifo else {
            return Err(Failure::Usage("--capture: give --fifo, as Wireshark does".into()));
        };
        let summary = record(client, request, || Files::open(fifo, Rotation::default()), || ())?;
        if !summary.missed.is_empty() {
            let _ = writeln!(io::stderr(), "rigswitch: {}", summary.text());
        }
        Ok(())
    }
}
