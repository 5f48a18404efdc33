//! Flows.

use serde::Serialize;

use super::{moment, serialize_as};
use crate::options::Seconds;
use crate::{Flow, FlowEnd, Flows, Protocol};

serialize_as! {
    Flows => FlowsShape;
    Flow => FlowShape;
    FlowEnd => FlowEndShape;
}

/// What a session knows of its connections and associations of UDP.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Flows"))]
pub(crate) struct FlowsShape {
    /// Those that are open, in the order in which they began. Of more than 4,096 the latest.
    open: Vec<FlowShape>,
    /// Those that ended since the last look, in the order in which they ended; the last 1,024 are remembered.
    ended: Vec<FlowShape>,
    /// How many more ended since then, and are forgotten.
    missed: u64,
    /// What to ask with next.
    next: u64,
}

/// One connection, or one association of UDP.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Flow"))]
pub(crate) struct FlowShape {
    /// Tells the flows of a session apart: counted from 1, never used twice.
    number: u64,
    /// The handle that it goes through.
    handle: u64,
    /// What that does: `exchange` or `forward`.
    mode: &'static str,
    /// `tcp` or `udp`.
    protocol: &'static str,
    /// The address and port of the caller.
    from: String,
    /// Where it goes: the local endpoint of an exchange, the destination of a forward.
    to: String,
    /// Of an exchange the Service's port, of a forward the local one.
    port: u16,
    /// When it began, by this machine's clock.
    began: String,
    /// How long it lasted, or lasts so far.
    duration: Seconds,
    /// Bytes that went to the cluster.
    sent: u64,
    /// Bytes that came from the cluster.
    received: u64,
    /// How it ended; absent while it is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<FlowEndShape>,
}

/// How a flow ended.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "FlowEnd"))]
pub(crate) struct FlowEndShape {
    /// `finished`; `closed` since its handle or the session ended; `reset_here` by the end on this machine, `reset_there` by
    /// the end in the cluster; `refused`; `given_up` before it was answered, by its caller or the interceptor; `idle`, of UDP;
    /// `lost` with what it went through.
    how: &'static str,
    /// Why, of those that were refused or lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl FlowsShape {
    fn of(flows: &Flows) -> Self {
        Self {
            open: flows.open.iter().map(FlowShape::of).collect(),
            ended: flows.ended.iter().map(FlowShape::of).collect(),
            missed: flows.missed,
            next: flows.next,
        }
    }
}

impl FlowShape {
    fn of(flow: &Flow) -> Self {
        Self {
            number: flow.number,
            handle: flow.handle.number(),
            mode: flow.mode,
            protocol: match flow.protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
            },
            from: flow.from.clone(),
            to: flow.to.clone(),
            port: flow.port,
            began: moment(&flow.began),
            duration: flow.duration.into(),
            sent: flow.sent,
            received: flow.received,
            end: flow.end.as_ref().map(FlowEndShape::of),
        }
    }
}

impl FlowEndShape {
    fn of(end: &FlowEnd) -> Self {
        Self { how: end.as_str(), reason: end.reason().map(str::to_owned) }
    }
}
