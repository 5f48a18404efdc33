use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;
use crate::ErrorCode;

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

fn call<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Call<T> {
    begin(|_| work)
}

#[test]
fn a_call_is_waited_for_in_slices_and_taken_once() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let waiting = call(async move { Ok(told.await.unwrap_or(0)) });
    assert!(!waiting.wait(SHORT));
    assert!(waiting.take().is_none());
    tell.send(7).unwrap();
    assert!(waiting.wait(LONG));
    assert_eq!(waiting.take().unwrap().unwrap(), 7);
    assert!(waiting.take().is_none());
}

#[test]
fn a_callback_is_called_once_whenever_the_call_ends() {
    let (tell, told) = mpsc::channel();
    for already_done in [true, false] {
        let call = call(async move {
            if !already_done {
                tokio::time::sleep(SHORT).await;
            }
            Ok(already_done)
        });
        if already_done {
            assert!(call.wait(LONG));
        }
        let tell = tell.clone();
        call.then(move |outcome| tell.send(outcome.unwrap()).unwrap());
        assert_eq!(told.recv_timeout(LONG).unwrap(), already_done);
    }
    drop(tell);
    assert!(told.recv_timeout(LONG).is_err(), "once");
}

#[test]
fn a_call_that_is_cancelled_says_so_and_its_work_is_dropped() {
    let (tell, told) = mpsc::channel::<()>();
    let work = || {
        let held = tell.clone();
        call::<()>(async move {
            let _held = held;
            std::future::pending().await
        })
    };
    let waiting = work();
    waiting.canceller().cancel();
    assert_eq!(waiting.join().unwrap_err().code(), ErrorCode::Cancelled);
    let (end, ended) = mpsc::channel();
    work().then(move |outcome| end.send(outcome).unwrap()).cancel();
    assert_eq!(ended.recv_timeout(LONG).unwrap().unwrap_err().code(), ErrorCode::Cancelled);
    drop(work());
    drop(tell);
    assert_eq!(told.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected), "nobody holds it");
}

#[test]
fn a_panic_is_an_error_of_the_call() {
    let error = call::<()>(async { panic!("on purpose") }).join().unwrap_err();
    assert_eq!(error.code(), ErrorCode::Internal);
    assert!(error.to_string().contains("on purpose"), "{error}");
}

#[test]
fn a_callback_that_panics_harms_nobody() {
    let canceller = call(async {
        tokio::time::sleep(SHORT).await;
        Ok(())
    })
    .then(|_| panic!("on purpose"));
    let after = call(async {
        tokio::time::sleep(2 * SHORT).await;
        Ok(())
    });
    after.join().unwrap();
    canceller.cancel();
}

#[test]
fn options_that_make_no_sense_are_the_outcome() {
    let host = Host::new();
    for error in [
        host.start("{").join().err(),
        host.status("{}", r#"{"all": true}"#).join().err(),
        host.clean("[]", "{}").join().err(),
        host.recover("{}", r#"{"service": "frob/x"}"#).join().err(),
    ] {
        assert_eq!(error.unwrap().code(), ErrorCode::Config);
    }
}

#[test]
fn no_event_is_lost_by_a_wait_that_is_given_up() {
    let runtime = Runtime::shared().unwrap();
    let hub = crate::event::Hub::new();
    let events = Events::new(hub.subscribe(), runtime);
    assert!(events.ready().join().unwrap());
    assert!(events.take().unwrap().contains("snapshot"));
    for step in 1..=50 {
        let waiting = events.ready();
        hub.progress(None, step, 50, "on");
        drop(waiting);
    }
    for step in 1..=50 {
        // Also without a wait.
        assert!(step > 40 || events.ready().join().unwrap());
        assert!(events.take().unwrap().contains(&format!("\"step\":{step},")));
    }
    assert!(events.take().is_none());
    hub.session(crate::SessionState::Closed("as asked".into()));
    assert!(events.ready().join().unwrap());
    assert_eq!(events.take().unwrap(), r#"{"type":"closed","reason":"as asked"}"#);
    assert!(!events.ready().join().unwrap());
    assert_eq!((events.take(), events.dropped()), (None, 0));
}

#[test]
fn who_stops_taking_events_can_see_how_many_were_dropped() {
    let hub = crate::event::Hub::new();
    let events = Events::new(hub.subscribe(), Runtime::shared().unwrap());
    for step in 0..300 {
        hub.progress(None, step, 300, "on");
    }
    assert_eq!(events.dropped(), 300 - 256);
    // The one that tells of it is none of them.
    assert!(events.take().unwrap().contains("snapshot"));
    assert_eq!(events.take().unwrap(), r#"{"type":"dropped","count":44}"#);
    assert!(events.take().unwrap().contains("\"step\":44,"));
    assert_eq!(events.dropped(), 44);
}

#[test]
fn the_log_goes_to_the_sink_and_to_nobody_after_it_was_cleared() {
    let (tell, told) = mpsc::channel();
    log::set_sink(log::Level::Debug, move |record| {
        tracing::warn!(target: "kubetether::test", "what the sink says itself");
        if record.target == "kubetether::test" {
            tell.send((record.level, record.message.to_owned())).unwrap();
        }
    })
    .unwrap();
    tracing::debug!(target: "kubetether::test", port = 80, "taken");
    tracing::trace!(target: "kubetether::test", "too fine");
    tracing::error!(target: "another::library", "not ours");
    assert_eq!(told.recv_timeout(LONG).unwrap(), (log::Level::Debug, "taken port=80".to_owned()));
    log::clear_sink();
    tracing::error!(target: "kubetether::test", "nobody listens");
    assert!(told.recv_timeout(LONG).is_err(), "the sink is gone, and nothing else was told");

    // One that says something itself while somebody waits to end it. In here, since a process has one sink.
    let (tell, told) = mpsc::channel();
    log::set_sink(log::Level::Debug, move |record| {
        if record.target == "kubetether::test" {
            tell.send("inside").unwrap();
            while !log::is_to_change() {
                thread::yield_now();
            }
            tracing::warn!(target: "kubetether::test", "what the sink says itself");
            tell.send("through").unwrap();
        }
    })
    .unwrap();
    let line = thread::spawn(|| tracing::debug!(target: "kubetether::test", "on its way"));
    assert_eq!(told.recv_timeout(LONG).unwrap(), "inside");
    let end = thread::spawn(log::clear_sink);
    assert_eq!(told.recv_timeout(LONG).unwrap(), "through");
    line.join().unwrap();
    end.join().unwrap();
}
