//! The life of a session as a command: start, tell what happens, wait for the end, put everything back.

use std::collections::BTreeSet;
use std::future::{Future, pending, ready};
use std::pin::pin;

use kubetether::{
    Deadline, Destination, Error, Event, Events, Exchange, ExchangedPort, Forward, ForwardOptions, HandleId,
    HandleState, Session, Target, To,
};

use crate::args::Global;
use crate::exit::Exit;
use crate::line::{Because, Line, Port};
use crate::output::Output;
use crate::stop::Stops;

/// One thing to start.
#[derive(Debug)]
pub(crate) enum Work {
    /// A Service's traffic to this machine.
    Exchange { target: Target, to: To },
    /// A local port (0: a free one) to a destination.
    Forward { destination: Destination, port: u16 },
}

/// Starts all of it and returns when it is over and put back.
pub(crate) async fn run(global: &Global, work: Vec<Work>, stops: Stops, output: Output) -> Exit {
    let mut run = Run { output, stops, source: None, live: BTreeSet::new(), serving: false, lost: false };
    let session = match run.until(Box::pin(Session::start(global.config()))).await {
        Ok(Ok(session)) => session,
        Ok(Err(error)) => return run.fail(&error),
        Err(_) => {
            let text = "stopped before there was anything to put back".to_owned();
            let _ = run.say(&Line::Notice { handle: None, text });
            return Exit::Ended;
        }
    };
    run.source = Some((session.clone(), session.events()));
    let left = leftovers(&session, &work);
    let mut held = Vec::new();
    let (because, exit) = run.serve(&session, work, &mut held).await;
    run.put_back(&session, because, exit, left, global).await
}

/// Handles are held so that what they do goes on.
enum Held {
    Exchange(#[expect(dead_code, reason = "held, not used")] Exchange),
    Forward(#[expect(dead_code, reason = "held, not used")] Forward),
}

struct Run {
    output: Output,
    stops: Stops,
    /// Once there is a session: it, and our subscription.
    source: Option<(Session, Events)>,
    /// The session's handles that are not over.
    live: BTreeSet<HandleId>,
    /// Everything has been started: from now on the end of the last handle is the end.
    serving: bool,
    /// A handle ended without being asked.
    lost: bool,
}

impl Run {
    /// Starts the work and waits for its end: why it ended, and what that means for the exit code.
    async fn serve(&mut self, session: &Session, work: Vec<Work>, held: &mut Vec<Held>) -> (Because, Exit) {
        for item in work {
            match self.until(Box::pin(start(session, item))).await {
                Ok(Ok((handle, line))) => {
                    held.push(handle);
                    if let Err(because) = self.say(&line) {
                        return (because, Exit::Done);
                    }
                }
                Ok(Err(error)) => return (Because::Failed, self.fail(&error)),
                Err(because) => return (because, Exit::Ended),
            }
        }
        self.output.up();
        self.serving = true;
        let because = match self.heard_so_far().await {
            Ok(()) => self.until(pending::<()>()).await.err().unwrap_or(Because::Lost),
            Err(because) => because,
        };
        let exit = match because {
            _ if self.lost => Exit::Target,
            Because::Lost | Because::Failed => Exit::Ended,
            Because::Interrupt | Because::Terminate | Because::Hangup | Because::ReaderGone => Exit::Done,
        };
        (because, exit)
    }

    /// Closes the session; a second Ctrl-C gives up.
    async fn put_back(
        mut self,
        session: &Session,
        because: Because,
        exit: Exit,
        left: Line,
        global: &Global,
    ) -> Exit {
        self.serving = false;
        let _ = self.say(&Line::Closing { because });
        let mut asked = because == Because::Interrupt;
        let mut close = pin!(session.close(Deadline::after(global.stop_deadline())));
        let closed = loop {
            match self.until(&mut close).await {
                Ok(closed) => break closed,
                Err(Because::Interrupt) if asked => {
                    let _ = self.say(&left);
                    return Exit::Abandoned;
                }
                Err(Because::Interrupt) => {
                    asked = true;
                    let _ = self.say(&Line::Closing { because: Because::Interrupt });
                }
                // We are at it already.
                Err(
                    Because::Terminate
                    | Because::Hangup
                    | Because::ReaderGone
                    | Because::Lost
                    | Because::Failed,
                ) => {}
            }
        };
        let _ = self.heard_so_far().await;
        match closed {
            Ok(()) => {
                let _ = self.say(&Line::Restored);
                exit
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Tells what happens until `future` is done, or until the end is asked for or comes by itself.
    async fn until<F: Future>(&mut self, future: F) -> Result<F::Output, Because> {
        let mut future = pin!(future);
        loop {
            let next = next(&mut self.source);
            tokio::select! {
                biased;
                because = self.stops.next() => return Err(because),
                Some(event) = next => self.hear(event)?,
                output = &mut future => return Ok(output),
            }
        }
    }

    /// Tells what has happened and was not told yet.
    async fn heard_so_far(&mut self) -> Result<(), Because> {
        loop {
            tokio::select! {
                biased;
                Some(event) = next(&mut self.source) => self.hear(event)?,
                () = ready(()) => return Ok(()),
            }
        }
    }

    /// Tells one happening; `Err` when it is the end, or nobody listens.
    fn hear(&mut self, event: Event) -> Result<(), Because> {
        match &event {
            Event::Snapshot { handles, .. } => {
                let now: BTreeSet<HandleId> = handles.iter().map(|info| info.id).collect();
                // Whose end was among the events that were dropped.
                self.lost |= self.serving && !self.live.is_subset(&now);
                self.live = now;
            }
            Event::Handle(info) if info.state.is_over() => {
                self.live.remove(&info.id);
                self.lost |= self.serving && matches!(info.state, HandleState::Lost(_));
            }
            Event::Handle(info) => drop(self.live.insert(info.id)),
            Event::Dropped(_) => {
                if let Some((session, events)) = &mut self.source {
                    *events = session.events();
                }
            }
            Event::Closed(_) => self.live.clear(),
            Event::Session(_) | Event::Resumed { .. } | Event::Progress { .. } | Event::Notice { .. } | _ => {
            }
        }
        for line in Line::of_event(event) {
            self.say(&line)?;
        }
        if self.serving && self.live.is_empty() { Err(Because::Lost) } else { Ok(()) }
    }

    fn say(&mut self, line: &Line) -> Result<(), Because> {
        self.output.say(line).map_err(|_| Because::ReaderGone)
    }

    fn fail(&mut self, error: &Error) -> Exit {
        let _ = self.say(&Line::of_error(error));
        Exit::from(error)
    }
}

async fn next(source: &mut Option<(Session, Events)>) -> Option<Event> {
    match source {
        Some((_, events)) => events.next().await,
        None => None,
    }
}

/// Starts one, and what to tell when it is usable.
async fn start(session: &Session, work: Work) -> Result<(Held, Line), Error> {
    match work {
        Work::Exchange { target, to } => {
            let shown = target.to_string();
            let exchange = session.exchange(target, to).await?;
            let port = |port: &ExchangedPort| Port {
                service_port: port.service_port,
                local: port.local.to_string(),
            };
            let line = Line::Exchange {
                handle: exchange.id().number(),
                target: shown,
                namespace: session.namespace().to_owned(),
                ports: exchange.ports().iter().map(port).collect(),
                passed_through: exchange.passed_through().to_vec(),
            };
            Ok((Held::Exchange(exchange), line))
        }
        Work::Forward { destination, port } => {
            let shown = destination.to_string();
            let forward = session.forward_with(destination, ForwardOptions::new().port(port)).await?;
            let line = Line::Forward {
                handle: forward.id().number(),
                destination: shown,
                address: forward.address().to_string(),
            };
            Ok((Held::Forward(forward), line))
        }
    }
}

/// What a second Ctrl-C leaves, and how to undo it.
fn leftovers(session: &Session, work: &[Work]) -> Line {
    let namespace = session.namespace();
    let exchanged = work.iter().filter_map(|work| match work {
        Work::Exchange { target, .. } => Some(format!(
            "{target}: its callers reach the original pods; if it has the annotation kubetether.dev/exchange, \
             what it was stands there under `original`, and this puts it back: \
             kubetether -n {namespace} clean"
        )),
        Work::Forward { .. } => None,
    });
    let ours = format!(
        "objects of this session, beside those of others; `kubetether -n {namespace} status` tells them apart, and \
         `kubetether -n {namespace} clean` takes away what is dead, which takes half a minute to be sure of"
    );
    Line::Abandoned { namespace: namespace.to_owned(), left: exchanged.chain([ours]).collect() }
}
