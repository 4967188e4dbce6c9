//! What can be asked of a switch: the targets, and who may.

mod captures;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use rigswitch_dataplane::filter::Filter;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::Instant;

use super::guests::Guest;
use super::query::{CAPTURE, END_CAPTURE, FILE, Parameter, file_name};
use super::stream::Lines;
use super::{metrics, openapi};
use crate::config::{Config, Document};
use crate::events::{EventLine, LISTENERS};
use crate::explain::{self, ExplainRequest, ExplanationView, FollowRequest, parse};
use crate::switch::{Switch, SwitchError};
use crate::views::{
    AddressesView, BridgeView, ChangeView, DropsView, EditRequest, ErrorView, FdbChange, FdbFlush,
    FdbRemoval, FdbView, FlushedView, MdbChange, MdbView, NeighborView, PortTunnelsView, PortView,
    PortVlansView, RouteView, TunnelView, VnisView, WorkerView,
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
    /// What may be said in the query.
    pub(super) query: &'static [Parameter],
    /// What is to be sent along.
    pub(super) body: Option<Content>,
    pub(super) answer: Content,
    does: Does,
}

impl Route {
    /// The longest body that is taken, in bytes.
    fn longest_body(&self) -> usize {
        match self.does {
            Does::Explain => LONGEST_FRAME,
            Does::Plan | Does::Apply => LONGEST_CONFIG,
            _ => LONGEST_BODY,
        }
    }
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
    Vlans,
    VlanTunnels,
    Vnis,
    ChangeFdb,
    RemoveFdb,
    FlushFdb,
    Neighbors,
    Routes,
    Addresses,
    Tunnels,
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
pub(super) static ROUTES: [Route; 30] = [
    get("/v1/ports", Does::Ports, "Every port and its traffic", Content::Json(of::<Vec<PortView>>)),
    get(
        "/v1/bridges",
        Does::Bridges,
        "Every bridge and its spanning tree",
        Content::Json(of::<Vec<BridgeView>>),
    ),
    get("/v1/fdb", Does::Fdb, "Every forwarding entry", Content::Json(of::<Vec<FdbView>>)),
    get("/v1/vlans", Does::Vlans, "Every VLAN of every port", Content::Json(of::<Vec<PortVlansView>>)),
    get(
        "/v1/vlans/tunnels",
        Does::VlanTunnels,
        "Which networks VLANs are, on ports that are VXLAN devices of many",
        Content::Json(of::<Vec<PortTunnelsView>>),
    ),
    get(
        "/v1/vnis",
        Does::Vnis,
        "Every network of VXLAN devices that have many, and its traffic",
        Content::Json(of::<Vec<VnisView>>),
    ),
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
    get("/v1/tunnels", Does::Tunnels, "Tunnels, and their far ends", Content::Json(of::<Vec<TunnelView>>)),
    get("/v1/addresses", Does::Addresses, "Who we are", Content::Json(of::<Vec<AddressesView>>)),
    get("/v1/routes", Does::Routes, "Where packets go", Content::Json(of::<Vec<RouteView>>)),
    get(
        "/v1/neighbors",
        Does::Neighbors,
        "Every neighbour that the switch was told of, or has found behind a routed device",
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
        query: &END_CAPTURE,
        body: None,
        answer: Content::Json(of::<()>),
        does: Does::EndCapture,
    },
    get("/v1/openapi.json", Does::OpenApi, "This document", Content::Json(of::<Map<String, Value>>)),
    get("/metrics", Does::Metrics, "Counters for Prometheus", Content::Text),
];

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
    let (head, sent) = request.into_parts();
    let target = head.uri.path();
    let route = ROUTES.iter().find(|route| route.path == target && route.method == head.method);
    // Whoever is still sending when the connection closes may not see the answer: the body is read even where none is wanted.
    let sent = body(sent, route.map_or(LONGEST_BODY, Route::longest_body)).await;
    let is_read = sent.is_ok();
    let answer = match (route, sent) {
        (None, _) => Err(no_such(&head.method, target)),
        (Some(route), Err(refusal)) if route.body.is_some() => Err(refusal),
        (Some(route), sent) => {
            let asked = Asked {
                may_change,
                query: head.uri.query().unwrap_or_default(),
                body: sent.unwrap_or_default(),
            };
            act(route.does, switch, guest, &asked)
        }
    };
    let mut response = respond(answer, target);
    if !is_read {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What came with a request.
struct Asked<'r> {
    /// Whoever asks may change the switch, and see its frames.
    may_change: bool,
    query: &'r str,
    body: Bytes,
}

impl Asked<'_> {
    /// The body.
    fn body<B: DeserializeOwned>(&self) -> Result<B, Refusal> {
        serde_json::from_slice(&self.body).map_err(|error| bad(format!("the body: {error}")))
    }

    /// The body of a request that only some may make.
    fn change<B: DeserializeOwned>(&self) -> Result<B, Refusal> {
        self.may_change()?;
        self.body()
    }

    /// The body, which is a configuration file.
    fn config(&self) -> Result<Config, Refusal> {
        let name = file_name(self.query).map_err(bad)?;
        Config::from_bytes(&self.body, &name).map_err(|refused| bad(refused.to_string()))
    }

    fn may_change(&self) -> Result<(), Refusal> {
        let why = "changing the switch is for root and the user it runs as: ask as one of them";
        self.may_change.then_some(()).ok_or_else(|| Refusal(StatusCode::FORBIDDEN, why.into()))
    }
}

fn act(does: Does, switch: &Rc<RefCell<Switch>>, guest: &Rc<Guest>, asked: &Asked<'_>) -> Answer {
    match does {
        Does::Ports => as_json(&switch.borrow().ports()),
        Does::Bridges => as_json(&switch.borrow().bridges()),
        Does::Fdb => as_json(&switch.borrow().fdb()),
        Does::Vlans => as_json(&switch.borrow().vlans()),
        Does::VlanTunnels => as_json(&switch.borrow().vlan_tunnels()),
        Does::Vnis => as_json(&switch.borrow().vnis()),
        Does::Neighbors => as_json(&switch.borrow().neighbors()),
        Does::Tunnels => as_json(&switch.borrow().tunnels()),
        Does::Routes => as_json(&switch.borrow().routes()),
        Does::Addresses => as_json(&switch.borrow().addresses()),
        Does::Mdb => as_json(&switch.borrow().mdb()),
        Does::AddMdb => outcome(switch.borrow_mut().add_mdb(&asked.change()?)),
        Does::RemoveMdb => outcome(switch.borrow_mut().remove_mdb(&asked.change()?)),
        Does::Drops => as_json(&switch.borrow().drops()),
        Does::Workers => as_json(&switch.borrow().workers()),
        Does::Config => as_json(&Document::new(&switch.borrow().config())),
        Does::ConfigText => config_text(&switch.borrow()),
        Does::Metrics => Ok((TEXT, whole(metrics::text(&switch.borrow())))),
        Does::OpenApi => as_json(&openapi::document()),
        Does::Events => match switch.borrow_mut().listen() {
            Some(lines) => Ok((LINES, Either::Right(Lines::new(lines, guest)))),
            None => Err(Refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{LISTENERS} listen already: end one of them"),
            )),
        },
        Does::Capture => captures::begin(switch, guest, asked),
        Does::EndCapture => captures::end(switch, asked),
        Does::Explain => {
            let body: ExplainRequest = asked.body()?;
            let frame = parse(&body.frame).map_err(|refused| conflict(&refused))?;
            outcome(switch.borrow().explain(&body.port, &frame))
        }
        Does::Follow => {
            let body: FollowRequest = asked.change()?;
            Ok((LINES, Either::Right(Lines::new(follow(switch, &body)?, guest))))
        }
        Does::ChangeFdb => outcome(switch.borrow_mut().change_fdb(&asked.change()?)),
        Does::RemoveFdb => outcome(switch.borrow_mut().remove_fdb(&asked.change()?)),
        Does::FlushFdb => {
            let flushed = switch.borrow_mut().flush_fdb(&asked.change()?);
            outcome(flushed.map(|flushed| FlushedView { flushed }))
        }
        Does::Plan => outcome(switch.borrow().plan(&asked.config()?).map(|plan| plan.view())),
        Does::Apply => {
            asked.may_change()?;
            outcome(switch.borrow_mut().apply(asked.config()?).map(|plan| plan.view()))
        }
        Does::Edit => {
            let edit: EditRequest = asked.change()?;
            outcome(switch.borrow_mut().edit(&edit).map(|plan| plan.view()))
        }
    }
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

fn as_json(view: &impl Serialize) -> Answer {
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

fn outcome<V: Serialize>(outcome: Result<V, SwitchError>) -> Answer {
    match outcome {
        Ok(view) => as_json(&view),
        Err(error) => Err(Refusal(StatusCode::CONFLICT, error.to_string())),
    }
}

fn bad(why: String) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, why)
}

/// The body of a request, which must come in time and be no longer than this.
async fn body(sent: Incoming, longest: usize) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(sent, longest).collect()).await {
        Err(_) => Err(Refusal(StatusCode::REQUEST_TIMEOUT, "the body did not come in time".into())),
        Ok(Err(error)) => Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, format!("the body: {error}"))),
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}

fn respond(answer: Answer, target: &str) -> Response<Body> {
    let (status, (kind, body)) = match answer {
        Ok(answer) => (StatusCode::OK, answer),
        Err(Refusal(status, error)) => {
            (status, as_json(&ErrorView { error }).unwrap_or((JSON, whole(Bytes::new()))))
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
