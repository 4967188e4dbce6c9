//! What frames look like, on the command line: for all that send some.

use std::net::Ipv4Addr;

use clap::Args;
use rigswitch_dataplane::ids::MacAddr;

use crate::traffic::{Range, Stream, imix};

/// A size, or a mix of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Size {
    Bytes(usize),
    /// 64, 594 and 1518 bytes as 7 to 4 to 1.
    Imix,
}

impl Size {
    /// The sizes that take turns.
    pub(super) fn turns(self) -> Vec<usize> {
        match self {
            Self::Bytes(bytes) => vec![bytes],
            Self::Imix => imix(),
        }
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Bytes(bytes) => bytes.to_string(),
            Self::Imix => "imix".into(),
        }
    }
}

pub(super) fn size(text: &str) -> Result<Size, String> {
    match text {
        "imix" => Ok(Size::Imix),
        _ => text.parse().map(Size::Bytes).map_err(|_| "bytes with the FCS, as in 64, or imix".into()),
    }
}

/// Addresses, and how many of each.
#[derive(Args)]
#[command(next_help_heading = "Frames")]
pub(super) struct Frames {
    /// UDP flows: source ports that take turns
    #[arg(long, value_name = "N", default_value_t = 1)]
    flows: u32,
    /// The first source MAC address
    #[arg(long, value_name = "MAC")]
    src_mac: Option<MacAddr>,
    /// Source MAC addresses that take turns
    #[arg(long, value_name = "N", default_value_t = 1)]
    src_macs: u32,
    /// The first destination MAC address
    #[arg(long, value_name = "MAC")]
    dst_mac: Option<MacAddr>,
    /// Destination MAC addresses that take turns
    #[arg(long, value_name = "N", default_value_t = 1)]
    dst_macs: u32,
    /// The first source IP address
    #[arg(long, value_name = "IP")]
    src_ip: Option<Ipv4Addr>,
    /// Source IP addresses that take turns
    #[arg(long, value_name = "N", default_value_t = 1)]
    src_ips: u32,
    /// The first destination IP address
    #[arg(long, value_name = "IP")]
    dst_ip: Option<Ipv4Addr>,
    /// Destination IP addresses that take turns
    #[arg(long, value_name = "N", default_value_t = 1)]
    dst_ips: u32,
    /// Give the frames an 802.1Q tag of this VLAN
    #[arg(long, value_name = "ID")]
    vlan: Option<u16>,
}

impl Frames {
    /// The stream of such frames, of these sizes in turn.
    pub(super) fn stream(&self, sizes: Vec<usize>) -> Stream {
        fn range<T>(first: Option<T>, count: u32, default: Range<T>) -> Range<T> {
            Range { first: first.unwrap_or(default.first), count }
        }
        let default = Stream::default();
        Stream {
            sizes,
            source_macs: range(self.src_mac, self.src_macs, default.source_macs),
            destination_macs: range(self.dst_mac, self.dst_macs, default.destination_macs),
            source_ips: range(self.src_ip, self.src_ips, default.source_ips),
            destination_ips: range(self.dst_ip, self.dst_ips, default.destination_ips),
            ports: self.flows,
            vlan: self.vlan,
            outer: None,
            run: default.run,
        }
    }
}
