"""What the handles of both faces have in common: everything that does not wait."""

from __future__ import annotations

import json
import os
import weakref
from typing import TYPE_CHECKING, Any, Callable, TypeVar, Union

from . import _leaks, _native
from ._local import Endpoints
from .errors import ForkedError
from .options import call_json

# Data classes take their time to be made; so those are imported where they are used, and `import kubetether` is quick.

#: Where the package lies, and the agent's files in it.
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "agent")

if TYPE_CHECKING:
    from ._native import Exchange as NativeExchange
    from ._native import Forward as NativeForward
    from .events import Event
    from .model import Flows, Port, Safety, State, Stats

_H = TypeVar("_H", bound="BaseHandle")


def close_json(deadline: Union[float, None]) -> str:
    """``CloseCall``."""
    return call_json(deadline=deadline)


class BaseSession:
    """One developer's attachment to one cluster and namespace."""

    def __init__(self, native: _native.Session, *, borrowed: bool = False) -> None:
        self._native = native
        self._info: dict[str, Any] = json.loads(native.info())
        # They live as long as the session does, whether or not anybody holds them: `session.forward(...).address` is enough.
        self._handles: dict[int, BaseHandle] = {}
        self._leak: Union[_leaks.Leak, None] = None
        if not borrowed:
            self._leak = _leaks.Leak(self, native, f"session {self.id} in namespace {self.namespace}")

    @property
    def id(self) -> str:
        """The session's random name; its Lease is ``kubetether-<id>``."""
        return str(self._info["id"])

    @property
    def namespace(self) -> str:
        """The namespace."""
        return str(self._info["namespace"])

    @property
    def context(self) -> Union[str, None]:
        """The kubeconfig's context; ``None`` inside a cluster."""
        return self._info.get("context")

    @property
    def state(self) -> State:
        """Where it stands."""
        from .model import State

        return State.read(self._native.state())

    def flows(self, after: int = 0) -> Flows:
        """The connections and UDP associations that go through the session's handles, one by one.

        Those that are open, and those that ended since an earlier answer, of which ``after`` is :attr:`Flows.next`; 0 is for
        all that is remembered: the last 1,024 that ended, also of handles that are over. Waits for nothing.
        """
        from .model import Flows

        if after < 0:
            raise ValueError(f"flows: {after} is not the `next` of an earlier answer")
        return Flows.read(self._native.flows(min(after, 2**64 - 1)))

    def _began(self, handle: _H) -> _H:
        """From now on it is the session's."""
        self._handles[handle.id] = handle
        if self._leak is not None and handle._endpoints is not None:
            self._leak.endpoints.append(handle._endpoints)
        handle._forget = weakref.WeakMethod(self._forget)
        return handle

    def _forget(self, handle: BaseHandle) -> None:
        self._handles.pop(handle.id, None)
        if self._leak is not None and handle._endpoints in self._leak.endpoints:
            self._leak.endpoints.remove(handle._endpoints)

    def _ended(self) -> None:
        """It is over and known to be, and its handles with it."""
        if self._leak is not None:
            self._leak.closed()
        for handle in list(self._handles.values()):
            handle._ended()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} in {self.namespace}: {_state(self)}>"


class BaseHandle:
    """A handle of a session; closing the session closes it, too."""

    def __init__(
        self, native: Union[NativeExchange, NativeForward], endpoints: Union[Endpoints, None] = None
    ) -> None:
        self._native = native
        self._info: dict[str, Any] = json.loads(native.info())
        self._endpoints = endpoints
        self._forget: Union[weakref.WeakMethod[Callable[[BaseHandle], None]], None] = None

    @property
    def id(self) -> int:
        """Tells the handles of a session apart; events name it as ``handle``."""
        return int(self._info["handle"])

    @property
    def state(self) -> State:
        """Where it stands."""
        from .model import State

        return State.read(self._native.state())

    @property
    def stats(self) -> Stats:
        """What went through it so far."""
        from .model import Stats

        return Stats.read(self._native.stats())

    def _ended(self) -> None:
        """It is over and known to be: no local server is needed."""
        forget = self._forget() if self._forget is not None else None
        if forget is not None:
            forget(self)
        if self._endpoints is not None:
            self._endpoints.stop()


class BaseExchange(BaseHandle):
    """All traffic of a Service comes here."""

    _native: NativeExchange

    def __init__(self, native: NativeExchange, to: Any, endpoints: Endpoints) -> None:
        super().__init__(native, endpoints)
        self._to = to

    @property
    def service(self) -> str:
        """The Service's name."""
        return str(self._info["service"])

    @property
    def ports(self) -> tuple[Port, ...]:
        """The ports that come here."""
        from .model import Port

        return tuple(Port.from_data(port) for port in self._info["ports"])

    @property
    def passed_through(self) -> tuple[int, ...]:
        """The Service's other ports, which go on to the original pods."""
        return tuple(self._info["passed_through"])

    @property
    def safety(self) -> Safety:
        """What becomes of the Service should this process or the interceptor die."""
        from .model import Safety

        return Safety.read(self._native.safety())

    @property
    def to(self) -> Any:
        """What was given as ``to=``: the stub, for example."""
        return self._to

    @property
    def log(self) -> list[str]:
        """What the handlers, apps and stubs of ``to=`` were asked and answered, one text per request; the last thousand."""
        servers = self._endpoints.all if self._endpoints is not None else []
        return [line for server in servers for line in server.log.lines()]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.service}: {_state(self)}>"


class BaseForward(BaseHandle):
    """A local port that leads to a place in the cluster."""

    _native: NativeForward

    @property
    def destination(self) -> str:
        """Where it leads."""
        return str(self._info["destination"])

    @property
    def address(self) -> str:
        """The local address and port, as ``127.0.0.1:40123``."""
        return str(self._info["address"])

    @property
    def host(self) -> str:
        """The local address."""
        return str(self._info["host"])

    @property
    def port(self) -> int:
        """The local port."""
        return int(self._info["port"])

    def url(self, path: str = "", scheme: str = "http") -> str:
        """``http://127.0.0.1:40123`` and the path."""
        return f"{scheme}://{self.address}{path}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address} -> {self.destination}: {_state(self)}>"


class BaseEvents:
    """A subscription to what happens in a session."""

    def __init__(self, native: _native.Events) -> None:
        self._native = native

    @property
    def dropped(self) -> int:
        """How many events this subscription has lost because they were not taken."""
        return self._native.dropped()

    def taken(self) -> list[Event]:
        """The event that is there already, if there is one; waits for nothing."""
        from .events import event_from_json

        text = self._native.take()
        return [] if text is None else [event_from_json(text)]


def _state(of: Union[BaseSession, BaseHandle]) -> str:
    """For a ``repr``, which raises nothing."""
    try:
        return str(of.state)
    except ForkedError:
        return "of another process"


def exchange_json(
    target: str, endpoints: Endpoints, deadline: Union[float, None], wait: Union[float, None]
) -> str:
    """``ExchangeCall``."""
    return call_json(target=target, to=endpoints.entries, deadline=deadline, wait=wait)


def forward_json(destination: str, to_port: Union[int, str, None], **options: Any) -> str:
    """``ForwardCall``."""
    if to_port is not None:
        host = f"[{destination}]" if destination.count(":") > 1 and destination[0] != "[" else destination
        destination = f"{host}:{to_port}"
    return call_json(destination=destination, **options)
