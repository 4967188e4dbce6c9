//! Values with rules of their own: device and namespace names, MAC addresses, spans of time.

use std::time::Duration;

use rigswitch_dataplane::ids::MacAddr;

use super::fields::{Fields, Text};

/// The longest name the kernel gives a device, in bytes (`IFNAMSIZ` less its end).
const LONGEST_NAME: usize = 15;

/// Why `name` cannot name a device (the kernel's `dev_valid_name`, and `%`, which it would number).
pub(crate) fn name_fault(name: &str) -> Option<String> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Some(format!("is {} bytes long, and must be 1 to {LONGEST_NAME}", name.len()));
    }
    if name == "." || name == ".." {
        return Some("is a directory".into());
    }
    let bad = name.chars().find(|&c| c.is_whitespace() || c.is_control() || "/:%".contains(c))?;
    Some(format!("has {bad:?} in it, which no device name may have"))
}

/// The name of a device, ours or the kernel's, at `key`.
pub(super) fn device_name(fields: &Fields<'_>, key: &str, text: Text<'_>) -> Option<String> {
    let Some(fault) = name_fault(text.value) else { return Some(text.value.to_owned()) };
    let rule = format!("`{key}`: the device name `{}` {fault}", text.value);
    fields.problems.push(text.span, rule, "choose a name as short and plain as eth0");
    None
}

/// The name of a network namespace at `key`.
pub(super) fn netns_name(fields: &Fields<'_>, text: Text<'_>) -> Option<String> {
    let name = text.value;
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) || name.len() > 255 {
        let rule = format!("`netns`: `{name}` cannot name a network namespace");
        fields.problems.push(text.span, rule, "give a name that `ip netns list` shows");
        return None;
    }
    Some(name.to_owned())
}

/// The address of one station at `text`.
pub(super) fn station(fields: &Fields<'_>, text: &Text<'_>) -> Option<MacAddr> {
    let refuse = |rule: String, remedy: &str| fields.problems.push(text.span.clone(), rule, remedy);
    match text.value.parse::<MacAddr>() {
        Err(_) => refuse(
            format!("`{}` is not a MAC address", text.value),
            "write six octets in hex, as 02:00:00:00:00:01",
        ),
        Ok(mac) if mac.is_group() => refuse(
            format!("`{mac}` is a group address, and not of one station"),
            "give an address whose first octet is even",
        ),
        Ok(MacAddr::ZERO) => {
            refuse(format!("`{}` names no station", MacAddr::ZERO), "give the address of a station");
        }
        Ok(mac) => return Some(mac),
    }
    None
}

/// The span of time at `key`: `"300s"`, `"500ms"`, `"5m"`, `"1h"`, or an integer of seconds.
pub(super) fn duration(fields: &Fields<'_>, key: &str, limit: Duration) -> Option<Duration> {
    let value = fields.value(key)?;
    let refuse = |rule: String, remedy: String| {
        fields.problems.push(value.span(), rule, remedy);
        None
    };
    let (text, duration) = match (value.get_ref().as_str(), value.get_ref().as_integer()) {
        (Some(text), _) => (text.to_owned(), parse_duration(text)),
        (None, Some(seconds)) => {
            let duration =
                u64::from_str_radix(seconds.as_str(), seconds.radix()).ok().map(Duration::from_secs);
            (seconds.to_string(), duration)
        }
        (None, None) => {
            fields.wrong_type(key, value, "a time such as \"300s\"");
            return None;
        }
    };
    match duration {
        None => refuse(
            format!("`{key}` is `{text}`, which is not a span of time"),
            "write a number and its unit: \"300s\", \"500ms\", \"5m\" or \"1h\"".into(),
        ),
        Some(duration) if duration > limit => refuse(
            format!("`{key}` is {text}, and must be at most {}s", limit.as_secs()),
            format!("choose a time from 0 to {}s; 0 keeps nothing", limit.as_secs()),
        ),
        some => some,
    }
}

pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

/// Whole seconds if it is, else milliseconds: nothing finer comes from a file.
pub(super) fn duration_text(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_millis()),
    }
}

/// A value that is to be written down: it is not the one that is taken where nothing is said.
pub(super) fn unless<T: PartialEq>(value: T, plain: T) -> Option<T> {
    (value != plain).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_have_a_unit() {
        assert_eq!(parse_duration("300s"), Some(Duration::from_secs(300)));
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("5m"), Some(Duration::from_secs(300)));
        for text in ["", "s", "300", "-1s", "1.5s", "300 s", "18446744073709551615h", "99999999999999999999s"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn device_names_are_the_kernels() {
        for name in ["p0", "eth0.10", "a-b_c", "fifteen-bytes-x"] {
            assert_eq!(name_fault(name), None, "{name}");
        }
        for name in ["", "sixteen-bytes-xx", ".", "..", "a/b", "a b", "a:1", "tap%d", "\u{7f}"] {
            assert!(name_fault(name).is_some(), "{name}");
        }
    }
}
