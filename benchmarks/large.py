"""What a study of 20,000 trials costs whoever looks at it, continues it, or opens it in the dashboard."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from benchmarks.made_study import store_study
from benchmarks.measuring import digits, interleaved, ratios, spread, table
from benchmarks.noop_study import noop_spec, sqlite_url
from benchmarks.postgres import new_database, server
from benchmarks.question import Options, run
from cifar_tune.storage.rdb import close, open_storage

_NAME = "noop"
_ROUNDS = 1  # reading by Optuna takes minutes

_PEAK = """
from pathlib import Path

def tell():
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(peak.split()[1], flush=True)
"""
"""Prints the most memory so far, in KiB. The kernel's own account of a child begins with the memory of its parent."""

_BY_OPTUNA = """
import optuna, sys
optuna.load_study(study_name=sys.argv[2], storage=sys.argv[1]).get_trials(deepcopy=False)
tell()
"""

_STATUS = """
import contextlib, io, sys
from cifar_tune.__main__ import main
sys.argv = ["cifar-tune", "status", sys.argv[2], "--storage", sys.argv[1]]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main()
tell()
"""

_NEXT_TRIAL = """
import os, sys
from benchmarks.noop_study import noop_spec
from cifar_tune.executors.options import ExecutorOptions
from cifar_tune.storage.urls import storage_url
from cifar_tune.study.events import Observer, StopRequests
from cifar_tune.study.run import run_study

class First(Observer):
    def began(self, number, params, epochs, resumed):
        tell()
        os.kill(os.getpid(), 15)  # asks to stop; nothing was trained

if __name__ == "__main__":
    run_study(noop_spec(10**6), storage_url(sys.argv[1]), First(), ExecutorOptions(), StopRequests())
"""

_LIST = """
import sys, threading
from urllib.request import urlopen
from cifar_tune.dashboard.serve import open_dashboard
from cifar_tune.storage.urls import storage_url

page = open_dashboard(storage_url(sys.argv[1]), 0)
threading.Thread(target=page.serve_forever, daemon=True).start()
urlopen(page.address.replace("/dashboard", "/api/studies/1?after=0")).read()
tell()
"""

_LIST_BY_OPTUNA = """
import io, sys
from optuna_dashboard import wsgi

request = {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/studies/1", "QUERY_STRING": "after=0", "SERVER_NAME": "bench",
           "SERVER_PORT": "80", "wsgi.input": io.BytesIO(), "wsgi.errors": sys.stderr, "wsgi.url_scheme": "http"}
b"".join(wsgi(sys.argv[1])(request, lambda *answer: None))
tell()
"""

_READING, _OWN_LIST = "reading by Optuna", "list by optuna-dashboard alone"
_SCRIPTS = {
    _READING: _BY_OPTUNA,
    "cifar-tune status": _STATUS,
    "next trial": _NEXT_TRIAL,
    _OWN_LIST: _LIST_BY_OPTUNA,
    "cifar-tune dashboard's list": _LIST,
}
_REFERENCES = {"cifar-tune status": _READING, "next trial": _READING, "cifar-tune dashboard's list": _OWN_LIST}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took until it had printed its first line.

    Attributes:
        seconds: of wall time.
        megabytes: at most, of the process alone, not of those that it starts.
    """

    seconds: float
    megabytes: float


def measure(options: Options) -> Sequence[str]:
    """Seconds and memory on both databases, beside Optuna's own reading of the same trials."""
    trials = 1_000 if options.quick else 20_000
    rows: list[Sequence[object]] = []
    with server(options.scratch / "postgres-large") as postgres:
        urls = {"SQLite": sqlite_url(options.scratch, "large-trials")}
        if postgres is not None:
            urls["PostgreSQL"] = new_database(postgres, "large_trials")
        for name, url in urls.items():
            storage = open_storage(make_url(url))
            store_study(storage, noop_spec(trials), trials)
            close(storage)
            rows += _rows(name, url, options.scratch)
    return [
        "## Large studies",
        f"A study of {trials:,} finished trials of at most 30 epochs, a third of them pruned. Each figure is the time "
        "of a new process from its start. The processes ran one after the other; "
        f"{_ROUNDS} {'round' if _ROUNDS == 1 else 'rounds'}. The last column says how many times as fast this is as "
        'the row that it names. "Reading by Optuna" is `load_study(...).get_trials()` in a plain process; no program '
        'that reads all trials through Optuna can be faster. "Next trial" is the time from the start of a run until a '
        'trial begins, executors included. "List" is the time from the start of the dashboard until all trials have '
        "arrived.",
        table(("database", "what", "seconds", "MB", "times as fast"), rows),
    ]


def _rows(database: str, url: str, scratch: Path) -> list[Sequence[object]]:
    variants: dict[str, Callable[[int], Cost]] = {}
    for number, (name, text) in enumerate(_SCRIPTS.items()):
        script = scratch / f"large-{number}.py"
        script.write_text(f"{_PEAK}\n{text}")
        variants[name] = _process([str(script), url, _NAME], scratch)
    found = interleaved(variants, _ROUNDS)
    seconds = {name: [cost.seconds for cost in costs] for name, costs in found.items()}
    return [
        (database, name, spread(seconds[name]), digits(max(each.megabytes for each in costs)), _ratio(name, seconds))
        for name, costs in found.items()
    ]


def _ratio(name: str, seconds: Mapping[str, Sequence[float]]) -> str:
    reference = _REFERENCES.get(name)
    return "" if reference is None else f"**{ratios(seconds[name], seconds[reference])}** ({reference})"


def _process(arguments: Sequence[str], scratch: Path) -> Callable[[int], Cost]:
    environment = _environment(scratch)

    def measured(_round: int) -> Cost:
        started = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            peak = process.stdout.readline()
            return Cost(time.perf_counter() - started, int(peak) / 1024)

    return measured


def _environment(scratch: Path) -> Mapping[str, str]:
    path = os.pathsep.join(filter(None, (str(Path.cwd()), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "CIFAR_TUNE_ARTIFACTS": str(scratch / "artifacts-large")}


if __name__ == "__main__":
    run({"large": measure})
