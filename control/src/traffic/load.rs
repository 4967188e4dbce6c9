//! How many frames are sent, and how fast.

use std::str::FromStr;
use std::time::Duration;

use super::Stream;

/// How fast frames are sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Rate {
    /// As fast as they can be made.
    Max,
    /// Frames a second.
    Frames(f64),
    /// Bits a second on an Ethernet link: with the FCS, the preamble and the gap of each frame.
    Bits(f64),
}

/// When it is enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Amount {
    /// So many frames.
    Count(u64),
    /// So long.
    For(Duration),
}

/// What is sent of a [`Stream`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Load {
    /// How fast.
    pub rate: Rate,
    /// How much.
    pub amount: Amount,
}

impl Rate {
    /// Frames a second of this stream; `None` for as many as can be.
    pub fn frames(self, stream: &Stream) -> Option<f64> {
        match self {
            Self::Max => None,
            Self::Frames(frames) => Some(frames),
            Self::Bits(bits) => Some(bits / stream.bits()),
        }
    }
}

/// `max`, `200pps`, `1.5Mpps`, `10Gbit`.
impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let wrong =
            || format!("`{text}` is no rate: max, frames as in 200kpps and 1.5Mpps, or bits as in 10Gbit");
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let (scale, what) = match unit.as_bytes() {
            [b'k' | b'K', rest @ ..] => (1e3, rest),
            [b'm' | b'M', rest @ ..] => (1e6, rest),
            [b'g' | b'G', rest @ ..] => (1e9, rest),
            rest => (1.0, rest),
        };
        let rate = match what {
            b"pps" => Self::Frames(number * scale),
            b"bit" | b"bps" => Self::Bits(number * scale),
            _ => return Err(wrong()),
        };
        if number > 0.0 { Ok(rate) } else { Err(format!("`{text}`: a rate is more than nothing")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_as_they_are_written() {
        for (text, rate) in [
            ("max", Rate::Max),
            ("7pps", Rate::Frames(7.0)),
            ("1.5Mpps", Rate::Frames(1.5e6)),
            ("200kpps", Rate::Frames(2e5)),
            ("10Gbit", Rate::Bits(1e10)),
            ("64kbit", Rate::Bits(64e3)),
        ] {
            assert_eq!(text.parse(), Ok(rate), "{text}");
        }
        for text in ["", "fast", "1", "1M", "0pps", "-1pps", "1.2.3Mpps", "1Tbit", "1 Mpps"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_gigabit_is_the_frames_that_a_gigabit_link_carries() {
        // RFC 2544's well-known numbers for Ethernet.
        for (size, frames) in [(64, 1_488_095.0), (512, 234_962.0), (1518, 81_274.0)] {
            let stream = Stream { sizes: vec![size], ..Stream::default() };
            let rate = Rate::Bits(1e9).frames(&stream).unwrap();
            assert!((rate - frames).abs() < 1.0, "{size}: {rate}");
        }
    }
}
