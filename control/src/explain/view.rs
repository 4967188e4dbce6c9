//! What an operator sees of an explanation: the shapes that the socket sends, and their text.

use std::fmt;

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;

/// Asks what would become of a frame.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The port that it comes in by.
    pub port: String,
    /// Its bytes in hex, from the destination address on, or in words: `eth dst=… / ipv4 / udp`.
    pub frame: String,
}

/// Asks what becomes of the next frames.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FollowRequest {
    /// The port that they come in by.
    pub port: String,
    /// How many.
    #[serde(deserialize_with = "whole")]
    pub next: u32,
    /// Which, in tcpdump's words; else all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// How long to wait for them, in milliseconds.
    #[serde(deserialize_with = "whole")]
    pub timeout_ms: u32,
}

/// A number without fraction, however it is written: to JSON Schema 2.0 is an integer too (draft 2020-12, 4.2.3).
fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let number = Number::deserialize(from)?;
    let whole = number.as_f64().filter(|float| float.fract() == 0.0); // exact up to 2^53, and 2^32 is too many
    let integer = whole.and_then(|whole| format!("{:.0}", whole + 0.0).parse().ok());
    integer.ok_or_else(|| Error::custom(format!("{number} is not an integer from 0 to {}", u32::MAX)))
}

/// The way of a frame: every decision in order, and what came of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExplanationView {
    /// The port that it came in by.
    pub port: String,
    /// Its headers, in a few words.
    pub frame: String,
    /// Its bytes.
    pub length: u64,
    /// Every decision, in order.
    pub steps: Vec<StepView>,
    /// What came of it, in a few words.
    pub verdict: String,
    /// The ports that it leaves by.
    pub leaves_by: Vec<String>,
    /// What of it ends, and why.
    pub drops: Vec<ExplainedDrop>,
}

/// One decision.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StepView {
    /// Where on the way: `in`, `learn`, `look up`, `flood`, `out` …
    pub step: String,
    /// What was decided, and by what.
    pub text: String,
    /// `file:line` of what the configuration says about it, if it says anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// A frame or a copy that ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedDrop {
    /// The port.
    pub device: String,
    /// `rx`: the frame itself; `tx`: a copy on its way out.
    pub direction: String,
    /// The reason's name.
    pub reason: String,
    /// What happened.
    pub meaning: String,
    /// How it comes about.
    pub cause: String,
    /// What to do if it should not be.
    pub remedy: String,
}

impl fmt::Display for ExplanationView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {} bytes", self.frame, self.length)?;
        let width = self.steps.iter().map(|step| step.step.chars().count()).max().unwrap_or(0);
        for StepView { step, text, place } in &self.steps {
            let place = place.as_ref().map_or(String::new(), |place| format!("  [{place}]"));
            writeln!(f, "  {step:<width$}  {text}{place}")?;
        }
        writeln!(f, "{}", self.verdict)?;
        let mut told: Vec<&str> = Vec::new();
        for drop in self.drops.iter() {
            if !told.contains(&&*drop.reason) {
                told.push(&drop.reason);
                writeln!(f, "  {}: {}", drop.reason, drop.meaning)?;
                writeln!(f, "  how it arises: {}\n  what to do: {}", drop.cause, drop.remedy)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_one_however_it_is_written() {
        let asked = |next: &str| {
            serde_json::from_str::<FollowRequest>(&format!(r#"{{"port":"p0","next":{next},"timeout_ms":5}}"#))
        };
        for (text, next) in [("7", 7), ("7.0", 7), ("0.7e1", 7), ("-0.0", 0), ("4294967295.0", u32::MAX)] {
            assert_eq!(asked(text).unwrap().next, next, "{text}");
        }
        for text in ["7.5", "-1", "-1.0", "4294967296", "1e300", "18446744073709551616", "\"7\"", "null"] {
            assert!(asked(text).is_err(), "{text}");
        }
    }
}
