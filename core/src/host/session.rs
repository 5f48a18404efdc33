//! A session, called from another language.

use super::handles::{Exchange, Forward};
use super::{Call, Events, json};
use crate::blocking::runtime::Runtime;
use crate::json::SessionInfo;
use crate::options::{self, CloseCall, ExchangeCall, ForwardCall};
use crate::{Deadline, Destination, ExchangeOptions, ForwardOptions, Result, Target, To};

/// A [`Session`](crate::Session). Dropping the last handle closes it in the background.
#[derive(Clone, Debug)]
pub struct Session(Held<crate::Session>);

impl Session {
    pub(super) fn new(session: crate::Session, runtime: Runtime) -> Self {
        Self(Held::new(session, runtime))
    }

    /// Whether it may be asked what is known of it: calls look for themselves.
    ///
    /// # Errors
    /// [`Forked`](crate::ErrorCode::Forked) in a process that was forked from its own.
    pub fn check(&self) -> Result<()> {
        self.0.check()
    }

    /// [`exchange_with`](crate::Session::exchange_with); takes `ExchangeCall`.
    pub fn exchange(&self, call: &str) -> Call<Exchange> {
        let call = options::read::<ExchangeCall>(call);
        self.0.call(|session, runtime| async move {
            let (target, to, options): (Target, To, ExchangeOptions) = call?.try_into()?;
            Ok(Exchange::new(session.exchange_with(target, to, options).await?, runtime))
        })
    }

    /// [`forward_with`](crate::Session::forward_with); takes `ForwardCall`.
    pub fn forward(&self, call: &str) -> Call<Forward> {
        let call = options::read::<ForwardCall>(call);
        self.0.call(|session, runtime| async move {
            let (destination, options): (Destination, ForwardOptions) = call?.try_into()?;
            Ok(Forward::new(session.forward_with(destination, options).await?, runtime))
        })
    }

    /// [`events`](crate::Session::events).
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.0.get().events(), self.0.runtime().clone())
    }

    /// What it is: `SessionInfo`.
    #[must_use]
    pub fn info(&self) -> String {
        json(&SessionInfo::of(self.0.get()))
    }

    /// Where it stands: `State`.
    #[must_use]
    pub fn state(&self) -> String {
        json(&self.0.get().state())
    }

    /// [`flows`](crate::Session::flows): `Flows`.
    #[must_use]
    pub fn flows(&self, after: u64) -> String {
        json(&self.0.get().flows(after))
    }

    /// [`evidence`](crate::Session::evidence): a list of texts.
    pub fn evidence(&self) -> Call<String> {
        self.0.call(|session, _| async move { Ok(json(&session.evidence().await)) })
    }

    /// [`close`](crate::Session::close); takes `CloseCall`. It is asked for at once: cancelling the call ends only the wait.
    pub fn close(&self, call: &str) -> Call<()> {
        let deadline = options::read::<CloseCall>(call).map(Deadline::from);
        self.0.ask(&deadline, crate::Session::ask_to_close);
        self.0.call(|session, _| async move { session.close(deadline?).await })
    }

    /// [`closed`](crate::Session::closed): the reason.
    pub fn closed(&self) -> Call<String> {
        self.0.call(|session, _| async move { Ok(session.closed().await) })
    }
}

/// Something of the engine's, with the runtime it needs. In a process that was forked it is left alone, and never dropped:
/// its threads are the parent's.
#[derive(Clone, Debug)]
pub(super) struct Held<T> {
    /// `None` only while it is dropped.
    inner: Option<T>,
    runtime: Runtime,
}

impl<T> Held<T> {
    pub(super) fn new(inner: T, runtime: Runtime) -> Self {
        Self { inner: Some(inner), runtime }
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(super) fn check(&self) -> Result<()> {
        self.runtime.check()
    }

    pub(super) fn get(&self) -> &T {
        match &self.inner {
            Some(inner) => inner,
            None => unreachable!("it is there until it is dropped"),
        }
    }
}

impl<T> Held<T> {
    /// Says something that needs no wait, unless the arguments were wrong or the process was forked.
    pub(super) fn ask<A: Copy>(&self, argument: &Result<A>, say: impl FnOnce(&T, A)) {
        if let (Ok(argument), Ok(())) = (argument, self.check()) {
            say(self.get(), *argument);
        }
    }
}

impl<T: Clone> Held<T> {
    pub(super) fn call<R, F>(&self, work: impl FnOnce(T, Runtime) -> F) -> Call<R>
    where
        R: Send + 'static,
        F: Future<Output = Result<R>> + Send + 'static,
    {
        let runtime = self.check().map(|()| self.runtime.clone());
        Call::begin(runtime, Box::pin(work(self.get().clone(), self.runtime.clone())))
    }
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        if self.check().is_err() {
            std::mem::forget(self.inner.take());
        }
    }
}
