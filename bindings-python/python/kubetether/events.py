"""What happens in a session."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from .model import Model, State


@dataclass(frozen=True)
class Event(Model):
    """One happening; :attr:`type` tells which. A type of a later version of the engine is a plain ``Event``."""

    #: ``snapshot``, ``session``, ``handle``, ``resumed``, ``progress``, ``notice``, ``safety``, ``dropped``, ``closed``.
    type: str

    def __str__(self) -> str:
        return self.type


@dataclass(frozen=True)
class HandleInfo(Model):
    """A handle as a snapshot shows it."""

    #: Tells the handles of a session apart.
    handle: int
    #: What it does: ``exchange`` or ``forward``.
    mode: str
    #: What it does it to.
    target: str
    #: Where it stands.
    state: State
    #: Since when, RFC 3339, by this machine's clock.
    since: str

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> HandleInfo:
        return cls(data["handle"], data["mode"], data["target"], State.from_data(data), data["since"])


@dataclass(frozen=True)
class Snapshot(Event):
    """The first event of each subscription: how things stand."""

    #: The session's state.
    state: State
    #: Since when, RFC 3339, by this machine's clock.
    since: str
    #: Its handles that are not over.
    handles: tuple[HandleInfo, ...]

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Snapshot:
        handles = tuple(HandleInfo.from_data(each) for each in data["handles"])
        return cls(data["type"], State.from_data(data), data["since"], handles)

    def __str__(self) -> str:
        return f"the session is {self.state}"


@dataclass(frozen=True)
class SessionChanged(Event):
    """The session's state changed."""

    #: Where it stands now.
    state: State

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> SessionChanged:
        return cls(data["type"], State.from_data(data))

    def __str__(self) -> str:
        return f"the session is {self.state}"


@dataclass(frozen=True)
class HandleChanged(Event):
    """A handle's state changed."""

    #: Tells the handles of a session apart.
    handle: int
    #: What it does: ``exchange`` or ``forward``.
    mode: str
    #: What it does it to.
    target: str
    #: Where it stands now.
    state: State
    #: Since when, RFC 3339, by this machine's clock.
    since: str

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> HandleChanged:
        return cls(
            data["type"], data["handle"], data["mode"], data["target"], State.from_data(data), data["since"]
        )

    def __str__(self) -> str:
        return f"{self.mode} {self.target}: {self.state}"


@dataclass(frozen=True)
class Resumed(Event):
    """What was disturbed works again."""

    #: For how many seconds it was disturbed.
    gap: float
    #: Which handle; ``None`` for the session itself.
    handle: Optional[int] = None

    def __str__(self) -> str:
        return f"{_which(self.handle)} works again after {self.gap:.1f} s"


@dataclass(frozen=True)
class Progress(Event):
    """A start or close goes on."""

    #: The step that begins now, counted from 1.
    step: int
    #: How many there are.
    of: int
    #: What is done in it.
    what: str
    #: Which handle; ``None`` for the session itself.
    handle: Optional[int] = None

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Progress:
        return cls(data["type"], data["step"], data["of"], data["what"], data.get("handle"))

    def __str__(self) -> str:
        return f"{_which(self.handle)}: {self.step}/{self.of} {self.what}"


@dataclass(frozen=True)
class Notice(Event):
    """Something worth knowing that changes no state."""

    #: What.
    text: str
    #: Which handle; ``None`` for the session itself.
    handle: Optional[int] = None

    def __str__(self) -> str:
        return f"{_which(self.handle)}: {self.text}"


@dataclass(frozen=True)
class SafetyChanged(Event):
    """What becomes of an exchanged Service should somebody die; told when that changes."""

    #: Which exchange.
    handle: int
    #: Should this process die: ``restored`` or ``passes_through``.
    client: str
    #: Should the interceptor die: ``fallback_slice``, ``two_interceptors`` or ``replaced``.
    interceptor: str
    #: Both, for people.
    text: str = ""

    def __str__(self) -> str:
        return f"{_which(self.handle)}: {self.text}"


@dataclass(frozen=True)
class Dropped(Event):
    """This many events were dropped because they were not taken fast enough."""

    #: How many.
    count: int

    def __str__(self) -> str:
        return f"{self.count} events were dropped"


@dataclass(frozen=True)
class Closed(Event):
    """The last event of each subscription: the session is over."""

    #: Why.
    reason: str

    def __str__(self) -> str:
        return f"the session is over: {self.reason}"


#: The class of each type.
BY_TYPE: dict[str, type[Event]] = {
    "snapshot": Snapshot,
    "session": SessionChanged,
    "handle": HandleChanged,
    "resumed": Resumed,
    "progress": Progress,
    "notice": Notice,
    "safety": SafetyChanged,
    "dropped": Dropped,
    "closed": Closed,
}


def event_from_json(text: str) -> Event:
    """The event for this JSON text."""
    data = json.loads(text)
    return BY_TYPE.get(data["type"], Event).from_data(data)


def _which(handle: Optional[int]) -> str:
    return "the session" if handle is None else f"handle {handle}"
