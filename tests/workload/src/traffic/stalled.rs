//! A reader that asks for much and reads nothing until the end.

use super::{Fault, Shared, transfer};
use crate::http::Client;

/// Asks, waits for the end, and then reads it all.
pub(super) fn run(shared: &Shared, number: u64, bytes: u64) -> Result<(), Fault> {
    let what = format!("stalled reader {number}");
    let fault = Fault::of(&what);
    let mut client = Client::connect(shared.address, shared.deadline).map_err(&fault)?;
    client.ask("GET", "traffic", &format!("/bytes?n={bytes}"), 0).map_err(&fault)?;
    // The head, and what fits into one buffer with it.
    client.answer().map_err(&fault)?;
    shared.report.open();
    while !shared.rest(shared.deadline) {}
    transfer::generated(client.stream(), bytes, &mut |_| {}).map_err(|why| Fault::new(&what, why))?;
    shared.report.caught_up();
    Ok(())
}
