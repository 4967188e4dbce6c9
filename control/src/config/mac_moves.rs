//! The keys `mac_move_*` of `[[bridge]]`, read and written.

use std::time::Duration;

use rigswitch_dataplane::bridge::{MacMoveAction, MacMoves};
use serde::Serialize;

use super::fields::Fields;
use super::values::{duration, duration_text};

/// What is said beside the limit.
const OTHERS: [&str; 3] = ["mac_move_window", "mac_move_action", "mac_move_time"];

/// The longest window, and the longest that an action lasts.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What a bridge does about stations that move too often.
pub(super) fn read(fields: &Fields<'_>) -> MacMoves {
    let plain = MacMoves::default();
    let words = MacMoveAction::ALL.map(|action| (action.name(), action));
    let moves = MacMoves {
        limit: fields.integer("mac_move_limit", 0..=1_000_000).unwrap_or(plain.limit),
        window: duration(fields, "mac_move_window", LONGEST).unwrap_or(plain.window),
        action: fields.word("mac_move_action", &words).unwrap_or(plain.action),
        time: duration(fields, "mac_move_time", LONGEST).unwrap_or(plain.time),
    };
    for key in OTHERS.into_iter().filter(|_| fields.value("mac_move_limit").is_none()) {
        if let Some(value) = fields.value(key) {
            let rule = format!("`{key}` without `mac_move_limit`: no number of moves is too many");
            fields.problems.push(value.span(), rule, "add mac_move_limit = 5, or take it out");
        }
    }
    moves
}

/// What there is to say of it that is not taken where nothing is said.
#[derive(Serialize)]
pub(super) struct Words {
    #[serde(skip_serializing_if = "Option::is_none")]
    mac_move_limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac_move_window: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac_move_action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac_move_time: Option<String>,
}

impl From<MacMoves> for Words {
    fn from(moves: MacMoves) -> Self {
        let is_set = moves != MacMoves::default();
        Self {
            mac_move_limit: is_set.then_some(moves.limit),
            mac_move_window: is_set.then(|| duration_text(moves.window)),
            mac_move_action: is_set.then(|| moves.action.name()),
            mac_move_time: is_set.then(|| duration_text(moves.time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Document};

    const GUARDED: &str = "[[bridge]]\nname = \"br0\"\nmac_move_limit = 5\nmac_move_window = \"10s\"\n\
                           mac_move_action = \"hold\"\nmac_move_time = \"1m\"\n";

    #[test]
    fn every_key_is_read_and_written_again() {
        let config = Config::parse(GUARDED, "rig.toml").unwrap();
        let [window, time] = [10, 60].map(Duration::from_secs);
        let expected = MacMoves { limit: 5, window, action: MacMoveAction::Hold, time };
        assert_eq!(config.bridges[0].mac_moves, expected);
        let written = Document::new(&config).to_toml().unwrap();
        assert_eq!(Config::parse(&written, "written").unwrap(), config, "{written}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (from, to, rule) in [
            ("mac_move_limit = 5\n", "", "`mac_move_action` without `mac_move_limit`"),
            (
                "\"hold\"",
                "\"freeze\"",
                "`mac_move_action` is \"freeze\", and must be one of alarm, hold, disable",
            ),
            ("\"10s\"", "\"25h\"", "`mac_move_window` is 25h, and must be at most 86400s"),
        ] {
            let said = Config::parse(&GUARDED.replace(from, to), "rig.toml").unwrap_err().to_string();
            assert!(said.contains(rule), "{said}");
        }
    }
}
