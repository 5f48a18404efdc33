"""Keyword arguments as the engine's JSON. The keys are those of its JSON Schema, and a test compares them."""

from __future__ import annotations

import json
import os
from typing import Any, TypedDict, Union


class SessionOptions(TypedDict, total=False):
    """How a cluster is reached and a session behaves; durations are in seconds."""

    #: The kubeconfig file. Default: as kubectl finds it.
    kubeconfig: Union[str, os.PathLike[str], None]
    #: The context of the kubeconfig. Default: its current context.
    context: Union[str, None]
    #: The namespace. Default: that of the context, else ``default``.
    namespace: Union[str, None]
    #: The agent's file. Default: the one that this package carries, else that of a checkout.
    agent: Union[str, os.PathLike[str], None]
    #: A container image with the agent as its entry point, instead of the file.
    agent_image: Union[str, None]
    #: The name that others read when they find a Service held by this session. Default: ``user@host``.
    who: Union[str, None]
    #: How long a start may take when it names no deadline of its own. Default: 30.
    start_deadline: Union[float, None]
    #: Connections to an agent that are always kept, 1 to 8. Default: 2.
    carriers: Union[int, None]
    #: Connections to an agent that there may be while much is transferred, up to 8. Default: 4.
    most_carriers: Union[int, None]
    #: Between two heartbeats of a link. Default: 2; at least 0.1.
    heartbeat: Union[float, None]
    #: Of silence after which a connection counts as lost. Default: 5; at least three heartbeats.
    heartbeat_limit: Union[float, None]
    #: How long open connections wait for a lost way to the cluster. Default: 60.
    grace: Union[float, None]
    #: How long an interceptor goes on after its Service was put back. Default: 2.
    linger: Union[float, None]
    #: How long open connections may go on when their exchange is closed. Default: 5.
    drain: Union[float, None]
    #: The memory limit of an agent's container, in bytes. Default: 128 MiB; at least 32 MiB.
    agent_memory: Union[int, None]
    #: What the links of the session may hold in this process, in bytes. Default: 96 MiB; at least 8 MiB.
    memory: Union[int, None]


def session_json(options: SessionOptions) -> str:
    """The JSON of these keyword arguments. Raises ``TypeError`` for one that there is not, as Python does."""
    for key in options:
        if key not in SessionOptions.__annotations__:
            known = ", ".join(SessionOptions.__annotations__)
            raise TypeError(f"unexpected keyword argument {key!r}; there are: {known}")
    return call_json(**options)


def call_json(**values: Any) -> str:
    """The JSON of what was given; ``None`` is the default of the engine."""
    return json.dumps({key: _plain(value) for key, value in values.items() if value is not None})


def _plain(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value
