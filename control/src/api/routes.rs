//! What can be asked of a switch: the targets, and who may.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use rigswitch_dataplane::filter::Filter;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::Instant;

use super::guests::Guest;
use super::stream::Lines;
use super::{metrics, openapi};
use crate::capture;
use crate::config::{Config, Document};
use crate::events::{EventLine, LISTENERS};
use crate::explain::{self, ExplainRequest, ExplanationView, FollowRequest, parse};
use crate::switch::{Switch, SwitchError};
use crate::views::{
    BridgeView, ChangeView, DropsView, EditRequest, ErrorView, FdbChange, FdbFlush, FdbRemoval, FdbView,
    FlushedView, MdbChange, MdbView, NeighborView, PortView, WorkerView,
};

/// The longest body of a request, in bytes.
const LONGEST_BODY: usize = 64 << 10;

/// The longest body of one that has a frame in it, in bytes: each of its bytes has two digits.
const LONGEST_FRAME: usize = 4 * explain::LONGEST;

/// The longest configuration, in bytes: some 100,000 entries.
const LONGEST_CONFIG: usize = 8 << 20;

/// How long a client may take over the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

const JSON: &str = "application/json";
const PCAPNG: &str = "application/x-pcapng";
const LINES: &str = "application/x-ndjson";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One thing that can be asked.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// What may be said in the query, and what it means.
    pub(super) query: &'static [(&'static str, &'static str)],
    /// What is to be sent along.
    pub(super) body: Option<Content>,
    pub(super) answer: Content,
    does: Does,
}

/// What is sent along, or comes back.
#[derive(Clone, Copy)]
pub(super) enum Content {
    /// One value.
    Json(SchemaOf),
    /// One value a line, without end.
    Lines(SchemaOf),
    /// pcapng, without end.
    Capture,
    Text,
}

/// The schema of a type, and of those that it is made of.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

#[derive(Clone, Copy)]
enum Does {
    Ports,
    Bridges,
    Fdb,
    ChangeFdb,
    RemoveFdb,
    FlushFdb,
    Neighbors,
    Mdb,
    AddMdb,
    RemoveMdb,
    Explain,
    Follow,
    Drops,
    Workers,
    Config,
    ConfigText,
    Plan,
    Apply,
    Edit,
    Events,
    Capture,
    EndCapture,
    Metrics,
    OpenApi,
}

/// Everything that can be asked: what is served, what is allowed, and what `/v1/openapi.json` says.
pub(super) static ROUTES: [Route; 24] = [
    get("/v1/ports", Does::Ports, "Every port and its traffic", Content::Json(of::<Vec<PortView>>)),
    get(
        "/v1/bridges",
        Does::Bridges,
        "Every bridge and its spanning tree",
        Content::Json(of::<Vec<BridgeView>>),
    ),
    get("/v1/fdb", Does::Fdb, "Every forwarding entry", Content::Json(of::<Vec<FdbView>>)),
    change(Method::POST, "/v1/fdb", Does::ChangeFdb, "Add or replace an entry", of::<FdbChange>, of::<()>),
    change(Method::DELETE, "/v1/fdb", Does::RemoveFdb, "Take an entry away", of::<FdbRemoval>, of::<()>),
    change(
        Method::POST,
        "/v1/fdb/flush",
        Does::FlushFdb,
        "Take away every entry that matches",
        of::<FdbFlush>,
        of::<FlushedView>,
    ),
    get(
        "/v1/neighbors",
        Does::Neighbors,
        "Every neighbour that a bridge was told of",
        Content::Json(of::<Vec<NeighborView>>),
    ),
    get("/v1/mdb", Does::Mdb, "Who is in which multicast group", Content::Json(of::<Vec<MdbView>>)),
    change(Method::POST, "/v1/mdb", Does::AddMdb, "Put a port into a group", of::<MdbChange>, of::<()>),
    change(
        Method::DELETE,
        "/v1/mdb",
        Does::RemoveMdb,
        "Take a port out of a group",
        of::<MdbChange>,
        of::<()>,
    ),
    change(
        Method::POST,
        "/v1/explain",
        Does::Explain,
        "Why a frame would go where it would go",
        of::<ExplainRequest>,
        of::<ExplanationView>,
    ),
    Route {
        method: Method::POST,
        path: "/v1/explain/next",
        summary: "Why the next frames go where they go",
        query: &[],
        body: Some(Content::Json(of::<FollowRequest>)),
        answer: Content::Lines(of::<ExplanationView>),
        does: Does::Follow,
    },
    get("/v1/drops", Does::Drops, "What was dropped and why, and the ledger", Content::Json(of::<DropsView>)),
    get("/v1/workers", Does::Workers, "The threads that move frames", Content::Json(of::<Vec<WorkerView>>)),
    get("/v1/config", Does::Config, "The configuration in force", Content::Json(of::<Map<String, Value>>)),
    get("/v1/config.toml", Does::ConfigText, "The configuration in force, as a file", Content::Text),
    file("/v1/plan", Does::Plan, "What would make the switch equal this file"),
    file("/v1/apply", Does::Apply, "Make the switch equal this file"),
    change(
        Method::POST,
        "/v1/edit",
        Does::Edit,
        "Change one thing of the configuration in force",
        of::<EditRequest>,
        of::<Vec<ChangeView>>,
    ),
    get("/v1/events", Does::Events, "What happens, from now on", Content::Lines(of::<EventLine>)),
    Route {
        method: Method::GET,
        path: "/v1/capture",
        summary: "Frames, from now on",
        query: &CAPTURE,
        body: None,
        answer: Content::Capture,
        does: Does::Capture,
    },
    Route {
        method: Method::DELETE,
        path: "/v1/capture",
        summary: "End a capture, with all that was seen by now",
        query: &[("id", "the captures of this name")],
        body: None,
        answer: Content::Json(of::<()>),
        does: Does::EndCapture,
    },
    get("/v1/openapi.json", Does::OpenApi, "This document", Content::Json(of::<Map<String, Value>>)),
    get("/metrics", Does::Metrics, "Counters for Prometheus", Content::Text),
];

/// What a capture can be asked for.
const CAPTURE: [(&str, &str); 6] = [
    ("port", "frames of this port; may be said again; all, if it is not said"),
    ("stage", "rx, tx or drop; may be said again; all three, if it is not said"),
    ("filter", "frames that this expression of pcap-filter(7) holds for"),
    ("snaplen", "bytes to keep of a frame"),
    ("count", "frames after which it ends"),
    ("id", "a name to end it by"),
];

/// What can be said of a file.
const FILE: [(&str, &str); 1] =
    [("file", "where it is, as it is called in what is said about it from then on; else `body`")];

const fn get(path: &'static str, does: Does, summary: &'static str, answer: Content) -> Route {
    Route { method: Method::GET, path, summary, query: &[], body: None, answer, does }
}

const fn change(
    method: Method,
    path: &'static str,
    does: Does,
    summary: &'static str,
    body: SchemaOf,
    answer: SchemaOf,
) -> Route {
    Route {
        method,
        path,
        summary,
        query: &[],
        body: Some(Content::Json(body)),
        answer: Content::Json(answer),
        does,
    }
}

const fn file(path: &'static str, does: Does, summary: &'static str) -> Route {
    let answer = Content::Json(of::<Vec<ChangeView>>);
    Route { method: Method::POST, path, summary, query: &FILE, body: Some(Content::Text), answer, does }
}

fn of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}

/// Why a request is not answered with what it asked for.
struct Refusal(StatusCode, String);

type Answer = Result<(&'static str, Body), Refusal>;

/// The body of an answer: whole, or events as they come.
type Body = Either<Full<Bytes>, Lines>;

/// Answers one request.
pub(super) async fn answer(
    switch: &Rc<RefCell<Switch>>,
    guest: &Rc<Guest>,
    may_change: bool,
    request: Request<Incoming>,
) -> Response<Body> {
    let target = request.uri().path().to_owned();
    let mut routes = ROUTES.iter();
    let answer = match routes.find(|route| route.path == target && route.method == request.method()) {
        Some(route) => act(route.does, switch, guest, may_change, request).await,
        None => Err(no_such(request.method(), &target)),
    };
    respond(answer, &target)
}

async fn act(
    does: Does,
    switch: &Rc<RefCell<Switch>>,
    guest: &Rc<Guest>,
    may_change: bool,
    request: Request<Incoming>,
) -> Answer {
    match does {
        Does::Ports => json(&switch.borrow().ports()),
        Does::Bridges => json(&switch.borrow().bridges()),
        Does::Fdb => json(&switch.borrow().fdb()),
        Does::Neighbors => json(&switch.borrow().neighbors()),
        Does::Mdb => json(&switch.borrow().mdb()),
        Does::AddMdb => changed(request, may_change, |body| switch.borrow_mut().add_mdb(&body)).await,
        Does::RemoveMdb => changed(request, may_change, |body| switch.borrow_mut().remove_mdb(&body)).await,
        Does::Drops => json(&switch.borrow().drops()),
        Does::Workers => json(&switch.borrow().workers()),
        Does::Config => json(&Document::new(&switch.borrow().config())),
        Does::ConfigText => config_text(&switch.borrow()),
        Does::Metrics => Ok((TEXT, whole(metrics::text(&switch.borrow())))),
        Does::OpenApi => json(&openapi::document()),
        Does::Events => match switch.borrow_mut().listen() {
            Some(lines) => Ok((LINES, Either::Right(Lines::new(lines, guest)))),
            None => Err(Refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{LISTENERS} listen already: end one of them"),
            )),
        },
        Does::Capture => capture(switch, guest, may_change, request.uri().query()),
        Does::EndCapture => end_capture(switch, may_change, request.uri().query()),
        Does::Explain => {
            let body: ExplainRequest = read(&body(request, LONGEST_FRAME, true).await?)?;
            let frame = parse(&body.frame).map_err(|refused| conflict(&refused))?;
            outcome(switch.borrow().explain(&body.port, &frame))
        }
        Does::Follow => {
            let body: FollowRequest = asked(request, may_change).await?;
            Ok((LINES, Either::Right(Lines::new(follow(switch, &body)?, guest))))
        }
        Does::ChangeFdb => changed(request, may_change, |body| switch.borrow_mut().change_fdb(&body)).await,
        Does::RemoveFdb => changed(request, may_change, |body| switch.borrow_mut().remove_fdb(&body)).await,
        Does::FlushFdb => {
            let flush = |body| switch.borrow_mut().flush_fdb(&body).map(|flushed| FlushedView { flushed });
            changed(request, may_change, flush).await
        }
        Does::Plan => {
            let plan = |config: Config| switch.borrow().plan(&config).map(|plan| plan.view());
            planned(request, true, plan).await
        }
        Does::Apply => {
            let apply = |config| switch.borrow_mut().apply(config).map(|plan| plan.view());
            planned(request, may_change, apply).await
        }
        Does::Edit => {
            let edit = |edit: EditRequest| switch.borrow_mut().edit(&edit).map(|plan| plan.view());
            changed(request, may_change, edit).await
        }
    }
}

/// Frames show what is sent: they are for those who may change the switch.
fn capture(switch: &RefCell<Switch>, guest: &Rc<Guest>, may_capture: bool, query: Option<&str>) -> Answer {
    let request = capture_request(may_capture, query)?;
    match switch.borrow_mut().capture(&request) {
        Ok(chunks) => Ok((PCAPNG, Either::Right(Lines::new(chunks, guest)))),
        Err(error @ SwitchError::TooManyCaptures) => {
            Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
        }
        Err(error) => Err(Refusal(StatusCode::CONFLICT, error.to_string())),
    }
}

fn end_capture(switch: &RefCell<Switch>, may_capture: bool, query: Option<&str>) -> Answer {
    let id = capture_request(may_capture, query)?.id;
    let id = id.ok_or_else(|| bad("id: which capture is to end?".into()))?;
    outcome(switch.borrow_mut().end_captures(&id))
}

fn capture_request(may_capture: bool, query: Option<&str>) -> Result<capture::Request, Refusal> {
    if !may_capture {
        let why = "capturing shows what others send: it is for root and the user that the switch runs as: ask as one of them";
        return Err(Refusal(StatusCode::FORBIDDEN, why.into()));
    }
    capture::Request::from_query(query.unwrap_or_default()).map_err(bad)
}

/// The methods that a target takes.
fn allowed(target: &str) -> Option<String> {
    let methods = ROUTES.iter().filter(|route| route.path == target).map(|route| route.method.as_str());
    Some(methods.collect::<Vec<_>>().join(", ")).filter(|methods| !methods.is_empty())
}

fn no_such(method: &Method, target: &str) -> Refusal {
    match allowed(target) {
        Some(allowed) => {
            Refusal(StatusCode::METHOD_NOT_ALLOWED, format!("{method} {target}: it takes {allowed}"))
        }
        None => Refusal(StatusCode::NOT_FOUND, format!("there is no {target} in this version")),
    }
}

fn whole(bytes: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(bytes.into()))
}

fn json(view: &impl Serialize) -> Answer {
    match serde_json::to_vec(view) {
        Ok(body) => Ok((JSON, whole(body))),
        Err(error) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

fn config_text(switch: &Switch) -> Answer {
    match Document::new(&switch.config()).to_toml() {
        Ok(text) => Ok((TEXT, whole(text))),
        Err(error) => Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

/// Reads the body, does the change for those who may, and says what came of it.
async fn changed<B: DeserializeOwned, V: Serialize>(
    request: Request<Incoming>,
    may_change: bool,
    act: impl FnOnce(B) -> Result<V, SwitchError>,
) -> Answer {
    outcome(act(asked(request, may_change).await?))
}

/// The body of a request of those who may ask it.
async fn asked<B: DeserializeOwned>(request: Request<Incoming>, may_ask: bool) -> Result<B, Refusal> {
    read(&body(request, LONGEST_BODY, may_ask).await?)
}

fn read<B: DeserializeOwned>(body: &[u8]) -> Result<B, Refusal> {
    serde_json::from_slice(body).map_err(|error| bad(format!("the body: {error}")))
}

/// The way of each of the next frames, as it is known.
fn follow(switch: &Rc<RefCell<Switch>>, asked: &FollowRequest) -> Result<Receiver<Vec<u8>>, Refusal> {
    const LOOK: Duration = Duration::from_millis(20);
    let filter = asked.filter.as_deref().map(Filter::compile).transpose();
    let filter = filter.map_err(|error| conflict(&error))?;
    let mut following = switch.borrow_mut().follow_frames(asked, filter).map_err(|error| conflict(&error))?;
    let (lines_in, lines) = channel(1);
    let deadline = Instant::now() + Duration::from_millis(asked.timeout_ms.into());
    let switch = Rc::clone(switch);
    tokio::task::spawn_local(async move {
        while following.goes_on() && Instant::now() < deadline && !lines_in.is_closed() {
            tokio::time::sleep(LOOK).await;
            let whole = switch.borrow().followed(&mut following);
            for line in whole.iter().filter_map(|view| serde_json::to_vec(view).ok()) {
                // Who has gone needs no more.
                let _ = lines_in.send([&line[..], b"\n"].concat()).await;
            }
        }
        switch.borrow_mut().unfollow(&following);
    });
    Ok(lines)
}

fn conflict(error: &impl ToString) -> Refusal {
    Refusal(StatusCode::CONFLICT, error.to_string())
}

/// Reads the body, which is a configuration file, and says what comes of it.
async fn planned<V: Serialize>(
    request: Request<Incoming>,
    may_change: bool,
    act: impl FnOnce(Config) -> Result<V, SwitchError>,
) -> Answer {
    let name = file_name(request.uri().query().unwrap_or_default())?;
    let body = body(request, LONGEST_CONFIG, may_change).await?;
    outcome(act(Config::from_bytes(&body, &name).map_err(|refused| bad(refused.to_string()))?))
}

/// What a file that is sent is to be called.
fn file_name(query: &str) -> Result<String, Refusal> {
    const LONGEST: usize = 4096; // PATH_MAX
    let mut name = "body".to_owned();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "file" if value.is_empty() || value.len() > LONGEST || value.contains(char::is_control) => {
                return Err(bad(format!("file: a path has 1 to {LONGEST} bytes, and no control characters")));
            }
            "file" => name = value.into_owned(),
            _ => return Err(bad(format!("{key}: all that can be said of a file is `file`, its path"))),
        }
    }
    Ok(name)
}

fn outcome<V: Serialize>(outcome: Result<V, SwitchError>) -> Answer {
    match outcome {
        Ok(view) => json(&view),
        Err(error) => Err(Refusal(StatusCode::CONFLICT, error.to_string())),
    }
}

fn bad(why: String) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, why)
}

/// The body of a request, which must come in time, be no longer than this, and be from one who may send it.
async fn body(request: Request<Incoming>, longest: usize, may_send: bool) -> Result<Bytes, Refusal> {
    let body = Limited::new(request.into_body(), longest).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Err(_) => Err(Refusal(StatusCode::REQUEST_TIMEOUT, "the body did not come in time".into())),
        Ok(Err(error)) => Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, format!("the body: {error}"))),
        Ok(Ok(_)) if !may_send => {
            let why = "changing the switch is for root and the user it runs as: ask as one of them";
            Err(Refusal(StatusCode::FORBIDDEN, why.into()))
        }
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}

fn respond(answer: Answer, target: &str) -> Response<Body> {
    let (status, (kind, body)) = match answer {
        Ok(answer) => (StatusCode::OK, answer),
        Err(Refusal(status, error)) => {
            (status, json(&ErrorView { error }).unwrap_or((JSON, whole(Bytes::new()))))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED
        && let Some(allowed) = allowed(target).and_then(|allowed| HeaderValue::try_from(allowed).ok())
    {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}
