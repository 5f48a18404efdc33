"""What the engine tells, as plain frozen objects. Names and meanings are those of its JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Optional, TypeVar

from . import errors

_M = TypeVar("_M", bound="Model")


@dataclass(frozen=True)
class Model:
    """An object that came as JSON."""

    #: The class of the objects in a field that holds such, or a list of such.
    _parts: ClassVar[Mapping[str, type[Model]]] = {}

    @classmethod
    def from_data(cls: type[_M], data: Mapping[str, Any]) -> _M:
        """The object for this JSON; fields of later versions are passed over."""
        values: dict[str, Any] = {}
        for name in cls.__dataclass_fields__:
            if name not in data:
                continue
            value = data[name]
            part = cls._parts.get(name)
            if part is not None and isinstance(value, list):
                value = tuple(part.from_data(each) for each in value)
            elif part is not None and value is not None:
                value = part.from_data(value)
            elif isinstance(value, list):
                value = tuple(value)
            values[name] = value
        return cls(**values)

    @classmethod
    def read(cls: type[_M], text: str) -> _M:
        """The object for this JSON text."""
        return cls.from_data(json.loads(text))


@dataclass(frozen=True)
class State(Model):
    """Where a session or a handle stands.

    ``str(state)`` is for people; compare :attr:`state`.
    """

    #: ``connecting``, ``ready``, ``starting``, ``active``, ``degraded``, ``pass_through``, ``closing``, ``closed``, ``lost``.
    state: str
    #: Why, in the states that have a reason.
    reason: Optional[str] = None

    @property
    def is_over(self) -> bool:
        """Whether nothing further will happen."""
        return self.state in ("closed", "lost")

    @property
    def is_disturbed(self) -> bool:
        """Whether something does not work at the moment, which comes back by itself."""
        return self.state in ("degraded", "pass_through")

    def __str__(self) -> str:
        return f"{self.state}: {self.reason}" if self.reason else self.state


@dataclass(frozen=True)
class Stats(Model):
    """Counters of a handle since its start."""

    #: Connections that were taken, refused ones included.
    connections: int
    #: Those that are open now.
    open: int
    #: Those that the target refused.
    refused: int
    #: Bytes that went to the cluster.
    sent: int
    #: Bytes that came from the cluster.
    received: int


@dataclass(frozen=True)
class FlowEnd(Model):
    """How a flow ended; ``str(end)`` is for people."""

    #: ``finished``; ``closed``, since its handle or the session ended; ``reset_here`` by the end on this machine,
    #: ``reset_there`` by the end in the cluster; ``refused``; ``given_up`` before it was answered, by its caller or the
    #: interceptor; ``idle``, of UDP; ``lost`` with what it went through.
    how: str
    #: Why, of those that were refused or lost.
    reason: Optional[str] = None

    def __str__(self) -> str:
        return f"{self.how}: {self.reason}" if self.reason else self.how


@dataclass(frozen=True)
class Flow(Model):
    """One connection, or one association of UDP."""

    _parts = {"end": FlowEnd}

    #: Tells the flows of a session apart: counted from 1, never used twice.
    number: int
    #: The ``id`` of the handle that it goes through.
    handle: int
    #: What that does: ``exchange`` or ``forward``.
    mode: str
    #: ``tcp`` or ``udp``.
    protocol: str
    #: The address and port of the caller: of an exchange as the cluster sees it, of a forward one of this machine.
    from_: str
    #: Where it goes: the local endpoint of an exchange, the destination of a forward.
    to: str
    #: Of an exchange the Service's port, of a forward the local one.
    port: int
    #: When it began, RFC 3339.
    began: str
    #: Seconds that it lasted, or lasts so far.
    duration: float
    #: Bytes that went to the cluster.
    sent: int
    #: Bytes that came from the cluster.
    received: int
    #: How it ended; ``None`` while it is open.
    end: Optional[FlowEnd] = None

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Flow:
        # `from` is a word of Python's own.
        return super().from_data({"from_" if name == "from" else name: value for name, value in data.items()})


@dataclass(frozen=True)
class Flows(Model):
    """What a session knows of its connections, and of its UDP associations."""

    _parts = {"open": Flow, "ended": Flow}

    #: Those that are open, in the order in which they began. Of more than 4,096 the latest.
    open: tuple[Flow, ...]
    #: Those that ended since the last look, in the order in which they ended.
    ended: tuple[Flow, ...]
    #: How many more ended since then, and are forgotten.
    missed: int
    #: What to ask with next.
    next: int


@dataclass(frozen=True)
class Safety(Model):
    """What becomes of an exchanged Service should somebody die; ``str(safety)`` says it."""

    #: Should this process die: ``restored`` or ``passes_through``.
    client: str
    #: Should the interceptor die: ``fallback_slice``, ``two_interceptors`` or ``replaced``.
    interceptor: str
    #: Both, for people.
    text: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Port(Model):
    """A port of a Service and where it goes on this machine."""

    #: The Service's port.
    service_port: int
    #: Where its connections go.
    local: str


@dataclass(frozen=True)
class SessionStatus(Model):
    """A session that is there, or that something in the cluster names."""

    namespace: str
    #: The name of its Lease.
    lease: str
    #: ``user@host``, as it called itself; ``None`` when its Lease is gone.
    who: Optional[str]
    #: When it began, RFC 3339, by its own machine's clock.
    started: Optional[str]
    #: ``lives``, ``dead`` or ``unknown``.
    life: str


@dataclass(frozen=True)
class ServiceStatus(Model):
    """A Service that is held."""

    namespace: str
    #: The Service's name.
    service: str
    #: How it is held: ``exchange``.
    mode: str
    #: Which of its ports go to the holder.
    ports: tuple[int, ...]
    #: The Lease of the session that holds it; empty when nobody knows.
    lease: str
    #: Who that is, as it called itself; ``None`` when its Lease is gone.
    who: Optional[str]
    #: Since when, RFC 3339, by the holder's clock, where it said so.
    since: Optional[str]
    #: Whether the holder ``lives``, or is ``dead``, or it is ``unknown``.
    life: str
    #: Where its traffic goes: ``active``, ``pass_through``, ``broken`` or ``unknown``.
    condition: str
    #: Why, where there is a reason.
    reason: Optional[str] = None


@dataclass(frozen=True)
class Unseen(Model):
    """Something that this user may not look at."""

    #: What, as the API server names it: ``leases``.
    what: str
    #: The cluster's own words.
    why: str


@dataclass(frozen=True)
class Status(Model):
    """Who is there and what they hold."""

    _parts = {"sessions": SessionStatus, "services": ServiceStatus, "unseen": Unseen}

    #: Sessions that are there, or that something in the cluster names.
    sessions: tuple[SessionStatus, ...]
    #: Services that are held.
    services: tuple[ServiceStatus, ...]
    #: Objects of dead sessions, or of nobody, as ``namespace plural/name``.
    leftovers: tuple[str, ...]
    #: What may not be looked at, so that something may be missing here.
    unseen: tuple[Unseen, ...]


@dataclass(frozen=True)
class Restored(Model):
    """A Service that was put back."""

    namespace: str
    #: ``services/name``.
    object: str
    #: The Leases of those who held it.
    leases: tuple[str, ...]


@dataclass(frozen=True)
class Deleted(Model):
    """An object that was deleted."""

    namespace: str
    #: ``plural/name``.
    object: str


@dataclass(frozen=True)
class Left(Model):
    """Something that stays."""

    namespace: str
    #: ``plural/name``.
    object: str
    #: Why.
    why: str
    #: What failed; ``None`` when it stays on purpose.
    error: Optional[errors.KubetetherError] = None

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Left:
        error = data.get("error")
        made = errors.from_data(error) if error else None
        return cls(data["namespace"], data["object"], data["why"], made)


@dataclass(frozen=True)
class Cleaned(Model):
    """What came of a clean."""

    _parts = {"restored": Restored, "deleted": Deleted, "left": Left, "unseen": Unseen}

    #: Services that were put back, or would be.
    restored: tuple[Restored, ...]
    #: Objects that were deleted, or would be.
    deleted: tuple[Deleted, ...]
    #: What stays, and why.
    left: tuple[Left, ...]
    #: What may not be looked at, so that something may be left there.
    unseen: tuple[Unseen, ...]


@dataclass(frozen=True)
class Recovered(Model):
    """What came of putting one Service back."""

    _parts = {"untold": Unseen}

    namespace: str
    #: The Service's name.
    service: str
    #: Whether there was something to put back.
    changed: bool
    #: Who held it.
    held_by: tuple[str, ...]
    #: Holders that could not be told: they may take it again.
    untold: tuple[Unseen, ...]
