//! Why a frame goes where it goes: the very line that forwards, run over a copy of what it consults, and put into words.

mod devices;
mod frame;
mod known;
mod macvlan;
mod routes;
mod run;
mod tunnels;
mod view;
mod vlans;
mod vxlan;
mod words;

pub use frame::parse;
pub(crate) use routes::Roads;
pub(crate) use run::LONGEST;
pub use run::{Run, Seen, run};
pub use view::{ExplainRequest, ExplainedDrop, ExplanationView, FollowRequest, StepView};
pub(crate) use words::{Setting, explain, reason};
