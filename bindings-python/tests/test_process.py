"""Signals, forks, and ends of processes: each in a Python of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import LEASES, LIMIT, Cluster, wait_until

START = """
import os, signal, sys, threading, time
import kubetether
session = kubetether.connect(kubeconfig=os.environ["KUBECONFIG"], linger=0)
def say(word):
    print(word, flush=True)
"""


class Program:
    """A Python program that has a session in `session` and tells what it does, a word in each line."""

    def __init__(self, cluster: Cluster, text: str, *arguments: str) -> None:
        environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "always", *arguments, "-c", START + textwrap.dedent(text)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )

    def hears(self, word: str) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line == word, (line, self.process.poll() is not None and self.rest())

    def rest(self) -> tuple[str, str]:
        try:
            return self.process.communicate(timeout=2 * LIMIT)
        except subprocess.TimeoutExpired:
            # Not one that others suffer from.
            self.process.kill()
            out, errors = self.process.communicate()
            raise AssertionError(f"it does not end; so far: {out}{errors}") from None


def run(cluster: Cluster, text: str, *arguments: str) -> tuple[int, str, str]:
    program = Program(cluster, text, *arguments)
    out, errors = program.rest()
    return program.process.returncode, out, errors


#: What waits, by its name: what comes before, and the call. Through the gate, which is held then, none of them ends by itself.
WAITS = {
    "connect": ("", "kubetether.connect(kubeconfig=gate.kubeconfig, start_deadline=600)"),
    "exchange": ("", "session.exchange('orders', to=9, deadline=600)"),
    "forward": ("", "session.forward('orders:8080', deadline=600)"),
    "evidence": ("", "[session.evidence() for _ in range(600)]"),
    "session.close": ("exchange = session.exchange('orders', to=9)", "session.close(600)"),
    "exchange.close": ("exchange = session.exchange('orders', to=9)", "exchange.close(600)"),
    "session.closed": ("", "session.closed()"),
    "handle.closed": ("forward = session.forward('orders:8080')", "forward.closed()"),
    "events": ("events = session.events()", "list(events)"),
    "events.next": ("events = session.events(); events.next(60)", "[events.next() for _ in range(600)]"),
    "stub.wait_for": ("stub = kubetether.StubServer()", "stub.wait_for(1, timeout=600)"),
    # For somebody who may be dead: as long as that Lease lasts.
    "status": ("", "kubetether.status(kubeconfig=os.environ['KUBECONFIG'], patience=600)"),
    "clean": ("", "kubetether.clean(kubeconfig=gate.kubeconfig, deadline=600)"),
    "recover": ("", "kubetether.recover('orders', kubeconfig=gate.kubeconfig, deadline=600)"),
}


@pytest.fixture
def somebody(cluster: Cluster) -> Iterator[str]:
    """A Lease that nobody renews, and that lasts longer than anybody waits here."""
    name = "kubetether-somebody"
    labels = {"app.kubernetes.io/managed-by": "kubetether"}
    lease = {
        "metadata": {"name": name, "labels": labels},
        "spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 300},
    }
    cluster.api("POST", LEASES, lease)
    yield name
    cluster.api("DELETE", f"{LEASES}/{name}")


@pytest.mark.parametrize(("before", "call"), WAITS.values(), ids=WAITS)
def test_each_wait_lets_others_run_and_ends_at_ctrl_c(
    cluster: Cluster, before: str, call: str, somebody: str, tmp_path: Path
) -> None:
    """How soon is `python.interrupt` of the benches: here a wait that goes on is found by not ending at all."""
    code, out, errors = run(
        cluster,
        f"""
import pathlib
sys.path.insert(0, {os.path.dirname(__file__)!r})
import cluster
# In this process: a call that kept the GIL would wait for itself.
there = cluster.Cluster(pathlib.Path(os.environ["KUBECONFIG"]))
gate = cluster.Gate(there, pathlib.Path({str(tmp_path / "gate")!r}))
session.close()
session = kubetether.connect(kubeconfig=gate.kubeconfig, linger=0)
{before}
main = threading.get_ident()
def waits():
    # In a call of the package's, which takes a moment only if it does not wait.
    frame = sys._current_frames()[main]
    while frame and os.path.dirname(kubetether.__file__) not in frame.f_code.co_filename:
        frame = frame.f_back
    return frame is not None
def strike():
    seen = 0
    while seen < 20:
        seen = seen + 1 if waits() else 0
        time.sleep(0.02)
    # Each of these gives the GIL away: whoever keeps it while it waits, if only for a twentieth of a second at a time, is
    # not interrupted before all here gave up waiting.
    for _ in range(10_000):
        time.sleep(0)
    # Between two calls, perhaps.
    while not waits():
        time.sleep(0)
    os.kill(os.getpid(), signal.SIGINT)
gate.hold()
threading.Thread(target=strike, daemon=True).start()
try:
    {call}
except KeyboardInterrupt:
    say("interrupted")
else:
    say("ended")
gate.let_go()
session.close()
# What was given up is undone in the background, by the same way and for as long as this process lives.
cluster.wait_until("no session is left", lambda: there.leases() == [{somebody!r}])
gate.close()
""",
    )
    assert (code, out.split()) == (0, ["interrupted"]), errors
    assert cluster.is_original("orders")


def test_ctrl_c_in_a_start_leaves_nothing(cluster: Cluster) -> None:
    code, out, errors = run(
        cluster,
        """
        events = session.events()
        def strike():
            for event in events:
                if isinstance(event, kubetether.Progress) and event.step >= 2:
                    os.kill(os.getpid(), signal.SIGINT)
                    return
        threading.Thread(target=strike).start()
        try:
            with session:
                with session.exchange("orders", to=lambda request: "here"):
                    time.sleep(60)
        except KeyboardInterrupt:
            say("interrupted")
        """,
    )
    assert (code, out.split()) == (0, ["interrupted"]), errors
    assert cluster.is_original("orders") and cluster.leases() == []


def test_ctrl_c_in_a_start_ends_it_also_when_the_exception_is_kept(cluster: Cluster) -> None:
    """And the session goes on: neither may the call live on in the traceback."""
    code, out, errors = run(
        cluster,
        """
        events = session.events()
        def strike():
            for event in events:
                if isinstance(event, kubetether.Progress) and event.step >= 2:
                    os.kill(os.getpid(), signal.SIGINT)
                    return
        thread = threading.Thread(target=strike)
        thread.start()
        try:
            # A start that is too quick for us is closed as it should be.
            session.exchange("orders", to=lambda request: "here").close()
            thread.join()
        except KeyboardInterrupt as error:
            kept = error
        thread.join()
        # The session has the Service to give again: a start that goes on, or has come to its end, keeps it.
        until = time.monotonic() + 90
        while True:
            try:
                session.exchange("orders", to=9)
                break
            except kubetether.KubetetherError as refused:
                assert time.monotonic() < until, refused
                time.sleep(0.1)
        say(type(kept).__name__)
        session.close()
        """,
    )
    assert (code, out.split()) == (0, ["KeyboardInterrupt"]), errors
    assert cluster.is_original("orders") and cluster.leases() == []


def test_ctrl_c_while_it_is_exchanged_puts_it_back(cluster: Cluster) -> None:
    program = Program(
        cluster,
        """
        with session, session.exchange("orders", to=lambda request: "here"):
            say("exchanged")
            time.sleep(600)
        """,
    )
    program.hears("exchanged")
    assert not cluster.is_original("orders")
    program.process.send_signal(signal.SIGINT)
    out, errors = program.rest()
    assert "KeyboardInterrupt" in errors and "ResourceWarning" not in errors
    assert cluster.is_original("orders") and cluster.leases() == []


@pytest.mark.parametrize("end", ["pass", "sys.exit(3)", "raise ValueError('x')", "del session"])
def test_a_process_that_ends_without_a_close_puts_it_back(cluster: Cluster, end: str) -> None:
    code, out, errors = run(
        cluster,
        f"""
session.exchange("orders", to=kubetether.StubServer())
{end}
""",
    )
    assert "ResourceWarning: unclosed session" in errors
    assert code == {"sys.exit(3)": 3, "raise ValueError('x')": 1}.get(end, 0)
    assert cluster.is_original("orders") and cluster.leases() == []


def test_a_process_that_dies_harms_nobody(cluster: Cluster) -> None:
    code, out, errors = run(
        cluster,
        """
        session.exchange("payments", to=9)
        os._exit(7)
        """,
    )
    assert code == 7

    def cleaned() -> bool:
        import kubetether

        kubetether.clean(kubeconfig=cluster.kubeconfig)
        return cluster.is_original("payments")

    wait_until("the Service is put back", cleaned, limit=2 * LIMIT)
    wait_until("nothing is left", lambda: cluster.leases() == [])


def test_a_fork_is_told_and_harms_nobody(cluster: Cluster) -> None:
    code, out, errors = run(
        cluster,
        """
        import gc
        exchange = session.exchange("orders", to=lambda request: "here")
        forward = session.forward("orders:8080")
        events = session.events()
        child = os.fork()
        if child == 0:
            # One that hangs is ended by this.
            signal.alarm(60)
            for each in (session, exchange, forward):
                assert repr(each).endswith(": of another process>"), repr(each)
            for call in (
                lambda: session.state,
                lambda: session.flows(),
                lambda: exchange.state,
                lambda: exchange.stats,
                lambda: exchange.safety,
                lambda: forward.state,
                lambda: forward.stats,
                lambda: events.taken(),
                lambda: events.dropped,
                lambda: events.next(),
                lambda: session.forward("orders:8080"),
                lambda: session.close(),
                lambda: exchange.close(),
                lambda: kubetether.connect(kubeconfig=os.environ["KUBECONFIG"]),
                lambda: session.events().next(),
            ):
                try:
                    call()
                    say("went on")
                except kubetether.ForkedError:
                    say("forked")
            del session, exchange, forward, events
            gc.collect()
            sys.exit(0)   # runs what is registered for the end
        assert os.waitpid(child, 0)[1] == 0
        assert exchange.state.state == "active", exchange.state
        session.close()
        """,
    )
    assert (code, out.split()) == (0, 15 * ["forked"]), errors
    assert cluster.is_original("orders") and cluster.leases() == []


def test_who_has_closed_its_sessions_may_fork(cluster: Cluster) -> None:
    """At once, and as often as it likes."""
    code, out, errors = run(
        cluster,
        """
        session.close()
        del session
        for _ in range(10):
            child = os.fork()
            if child:
                assert os.waitpid(child, 0)[1] == 0
            with kubetether.connect(kubeconfig=os.environ["KUBECONFIG"], linger=0) as own:
                own.forward("orders:8080")
            del own
            if child == 0:
                os._exit(0)
        say("done")
        """,
    )
    assert (code, out.split()) == (0, ["done"]), errors


def test_a_fork_has_its_own_asyncio_and_log(cluster: Cluster) -> None:
    """Threads of the parent's that tell are not there in a child, which must make its own."""
    code, out, errors = run(
        cluster,
        """
        import asyncio, gc, logging
        from kubetether import aio

        class Told(logging.Handler):
            lines = 0
            def emit(self, record):
                Told.lines += 1

        logging.getLogger("kubetether").addHandler(Told())
        logging.getLogger("kubetether").setLevel(1)
        kubetether.log_to_python(logging.DEBUG)

        async def once():
            async with aio.connect(kubeconfig=os.environ["KUBECONFIG"], linger=0) as own:
                await own.forward("orders:8080")

        session.close()
        del session
        asyncio.run(once())
        gc.collect()
        for _ in range(2):
            child = os.fork()
            if child:
                break
            # One that hangs is ended by this.
            signal.alarm(100)
            Told.lines = 0
            asyncio.run(once())
            gc.collect()
            while not Told.lines:
                time.sleep(0.02)
        # The child has forked in turn.
        if child:
            assert os.waitpid(child, 0)[1] == 0
        else:
            os._exit(0)
        say("done")
        """,
    )
    # Each but the last one waits for its child, and says so.
    assert (code, out.split()) == (0, ["done", "done"]), errors


def test_an_interpreter_without_the_gil_is_refused() -> None:
    text = "import sys; sys.abiflags = 't'\nimport kubetether"
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    ended = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment, timeout=LIMIT)
    assert ended.returncode == 1 and "ImportError: kubetether does not support free-threaded Python" in ended.stderr


def test_the_log_goes_where_it_is_wanted(cluster: Cluster) -> None:
    code, out, errors = run(
        cluster,
        """
        import logging, pathlib
        logging.basicConfig(level=1, format="%(levelname)s %(name)s %(message)s", stream=sys.stdout)
        kubetether.log_to_python(logging.DEBUG)
        kubetether.connect(kubeconfig=os.environ["KUBECONFIG"]).close()
        kubetether.log_to_python(logging.CRITICAL + 1)
        # What was under way is still told, by a thread that then ends.
        def telling():
            for task in pathlib.Path("/proc/self/task").iterdir():
                try:
                    if (task / "comm").read_text() == "kubetether-log\\n":
                        return True
                except OSError:
                    pass
        while telling():
            time.sleep(0.02)
        say("quiet")
        session.close()
        """,
    )
    assert code == 0, errors
    before, _, after = out.partition("quiet\n")
    assert "kubetether." in before and "kubetether." not in after
