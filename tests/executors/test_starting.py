"""Executor processes share what they import, and have their own of everything else."""

import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.forkserver import ForkServer
from pathlib import Path

import pytest

from cifar_tune.errors import CheckError
from cifar_tune.executors import starting
from cifar_tune.executors.starting import ExecutorProcess, Starter, end_server, server_pid
from cifar_tune.knobs.configuration import complete
from tests.waiting import PATIENCE, is_alive, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are spawned elsewhere than on Linux")

MEGABYTE_IN_KB = 1024


def tell(connection: Connection, device: str, slot: int) -> None:
    before = set(sys.modules)
    import torch

    from cifar_tune.models.build import count_multiply_adds

    count_multiply_adds(complete({"model": "cnn3"}), (3, 32, 32), 10)
    imported = [name for name in set(sys.modules) - before if not name.startswith("cifar_tune.models.")]
    torch.nn.Linear(3, 3)(torch.ones(1, 3)).sum().backward()
    lines = [line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]]
    own = sum(int(size) for name, size, _ in lines if name.startswith("Private_"))
    connection.send((imported, own, device, slot, os.environ.get("MOOD"), Path.cwd()))
    connection.recv()


def test_they_import_torch_once_and_share_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starter = Starter(tell)
    monkeypatch.setenv("MOOD", "sunny")  # set after the fork server began
    monkeypatch.chdir(tmp_path)
    started = [starter.start("cpu", slot) for slot in range(2)]
    try:
        said = [connection.recv() for _, connection in started]
    finally:
        for process, _ in started:
            process.kill()
            process.join(PATIENCE)
    assert [imported for imported, *_ in said] == [[], []]
    assert all(own < 60 * MEGABYTE_IN_KB for _, own, *_ in said), said
    assert [rest for _, _, *rest in said] == [["cpu", slot, "sunny", tmp_path] for slot in range(2)]


_ASKS = """
import torch
from torch import cuda

def refuse(*_args, **_options):
    raise SystemExit("a GPU was asked for before the fork")

for name in ("is_available", "device_count", "init", "_lazy_init", "current_device", "get_device_properties"):
    setattr(cuda, name, refuse)
import cifar_tune.executors.preloaded
import sys
print("torch._dynamo" in sys.modules, "cifar_tune.executors.worker" in sys.modules, cuda.is_initialized())
"""


def test_the_fork_server_asks_for_no_gpu() -> None:
    """PyTorch cannot use CUDA in a process that was forked from one which has asked for it."""
    done = subprocess.run([sys.executable, "-c", _ASKS], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["False", "True", "False"]), done.stderr


def serve(connection: Connection, _device: str, _slot: int) -> None:
    connection.send(sys.modules["statistics"].__file__)
    while True:
        connection.send(connection.recv())


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fork server that begins with the test and ends with it. That of this process stays for the tests that follow.

    It imports no torch, which takes seconds: that is for the tests of `preloaded`.
    """
    own = ForkServer()
    monkeypatch.setattr(forkserver, "_forkserver", own)
    for name in ("ensure_running", "get_inherited_fds", "connect_to_new_process", "set_forkserver_preload"):
        monkeypatch.setattr(forkserver, name, getattr(own, name))
    monkeypatch.setattr(Starter, "_warm", None)
    monkeypatch.setattr(starting, "PRELOADED", ["statistics", "profile"])
    yield
    end_server()
    if (server := server_pid()) is not None:
        os.waitpid(server, 0)


def let_no_server_have_a_socket(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    too_long = str(folder / (200 * "x"))
    monkeypatch.setattr("multiprocessing.connection.arbitrary_address", lambda _family: too_long)


def stop(started: Sequence[tuple[ExecutorProcess, Connection]]) -> None:
    for process, _ in started:
        process.kill()
        process.join(PATIENCE)


@pytest.mark.usefixtures("own_server")
def test_what_lies_in_the_working_folder_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for preloaded in starting.PRELOADED:
        (tmp_path / f"{preloaded}.py").write_text("open('was-imported', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])
    starter = Starter(serve)
    started = [starter.start("cpu", 0)]
    try:
        assert started[0][1].recv() == statistics.__file__
        assert not (tmp_path / "was-imported").exists()
    finally:
        stop(started)


@pytest.mark.usefixtures("own_server")
def test_executors_outlive_their_server_and_new_ones_are_spawned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starter = Starter(serve)
    started = [starter.start("cpu", 0)]
    try:
        started[0][1].recv()
        server = server_pid()
        assert server is not None
        end_server()
        wait_until(lambda: not is_alive(server))
        started[0][1].send("are you there")
        assert started[0][1].recv() == "are you there"
        multiprocessing.active_children()  # multiprocessing believes that it is dead now
        let_no_server_have_a_socket(tmp_path, monkeypatch)
        started.append(starter.start("cpu", 1))
        started[1][1].recv()
        assert [process.is_alive() for process, _ in started] == [True, True]
    finally:
        stop(started)
    assert [process.is_alive() for process, _ in started] == [False, False]


@pytest.mark.usefixtures("own_server")
def test_without_a_place_for_its_socket_they_are_spawned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_no_server_have_a_socket(tmp_path, monkeypatch)
    started = [Starter(serve).start("cpu", 0)]
    try:
        started[0][1].recv()
    finally:
        stop(started)


@pytest.mark.usefixtures("own_server")
def test_a_server_that_nobody_waited_for_ends_at_once() -> None:
    starter = Starter(serve)
    server = server_pid()
    assert server is not None
    starter.close()
    ended = os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    assert ended is not None, "the next start would take it for a living one"
    assert ended.si_status == signal.SIGKILL


def test_a_start_that_the_end_cuts_off_spawns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was spawned then would import torch for nothing, and the end of this one would wait for it."""
    starter, kinds = Starter(serve), []

    def cut_off(_device: str, _index: int, forks: bool) -> None:
        kinds.append(forks)
        starter.close()
        raise EOFError

    monkeypatch.setattr(starter, "_start", cut_off)
    for _ in range(2):
        with pytest.raises(CheckError, match="no executor is started any more"):
            starter.start("cpu", 0)
    assert kinds == [True]


def test_a_server_that_has_imported_everything_is_kept_for_the_next_study() -> None:
    first, second = Starter(serve), Starter(serve)
    process, connection = first.start("cpu", 0)
    connection.recv()
    server = server_pid()
    assert server is not None
    second.close()  # such as that of a study which is refused
    first.close()
    assert os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None
    stop([(process, connection)])
    stop([Starter(serve).start("cpu", 0)])
    assert server_pid() == server


def parent(connection: Connection, _device: str, _slot: int) -> None:
    connection.send(os.getppid())


def test_the_server_is_known_by_its_process_number() -> None:
    """The one private name of `multiprocessing` that is used: where this fails, Python has changed it."""
    process, connection = Starter(parent).start("cpu", 0)
    assert connection.recv() == server_pid()
    process.join(PATIENCE)


@pytest.mark.usefixtures("own_server")
def test_where_nothing_can_be_started_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.process.BaseProcess.start", full)
    with pytest.raises(CheckError, match="executors cannot be started: Resource temporarily unavailable"):
        Starter(serve).start("cpu", 0)


def end(connection: Connection, _device: str, slot: int) -> None:
    connection.close()
    if slot:
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(3)


def test_how_a_process_has_ended_is_known() -> None:
    starter = Starter(end)
    codes = []
    for slot in range(2):
        process, connection = starter.start("cpu", slot)
        with pytest.raises(EOFError):
            connection.recv()
        process.join(PATIENCE)
        codes.append(process.exitcode)
    assert codes == [3, -signal.SIGKILL]


def test_threads_that_start_executors_at_the_same_time_leave_the_environment_as_it_was() -> None:
    def environment() -> list[str | None]:
        return [os.environ.get(name) for name in ("PYTHONSAFEPATH", "PYTHONPATH")]

    def prepare_often() -> None:
        for _ in range(100):
            with starting._prepared():
                time.sleep(0)  # another thread's turn

    before = environment()
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(prepare_often) for _ in range(4)]:
            done.result()
    assert environment() == before
