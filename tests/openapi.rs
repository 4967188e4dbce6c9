//! `/v1/openapi.json` against the socket: every path and every method, asked well and badly, answers as the document says.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use command::{Folder, PATIENCE, TWO_PORTS};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

const METHODS: [&str; 7] = ["get", "post", "delete", "put", "patch", "options", "trace"];

/// A status, headers and a body.
struct Answer {
    status: u16,
    content: String,
    body: String,
}

fn ask(folder: &Folder, method: &str, path: &str, body: &str) -> Answer {
    let mut stream = UnixStream::connect(folder.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (method, length) = (method.to_uppercase(), body.len());
    let head = format!("{method} {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n");
    // A switch that has refused already may have closed.
    let _ = stream.write_all((head + body).as_bytes());
    let mut answer = String::new();
    if ["/v1/events", "/v1/capture"].contains(&path) && method == "GET" {
        // It does not end.
        let mut byte = [0];
        while !answer.ends_with("\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            answer.push(char::from(byte[0]));
        }
    } else {
        stream.read_to_string(&mut answer).unwrap();
    }
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let content = head.lines().find_map(|line| line.strip_prefix("content-type: "));
    let content = content.unwrap_or_default().split(';').next().unwrap();
    Answer { status, content: content.to_owned(), body: body.to_owned() }
}

/// Whether `value` is as `schema` says. A word of JSON Schema that this does not know is an error: nothing passes unread.
fn is_valid(document: &Value, schema: &Value, value: &Value) -> bool {
    let Some(words) = schema.as_object() else { return schema.as_bool().unwrap() };
    let is = |schema: &Value, value: &Value| is_valid(document, schema, value);
    words.iter().all(|(word, argument)| match word.as_str() {
        "$ref" => {
            let place = argument.as_str().unwrap().strip_prefix('#').unwrap();
            is(document.pointer(place).expect("what is referred to is there"), value)
        }
        "type" => match argument {
            Value::Array(types) => types.iter().any(|kind| is_of_type(kind.as_str().unwrap(), value)),
            kind => is_of_type(kind.as_str().unwrap(), value),
        },
        "const" => argument == value,
        "enum" => argument.as_array().unwrap().contains(value),
        "anyOf" => argument.as_array().unwrap().iter().any(|schema| is(schema, value)),
        "oneOf" => argument.as_array().unwrap().iter().filter(|schema| is(schema, value)).count() == 1,
        "properties" => value.as_object().is_none_or(|object| {
            object.iter().all(|(key, value)| argument.get(key).is_none_or(|schema| is(schema, value)))
        }),
        "required" => value.as_object().is_none_or(|object| {
            argument.as_array().unwrap().iter().all(|key| object.contains_key(key.as_str().unwrap()))
        }),
        "additionalProperties" => value.as_object().is_none_or(|object| {
            let known = |key: &str| words.get("properties").is_some_and(|known| known.get(key).is_some());
            object.iter().all(|(key, value)| known(key) || is(argument, value))
        }),
        "items" => value.as_array().is_none_or(|values| values.iter().all(|value| is(argument, value))),
        "minimum" => value.as_f64().is_none_or(|number| number >= argument.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= argument.as_f64().unwrap()),
        "description" | "default" | "format" | "title" => true,
        word => panic!("this test does not know the word {word}"),
    })
}

fn is_of_type(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        kind => panic!("JSON Schema has no type {kind}"),
    }
}

/// The answer is one that the document has for this method of this path.
fn is_as_documented(document: &Value, method: &str, path: &str, answer: &Answer) {
    let said = format!("{method} {path}: {} {}", answer.status, answer.body);
    let response = &document["paths"][path][method]["responses"][answer.status.to_string()];
    let schema = &response["content"][&answer.content]["schema"];
    assert!(schema.is_object() || schema.is_boolean(), "not in the document: {said}");
    let value = match answer.content.as_str() {
        "application/json" => serde_json::from_str(&answer.body).unwrap(),
        "application/x-ndjson" | "application/x-pcapng" => return,
        _ => Value::String(answer.body.clone()),
    };
    assert!(is_valid(document, schema, &value), "not as the document says: {said}");
}

#[test]
fn every_path_answers_every_method_as_the_document_says() {
    let folder = Folder::new("openapi");
    let _switch = folder.start(TWO_PORTS);
    let document = ask(&folder, "get", "/v1/openapi.json", "");
    let document: Value = serde_json::from_str(&document.body).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    for (path, operations) in paths {
        assert!(operations.as_object().unwrap().keys().all(|method| METHODS.contains(&method.as_str())));
        for method in METHODS {
            let answer = ask(&folder, method, path, "");
            if operations.get(method).is_some() {
                is_as_documented(&document, method, path, &answer);
            } else {
                assert_eq!(answer.status, 405, "{method} {path}");
            }
        }
    }
    assert_eq!(ask(&folder, "get", "/v1/nothing", "").status, 404);
    bodies_are_taken_or_refused_as_documented(&folder, &document, paths);
    assert!(folder.ask("show drops").contains("accounted for"));
}

fn bodies_are_taken_or_refused_as_documented(folder: &Folder, document: &Value, paths: &Map<String, Value>) {
    let mut taking = Vec::new();
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            if schema.is_object() {
                taking.push((path.as_str(), method.as_str(), schema));
            }
        }
    }
    assert!(taking.len() >= 3, "{taking:?}");
    let config = Config { cases: 640, failure_persistence: None, ..Config::default() };
    let seen = RefCell::new(BTreeSet::new());
    let case = (0..taking.len(), body());
    let outcome = TestRunner::new(config).run(&case, |(which, body)| {
        let (path, method, schema) = taking[which];
        let answer = ask(folder, method, path, &body.to_string());
        is_as_documented(document, method, path, &answer);
        // What the schema has is understood, and what is understood the schema has.
        let understood = answer.status != 400;
        prop_assert_eq!(
            is_valid(document, schema, &body),
            understood,
            "{} {} {}: {}",
            method,
            path,
            body,
            answer.body
        );
        seen.borrow_mut().insert(answer.status);
        Ok(())
    });
    outcome.unwrap();
    let seen = seen.into_inner();
    assert!([200, 400, 409].iter().all(|status| seen.contains(status)), "{seen:?}");
}

/// Bodies that are nearly right: most words are the right ones, most values are of the right kind.
fn body() -> impl Strategy<Value = Value> {
    let mac = prop_oneof![
        4 => (1u8..8).prop_map(|n| json!(format!("02:00:00:00:00:0{n}"))),
        1 => Just(json!("01:00:00:00:00:00")),
        1 => Just(json!(7)),
    ];
    let device = prop_oneof![4 => Just(json!("p0")), 2 => Just(json!("br0")), 1 => Just(json!("nobody"))];
    let word = prop_oneof![
        3 => Just(json!("static")),
        3 => Just(json!("replace")),
        2 => Just(json!("dynamic")),
        1 => Just(json!("sometimes")),
        1 => any::<bool>().prop_map(Value::Bool),
    ];
    let key = prop::sample::select(vec![
        "state",
        "how",
        "brport",
        "permanent",
        "static",
        "dynamic",
        "sticky",
        "use",
        "other",
    ]);
    let rest = prop::collection::btree_map(key, word, 0..3);
    (mac, device, rest, 0..4).prop_map(|(mac, device, rest, shape)| {
        let mut body: Map<_, _> = rest.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        match shape {
            0 => drop(body.insert("dev".to_owned(), device)),
            3 => drop(body.insert("mac".to_owned(), mac)),
            _ => {
                body.insert("mac".to_owned(), mac);
                body.insert("ifname".to_owned(), device);
            }
        }
        Value::Object(body)
    })
}
