//! The tasks of a link: a reader and a writer for each carrier, and one timer. Each ends when its carrier or the link does;
//! a panic in one ends the link.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Context, time::Duration};

use bytes::BytesMut;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    AttachError, CarrierRead, CarrierWrite,
    shared::{Shared, now},
    state::{Fill, Phase, Slot},
};

/// How long a carrier may take to send its goodbye and see the peer's end.
const LINGER: Duration = Duration::from_secs(1);

/// Starts the tasks of a carrier that the state machine knows already, and the link's timer with the first.
pub(crate) fn start(
    shared: &Arc<Shared>,
    id: u32,
    read: impl CarrierRead,
    write: impl CarrierWrite,
    up: Option<oneshot::Sender<Result<(), AttachError>>>,
) {
    let slot = Slot::new(up);
    let (read_phase, write_phase) = (slot.phase.subscribe(), slot.phase.subscribe());
    let first = shared.act(|state| {
        // The link may have ended, or given the carrier up, before its tasks are there.
        if state.link.close_reason().is_some() {
            slot.phase.send_replace(Phase::Closing);
        } else if !state.link.has_carrier(id) {
            slot.phase.send_replace(Phase::Gone);
        }
        state.slots.insert(id, slot);
        !std::mem::replace(&mut state.timed, true)
    });
    if first {
        tokio::spawn(timer(Guard::new(shared, None)));
    }
    let both = Arc::new(CarrierGuard { shared: Arc::clone(shared), id });
    tokio::spawn(reader(Guard::new(shared, Some(Arc::clone(&both))), id, read, read_phase));
    tokio::spawn(writer(Guard::new(shared, Some(both)), id, write, write_phase));
}

async fn reader(guard: Guard, id: u32, mut read: impl CarrierRead, phase: watch::Receiver<Phase>) {
    let shared = &guard.shared;
    let mut over = pin!(over(phase));
    loop {
        let received = tokio::select! {
            biased;
            () = &mut over => return,
            received = read.recv() => received,
        };
        match received {
            Ok(Some(bytes)) => shared.act(|state| state.link.handle_input(id, bytes, now())),
            Ok(None) => break,
            Err(error) => {
                tracing::debug!(carrier = id, %error, "a carrier failed while reading");
                break;
            }
        }
    }
    shared.carrier_down(id);
}

async fn writer(guard: Guard, id: u32, mut write: impl CarrierWrite, phase: watch::Receiver<Phase>) {
    let shared = &guard.shared;
    let sending = async {
        send_all(shared, id, &mut write).await;
    };
    tokio::select! {
        biased;
        () = over(phase) => {}
        () = sending => {}
    }
}

async fn send_all<W: CarrierWrite>(shared: &Shared, id: u32, write: &mut W) {
    let mut buffer = BytesMut::new();
    loop {
        let fill = |cx: &mut Context<'_>| {
            shared.act(|state| state.fill(cx, id, &mut buffer, W::HEADROOM, W::BUFFER))
        };
        match poll_fn(fill).await {
            Fill::Send => match write.send(buffer).await {
                Ok(returned) => buffer = returned,
                Err(error) => {
                    tracing::debug!(carrier = id, %error, "a carrier failed while writing");
                    return shared.carrier_down(id);
                }
            },
            Fill::Close => {
                shared.act(|state| state.close_slot(id));
                // What became of it does not matter: all is said.
                let _ = write.close().await;
                return;
            }
            Fill::Gone => return,
        }
    }
}

/// Waits until the link is done with the carrier, or had its time to say goodbye.
async fn over(mut phase: watch::Receiver<Phase>) {
    if phase.wait_for(|phase| *phase != Phase::Live).await.is_ok_and(|phase| *phase == Phase::Closing) {
        let gone = phase.wait_for(|phase| *phase == Phase::Gone);
        let _ = timeout(LINGER, gone).await;
    }
}

async fn timer(guard: Guard) {
    let shared = &guard.shared;
    let mut sleep = pin!(sleep_until(Instant::now()));
    while let Some(due) = shared.arm() {
        if let Some(due) = due {
            sleep.as_mut().reset(Instant::from_std(due));
        }
        tokio::select! {
            () = &mut sleep, if due.is_some() => shared.act(|state| state.link.handle_timeout(now())),
            () = shared.timer.notified() => {}
        }
    }
}

/// Counts a task, and closes the link when it panics.
struct Guard {
    shared: Arc<Shared>,
    carrier: Option<Arc<CarrierGuard>>,
}

impl Guard {
    fn new(shared: &Arc<Shared>, carrier: Option<Arc<CarrierGuard>>) -> Self {
        shared.tasks.send_modify(|tasks| *tasks += 1);
        Self { shared: Arc::clone(shared), carrier }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::warn!("a task of a link panicked: the link is closed");
            self.shared.act(|state| state.link.close_panicked());
        }
        self.carrier = None;
        self.shared.tasks.send_modify(|tasks| *tasks -= 1);
    }
}

/// Ends a carrier when both of its tasks have.
struct CarrierGuard {
    shared: Arc<Shared>,
    id: u32,
}

impl Drop for CarrierGuard {
    fn drop(&mut self) {
        self.shared.carrier_down(self.id);
        self.shared.act(|state| state.slots.remove(&self.id));
    }
}
