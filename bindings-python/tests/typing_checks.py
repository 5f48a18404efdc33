"""What type checkers have to know of the package: read by pyright with its strictest settings and by mypy, never run."""

# pyright: strict

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Optional

import kubetether
from kubetether import aio

if TYPE_CHECKING:
    from typing_extensions import assert_type

    from kubetether.pytest_plugin import Kube


def handler(request: kubetether.Request) -> kubetether.Response:
    assert_type(request.headers["host"], str)
    assert_type(request.body, bytes)
    return kubetether.Response("text", 201, {"X-A": "b"})


def blocking() -> None:
    with kubetether.connect(namespace="shop", kubeconfig=Path("x"), grace=5) as session:
        assert_type(session, kubetether.Session)
        assert_type(session.state.reason, Optional[str])
        assert_type(session.flows().open[0].from_, str)
        assert_type(session.flows(after=3).ended, tuple[kubetether.Flow, ...])
        with session.exchange("orders", to=handler, wait=3) as exchange:
            assert_type(exchange, kubetether.Exchange)
            assert_type(exchange.ports[0].service_port, int)
            assert_type(exchange.stats, kubetether.Stats)
            assert_type(exchange.safety.client, str)
            assert_type(exchange.log, list[str])
        forward = session.forward("db", 5432, bind="127.0.0.1")
        assert_type(forward.address, str)
        assert_type(forward.closed(1.5), kubetether.State)
        for event in session.events():
            assert_type(event, kubetether.Event)
            if isinstance(event, kubetether.Progress):
                assert_type(event.of, int)
    assert_type(kubetether.status(all_namespaces=True).services, tuple[kubetether.ServiceStatus, ...])
    assert_type(kubetether.recover("orders", namespace="shop"), kubetether.Recovered)
    try:
        kubetether.connect()
    except kubetether.HeldError as error:
        assert_type(error.evidence, list[str])
        assert_type(error.code, str)
    # What is wrong is an error: these comments are refused by the checkers where they are not needed.
    kubetether.connect(namespaces="shop")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    kubetether.connect(grace="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    session.exchange("orders")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def awaited() -> None:
    async with aio.connect(namespace="shop") as session:
        assert_type(session, aio.Session)
        assert_type(session.flows(), kubetether.Flows)
        async with session.exchange("orders", to=8080) as exchange:
            assert_type(exchange, aio.Exchange)
        forward = await session.forward("db:5432")
        assert_type(forward, aio.Forward)
        assert_type(await forward.closed(), kubetether.State)
        async for event in session.events():
            assert_type(event, kubetether.Event)
    assert_type(await aio.clean(dry_run=True), kubetether.Cleaned)


def of_the_plugin(kube: Kube) -> None:
    stub = kubetether.StubServer({"a": 1}).answer("/x", (404, "no"), times=1)
    assert_type(kube.exchange("orders", to=stub), kubetether.Exchange)
    assert_type(stub.wait_for(1)[0], kubetether.Request)
    assert_type(kube.url("orders:8080"), str)
