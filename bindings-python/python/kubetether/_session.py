"""The face whose calls block. Each one gives the GIL away, and ends within 100 ms at Ctrl-C."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Union

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


def connect(**options: Unpack[SessionOptions]) -> Session:
    """Starts a session: reaches the cluster and announces itself there (a Lease).

    Without arguments it finds the cluster as kubectl does. The keywords are those of :class:`SessionOptions`:
    ``kubeconfig``, ``context``, ``namespace`` say where; ``who``, ``start_deadline``, ``grace`` and so on, how. Durations are
    in seconds.

    Close it, or use it in a ``with``: then the cluster is as it was. Ctrl-C during the start leaves nothing.

    Raises:
        KubeconfigError, NoSuchContextError: before the cluster is asked.
        UnreachableError, UnauthorizedError, ForbiddenError, NoSuchNamespaceError, DeadlineError: by what it answers.
        ForkedError: this process was forked from one with sessions.
    """
    return Session(_wait(_native.connect(FOLDER, session_json(options))))


def status(
    *, all_namespaces: bool = False, patience: Union[float, None] = None, **options: Unpack[SessionOptions]
) -> Status:
    """Who is there and what they hold. Needs no session and changes nothing.

    Args:
        all_namespaces: All namespaces instead of one.
        patience: Seconds to watch whether sessions live: one that lives is seen within 10, one that is dead after 30.
            Default: 35; it ends as soon as all is known.
        options: As of :func:`connect`.
    """
    call = call_json(all_namespaces=all_namespaces, patience=patience)
    from .model import Status

    return Status.read(_wait(_native.status(FOLDER, session_json(options), call)))


def clean(
    *,
    dry_run: bool = False,
    all: bool = False,
    all_namespaces: bool = False,
    deadline: Union[float, None] = None,
    **options: Unpack[SessionOptions],
) -> Cleaned:
    """Puts back what dead sessions hold, and takes away what they left.

    Args:
        dry_run: Only tells what would be done.
        all: Also what belongs to sessions that live.
        all_namespaces: All namespaces instead of one.
        deadline: Seconds that it may take. Default: 120.
        options: As of :func:`connect`.

    What could not be done stands in :attr:`Cleaned.left`, and is not raised.
    """
    call = call_json(dry_run=dry_run, all=all, all_namespaces=all_namespaces, deadline=deadline)
    from .model import Cleaned

    return Cleaned.read(_wait(_native.clean(FOLDER, session_json(options), call)))


def recover(
    service: str, *, deadline: Union[float, None] = None, **options: Unpack[SessionOptions]
) -> Recovered:
    """Puts one Service back, whoever holds it.

    Args:
        service: ``orders`` or ``svc/orders``.
        deadline: Seconds that it may take.
        options: As of :func:`connect`.
    """
    call = call_json(service=service, deadline=deadline)
    from .model import Recovered

    return Recovered.read(_wait(_native.recover(FOLDER, session_json(options), call)))


class Session(BaseSession):
    """One developer's attachment to one cluster and namespace; :func:`connect` makes one.

    A call that returns means: usable. Leaving its ``with`` closes it. Handles are the session's: they stay in force until they or the session are closed, also when
    nobody holds them. A session that is never closed gives a ResourceWarning and is closed in the background. May be used from several threads.
    """

    def exchange(
        self, target: str, to: Any, *, deadline: Union[float, None] = None, wait: Union[float, None] = None
    ) -> Exchange:
        """Exchanges a Service: all its new connections come here from when this returns.

        Args:
            target: The Service: ``orders`` or ``svc/orders``.
            to: Where they go: a port, ``(host, port)``, ``"host:port"``, the path of a unix socket; a WSGI or ASGI app; a
                function that is given a :class:`Request` and returns an answer, async or not; a handler class of
                ``socketserver`` or ``http.server``; a :class:`StubServer`. Or a dict of these by the Service's port (number
                or name). What is an object of Python is served in threads of this process until the exchange is closed.
            deadline: Seconds that the start may take. Default: the session's ``start_deadline``.
            wait: Seconds to wait for a Service that somebody else holds. Default: 0, which raises :class:`HeldError` as soon as
                it is seen that the holder lives: at once or within 10 seconds. One who is dead is known after half a minute,
                and the Service is taken over. None of this counts against the session's ``start_deadline``.

        Raises:
            NoSuchTargetError, NoSuchPortError, UnsupportedError, HeldError, ForbiddenError, AgentStartError and so on: the
                Service was not changed, or was put back.
        """
        endpoints = Endpoints(to)
        try:
            native = _wait(self._native.exchange(exchange_json(target, endpoints, deadline, wait)))
        except BaseException:
            endpoints.stop()
            raise
        return self._began(Exchange(native, to, endpoints))

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
    ) -> Forward:
        """Opens a local port that leads to a place in the cluster; it has been dialled once when this returns.

        Args:
            destination: ``"db:5432"``, ``"pod/db-0:5432"``, ``"10.0.0.7:80"``, ``"kube-dns.kube-system:53/udp"``.
            to_port: The port, where it does not stand in the destination: ``forward("db", 5432)``.
            bind: The local address. Default: ``127.0.0.1``.
            port: The local port. Default: a free one.
            connections: That may be open at once. Default: 4096.
            deadline: Seconds that the start may take. Default: the session's ``start_deadline``.
        """
        call = forward_json(
            destination, to_port, bind=bind, port=port, connections=connections, deadline=deadline
        )
        return self._began(Forward(_wait(self._native.forward(call))))

    def evidence(self) -> list[str]:
        """What the cluster says of the agents in the namespace: conditions, events and last log lines of their pods. What cannot
        be had within five seconds is left out."""
        lines: list[str] = json.loads(_wait(self._native.evidence()))
        return lines

    def events(self) -> Events:
        """A subscription of its own to what happens from now on."""
        return Events(self._native.events())

    def close(self, deadline: Union[float, None] = None) -> None:
        """Closes all handles in reverse order, and returns when nothing of this session is left in the cluster. Idempotent.

        Args:
            deadline: Seconds that it may take. Default: 20. What is not done by then, or at Ctrl-C, goes on in the background.

        Raises:
            NotRestoredError, DeadlineError: the first thing that could not be put back, after everything was tried.
        """
        _wait(self._native.close(close_json(deadline)))
        self._ended()

    def closed(self, timeout: Union[float, None] = None) -> str:
        """Waits until it is over, as asked or not; returns the reason.

        Raises:
            DeadlineError: it is not over within ``timeout`` seconds.
        """
        return str(_wait(self._native.closed(), timeout, "waiting for the end of the session"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: Union[type[BaseException], None],
        error: Union[BaseException, None],
        traceback: Union[TracebackType, None],
    ) -> None:
        self.close()


class _Handle(BaseHandle):
    """What the handles of this face have."""

    def close(self, deadline: Union[float, None] = None) -> None:
        """Ends it, and returns when the cluster is as it was. Idempotent.

        Args:
            deadline: Seconds that it may take. Default: 20. What is not done by then, or at Ctrl-C, goes on in the background.
        """
        _wait(self._native.close(close_json(deadline)))
        self._ended()

    def closed(self, timeout: Union[float, None] = None) -> State:
        """Waits until it is over, as asked or not; returns the state it has then.

        Raises:
            DeadlineError: it is not over within ``timeout`` seconds.
        """
        from .model import State

        return State.read(_wait(self._native.closed(), timeout, "waiting for the end of a handle"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: Union[type[BaseException], None],
        error: Union[BaseException, None],
        traceback: Union[TracebackType, None],
    ) -> None:
        self.close()


class Exchange(_Handle, BaseExchange):
    """All traffic of a Service comes here. Leaving its ``with`` puts the Service back.

    "All traffic" means all new connections: those that were open at the start stay with the original pods until they end.
    """


class Forward(_Handle, BaseForward):
    """A local port that leads to a place in the cluster. Leaving its ``with`` closes it."""


class Events(BaseEvents):
    """A subscription to what happens in a session: a snapshot first, then what happens, then one :class:`Closed`.

    Iterating waits for each event and ends after the last one. It holds 256 of them; of a slow reader the oldest are dropped,
    which it is told by a :class:`Dropped`.
    """

    def next(self, timeout: Union[float, None] = None) -> Union[Event, None]:
        """The next event; ``None`` at the end.

        Raises:
            DeadlineError: nothing happened within ``timeout`` seconds.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if until is None else max(until - time.monotonic(), 0.0)
            if not _wait(self._native.ready(), left, "waiting for an event"):
                return None
            # Another thread may have taken it meanwhile.
            for event in self.taken():
                return event

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = self.next()
        if event is None:
            raise StopIteration
        return event


def _wait(task: _native.Task, timeout: Union[float, None] = None, what: str = "") -> Any:
    """The outcome of a call. What interrupts it cancels the call."""
    try:
        if not task.wait(timeout):
            raise DeadlineError(f"{what}: not done by its deadline")
        return task.result()
    except BaseException:
        # Whoever keeps the exception keeps this frame: neither the call nor what it ended with just now lives on in it.
        task.cancel()
        del task
        raise
