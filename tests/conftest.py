"""What every test relies on."""

import gc
import importlib
import logging
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

# the same draws each time: what only another draw shows is looked for by benchmarks.fuzz, and refuses nobody's change
settings.register_profile(
    "repeatable", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")
gc.disable()  # until all is collected
logging.getLogger().setLevel(logging.INFO)  # with its `log_level` pytest would set it four times for each test anew
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side: threads of theirs would wait for each other
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each worker and each program compiles all files anew
sys.dont_write_bytecode = False

_TESTS = Path(__file__).parent

_GIGABYTES_PER_WORKER = 3
_MEMORY_DISK = Path("/dev/shm")  # noqa: S108 (the folders in it have names that nobody can guess)
_MEMORY_DISK_GIGABYTES = 4

_MANY_MODULES = 100

_OBJECTS_PER_COLLECTION = 50_000

_LONGEST = (
    "study/test_ray.py",
    "cli/test_plugins.py",
    "cli/test_broken_streams.py",
    "study/test_processes.py",
    "service/test_supervising.py",
    "service/test_cluster_slots.py",
    "service/test_deaths_of_runs.py",
    "service/test_checking_apart.py",
    "conversion/test_converting.py",
    "study/test_outages_in_between.py",
    "study/test_finalizing_disturbed.py",
    "executors/test_warming.py",
    "cli/test_data_notes.py",
    "cli/test_insight.py",
    "web/test_browser.py",
    "reports/test_pictures.py",
    "reports/test_export.py",
    "study/test_killed_while_evolving.py",
    "cli/test_closed_test_images.py",
    "executors/test_starting.py",
    "executors/test_sharing.py",
    "test_not_installed.py",
    "study/test_control.py",
    "training/test_loop.py",
    "study/test_last_trials.py",
    "study/test_promotion.py",
    "storage/test_write_behind.py",
    "study/test_copies.py",
    "study/test_run.py",
    "cli/test_finalize.py",
    "cli/test_served_studies.py",
    "cli/test_evolve.py",
    "cli/test_race.py",
    "web/test_administration.py",
    "study/test_outages.py",
    "cli/test_serve.py",
    "study/test_repairs.py",
    "training/test_graphs.py",
    "plugins/test_two_at_once.py",
    "reports/page/test_page.py",
    "reports/test_findings.py",
    "reports/test_resampling.py",
)
"""The files whose tests take longest, the longest first: each more than about 8 s on two cores.

`pytest --durations=100` tells when the list needs a change.
"""


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

    Fewer where memory is short; a worker and the processes that it starts need some gigabytes. As many as the variable
    PYTEST_XDIST_AUTO_NUM_WORKERS says, where it is set: several runs side by side share cores and memory.
    """
    if wanted := os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return int(wanted)
    cores = cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    return int(max(1, min(2 * cores, memory // _GIGABYTES_PER_WORKER)))


def pytest_configure() -> None:
    """A name that no file has any more would put a long file last without a word."""
    if gone := [name for name in _LONGEST if not (_TESTS / name).is_file()]:
        raise pytest.UsageError(f"{__file__}: there is no {', '.join(gone)}, named as one of the longest files")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Each worker first imports a share of the tests: then pytest rewrites their asserts once, not in every worker.

    By the time a worker collects the other tests, it finds what the other workers have written. It also imports what
    the executors import, which sooner or later a test needs: see `pytest_collection_finish`.
    """
    worker = getattr(session.config, "workerinput", None)
    if worker is not None and [Path(arg).absolute() for arg in session.config.args] == [_TESTS]:
        first = int(worker["workerid"].removeprefix("gw"))
        for file in sorted(_TESTS.rglob("test_*.py"))[first :: worker["workercount"]]:
            with suppress(Exception, pytest.skip.Exception):  # the collection meets it again, and tells it
                importlib.import_module(".".join(file.relative_to(_TESTS.parent).with_suffix("").parts))
        importlib.import_module("cifar_tune.executors.preloaded")
    return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: at the end no worker should be left alone with one."""
    places = {_TESTS / name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """What has been imported and collected stays, so the garbage collector need not look through it again and again.

    It also looks for garbage less often: it took a twentieth of the time of all tests.
    """
    gc.freeze()
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    gc.enable()


@pytest.fixture(autouse=True, scope="module")
def imported_later() -> Iterator[None]:
    """The same for what the tests of a file import: Ray, or Matplotlib, or the whole of scikit-learn."""
    before = len(sys.modules)
    yield
    if len(sys.modules) > before + _MANY_MODULES:
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def storages_are_opened_cheaply() -> None:
    once_per_process()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server, on which tests make databases of their own."""
    from tests.postgres import own_server  # few tests need it

    with own_server() as server:
        yield server.get_uri()


@pytest.fixture(autouse=True, scope="module")
def databases_end_with_a_file() -> Iterator[None]:
    yield
    if "tests.postgres" in sys.modules:
        sys.modules["tests.postgres"].drop_databases()


@pytest.fixture
def blank_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of reports stay empty, for tests that look at something else of a report: drawing takes seconds."""
    leave_pictures_blank(monkeypatch)


def leave_pictures_blank(patch: pytest.MonkeyPatch) -> None:
    """From now on, until the patch is undone."""
    patch.setattr("cifar_tune.plotting.style._pixels", lambda _figure: Image.new("RGB", (16, 16)))


@pytest.fixture(autouse=True)
def torchs_state() -> Iterator[None]:
    """A test draws the same numbers whichever tests have been run in its process before.

    Training flushes denormal numbers to zero, in the whole process; other tests want their arithmetic back.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
