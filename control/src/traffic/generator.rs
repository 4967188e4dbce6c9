//! The generator: a stream, and the port that it is sent from. Frames are [made](super::made) by the kernel, or
//! [written](super::written) by this process where it cannot.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rigswitch_dataplane::sys::cpu;
use rigswitch_dataplane::sys::links::Links;

use super::made::{self, Maker};
use super::stream::FCS;
use super::written::Writer;
use super::{Load, Port, Stream, TrafficError};

/// A stream, ready to be sent from a port.
#[derive(Debug)]
pub struct Generator {
    port: Port,
    stream: Stream,
    source: Source,
    links: Links,
    /// The CPU that frames are made on.
    cpu: Option<usize>,
}

#[derive(Debug)]
enum Source {
    Made(Maker),
    Written(Writer),
}

/// What has been sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// Frames that were given to the device.
    pub frames: u64,
    /// Bytes of them, without the FCS.
    pub bytes: u64,
    /// From the first to the last.
    pub time: Duration,
    /// Of the frames, those that the device did not take: on a veth, its far end's ring was full.
    pub refused: u64,
}

impl Sent {
    /// Frames a second.
    pub fn rate(&self) -> f64 {
        match self.time.as_secs_f64() {
            seconds if seconds > 0.0 => (self.frames - 1) as f64 / seconds,
            _ => 0.0,
        }
    }
}

/// What either source has sent.
pub(super) struct Made {
    pub(super) frames: u64,
    pub(super) time: Duration,
}

/// A generator that was kept from its work makes up for so many frames, and leaves out the others: no burst that nobody asked for.
pub(super) const MADE_UP: f64 = 32.0;

impl Generator {
    /// Gets ready to send `stream` from `port`, making frames on `cpu` if one is named.
    ///
    /// # Errors
    /// What is wrong with the stream, with the port, or with our privilege.
    pub fn new(port: Port, stream: Stream, cpu: Option<usize>) -> Result<Self, TrafficError> {
        stream.check()?;
        check_length(&port, &stream)?;
        let source = if stream.largest() <= made::LONGEST && takes_from_xdp(&port)? {
            Source::Made(Maker::new(&stream, port.index)?)
        } else {
            Source::Written(port.run(|| Writer::new(&stream, port.index))??)
        };
        let links =
            Links::open(port.netns.as_deref()).map_err(TrafficError::system("watching the device"))?;
        Ok(Self { port, stream, source, links, cpu })
    }

    /// What it sends.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Whether the kernel makes the frames; else they are written here, which is slower.
    pub fn is_in_kernel(&self) -> bool {
        matches!(self.source, Source::Made(_))
    }

    /// Sends the stream, from its first frame on, until there was enough or `stop` is set.
    ///
    /// # Errors
    /// What the kernel says: a device that has gone, for example.
    pub fn run(&self, load: Load, stop: &AtomicBool) -> Result<Sent, TrafficError> {
        let refused_before = self.refused()?;
        let pace = load.rate.frames(&self.stream).map_or(0.0, |rate| 1e9 / rate);
        let made = self.port.run(|| {
            if let Some(cpu) = self.cpu {
                cpu::pin(cpu).map_err(TrafficError::system("pinning the generator"))?;
            }
            match &self.source {
                Source::Made(maker) => maker.run(pace, load.amount, stop),
                Source::Written(writer) => writer.run(&self.stream, pace, load.amount, stop),
            }
        })??;
        Ok(Sent {
            frames: made.frames,
            bytes: self.stream.bytes(made.frames),
            time: made.time,
            refused: self.refused()?.saturating_sub(refused_before),
        })
    }

    fn refused(&self) -> Result<u64, TrafficError> {
        self.links.tx_dropped(self.port.index).map_err(TrafficError::system("reading the device's counters"))
    }
}

/// Frames that a device does not take are gone without a trace: say so before.
fn check_length(port: &Port, stream: &Stream) -> Result<(), TrafficError> {
    let mtu = port.device.mtu().map_err(TrafficError::Device)? as usize;
    let longest = mtu + 14 + FCS + stream.tag_len();
    if stream.largest() > longest {
        let (size, name) = (stream.largest(), &port.name);
        return Err(TrafficError::Stream(format!(
            "size {size}: the MTU of {name}, {mtu}, lets frames of {longest} bytes through, the FCS among them"
        )));
    }
    Ok(())
}

/// Whether the device sends what XDP makes; a veth that could is to be made to.
fn takes_from_xdp(port: &Port) -> Result<bool, TrafficError> {
    let takes = port.features()?.is_none_or(|features| features.transmits);
    if !takes && port.device.driver().is_ok_and(|driver| driver == "veth") {
        let remedy = "give the veth's far end GRO (ethtool -K DEVICE gro on) or XDP (an `xdp` port of a switch has it)";
        return Err(TrafficError::Transmit { device: port.name.clone(), remedy: remedy.into() });
    }
    Ok(takes)
}
