//! Calls: one request and one answer, on a stream of their own.

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use kubetether_wire::{Answer, MAX_CALL, Open, Request, ResetCode};
use tokio::time::{Instant, timeout_at};

use crate::{CallError, Incoming, Link, RecvStream, SendStream};

impl Link {
    /// Sends one request and waits for the answer, each of at most [`MAX_CALL`] bytes.
    ///
    /// Cancel-safe: a cancelled call is cut.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, request: &[u8], deadline: Instant) -> Result<Bytes, CallError> {
        if request.len() > MAX_CALL {
            return Err(CallError::TooLong);
        }
        let call = async {
            let (mut opening, stream) = self.open_early(Open::Call).map_err(CallError::Open)?;
            let (mut recv, mut send) = stream.into_split();
            let failed = |error| CallError::Io(Arc::new(error));
            // The request goes with the OPEN; a refusal shows as an error of both, and the opening knows it best.
            let sent = send.send(Bytes::copy_from_slice(request)).await;
            send.finish();
            opening.opened().await.map_err(CallError::Open)?;
            sent.map_err(failed)?;
            read_whole(&mut recv, MAX_CALL).await.map_err(failed)?.ok_or(CallError::TooLong)
        };
        timeout_at(deadline, call).await.map_err(|_| CallError::TimedOut)?
    }

    /// [`call`](Self::call) with a request and an answer of ours.
    ///
    /// # Errors
    /// See [`CallError`]; [`Answer::Failed`] becomes [`CallError::Failed`].
    pub async fn ask(&self, request: &Request, deadline: Instant) -> Result<Answer, CallError> {
        let answer = self.call(&request.encode(), deadline).await?;
        let answer = Answer::decode(&answer).map_err(CallError::Decode)?;
        if let Answer::Failed(failure) = answer { Err(CallError::Failed(failure)) } else { Ok(answer) }
    }
}

/// One request that waits for its answer. Dropping it cuts the call.
#[derive(Debug)]
#[must_use]
pub struct IncomingCall {
    request: Bytes,
    send: SendStream,
    /// Not read any more, but dropping it would say so.
    _recv: RecvStream,
}

impl Incoming {
    /// Takes the request of an [`Open::Call`], of at most `most` bytes.
    ///
    /// # Errors
    /// When the request does not come whole before `deadline`, or is longer; the call is cut.
    pub async fn call(self, most: usize, deadline: Instant) -> io::Result<IncomingCall> {
        let (mut recv, send) = self.accept().into_split();
        let request = match timeout_at(deadline, read_whole(&mut recv, most)).await {
            Ok(request) => request?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        let Some(request) = request else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, CallError::TooLong));
        };
        Ok(IncomingCall { request, send, _recv: recv })
    }
}

impl IncomingCall {
    /// The bytes of the request; [`Request::decode`] reads ours.
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Answers, with at most [`MAX_CALL`] bytes; returns when the answer is on its way.
    ///
    /// # Errors
    /// When the caller has gone, or the answer is too long (the call is cut then).
    pub async fn answer(mut self, answer: &[u8]) -> io::Result<()> {
        if answer.len() > MAX_CALL {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, CallError::TooLong));
        }
        self.send.send(Bytes::copy_from_slice(answer)).await?;
        self.send.finish();
        Ok(())
    }

    /// Waits until the caller gives up, or the link is closed. Cancel-safe.
    pub async fn cancelled(&mut self) -> ResetCode {
        self.send.cut().await
    }
}

/// All bytes up to the end; `None` when there are more than `most`.
async fn read_whole(recv: &mut RecvStream, most: usize) -> io::Result<Option<Bytes>> {
    let mut whole = BytesMut::new();
    while let Some(chunk) = recv.chunk().await? {
        if whole.len() + chunk.len() > most {
            return Ok(None);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(Some(whole.freeze()))
}
