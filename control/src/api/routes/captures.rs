//! What is asked about captures.

use std::cell::RefCell;
use std::rc::Rc;

use http_body_util::Either;
use hyper::StatusCode;

use super::{Answer, Asked, PCAPNG, Refusal, bad, outcome};
use crate::api::guests::Guest;
use crate::api::stream::Lines;
use crate::capture;
use crate::switch::{Switch, SwitchError};

/// Frames show what is sent: they are for those who may change the switch.
pub(super) fn begin(switch: &RefCell<Switch>, guest: &Rc<Guest>, asked: &Asked<'_>) -> Answer {
    let wanted = request(asked)?;
    match switch.borrow_mut().capture(&wanted) {
        Ok(chunks) => Ok((PCAPNG, Either::Right(Lines::new(chunks, guest)))),
        Err(error @ SwitchError::TooManyCaptures) => {
            Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
        }
        Err(error) => Err(Refusal(StatusCode::CONFLICT, error.to_string())),
    }
}

pub(super) fn end(switch: &RefCell<Switch>, asked: &Asked<'_>) -> Answer {
    let id = request(asked)?.id;
    let id = id.ok_or_else(|| bad("id: which capture is to end?".into()))?;
    outcome(switch.borrow_mut().end_captures(&id))
}

fn request(asked: &Asked<'_>) -> Result<capture::Request, Refusal> {
    if !asked.may_change {
        let why = "capturing shows what others send: it is for root and the user that the switch runs as: ask as one of them";
        return Err(Refusal(StatusCode::FORBIDDEN, why.into()));
    }
    capture::Request::from_query(asked.query).map_err(bad)
}
