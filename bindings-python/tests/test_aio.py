"""The face for asyncio."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
import urllib.request
import warnings
from typing import Any

import pytest
from cluster import LIMIT, Cluster, ask, wait_until

import kubetether
from kubetether import aio


async def asked(url: str) -> str:
    return await asyncio.get_running_loop().run_in_executor(None, ask, url)


@pytest.mark.asyncio
async def test_the_same_names_awaited(cluster: Cluster) -> None:
    async with aio.connect(kubeconfig=cluster.kubeconfig, linger=0) as session:
        events = session.events()
        assert isinstance(await events.next(LIMIT), kubetether.Snapshot)
        async with session.forward("orders", 8080) as forward:
            assert "name=orders" in await asked(forward.url())

            async def answer(request: kubetether.Request) -> str:
                return f"awaited {request.path}"

            async with session.exchange("orders", to=answer) as exchange:
                assert exchange.state.state == "active"
                assert await asked(forward.url("/p")) == "awaited /p"
                flows = session.flows()
                told = [flow.handle for flow in flows.open + flows.ended]
                assert sorted(told) == [forward.id, forward.id, exchange.id]
            assert exchange.state.state == "closed" and cluster.is_original("orders")
        with pytest.raises(kubetether.NoSuchTargetError):
            await session.exchange("nobody", to=9)
        with pytest.raises(kubetether.DeadlineError):
            await session.closed(timeout=0.05)
        assert isinstance(await session.evidence(), list)
        await session.close()
        seen = [event async for event in events]
        assert isinstance(seen[-1], kubetether.Closed) and events.dropped == 0
    assert (await aio.status(kubeconfig=cluster.kubeconfig)).services == ()
    assert (await aio.recover("orders", kubeconfig=cluster.kubeconfig)).changed is False
    assert (await aio.clean(kubeconfig=cluster.kubeconfig, dry_run=True)).restored == ()


@pytest.mark.asyncio
async def test_no_thread_waits_and_the_loop_goes_on(cluster: Cluster) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    ticking = asyncio.ensure_future(tick())
    before = threading.active_count()
    session = await aio.connect(kubeconfig=cluster.kubeconfig, linger=0)
    forwards = await asyncio.gather(*(session.forward("orders:8080") for _ in range(20)))
    assert threading.active_count() <= before
    assert len({forward.port for forward in forwards}) == 20
    waiting = asyncio.ensure_future(session.closed())
    # One that held up the loop would never let this end.
    until = ticks + 10
    while ticks < until:
        await asyncio.sleep(0)
    assert not waiting.done()
    await session.close()
    assert await waiting
    ticking.cancel()


@pytest.mark.asyncio
async def test_cancelling_a_start_leaves_nothing(cluster: Cluster) -> None:
    async with aio.connect(kubeconfig=cluster.kubeconfig, linger=0) as session:
        # A start that is too quick for us is begun once more.
        cancelled = False
        while not cancelled:
            events = session.events()
            starting = asyncio.ensure_future(_start(session))
            while True:
                event = await events.next(LIMIT)
                if isinstance(event, kubetether.Progress) and event.step >= 2:
                    break
            starting.cancel()
            try:
                await (await starting).close()
            except asyncio.CancelledError:
                cancelled = True
    assert cluster.is_original("orders")
    wait_until("no session is left", lambda: cluster.leases() == [])


async def _start(session: aio.Session, to: Any = lambda request: "never") -> aio.Exchange:
    return await session.exchange("orders", to=to)


@pytest.mark.asyncio
async def test_cancelling_while_an_app_starts_leaves_no_server(cluster: Cluster) -> None:
    came, stopped = threading.Event(), threading.Event()
    go_on = threading.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        came.set()
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait, LIMIT)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await receive()
        stopped.set()
        await send({"type": "lifespan.shutdown.complete"})

    loop = asyncio.get_running_loop()
    async with aio.connect(kubeconfig=cluster.kubeconfig, linger=0) as session:
        starting = asyncio.ensure_future(_start(session, slow))
        assert await loop.run_in_executor(None, came.wait, LIMIT)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        go_on.set()
        assert await loop.run_in_executor(None, stopped.wait, LIMIT), "the app's server goes on"
    assert cluster.is_original("orders")


def test_what_is_never_awaited_is_told() -> None:
    """As Python tells of a coroutine."""

    async def awaited() -> None:
        with pytest.raises(kubetether.KubeconfigError):
            await aio.connect(kubeconfig="/nonexistent")
        with pytest.raises(kubetether.KubeconfigError):
            async with aio.connect(kubeconfig="/nonexistent"):
                pass

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        aio.connect(kubeconfig="/nonexistent")
        gc.collect()
        assert [(each.category, str(each.message)) for each in caught] == [
            (RuntimeWarning, "kubetether.aio.connect() was never awaited: nothing was started")
        ]
        del caught[:]
        asyncio.run(awaited())
        gc.collect()
        assert not [each for each in caught if "never awaited" in str(each.message)]


@pytest.mark.asyncio
async def test_a_wait_for_events_that_is_given_up_loses_nothing(cluster: Cluster) -> None:
    async with aio.connect(kubeconfig=cluster.kubeconfig, linger=0) as session:
        events = session.events()
        await events.next(LIMIT)
        given_up = 0
        while given_up < 20:
            try:
                await events.next(0.001)
            except kubetether.DeadlineError:
                given_up += 1
        await (await session.forward("orders:8080")).close()
        states = []
        while not states or states[-1] != "closed":
            event = await events.next(LIMIT)
            if isinstance(event, kubetether.HandleChanged):
                states.append(event.state.state)
        assert states == ["starting", "active", "closed"]


def test_a_loop_that_is_closed_early(cluster: Cluster) -> None:
    async def begin() -> Any:
        session = await aio.connect(kubeconfig=cluster.kubeconfig, linger=0)
        await session.exchange("orders", to=9)
        asyncio.ensure_future(session.close())
        # The close has begun when the loop ends.
        await asyncio.sleep(0)
        return session

    loop = asyncio.new_event_loop()
    session = loop.run_until_complete(begin())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    wait_until("the Service is as it was", lambda: cluster.is_original("orders"))
    wait_until("the session is over", lambda: session.state.is_over)
    asyncio.run(session.close())
    assert cluster.leases() == []


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_with_anyio(cluster: Cluster, anyio_backend: str) -> None:
    async with aio.connect(kubeconfig=cluster.kubeconfig, linger=0) as session:
        forward = await session.forward("orders:8080")
        assert "name=orders" in await asked(forward.url())


@pytest.mark.asyncio
async def test_the_plugin_in_async_tests(pytester: pytest.Pytester, cluster: Cluster) -> None:
    """In a process of its own: a loop runs here."""
    pytester.makepyfile(
        """
        import asyncio, urllib.request, pytest, kubetether

        async def asked(url):
            read = lambda: urllib.request.urlopen(url, timeout=30).read().decode()
            return await asyncio.get_running_loop().run_in_executor(None, read)

        @pytest.mark.asyncio
        async def test_one(kube):
            async def app(scope, receive, send):
                assert scope["type"] == "http"
                await send({"type": "http.response.start", "status": 200})
                await send({"type": "http.response.body", "body": b"from the app"})
            exchange = await kube.aio.exchange("orders", to=app)
            assert kube.exchanges["orders"] is exchange
            assert await asked(await kube.aio.url("orders:8080")) == "from the app"

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_two(kube, anyio_backend):
            kube.exchange("orders", to=lambda request: "from a function")
            assert await asked(kube.url("orders:8080")) == "from a function"
        """
    )
    result = pytester.runpytest_subprocess(f"--kube-kubeconfig={cluster.kubeconfig}")
    result.assert_outcomes(passed=2)
    assert cluster.is_original("orders")


def test_both_faces_have_the_same_names() -> None:
    for name in ("connect", "status", "clean", "recover", "Session", "Exchange", "Forward", "Events"):
        blocking, awaited = getattr(kubetether, name), getattr(aio, name)
        if not inspect.isclass(blocking):
            assert list(inspect.signature(blocking).parameters) == list(inspect.signature(awaited).parameters)
            continue
        public = {each for each in dir(blocking) if not each.startswith("_")}
        assert public == {each for each in dir(awaited) if not each.startswith("_")}, name
        for each in public:
            one, other = getattr(blocking, each), getattr(awaited, each)
            if callable(one):
                assert list(inspect.signature(one).parameters) == list(inspect.signature(other).parameters), each


assert urllib.request
