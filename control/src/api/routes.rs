//! What can be asked of a switch: the targets, and who may.

use std::cell::RefCell;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::metrics;
use crate::config::Document;
use crate::switch::{Switch, SwitchError};
use crate::views::{ErrorView, FlushedView};

/// The longest body of a request, in bytes.
const LONGEST_BODY: usize = 64 << 10;

/// How long a client may take over the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why a request is not answered with what it asked for.
struct Refusal(StatusCode, String);

type Answer = Result<(&'static str, Vec<u8>), Refusal>;

/// Answers one request.
pub(super) async fn answer(
    switch: &RefCell<Switch>,
    may_change: bool,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let target = request.uri().path().to_owned();
    let answer = match (request.method(), target.as_str()) {
        (&Method::GET, "/v1/ports") => json(&switch.borrow().ports()),
        (&Method::GET, "/v1/bridges") => json(&switch.borrow().bridges()),
        (&Method::GET, "/v1/fdb") => json(&switch.borrow().fdb()),
        (&Method::GET, "/v1/drops") => json(&switch.borrow().drops()),
        (&Method::GET, "/v1/workers") => json(&switch.borrow().workers()),
        (&Method::GET, "/v1/config") => json(&Document::new(&switch.borrow().config())),
        (&Method::GET, "/v1/config.toml") => config_text(&switch.borrow()),
        (&Method::GET, "/metrics") => Ok((TEXT, metrics::text(&switch.borrow()).into_bytes())),
        (&Method::POST, "/v1/fdb") => {
            change(request, may_change, |body| switch.borrow_mut().change_fdb(&body)).await
        }
        (&Method::DELETE, "/v1/fdb") => {
            change(request, may_change, |body| switch.borrow_mut().remove_fdb(&body)).await
        }
        (&Method::POST, "/v1/fdb/flush") => {
            let flush = |body| switch.borrow_mut().flush_fdb(&body).map(|flushed| FlushedView { flushed });
            change(request, may_change, flush).await
        }
        (method, target) => Err(no_such(method, target)),
    };
    respond(answer, &target)
}

fn allowed(target: &str) -> Option<&'static str> {
    match target {
        "/v1/ports" | "/v1/bridges" | "/v1/drops" | "/v1/workers" | "/v1/config" | "/v1/config.toml"
        | "/metrics" => Some("GET"),
        "/v1/fdb" => Some("GET, POST, DELETE"),
        "/v1/fdb/flush" => Some("POST"),
        _ => None,
    }
}

fn no_such(method: &Method, target: &str) -> Refusal {
    match allowed(target) {
        Some(allowed) => {
            Refusal(StatusCode::METHOD_NOT_ALLOWED, format!("{method} {target}: it takes {allowed}"))
        }
        None => Refusal(StatusCode::NOT_FOUND, format!("there is no {target} in this version")),
    }
}

fn json(view: &impl Serialize) -> Answer {
    match serde_json::to_vec(view) {
        Ok(body) => Ok((JSON, body)),
        Err(error) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

fn config_text(switch: &Switch) -> Answer {
    match Document::new(&switch.config()).to_toml() {
        Ok(text) => Ok((TEXT, text.into_bytes())),
        Err(error) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

/// Reads the body, does the change for those who may, and says what came of it.
async fn change<B: DeserializeOwned, V: Serialize>(
    request: Request<Incoming>,
    may_change: bool,
    act: impl FnOnce(B) -> Result<V, SwitchError>,
) -> Answer {
    let bad = |why: String| Refusal(StatusCode::BAD_REQUEST, why);
    let body = Limited::new(request.into_body(), LONGEST_BODY).collect();
    let body = match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Err(_) => return Err(Refusal(StatusCode::REQUEST_TIMEOUT, "the body did not come in time".into())),
        Ok(Err(error)) => return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, format!("the body: {error}"))),
        Ok(Ok(body)) => body.to_bytes(),
    };
    if !may_change {
        let why = "changing the switch is for root and the user it runs as: ask as one of them";
        return Err(Refusal(StatusCode::FORBIDDEN, why.into()));
    }
    let body = serde_json::from_slice(&body).map_err(|error| bad(format!("the body: {error}")))?;
    match act(body) {
        Ok(view) => json(&view),
        Err(error) => Err(Refusal(StatusCode::CONFLICT, error.to_string())),
    }
}

fn respond(answer: Answer, target: &str) -> Response<Full<Bytes>> {
    let (status, (kind, body)) = match answer {
        Ok(answer) => (StatusCode::OK, answer),
        Err(Refusal(status, error)) => (status, json(&ErrorView { error }).unwrap_or((JSON, Vec::new()))),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED
        && let Some(allowed) = allowed(target)
    {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    }
    response
}
