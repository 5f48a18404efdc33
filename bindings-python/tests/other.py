"""A session with nothing but the package and the standard library, by whichever Python runs this: see `others`.

    python other.py FOLDER      a folder for the embedded cluster
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from cluster import LIMIT, Sim, ask

import kubetether
from kubetether import aio


async def by_asyncio(kubeconfig: Path) -> None:
    async with aio.connect(kubeconfig=kubeconfig, linger=0) as session:
        async with session.exchange("orders", to=answer):
            url = (await session.forward("orders:8080")).url("/b")
            assert await asyncio.get_running_loop().run_in_executor(None, ask, url) == "here: /b"


async def answer(request: kubetether.Request) -> str:
    return f"here: {request.path}"


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir()
    sim = Sim(folder)
    try:
        cluster = sim.cluster
        cluster.service("orders")
        cluster.wait_for("orders")
        with kubetether.connect(kubeconfig=cluster.kubeconfig, linger=0) as session:
            events, url = session.events(), session.forward("orders:8080").url("/a")
            with session.exchange("orders", to=lambda request: f"here: {request.path}") as exchange:
                assert ask(url) == "here: /a"
                assert exchange.stats.connections == 1, exchange.stats
                assert "GET /a -> 200" in exchange.log[0], exchange.log
            assert isinstance(events.next(LIMIT), kubetether.Snapshot)
            try:
                session.exchange("nobody", to=9)
            except kubetether.NoSuchTargetError as error:
                assert error.code == "no_such_target"
            else:
                raise AssertionError("nobody is there")
        asyncio.run(by_asyncio(cluster.kubeconfig))
        assert cluster.is_original("orders") and cluster.leases() == []
    finally:
        sim.stop()


if __name__ == "__main__":
    main()
