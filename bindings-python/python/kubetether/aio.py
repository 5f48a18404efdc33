"""The same for asyncio: ``async with kubetether.aio.connect() as session``.

Names and arguments are those of :mod:`kubetether`; what waits is awaited. No threads wait: the engine tells the event loop
when a call is done. Cancelling an await cancels the call: a start that is cancelled leaves nothing, a close goes on in the
background.
"""

from __future__ import annotations

import asyncio
import json
import threading
import warnings
from collections.abc import AsyncIterator, Coroutine, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Generic, Protocol, TypeVar, Union

from . import _native
from ._handles import (
    FOLDER,
    BaseEvents,
    BaseExchange,
    BaseForward,
    BaseHandle,
    BaseSession,
    close_json,
    exchange_json,
    forward_json,
)
from ._local import Endpoints
from .errors import DeadlineError
from .options import SessionOptions, call_json, session_json

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .events import Event
    from .model import Cleaned, Recovered, State, Status

__all__ = ["Events", "Exchange", "Forward", "Session", "Starting", "clean", "connect", "recover", "status"]


class Closable(Protocol):
    """What an ``async with`` closes."""

    async def close(self, deadline: Union[float, None] = None) -> None:
        """Ends it."""


_T = TypeVar("_T", bound=Closable)


class Starting(Generic[_T]):
    """A start: await it for the handle, or use it in an ``async with``, which closes the handle at its end."""

    def __init__(self, what: str, start: Callable[[], Coroutine[Any, Any, _T]]) -> None:
        self._what = what
        self._start = start
        self._handle: Union[_T, None] = None
        self._awaited = False

    def __await__(self) -> Generator[Any, None, _T]:
        self._awaited = True
        return self._start().__await__()

    async def __aenter__(self) -> _T:
        self._awaited = True
        self._handle = await self._start()
        return self._handle

    async def __aexit__(
        self,
        kind: Union[type[BaseException], None],
        error: Union[BaseException, None],
        traceback: Union[TracebackType, None],
    ) -> None:
        if self._handle is not None:
            await self._handle.close()

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        # As of a coroutine that nobody awaits. The function is kept, since the module may be gone when the interpreter ends.
        if not self._awaited:
            warn(f"{self._what} was never awaited: nothing was started", RuntimeWarning, source=self)


def connect(**options: Unpack[SessionOptions]) -> Starting[Session]:
    """As :func:`kubetether.connect`."""
    text = session_json(options)

    async def start() -> Session:
        return Session(await _wait(_native.connect(FOLDER, text)))

    return Starting("kubetether.aio.connect()", start)


async def status(
    *, all_namespaces: bool = False, patience: Union[float, None] = None, **options: Unpack[SessionOptions]
) -> Status:
    """As :func:`kubetether.status`."""
    call = call_json(all_namespaces=all_namespaces, patience=patience)
    from .model import Status

    return Status.read(await _wait(_native.status(FOLDER, session_json(options), call)))


async def clean(
    *,
    dry_run: bool = False,
    all: bool = False,
    all_namespaces: bool = False,
    deadline: Union[float, None] = None,
    **options: Unpack[SessionOptions],
) -> Cleaned:
    """As :func:`kubetether.clean`."""
    call = call_json(dry_run=dry_run, all=all, all_namespaces=all_namespaces, deadline=deadline)
    from .model import Cleaned

    return Cleaned.read(await _wait(_native.clean(FOLDER, session_json(options), call)))


async def recover(
    service: str, *, deadline: Union[float, None] = None, **options: Unpack[SessionOptions]
) -> Recovered:
    """As :func:`kubetether.recover`."""
    call = call_json(service=service, deadline=deadline)
    from .model import Recovered

    return Recovered.read(await _wait(_native.recover(FOLDER, session_json(options), call)))


class Session(BaseSession):
    """As :class:`kubetether.Session`."""

    def exchange(
        self, target: str, to: Any, *, deadline: Union[float, None] = None, wait: Union[float, None] = None
    ) -> Starting[Exchange]:
        """As :meth:`kubetether.Session.exchange`. Apps and handlers run in threads of their own, never on this loop."""

        async def start() -> Exchange:
            endpoints = await _serve(to)
            try:
                native = await _wait(self._native.exchange(exchange_json(target, endpoints, deadline, wait)))
            except BaseException:
                endpoints.stop()
                raise
            return self._began(Exchange(native, to, endpoints))

        return Starting(f"the exchange of {target!r}", start)

    def forward(
        self,
        destination: str,
        to_port: Union[int, str, None] = None,
        /,
        *,
        bind: Union[str, None] = None,
        port: Union[int, None] = None,
        connections: Union[int, None] = None,
        deadline: Union[float, None] = None,
    ) -> Starting[Forward]:
        """As :meth:`kubetether.Session.forward`."""
        call = forward_json(
            destination, to_port, bind=bind, port=port, connections=connections, deadline=deadline
        )

        async def start() -> Forward:
            return self._began(Forward(await _wait(self._native.forward(call))))

        return Starting(f"the forward to {destination!r}", start)

    async def evidence(self) -> list[str]:
        """As :meth:`kubetether.Session.evidence`."""
        lines: list[str] = json.loads(await _wait(self._native.evidence()))
        return lines

    def events(self) -> Events:
        """As :meth:`kubetether.Session.events`."""
        return Events(self._native.events())

    async def close(self, deadline: Union[float, None] = None) -> None:
        """As :meth:`kubetether.Session.close`."""
        await _wait(self._native.close(close_json(deadline)))
        await _ended(self)

    async def closed(self, timeout: Union[float, None] = None) -> str:
        """As :meth:`kubetether.Session.closed`."""
        return str(await _wait(self._native.closed(), timeout, "waiting for the end of the session"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: Union[type[BaseException], None],
        error: Union[BaseException, None],
        traceback: Union[TracebackType, None],
    ) -> None:
        await self.close()


class _Handle(BaseHandle):
    """What the handles of this face have."""

    async def close(self, deadline: Union[float, None] = None) -> None:
        """Ends it, and returns when the cluster is as it was. Idempotent.

        Args:
            deadline: Seconds that it may take. Default: 20. What is not done by then goes on in the background.
        """
        await _wait(self._native.close(close_json(deadline)))
        await _ended(self)

    async def closed(self, timeout: Union[float, None] = None) -> State:
        """Waits until it is over, as asked or not; returns the state it has then.

        Raises:
            DeadlineError: it is not over within ``timeout`` seconds.
        """
        from .model import State

        return State.read(await _wait(self._native.closed(), timeout, "waiting for the end of a handle"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: Union[type[BaseException], None],
        error: Union[BaseException, None],
        traceback: Union[TracebackType, None],
    ) -> None:
        await self.close()


class Exchange(_Handle, BaseExchange):
    """As :class:`kubetether.Exchange`."""


class Forward(_Handle, BaseForward):
    """As :class:`kubetether.Forward`."""


class Events(BaseEvents):
    """As :class:`kubetether.Events`, for ``async for``."""

    async def next(self, timeout: Union[float, None] = None) -> Union[Event, None]:
        """The next event; ``None`` at the end. A wait that is cancelled loses nothing.

        Raises:
            DeadlineError: nothing happened within ``timeout`` seconds.
        """
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        while True:
            left = None if until is None else max(until - loop.time(), 0.0)
            if not await _wait(self._native.ready(), left, "waiting for an event"):
                return None
            # Another task may have taken it meanwhile.
            for event in self.taken():
                return event

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await self.next()
        if event is None:
            raise StopAsyncIteration
        return event


async def _serve(to: Any) -> Endpoints:
    """Starts the servers of ``to=``, beside the loop: an app's own start-up may take its time. Cancelling the await leaves none."""

    def stop(late: asyncio.Future[Endpoints]) -> None:
        if not late.cancelled() and late.exception() is None:
            # Not on the loop, and not in its executor: both may be about to end.
            threading.Thread(target=late.result().stop, name="kubetether-stop").start()

    starting = asyncio.get_running_loop().run_in_executor(None, Endpoints, to)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(stop)
        raise


async def _ended(handle: Union[BaseSession, BaseHandle]) -> None:
    """Local servers wait for their threads, which may want this loop."""
    await asyncio.get_running_loop().run_in_executor(None, handle._ended)


async def _wait(task: _native.Task, timeout: Union[float, None] = None, what: str = "") -> Any:
    """The outcome of a call. Cancelling the await cancels the call."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not done.done():
            done.set_result(None)

    def told() -> None:
        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:
            # The loop was closed early: whoever waited is gone, and the call is cancelled with its object.
            pass

    task.on_done(told)
    try:
        try:
            if timeout is None:
                await done
            else:
                await asyncio.wait_for(done, timeout)
        except asyncio.TimeoutError:
            raise DeadlineError(f"{what}: not done by its deadline") from None
        return task.result()
    except BaseException:
        # Whoever keeps the exception keeps this frame: what the call ended with just now does not live on in it.
        task.cancel()
        del task
        raise
