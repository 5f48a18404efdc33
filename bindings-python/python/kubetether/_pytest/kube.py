"""The fixtures' work: a session for the run, and for each test what it exchanges and forwards."""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import sys
import time
from collections.abc import Generator
from typing import Any, Union

import pytest

from .. import _session, aio
from .._handles import BaseExchange, BaseHandle, close_json
from ..errors import DeadlineError, KubeconfigError, KubetetherError, UnreachableError
from .report import Timeline, sections

#: The Kubes of a test.
_KUBES = pytest.StashKey["list[Kube]"]()
#: Whether a test failed so far.
_FAILED = pytest.StashKey[bool]()
#: The timeline of each session.
_timelines: dict[str, Timeline] = {}

#: What a test began is undone within this many seconds, each.
_UNDO = 30.0


class Kube:
    """What one test does with the cluster; all of it is undone when the test ends."""

    def __init__(self, session: _session.Session, timeline: Timeline, wait: float) -> None:
        #: The session behind it.
        self.session = session
        #: The exchanges of this test by the name of their Service.
        self.exchanges: dict[str, BaseExchange] = {}
        #: The same for ``await``.
        self.aio = AsyncKube(self)
        self._timeline = timeline
        self._wait = wait
        self._began = time.time()
        self._handles: list[BaseHandle] = []

    @property
    def namespace(self) -> str:
        """The namespace."""
        return self.session.namespace

    def exchange(
        self, target: str, to: Any, *, deadline: Union[float, None] = None, wait: Union[float, None] = None
    ) -> _session.Exchange:
        """As :meth:`kubetether.Session.exchange`; put back at the end of the test.

        ``wait`` is by default the ini-file's ``kube_wait``.
        """
        release_kept(self.session, target)
        exchange = self.session.exchange(target, to, deadline=deadline, wait=self._wait if wait is None else wait)
        self._add(exchange)
        return exchange

    def forward(
        self, destination: str, to_port: Union[int, str, None] = None, /, **options: Any
    ) -> _session.Forward:
        """As :meth:`kubetether.Session.forward`; closed at the end of the test."""
        forward = self.session.forward(destination, to_port, **options)
        self._add(forward)
        return forward

    def url(self, destination: str, path: str = "", *, scheme: str = "http") -> str:
        """The URL of a local port that leads to this place in the cluster: ``kube.url("shop:8080", "/cart")``."""
        return self.forward(destination).url(path, scheme)

    def _add(self, handle: BaseHandle) -> None:
        self._handles.append(handle)
        if isinstance(handle, BaseExchange):
            self.exchanges[handle.service] = handle

    def _undo(self) -> None:
        """Closes everything in reverse order; raises the first error after all was tried.

        What interrupts it, Ctrl-C or a time-out, ends the waiting only, and is what is raised: the rest is asked to close, and
        the session's own end waits for that.
        """
        failed: Union[KubetetherError, None] = None
        interrupted: Union[BaseException, None] = None
        while self._handles:
            handle = self._handles.pop()
            try:
                if interrupted is None:
                    close_now(handle)
                else:
                    handle._native.close(close_json(_UNDO))
            except KubetetherError as error:
                failed = failed or error
            except BaseException as error:
                interrupted = interrupted or error
        self.exchanges.clear()
        first = interrupted or failed
        if first is not None:
            raise first


class AsyncKube:
    """A test's calls for ``await``; what they begin is undone at the end of the test, without the loop."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def exchange(
        self, target: str, to: Any, *, deadline: Union[float, None] = None, wait: Union[float, None] = None
    ) -> aio.Exchange:
        """As :meth:`Kube.exchange`."""
        release_kept(self._kube.session, target)
        wait = self._kube._wait if wait is None else wait
        exchange = await self._session().exchange(target, to, deadline=deadline, wait=wait)
        self._kube._add(self._kube.session._began(exchange))
        return exchange

    async def forward(
        self, destination: str, to_port: Union[int, str, None] = None, /, **options: Any
    ) -> aio.Forward:
        """As :meth:`Kube.forward`."""
        forward = await self._session().forward(destination, to_port, **options)
        self._kube._add(self._kube.session._began(forward))
        return forward

    async def url(self, destination: str, path: str = "", *, scheme: str = "http") -> str:
        """As :meth:`Kube.url`."""
        return (await self.forward(destination)).url(path, scheme)

    def _session(self) -> aio.Session:
        return aio.Session(self._kube.session._native, borrowed=True)


def close_now(handle: BaseHandle) -> None:
    """Closes a handle of either face, and waits for that. Local servers outlive a close that fails: the Service may lead to them
    until the session ends."""
    _session._wait(handle._native.close(close_json(_UNDO)))
    handle._ended()


@contextlib.contextmanager
def connected(config: pytest.Config, **options: Any) -> Generator[_session.Session, None, None]:
    """A session by the options of this run."""
    for name in ("kubeconfig", "context", "namespace"):
        options.setdefault(name, setting(config, name))
    with skipping(config, UnreachableError, KubeconfigError, DeadlineError):
        session = _session.connect(who=_who(config), **options)
    timeline = Timeline(session)
    _timelines[session.id] = timeline
    try:
        yield session
    finally:
        try:
            session.close(2 * _UNDO)
        finally:
            _timelines.pop(session.id, None)
            timeline.join()


@contextlib.contextmanager
def skipping(config: pytest.Config, *absent: type[KubetetherError]) -> Generator[None, None, None]:
    """Around the first call to the cluster: skips the test where there is none, for --kube-skip-unreachable. ``absent`` are the
    errors that mean so."""
    try:
        yield
    except absent as error:
        if config.getoption("kube_skip_unreachable"):
            pytest.skip(f"no cluster can be reached: {error.message}")
        raise


def for_test(item: pytest.Item, session: _session.Session) -> Generator[Kube, None, None]:
    """A :class:`Kube` from the set-up of a test to its end."""
    kube = Kube(session, _timelines[session.id], _default_wait(item.config))
    item.stash.setdefault(_KUBES, []).append(kube)
    try:
        yield kube
    finally:
        if keeps(item):
            _kept_of(session).append(kube)
        else:
            kube._undo()


def keeps(item: pytest.Item) -> bool:
    """Whether what this test did stays."""
    return item.stash.get(_FAILED, False) and bool(item.config.getoption("kube_keep_on_failure"))


def failed(item: pytest.Item, report: pytest.TestReport) -> None:
    """A phase of a test failed: its report gets what the cluster and the local servers know of it."""
    item.stash[_FAILED] = True
    for kube in item.stash.get(_KUBES, []):
        for title, text in sections(kube):
            report.sections.append((title, text))


def linger(config: pytest.Config, session: _session.Session) -> None:
    """Before the end of a session: what failed tests left exchanged stays while somebody at a terminal looks at it."""
    kept = [handle for kube in _kept_of(session) for handle in kube.exchanges.values() if not handle.state.is_over]
    if not kept or hasattr(config, "workerinput"):
        return
    held = f"{', '.join(handle.service for handle in kept)} in namespace {session.namespace}"
    with uncaptured(config):
        if not _at_a_terminal():
            why = "at a terminal, --kube-keep-on-failure waits for Enter before that"
            print(f"\nkubetether: put back now: {held} ({why})", flush=True)
            return
        # Ctrl-C puts back, too.
        with contextlib.suppress(KeyboardInterrupt, EOFError):
            input(f"\nkubetether: still exchanged, for --kube-keep-on-failure: {held}; Enter puts back ")


def _at_a_terminal() -> bool:
    try:
        return sys.stdin is not None and sys.stdin.isatty()
    except ValueError:
        # Closed.
        return False


@contextlib.contextmanager
def uncaptured(config: pytest.Config) -> Generator[None, None, None]:
    """What is printed and read is the terminal's."""
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        yield
        return
    capture.suspend(in_=True)
    try:
        yield
    finally:
        capture.resume()


def release_kept(session: _session.Session, target: str) -> None:
    """A test that needs a Service which a failed one left exchanged gets it."""
    service = target.rpartition("/")[2]
    for kube in _kept_of(session):
        handle = kube.exchanges.pop(service, None)
        if handle is not None:
            kube._handles.remove(handle)
            close_now(handle)


def setting(config: pytest.Config, name: str) -> Union[str, None]:
    """An option of the command line, else of the ini-file."""
    return config.getoption(f"kube_{name}") or config.getini(f"kube_{name}") or None


def _kept_of(session: _session.Session) -> list[Kube]:
    return _timelines[session.id].kept


def _default_wait(config: pytest.Config) -> float:
    text = config.getini("kube_wait")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if seconds < 0:
        raise pytest.UsageError(f"kube_wait is a number of seconds, not {text!r}")
    return seconds


def _who(config: pytest.Config) -> str:
    worker = getattr(config, "workerinput", {}).get("workerid")
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{platform.node()} pytest" + (f" {worker}" if worker else "")

