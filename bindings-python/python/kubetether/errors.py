"""What calls raise: :class:`KubetetherError`, and below it one class for each of the engine's codes."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Optional


class KubetetherError(Exception):
    """What was tried, on which object, why it failed, and what to do about it.

    ``str(error)`` is all of it, over several lines; :attr:`message` the first of them.
    """

    #: The name of the failure, the same in every language.
    code: ClassVar[str] = "unknown"
    #: Its number, the same in every language.
    number: ClassVar[int] = 0

    #: What was tried and why it failed, in one line.
    message: str
    #: The object of the cluster or of this machine that it is about, as ``kind/name``.
    object: Optional[str]
    #: What to do about it.
    hint: Optional[str]
    #: Why, from the nearest cause to the last.
    causes: list[str]
    #: What the cluster says of the pod to blame: conditions, events, last log lines.
    evidence: list[str]

    def __init__(
        self,
        message: str,
        *,
        object: Optional[str] = None,
        hint: Optional[str] = None,
        causes: Optional[list[str]] = None,
        evidence: Optional[list[str]] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.object = object
        self.hint = hint
        self.causes = causes or []
        self.evidence = evidence or []

    def __str__(self) -> str:
        lines = [self.message]
        lines += [f"  because: {cause}" for cause in self.causes]
        lines += [f"  | {line}" for line in self.evidence]
        if self.hint:
            lines.append(f"  try: {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers of a test run hand their errors over to another process.
        data = {name: getattr(self, name) for name in ("object", "hint", "causes", "evidence")}
        return (_again, (type(self), self.message, data))


class ConfigError(KubetetherError):
    """An argument or setting makes no sense."""

    code = "config"
    number = 100


class ArgumentError(KubetetherError):
    """A call of another language gave what is no argument: NULL, text that is not UTF-8, a handle of another kind."""

    code = "argument"
    number = 101


class KubeconfigError(KubetetherError):
    """No kubeconfig was found, or it cannot be read or used."""

    code = "kubeconfig"
    number = 110


class NoSuchContextError(KubetetherError):
    """The kubeconfig has no such context."""

    code = "no_such_context"
    number = 111


class AgentMissingError(KubetetherError):
    """The agent's file is missing on this machine."""

    code = "agent_missing"
    number = 120


class LocalAddressError(KubetetherError):
    """A local port or path is taken or cannot be used."""

    code = "local_address"
    number = 130


class ForkedError(KubetetherError):
    """The process was forked from one with sessions."""

    code = "forked"
    number = 140


class UnreachableError(KubetetherError):
    """The API server cannot be reached."""

    code = "unreachable"
    number = 200


class UnauthorizedError(KubetetherError):
    """The API server does not know who this is."""

    code = "unauthorized"
    number = 201


class ForbiddenError(KubetetherError):
    """RBAC or an admission policy does not allow it."""

    code = "forbidden"
    number = 202


class ClusterError(KubetetherError):
    """The cluster answered with another error."""

    code = "cluster"
    number = 203


class NoSuchNamespaceError(KubetetherError):
    """The namespace does not exist."""

    code = "no_such_namespace"
    number = 300


class NoSuchTargetError(KubetetherError):
    """The Service, workload or pod does not exist."""

    code = "no_such_target"
    number = 301


class UnsupportedError(KubetetherError):
    """The target is of a kind or shape that this cannot be done to."""

    code = "unsupported"
    number = 302


class HeldError(KubetetherError):
    """Somebody else holds the Service."""

    code = "held"
    number = 303


class NoSuchPortError(KubetetherError):
    """The Service has no such port, or the choice is ambiguous."""

    code = "no_such_port"
    number = 304


class RefusedError(KubetetherError):
    """The destination refused the connection, or does not answer."""

    code = "refused"
    number = 305


class NameNotFoundError(KubetetherError):
    """The destination's name is not known in the cluster."""

    code = "name_not_found"
    number = 306


class LostError(KubetetherError):
    """The Service or namespace went away, or somebody else took it."""

    code = "lost"
    number = 307


class AgentStartError(KubetetherError):
    """The agent could not be started: quota, policy, image, scheduling."""

    code = "agent_start"
    number = 400


class AgentUnreachableError(KubetetherError):
    """The agent runs but cannot be connected to."""

    code = "agent_unreachable"
    number = 401


class PassThroughError(KubetetherError):
    """The originals could not be reached from the agent."""

    code = "pass_through"
    number = 402


class NotProvenError(KubetetherError):
    """Traffic of the Service did not arrive here."""

    code = "not_proven"
    number = 403


class AgentVersionError(KubetetherError):
    """The agent speaks another version."""

    code = "agent_version"
    number = 404


class DeadlineError(KubetetherError, TimeoutError):
    """The deadline passed."""

    code = "deadline"
    number = 500


class ClosedError(KubetetherError):
    """The session or handle is closed."""

    code = "closed"
    number = 501


class NotRestoredError(KubetetherError):
    """The cluster could not be put back as it was."""

    code = "not_restored"
    number = 502


class CancelledError(KubetetherError):
    """Whoever asked for it does not want it any more."""

    code = "cancelled"
    number = 503


class InternalError(KubetetherError):
    """A fault of kubetether itself."""

    code = "internal"
    number = 900


#: The class for each code.
BY_CODE: dict[str, type[KubetetherError]] = {
    kind.code: kind
    for kind in vars().copy().values()
    if isinstance(kind, type) and issubclass(kind, KubetetherError) and kind is not KubetetherError
}


def from_json(text: str) -> KubetetherError:
    """The exception for an error of the engine. A code that is not known here gives a :class:`KubetetherError`."""
    return from_data(json.loads(text))


def from_data(data: dict[str, Any]) -> KubetetherError:
    """The same, for an error that is part of other JSON."""
    kind = BY_CODE.get(data["code"], KubetetherError)
    return kind(
        data["message"],
        object=data.get("object"),
        hint=data.get("hint"),
        causes=data.get("causes"),
        evidence=data.get("evidence"),
    )


def _again(kind: type[KubetetherError], message: str, data: dict[str, Any]) -> KubetetherError:
    return kind(message, **data)
