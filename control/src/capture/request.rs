//! What a capture is asked for, as the query of a target says it.

use form_urlencoded::{Serializer, parse};
use rigswitch_dataplane::filter::Filter;
use rigswitch_dataplane::watch::Stages;

use super::SNAPLEN;

/// Where frames are captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Stage {
    /// As they come in
    Rx,
    /// As they leave
    Tx,
    /// Where they are discarded, with the reason as comment
    Drop,
}

/// The longest name of a capture, in characters.
pub(crate) const LONGEST_ID: usize = 64;

/// What a capture is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Whoever knows it may end the capture.
    pub(crate) id: Option<String>,
    /// These ports; all, if there are none.
    pub(crate) ports: Vec<String>,
    pub(crate) stages: Stages,
    /// In words, and compiled.
    pub(crate) filter: Option<(String, Filter)>,
    /// Bytes to keep of a frame.
    pub(crate) snaplen: u32,
    /// Frames after which it ends.
    pub(crate) count: Option<u64>,
}

impl Request {
    /// Reads a query.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(crate) fn from_query(query: &str) -> Result<Self, String> {
        let mut stages = Vec::new();
        let mut request =
            Self { id: None, ports: Vec::new(), stages: all(), filter: None, snaplen: SNAPLEN, count: None };
        for (key, value) in parse(query.as_bytes()) {
            match &*key {
                "id" if value.chars().count() > LONGEST_ID => {
                    return Err(format!("id: longer than {LONGEST_ID} characters"));
                }
                "id" => request.id = Some(value.into_owned()),
                "port" => request.ports.push(value.into_owned()),
                "stage" => stages.push(stage(&value)?),
                "filter" => {
                    let filter = Filter::compile(&value).map_err(|error| error.to_string())?;
                    request.filter = Some((value.into_owned(), filter));
                }
                "snaplen" => request.snaplen = snaplen(number(&key, &value)?),
                "count" => request.count = Some(number(&key, &value)?).filter(|count| *count > 0),
                _ => {
                    return Err(format!("{key}: a capture has id, port, stage, filter, snaplen and count"));
                }
            }
        }
        if !stages.is_empty() {
            let has = |stage| stages.contains(&stage);
            request.stages = Stages { rx: has(Stage::Rx), tx: has(Stage::Tx), drop: has(Stage::Drop) };
        }
        Ok(request)
    }

    /// The query that says the same.
    pub(crate) fn query(&self) -> String {
        let Stages { rx, tx, drop } = self.stages;
        let mut query = Serializer::new(String::new());
        query.extend_pairs(self.id.iter().map(|id| ("id", id)));
        query.extend_pairs(self.ports.iter().map(|port| ("port", port)));
        let stages = [(rx, "rx"), (tx, "tx"), (drop, "drop")];
        query.extend_pairs(stages.iter().filter(|(wanted, _)| *wanted).map(|(_, name)| ("stage", name)));
        query.extend_pairs(self.filter.iter().map(|(words, _)| ("filter", words)));
        query.append_pair("snaplen", &self.snaplen.to_string());
        query.extend_pairs(self.count.iter().map(|count| ("count", count.to_string())));
        query.finish()
    }
}

/// Every stage.
fn all() -> Stages {
    Stages { rx: true, tx: true, drop: true }
}

fn stage(name: &str) -> Result<Stage, String> {
    match name {
        "rx" => Ok(Stage::Rx),
        "tx" => Ok(Stage::Tx),
        "drop" => Ok(Stage::Drop),
        _ => Err(format!("stage {name}: it is rx, tx or drop")),
    }
}

fn number(key: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{key}: `{value}` is not a number"))
}

/// As tcpdump has it: 0 is all, and so is more.
pub(crate) fn snaplen(asked: u64) -> u32 {
    u32::try_from(asked).ok().filter(|asked| (1..SNAPLEN).contains(asked)).unwrap_or(SNAPLEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_was_asked_and_nothing_else_is_one() {
        for query in [
            "id=a%261&port=p0&port=p+1&stage=rx&stage=drop&filter=tcp%5B13%5D+%26+2+%21%3D+0&snaplen=96&count=5",
            "stage=rx&stage=tx&stage=drop&snaplen=262144",
        ] {
            let request = Request::from_query(query).unwrap();
            assert_eq!(request.query(), query);
        }
        assert_eq!(Request::from_query("").unwrap().query(), "stage=rx&stage=tx&stage=drop&snaplen=262144");
        assert_eq!(Request::from_query("snaplen=0&count=0").unwrap().snaplen, SNAPLEN);
        for (query, why) in [
            ("stage=up", "stage up: it is rx, tx or drop"),
            ("count=-1", "count: `-1` is not a number"),
            ("ports=p0", "ports: a capture has id, port, stage, filter, snaplen and count"),
            ("filter=host", "filter: expected an address or a number\n  host\n      ^"),
        ] {
            assert_eq!(Request::from_query(query).unwrap_err(), why);
        }
    }
}
