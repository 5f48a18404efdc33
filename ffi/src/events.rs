//! Events, pulled by the caller in its own time.

use std::time::{Duration, Instant};

use crate::arguments::Out;
use crate::cancel::finish_within;
use crate::handle::{self, kt_events, kt_text};
use crate::status::{KT_CLOSED, KT_DEADLINE, KT_OK, kt_status};

exports! {
    /// The next event: `Event` of the schema. The first is a `snapshot`, the last is `closed`. `KT_DEADLINE` when there is none by
    /// then, `KT_CLOSED` when there never will be one again; neither gives an error. Who pulls too slowly loses the oldest
    /// beyond 256, and is told how many by an event `dropped`.
    call fn kt_events_next(events: *const kt_events, timeout_ms: u32, event: *mut *mut kt_text) {
        let (events, out) = (handle::get(events)?, Out::new(event, "event")?);
        let until = Instant::now() + Duration::from_millis(timeout_ms.into());
        loop {
            if let Some(event) = events.take() {
                out.put(event.into());
                return Ok(KT_OK);
            }
            match finish_within(events.ready(), until.saturating_duration_since(Instant::now())).transpose()? {
                None => return Ok(KT_DEADLINE),
                Some(false) => return Ok(KT_CLOSED),
                Some(true) => {}
            }
        }
    }

    /// How many events this subscription has lost by being slow; 0 for what is no subscription.
    plain fn kt_events_dropped(events: *const kt_events) -> u64 {
        handle::find(events).map_or(0, |events| events.dropped())
    }

    /// Ends a subscription.
    plain fn kt_events_free(events: *mut kt_events) -> kt_status {
        handle::free(events)
    }
}
