"""The pytest plugin: each run is a pytest of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Optional

import pytest
from cluster import LEASES, LIMIT, Cluster, ask, wait_until

import kubetether
from kubetether import _native, pytest_plugin
from kubetether._pytest import namespace
from kubetether._pytest.kube import Kube

PREAMBLE = """
import urllib.request, pytest, kubetether

def ask(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()
"""


@pytest.fixture
def run(pytester: pytest.Pytester, cluster: Cluster):  # type: ignore[no-untyped-def]
    def run(text: str, *arguments: str, kubeconfig: object = cluster.kubeconfig) -> pytest.RunResult:
        pytester.makepyfile(PREAMBLE + text)
        return pytester.runpytest_subprocess(
            "-p", "no:cacheprovider", "--strict-markers", f"--kube-kubeconfig={kubeconfig}", *arguments
        )

    return run


@pytest.fixture(autouse=True)
def _nothing_is_left(cluster: Cluster):  # type: ignore[no-untyped-def]
    yield
    assert cluster.is_original("orders") and cluster.is_original("payments")
    wait_until("no session is left", lambda: cluster.leases() == [])


def test_what_a_test_begins_is_undone_in_reverse(run, cluster: Cluster) -> None:  # type: ignore[no-untyped-def]
    run(
        """
        SEEN = []

        @pytest.fixture
        def order(kube_session):
            events = kube_session.events()
            yield
            while not SEEN or len(SEEN) < 3:
                event = events.next(30)
                if isinstance(event, kubetether.HandleChanged) and event.state.state == "closed":
                    SEEN.append(event.target)

        def test_one(order, kube, kube_session):
            assert kube.session is kube_session and kube.namespace == "default"
            with_handle = kube.exchange("orders", to=lambda request: "one")
            kube.exchange("payments", to=kubetether.StubServer("two"))
            assert kube.exchanges["orders"] is with_handle
            assert ask(kube.url("orders:8080", "/p")) == "one"

        def test_two(kube):
            assert SEEN[-2:] == ["svc/payments", "svc/orders"], SEEN
            assert "name=orders" in ask(kube.url("orders:8080"))
            assert kube.exchanges == {}
        """.replace("\n        ", "\n")
    ).assert_outcomes(passed=2)


def test_marks(run) -> None:  # type: ignore[no-untyped-def]
    result = run(
        """
@pytest.fixture
def app():
    return lambda request: "from a fixture"

@pytest.mark.exchange("orders", to="app")
def test_by_name(kube):
    assert ask(kube.url("orders:8080")) == "from a fixture"

@pytest.mark.exchange("orders", to=lambda request: "outer")
class TestSeveral:
    @pytest.mark.exchange("payments", "app", wait=5)
    def test_both(self, kube):
        assert ask(kube.url("orders:8080")) == "outer"
        assert ask(kube.url("payments:8080")) == "from a fixture"

@pytest.mark.exchange("orders", to="app")
def test_without_asking_for_the_fixture():
    pass

@pytest.mark.exchange("orders")
def test_wrong(kube):
    pass

def test_none(kube):
    assert kube.exchanges == {}
""",
    )
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*mark exchange(service, to, *, wait, deadline): *missing*'to'*"])


def test_marks_and_options_are_known(run) -> None:  # type: ignore[no-untyped-def]
    result = run("", "--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.exchange(service, to,*"])
    result = run("", "--help")
    result.stdout.fnmatch_lines(["*--kube-context=*", "*--kube-skip-unreachable*", "*--kube-keep-on-failure*"])


def test_what_fails_is_undone_and_told(run, cluster: Cluster) -> None:  # type: ignore[no-untyped-def]
    result = run(
        """
def handler(request):
    if request.path == "/bad":
        raise LookupError("the handler's own fault")
    return "fine"

def test_fails(kube):
    kube.exchange("orders", to=handler)
    url = kube.url("orders:8080")
    ask(url + "/good")
    with pytest.raises(Exception) as caught:
        ask(url + "/bad")
    caught.value.close()
    assert False, "on purpose"

@pytest.fixture
def broken(kube):
    kube.exchange("orders", to=handler)
    raise ValueError("in the set-up")

def test_error(broken):
    pass

@pytest.fixture
def broken_late(kube):
    kube.exchange("orders", to=handler)
    yield
    raise ValueError("in the tear-down")

def test_late(broken_late):
    pass

def test_skips(kube):
    kube.exchange("orders", to=handler)
    pytest.skip("on purpose")

def test_never(kube):
    kube.exchange("nobody", to=9)

def test_after(kube):
    assert "name=orders" in ask(kube.url("orders:8080"))
"""
    )
    result.assert_outcomes(failed=2, errors=2, skipped=1, passed=2)
    result.stdout.fnmatch_lines_random(
        [
            "*- kubetether, namespace default: timeline -*",
            "*exchange svc/orders: active*",
            "*- kubetether, namespace default: exchange of orders -*",
            "*port 8080 -> 127.0.0.1:*",
            "*GET /good -> 200*",
            "*GET /bad -> 500*",
            "*LookupError: the handler's own fault*",
            "*- kubetether, namespace default: agents -*",
            "log of kt-orders-*",
            "*NoSuchTargetError*nobody*",
        ]
    )


def test_a_fresh_namespace(run, cluster: Cluster) -> None:  # type: ignore[no-untyped-def]
    result = run(
        f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from cluster import Cluster

def test_own(kube_namespace, kube, pytestconfig):
    assert kube_namespace.namespace.startswith("kube-test-") and kube.namespace == "default"
    cluster = Cluster(Path(pytestconfig.getoption("kube_kubeconfig")))
    assert kube_namespace.namespace in cluster.namespaces()
    cluster.service("orders", kube_namespace.namespace)
    cluster.wait_for("orders", kube_namespace.namespace)
    kube.exchange("orders", to=lambda request: "the one of all")
    kube_namespace.exchange("orders", to=lambda request: "my own")
    assert ask(kube_namespace.url("orders:8080")) == "my own"
    assert ask(kube.url("orders:8080")) == "the one of all"

def test_fails(kube_namespace):
    assert False
"""
    )
    result.assert_outcomes(passed=1, failed=1)
    assert not [name for name in cluster.namespaces() if name.startswith("kube-test-")]


def test_what_failed_is_kept_when_asked(run, cluster: Cluster) -> None:  # type: ignore[no-untyped-def]
    result = run(
        """
def test_fails(kube, kube_namespace):
    kube.exchange("orders", to=lambda request: "kept")
    kube.exchange("payments", to=lambda request: "kept")
    assert False

def test_it_is_kept(kube):
    assert ask(kube.url("orders:8080")) == "kept"

def test_who_needs_it_gets_it(kube):
    kube.exchange("orders", to=lambda request: "new")
    assert ask(kube.url("orders:8080")) == "new"
""",
        "--kube-keep-on-failure",
    )
    result.assert_outcomes(failed=1, passed=2)
    told = ["*the namespace kube-test-* stays, for*", "*put back now: payments in namespace default (*"]
    result.stdout.fnmatch_lines(told)
    assert "still exchanged" not in result.stdout.str()
    left = [name for name in cluster.namespaces() if name.startswith("kube-test-")]
    assert len(left) == 1
    cluster.api("DELETE", f"/api/v1/namespaces/{left[0]}")
    wait_until("the namespace is gone", lambda: left[0] not in cluster.namespaces())


@pytest.mark.parametrize("fixture", ["kube", "kube_namespace"])
def test_a_run_at_a_terminal_waits_before_it_puts_back(
    fixture: str, pytester: pytest.Pytester, cluster: Cluster
) -> None:
    """Its only test fails, and its output is captured: what it exchanged is there to be looked at until Enter."""
    pytester.makepyfile(
        PREAMBLE
        + f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from cluster import Cluster

def test_fails({fixture}, pytestconfig):
    if {fixture}.namespace != "default":
        cluster = Cluster(Path(pytestconfig.getoption("kube_kubeconfig")))
        cluster.service("orders", {fixture}.namespace)
        cluster.wait_for("orders", {fixture}.namespace)
    {fixture}.exchange("orders", to=lambda request: "kept")
    assert False
"""
    )
    arguments = ["-p", "no:cacheprovider", "--kube-keep-on-failure", f"--kube-kubeconfig={cluster.kubeconfig}"]
    terminal, its_end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments],
        stdin=its_end, stdout=subprocess.PIPE, text=True, cwd=pytester.path,
    )
    os.close(its_end)
    try:
        assert process.stdout is not None
        seen = ""
        while "Enter puts back" not in seen:
            read = process.stdout.read(1)
            assert read, seen
            seen += read
        told = re.search(r"still exchanged, for --kube-keep-on-failure: orders in namespace (\S+);", seen)
        assert told, seen
        where = told[1]
        assert not cluster.is_original("orders", where)
        os.write(terminal, b"\n")
        out, _ = process.communicate(timeout=2 * LIMIT)
        assert process.returncode == 1, out
        assert cluster.is_original("orders", where)
        assert (where == "default") == (fixture == "kube")
        assert (f"the namespace {where} stays" in out) == (fixture == "kube_namespace"), out
    finally:
        os.close(terminal)
        if process.poll() is None:
            process.kill()
            process.wait()
    if where != "default":
        cluster.api("DELETE", f"/api/v1/namespaces/{where}")
        wait_until("the namespace is gone", lambda: where not in cluster.namespaces())


class Closing:
    """A call that ends as it is told to, and a handle or a cluster that is asked for it."""

    def __init__(self, error: Optional[BaseException] = None) -> None:
        self.error = error
        self.asked = 0
        self.ended = 0

    def wait(self, timeout: Optional[float]) -> bool:
        if self.error is not None:
            raise self.error
        return True

    def result(self) -> None: ...

    def cancel(self) -> None: ...

    @property
    def _native(self) -> Closing:
        return self

    def close(self, call: str) -> Closing:
        self.asked += 1
        return self

    def _ended(self) -> None:
        self.ended += 1


@pytest.mark.parametrize(
    ("errors", "raised", "ended"),
    [
        ({}, None, [1, 1, 1, 1]),
        ({2: kubetether.NotRestoredError("first"), 1: kubetether.LostError("second")}, "first", [1, 0, 0, 1]),
        # Closed last to first: of those after an interruption nobody waits for the end.
        ({2: KeyboardInterrupt("first"), 1: KeyboardInterrupt("second")}, "first", [0, 0, 0, 1]),
        ({3: kubetether.LostError("lost"), 2: pytest.fail.Exception("too late")}, "too late", [0, 0, 0, 0]),
    ],
    ids=["well", "failing", "interrupted", "both"],
)
def test_all_of_a_test_is_asked_to_close(errors: dict[int, BaseException], raised: Optional[str], ended: list[int]) -> None:
    handles = [Closing(errors.get(number)) for number in range(4)]
    kube = Kube(None, None, 0.0)  # type: ignore[arg-type]
    kube._handles.extend(handles)  # type: ignore[arg-type]
    with contextlib.ExitStack() as stack:
        if raised is not None:
            stack.enter_context(pytest.raises(BaseException, match=raised))
        kube._undo()
    assert [handle.asked for handle in handles] == [1, 1, 1, 1]
    assert [handle.ended for handle in handles] == ended


@pytest.mark.parametrize(
    ("error", "unmade"),
    [(KeyboardInterrupt("now"), 1), (kubetether.DeadlineError("late"), 1), (kubetether.ForbiddenError("no"), 0)],
    ids=lambda value: type(value).__name__,
)
def test_a_namespace_that_may_be_there_is_taken_away(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, unmade: int
) -> None:
    """And a cluster that answers too late is there: no reason to skip."""
    gone = Closing()
    monkeypatch.setattr(_native, "create_namespace", lambda *_: Closing(error))
    monkeypatch.setattr(_native, "delete_namespace", lambda folder, where, name, call: gone.close(call))
    config = SimpleNamespace(getoption=lambda name: name == "kube_skip_unreachable", getini=lambda name: "")
    with pytest.raises(BaseException) as caught:
        next(namespace.fresh(SimpleNamespace(config=config)))  # type: ignore[arg-type]
    assert caught.value is error and gone.asked == unmade


def test_hooks_that_every_pytest_knows() -> None:
    """pluggy before 1.2, as Debian 12 has it, ends every run when it finds a wrapper of the new style."""
    for hook in vars(pytest_plugin).values():
        assert not getattr(hook, "pytest_impl", {}).get("wrapper")
    assert pytest_plugin.pytest_runtest_makereport.pytest_impl["hookwrapper"]  # type: ignore[attr-defined]


def test_no_cluster(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    text = """
def test_one(kube): pass
def test_two(kube): pass
def test_three(kube_namespace): pass
def test_four(): pass
"""
    result = run(text, kubeconfig=tmp_path / "none")
    result.assert_outcomes(errors=3, passed=1)
    result.stdout.fnmatch_lines(["*KubeconfigError*"])
    result = run(text, "--kube-skip-unreachable", "-rs", kubeconfig=tmp_path / "none")
    result.assert_outcomes(skipped=3, passed=1)
    result.stdout.fnmatch_lines(["SKIPPED*no cluster can be reached*"])


def test_nothing_native_is_loaded_unused(run) -> None:  # type: ignore[no-untyped-def]
    run(
        """
import sys
ABSENT = ["kubetether._native", "kubetether._session", "kubetether._pytest.kube", "kubetether._local"]
LOADED = [name for name in sys.modules if name.startswith("kubetether")]

def test_one():
    assert sorted(LOADED) == ["kubetether", "kubetether.pytest_plugin"], LOADED
"""
    ).assert_outcomes(passed=1)


def test_ini_file(run, pytester: pytest.Pytester, cluster: Cluster) -> None:  # type: ignore[no-untyped-def]
    pytester.makeini(f"[pytest]\nkube_kubeconfig = {cluster.kubeconfig}\nkube_namespace = default\nkube_wait = 7\n")
    pytester.makepyfile("def test_one(kube):\n    assert kube.namespace == 'default' and kube._wait == 7\n")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
    pytester.makeini("[pytest]\nkube_wait = soon\n")
    result = pytester.runpytest_subprocess(f"--kube-kubeconfig={cluster.kubeconfig}")
    result.stdout.fnmatch_lines(["*kube_wait is a number of seconds, not 'soon'*"])


def test_context_and_namespace(  # type: ignore[no-untyped-def]
    run, pytester: pytest.Pytester, cluster: Cluster, tmp_path: Path
) -> None:
    """By option, by ini-file, and the option before the ini-file."""
    config = json.loads(cluster.kubeconfig.read_text())
    there = config["contexts"][0]["context"]
    for name, space in (("right", "elsewhere"), ("wrong", "nowhere")):
        config["contexts"].append({"name": name, "context": {**there, "namespace": space}})
    config["current-context"] = "wrong"
    kubeconfig = tmp_path / "several"
    kubeconfig.write_text(json.dumps(config))
    cluster.api("POST", "/api/v1/namespaces", {"metadata": {"name": "elsewhere"}})

    def sees(context: str, space: str, *arguments: str) -> None:
        text = f"def test_seen(kube):\n    assert (kube.session.context, kube.namespace) == ({context!r}, {space!r})\n"
        run(text, *arguments, kubeconfig=kubeconfig).assert_outcomes(passed=1)

    result = run("def test_seen(kube): pass\n", kubeconfig=kubeconfig)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*NoSuchNamespaceError*nowhere*"])
    sees("right", "elsewhere", "--kube-context=right")
    sees("wrong", "default", "--kube-namespace=default")
    pytester.makeini("[pytest]\nkube_context = right\n")
    sees("right", "elsewhere")
    pytester.makeini("[pytest]\nkube_context = right\nkube_namespace = default\n")
    sees("right", "default")
    sees("wrong", "elsewhere", "--kube-context=wrong", "--kube-namespace=elsewhere")
    cluster.api("DELETE", "/api/v1/namespaces/elsewhere")
    wait_until("the namespace is gone", lambda: "elsewhere" not in cluster.namespaces())


def test_what_dies_is_put_back_and_the_next_run_works(run, cluster: Cluster) -> None:  # type: ignore[no-untyped-def]
    """Its process ends without a word: a worker of pytest-xdist, and that of a whole run."""
    dies = """
import os

def test_dies(kube):
    kube.exchange({!r}, to=9)
    os._exit(9)
"""
    works = """
@pytest.mark.parametrize("service", {!r})
def test_works(kube, service):
    kube.exchange(service, to=lambda request: "from a test")
    assert ask(kube.url(f"{{service}}:8080")) == "from a test"
"""
    result = run(dies.format("payments") + works.format(["orders"]), "-n1")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*worker 'gw0' crashed while running*test_dies*"])
    assert run(dies.format("orders")).ret == 9
    for name in ("orders", "payments"):
        # Callers are not left alone until somebody comes.
        assert not cluster.is_original(name)
        address = cluster.api("GET", f"/api/v1/namespaces/default/services/{name}")["spec"]["clusterIP"]
        wait_until("the original answers", lambda: f"name={name}" in ask(f"http://{address}:8080/"))
    for name in cluster.leases():
        # Else it would have to be watched for half a minute.
        lease = cluster.lease(name)
        lease["spec"]["leaseDurationSeconds"] = 1
        cluster.api("PUT", f"{LEASES}/{name}", lease)
    cleaned = kubetether.clean(kubeconfig=cluster.kubeconfig)
    assert sorted(each.object for each in cleaned.restored) == ["services/orders", "services/payments"], cleaned
    assert cluster.is_original("orders") and cluster.is_original("payments") and cluster.leases() == []
    run(works.format(["orders", "payments"])).assert_outcomes(passed=2)


@pytest.mark.parametrize("how", ["ctrl-c", "timeout"])
def test_what_is_interrupted_is_undone(how: str, pytester: pytest.Pytester, cluster: Cluster) -> None:
    # The time of the test alone counts, not that of the set-up: how long an exchange takes is not what is tested.
    pytester.makepyfile(
        PREAMBLE
        + f"""
import time

@pytest.fixture
def exchanged(kube):
    kube.exchange("orders", to=lambda request: "here")
    print("exchanged", flush=True)

@pytest.mark.timeout({2 if how == "timeout" else 0}, method="signal", func_only=True)
def test_long(exchanged):
    time.sleep(600)
"""
    )
    arguments = ["-s", "-p", "no:cacheprovider", f"--kube-kubeconfig={cluster.kubeconfig}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments], stdout=subprocess.PIPE, text=True, cwd=pytester.path
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "exchanged" in line:
            break
    assert lines and "exchanged" in lines[-1], lines
    if how == "ctrl-c":
        assert not cluster.is_original("orders")
        process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=2 * LIMIT)
    assert process.returncode == (2 if how == "ctrl-c" else 1), out
    assert how == "ctrl-c" or "Timeout" in out


@pytest.mark.timeout(400)
def test_a_worker_for_each_processor(pytester: pytest.Pytester, cluster: Cluster) -> None:
    """Tests over fewer Services than they are: each waits for the Service that another worker holds.

    Eight workers, eight Services and forty tests with KUBETETHER_PYTHON_WHOLE=1, for a machine with processors for them.
    """
    size = 8 if os.environ.get("KUBETETHER_PYTHON_WHOLE") else 3
    services = [f"shop-{number}" for number in range(size)]
    for name in services:
        cluster.service(name)
    for name in services:
        cluster.wait_for(name)
    pytester.makeini("[pytest]\nkube_wait = 240\n")
    pytester.makepyfile(
        PREAMBLE
        + f"SIZE, TESTS = {size}, {5 * size}\n"
        + """
@pytest.mark.parametrize("number", range(TESTS))
def test_one(kube, number, worker_id):
    service = f"shop-{number % SIZE}"
    kube.exchange(service, to=lambda request: f"{number} {worker_id}")
    url = kube.url(f"{service}:8080")
    for _ in range(3):
        assert ask(url) == f"{number} {worker_id}"

def test_refused(kube_session):
    with pytest.raises(kubetether.KubetetherError):
        kube_session.exchange("nobody", to=9, wait=0)
"""
    )
    began = time.monotonic()
    result = pytester.runpytest_subprocess("-n", str(size), f"--kube-kubeconfig={cluster.kubeconfig}", timeout=300)
    result.assert_outcomes(passed=5 * size + 1)
    print(f"{time.monotonic() - began:.0f} s")
    assert all(cluster.is_original(name) for name in services)
    for name in services:
        cluster.api("DELETE", f"/apis/apps/v1/namespaces/default/deployments/{name}")
        cluster.api("DELETE", f"/api/v1/namespaces/default/services/{name}")

