//! Whether two files say the same, and if not, where they part.

use std::path::Path;
use std::{fs, io};

use rigswitch_dataplane::ports::Capture;

/// How two captures differ, in a few words; nothing if they do not. One that is not there has no record.
pub(super) fn captures(expected: &Path, got: &Path) -> Result<Option<String>, io::Error> {
    let open = |path: &Path| path.exists().then(|| Capture::open(path)).transpose();
    let (mut expected, mut got) = (open(expected)?, open(got)?);
    for number in 1u64.. {
        let (left, right) = (at_hand(expected.as_ref()), at_hand(got.as_ref()));
        if left != right {
            return Ok(Some(format!(
                "record {number}: expected {}, got {}",
                in_words(left),
                in_words(right)
            )));
        }
        if left.is_none() {
            break;
        }
        expected.iter_mut().chain(&mut got).for_each(Capture::advance);
    }
    Ok(None)
}

/// How two texts differ, in a few words; nothing if they do not.
pub(super) fn texts(expected: &Path, got: &Path) -> Result<Option<String>, io::Error> {
    let (expected, got) = (read(expected)?, read(got)?);
    if expected == got {
        return Ok(None);
    }
    let text = |bytes: Option<Vec<u8>>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
    let (expected, got) = (text(expected), text(got));
    let (mut left, mut right) = (expected.lines(), got.lines());
    for number in 1u64.. {
        let (left, right) = (left.next(), right.next());
        if left != right || left.is_none() {
            let word =
                |line: Option<&str>| line.map_or("nothing".to_owned(), |line| format!("`{}`", line.trim()));
            return Ok(Some(format!("line {number}: expected {}, got {}", word(left), word(right))));
        }
    }
    Ok(None)
}

/// The bytes of a file; none if there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, io::Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The time and the bytes of a record, or what is wrong with it.
type AtHand<'c> = Option<Result<(u64, &'c [u8]), &'c str>>;

fn at_hand(capture: Option<&Capture>) -> AtHand<'_> {
    let record = capture?.record()?;
    Some(record.map(|record| (record.unix_ns, record.captured())))
}

fn in_words(record: AtHand<'_>) -> String {
    const SHOWN: usize = 32;
    const SECOND: u64 = 1_000_000_000;
    match record {
        None => "no more".to_owned(),
        Some(Err(why)) => why.to_owned(),
        Some(Ok((unix_ns, bytes))) => {
            let time = format!("{}.{:09}", unix_ns / SECOND, unix_ns % SECOND);
            let hex: String = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
            let more = if bytes.len() > SHOWN { "…" } else { "" };
            format!("{} bytes at {time} ({hex}{more})", bytes.len())
        }
    }
}
