//! What may be said in the query of a target, and what it means.

use serde_json::{Value, json};

use crate::capture;

/// One thing that may be said in a query, and what it means.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Nothing is asked without it.
    pub(super) is_required: bool,
    pub(super) schema: fn() -> Value,
}

/// What a capture can be asked for.
pub(super) const CAPTURE: [Parameter; 6] = [
    Parameter {
        name: "port",
        about: "frames of this port; may be said again; all, if it is not said",
        is_required: false,
        schema: || json!({ "type": "array", "items": { "type": "string" } }),
    },
    Parameter {
        name: "stage",
        about: "may be said again; all three, if it is not said",
        is_required: false,
        schema: || json!({ "type": "array", "items": { "enum": ["rx", "tx", "drop"] } }),
    },
    Parameter {
        name: "filter",
        about: "frames that this expression of pcap-filter(7) holds for",
        is_required: false,
        schema: || json!({ "type": "string" }),
    },
    Parameter {
        name: "snaplen",
        about: "bytes to keep of a frame; 0: all",
        is_required: false,
        schema: natural,
    },
    Parameter {
        name: "count",
        about: "frames after which it ends; 0: it does not",
        is_required: false,
        schema: natural,
    },
    Parameter { name: "id", about: "a name to end it by", is_required: false, schema: id },
];

pub(super) const END_CAPTURE: [Parameter; 1] =
    [Parameter { name: "id", about: "the captures of this name", is_required: true, schema: id }];

/// What can be said of a file.
pub(super) const FILE: [Parameter; 1] = [Parameter {
    name: "file",
    about: "where it is, as it is called in what is said about it from then on; else `body`",
    is_required: false,
    schema: || json!({ "type": "string", "maxLength": LONGEST_NAME, "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$" }),
}];

/// The longest name of a file, in characters: a path has no more (PATH_MAX).
const LONGEST_NAME: usize = 4096;

fn natural() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX })
}

fn id() -> Value {
    json!({ "type": "string", "maxLength": capture::LONGEST_ID })
}

/// What a file that is sent is to be called.
pub(super) fn file_name(query: &str) -> Result<String, String> {
    let mut name = "body".to_owned();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "file"
                if !(1..=LONGEST_NAME).contains(&value.chars().count())
                    || value.contains(char::is_control) =>
            {
                return Err(format!(
                    "file: a path has 1 to {LONGEST_NAME} characters, and none that controls"
                ));
            }
            "file" => name = value.into_owned(),
            _ => return Err(format!("{key}: all that can be said of a file is `file`, its path")),
        }
    }
    Ok(name)
}
