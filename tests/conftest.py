"""What every test relies on."""

import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from joblib import cpu_count
from PIL import Image

from tests.opened_once import once_per_process

settings.register_profile("without_a_clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("without_a_clock")
gc.disable()  # until all is collected
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side: threads of theirs would wait for each other
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each worker and each program compiles all files anew
sys.dont_write_bytecode = False

_TESTS = Path(__file__).parent

_GIGABYTES_PER_WORKER = 3
_MEMORY_DISK = Path("/dev/shm")  # noqa: S108 (the folders in it have names that nobody can guess)
_MEMORY_DISK_GIGABYTES = 4


def has_room(disk: Path) -> bool:
    """Whether tests can put their files on a disk that lies in memory, and run programs from there."""
    if not disk.is_dir() or not os.access(disk, os.W_OK):
        return False
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize >= _MEMORY_DISK_GIGABYTES * 2**30 and not found.f_flag & os.ST_NOEXEC


if has_room(_MEMORY_DISK):
    # databases wait for the disk after each change, which takes longer than most tests; and no test cuts the power
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY_DISK))


def pytest_xdist_auto_num_workers() -> int:
    """Twice as many as there are cores: a third of the time of the tests goes by in waiting.

    Fewer where memory is short; a worker and the processes that it starts need some gigabytes.
    """
    cores = cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    return int(max(1, min(2 * cores, memory // _GIGABYTES_PER_WORKER)))


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Each worker first imports a share of the tests: then pytest rewrites their asserts once, not in every worker.

    By the time a worker collects the other tests, it finds what the other workers have written.
    """
    worker = getattr(session.config, "workerinput", None)
    if worker is not None and [Path(arg).absolute() for arg in session.config.args] == [_TESTS]:
        first = int(worker["workerid"].removeprefix("gw"))
        for file in sorted(_TESTS.rglob("test_*.py"))[first :: worker["workercount"]]:
            with suppress(Exception, pytest.skip.Exception):  # the collection meets it again, and tells it
                importlib.import_module(".".join(file.relative_to(_TESTS.parent).with_suffix("").parts))
    return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: at the end no worker should be left alone with one."""
    items.sort(key=lambda item: item.path.parent.name != "study")


def pytest_collection_finish() -> None:
    """What has been imported and collected stays, so the garbage collector need not look through it again and again."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def storages_are_opened_cheaply() -> None:
    once_per_process()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server, on which tests make databases of their own."""
    from tests.postgres import own_server  # few tests need it

    with own_server() as server:
        yield server.get_uri()


@pytest.fixture
def blank_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of reports stay empty, for tests that look at something else of a report: drawing takes seconds."""
    monkeypatch.setattr("cifar_tune.plotting.style._pixels", lambda _figure: Image.new("RGB", (16, 16)))


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Training flushes denormal numbers to zero, in the whole process; other tests want their arithmetic back."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
