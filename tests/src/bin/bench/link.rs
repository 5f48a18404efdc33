//! `link.*`: what a forward carries, beside a raw WebSocket port-forward and `kubectl port-forward` in the same run.
//!
//! All ways lead from a program of ours on this machine through a local port to the same pod of the workload; the link's
//! is the command `kubetether forward` and its gateway, so each way is a process of its own. Runs take turns.

mod bulk;
mod far;
mod http;
mod idle;
mod kubectl;
mod lane;
mod place;
mod raw;
mod requests;
mod resume;

use crate::figure::Figure;
use crate::wanted::Wanted;

pub(crate) use self::http::{ask, connect, get_once};
pub(crate) use self::lane::{Direction, Lane};
pub(crate) use self::place::{Forward, Place, beside_within};
pub(crate) use self::raw::serve as serve_raw;

pub(crate) fn measure(wanted: &Wanted) -> Vec<Figure> {
    let parts = [
        (&["link.down.1", "link.up.1", "link.down.8", "link.up.8", "link.cpu"][..], bulk::measure as Part),
        (&["link.down.rtt20", "link.down.rtt100", "link.up.rtt100", "link.rtt.memory"], far::measure),
        (&["link.latency", "link.conns"], requests::measure),
        (&["link.idle"], idle::measure),
        (&["link.resume"], resume::measure),
    ];
    let parts = parts.into_iter().filter(|(ids, _)| ids.iter().any(|id| wanted.has(id)));
    parts.flat_map(|(_, part)| part(wanted)).filter(|figure| wanted.has(figure.id)).collect()
}

type Part = fn(&Wanted) -> Vec<Figure>;
