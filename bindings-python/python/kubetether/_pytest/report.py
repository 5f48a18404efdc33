"""What a failing test's report carries."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .. import _session
from .._handles import BaseExchange
from ..errors import KubetetherError

if TYPE_CHECKING:
    from .kube import Kube

#: Events that are remembered for reports.
_EVENTS = 500


class Timeline:
    """What happened in a session, with the time: written down by a thread as it happens."""

    def __init__(self, session: _session.Session) -> None:
        #: What failed tests left in this session.
        self.kept: list[Kube] = []
        self._lines: deque[tuple[float, str]] = deque(maxlen=_EVENTS)
        self._events = session.events()
        self._thread = threading.Thread(target=self._follow, name="kubetether-timeline", daemon=True)
        self._thread.start()

    def since(self, moment: float) -> list[str]:
        """What happened from this moment on, oldest first."""
        return [f"{_clock(at)} {text}" for at, text in list(self._lines) if at >= moment]

    def join(self) -> None:
        """Waits for the end of the thread, which comes with that of the session."""
        self._thread.join(2.0)

    def _follow(self) -> None:
        try:
            for event in self._events:
                self._lines.append((time.time(), str(event)))
        except KubetetherError as error:
            self._lines.append((time.time(), f"the events ended: {error.message}"))


def sections(kube: Kube) -> Iterator[tuple[str, str]]:
    """Titles and texts."""
    where = f"kubetether, namespace {kube.namespace}"
    timeline = kube._timeline.since(kube._began)
    if timeline:
        yield f"{where}: timeline", "\n".join(timeline)
    for service, exchange in kube.exchanges.items():
        yield f"{where}: exchange of {service}", "\n".join(_exchange(exchange))
    try:
        evidence = kube.session.evidence()
    except KubetetherError as error:
        evidence = [f"nothing can be had of the agents: {error.message}"]
    if evidence:
        yield f"{where}: agents", "\n".join(evidence)


def _exchange(exchange: BaseExchange) -> Iterator[str]:
    stats = exchange.stats
    yield f"state: {exchange.state}"
    for port in exchange.ports:
        yield f"port {port.service_port} -> {port.local}"
    yield (
        f"connections: {stats.connections}, open: {stats.open}, refused: {stats.refused};"
        f" bytes from the cluster: {stats.received}, to it: {stats.sent}"
    )
    log = exchange.log
    if log:
        yield "requests:"
        yield from (f"  {line}" for line in log)


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at)) + f".{int(at % 1 * 1000):03}"
