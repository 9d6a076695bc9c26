"""How long pages and routes of the service take when there are many trials, or many studies."""

import gc
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles

from sqlalchemy import insert
from sqlalchemy.engine import make_url

from benchmarks.made_study import load, made_trial, move_times, store_studies, store_study
from benchmarks.noop_study import noop_spec, sqlite_url
from cifar_tune.optuna_storage import BatchStorage
from cifar_tune.service.people import create_token
from cifar_tune.service.schema import upgrade
from cifar_tune.service.tables import NAMES, SUBMISSIONS
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.web.app import create_app
from cifar_tune.web.here import Here
from cifar_tune.web.preparing import Preparing
from cifar_tune.web.reading import Studies
from cifar_tune.web.serving import HttpServer
from cifar_tune.web.settings import WebSettings
from cifar_tune.web.shared_answers import SharedAnswers

_HOURS = 6
_TEXT = "name: {name}\ndata: {{name: digits}}\ntrain: {{model: cnn2}}\nbudget: {{trials: 20}}\n"
_TRIALS_EACH = 10


@dataclass(frozen=True)
class Sized:
    """A service on a database of some size.

    Attributes:
        storage: the database.
        spec: of its studies.
        study: the one that is looked at.
        server: answers requests.
        token: of an editor who owns the studies.
        here: what the server keeps.
        seconds: of each answer, by kind of view and by path: by the clock, and of the processor.
    """

    storage: BatchStorage
    spec: StudySpec
    study: str
    server: HttpServer
    token: str
    here: Here
    seconds: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)

    def forget(self) -> None:
        """Let the service know nothing, as when it has just begun."""
        self.here.studies = Studies(self.storage, self.here.url)
        self.here.__post_init__()

    def prepare(self) -> None:
        """Let it look at what is large, as a server does that has begun."""
        Preparing(self.here).look()

    def wait_for_importances(self) -> None:
        """Until nothing is made beside any more: what was begun for one answer must not hold up another."""
        seen = self.here.studies.seen(self.study)
        completed, kept = seen.counts.get("COMPLETE", 0), self.here.results.kept_importances
        kept.get(self.here.studies.require(self.study), self.study, seen.identity, completed, waits=True)

    def drop_answers(self) -> None:
        """Let it keep no whole answers, as when they have grown old; what it knows of trials stays."""
        self.here.answers = SharedAnswers(self.here.engine, self.here.door)

    def end_a_trial(self, draw: random.Random) -> None:
        """Let one more trial have ended."""
        load(self.storage, self.study).add_trial(made_trial(self.spec, draw))

    def ask(self, kind: str, path: str) -> bytes:
        """Ask for a page, and note how long the answer took."""
        connection = HTTPConnection(self.server.address.removeprefix("http://").rstrip("/"), timeout=120)
        headers = {"Authorization": f"Bearer {self.token}"}
        began, worked = time.perf_counter(), time.process_time()
        connection.request("GET", path.format(study=self.study), headers=headers)
        answer = connection.getresponse()
        content = answer.read(1024) if path.endswith("/stream") else answer.read()
        took = time.perf_counter() - began, time.process_time() - worked
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{path}: status {answer.status}: {content[:500]!r}")
        self.seconds.setdefault((kind, path), []).append(took)
        return content


@contextmanager
def sized(folder: Path, name: str, studies: int, trials: int) -> Iterator[Sized]:
    """A service with so many studies of so many trials each, half of the studies waiting in the queue."""
    url = make_url(sqlite_url(folder, name))
    storage = open_storage(url)
    upgrade(storage.engine)
    spec = noop_spec(10 * trials)
    if studies == 1:
        store_study(storage, spec, trials)
        names = [spec.name]
    else:
        store_studies(storage, spec, studies, trials)
        names = [f"{spec.name}-{number}" for number in range(1, studies + 1)]
    move_times(storage.engine, 0.9 * _HOURS * 3600)
    with storage.engine.begin() as connection:
        _, token = create_token(connection, "root", "anna", "editor")
        connection.execute(insert(NAMES), [{"study": each, "owner": "anna", "since": time.time()} for each in names])
        rows = [submission_row(each, number % 2 == 0) for number, each in enumerate(names)]
        connection.execute(insert(SUBMISSIONS), rows)
    app = create_app(storage, url, WebSettings(port=0))
    gc.collect()
    gc.freeze()  # as `cifar-tune serve` does
    server = HttpServer(app, WebSettings(port=0))
    server.start()
    try:
        yield Sized(storage, spec, names[0], server, token, app.state.here)
    finally:
        server.stop()
        gc.unfreeze()
        close(storage)


def submission_row(study: str, waits: bool) -> Mapping[str, object]:
    """A row of the table of submissions: of anna's study, which waits or has ended."""
    now = time.time()
    return {
        "study": study, "living": study if waits else None, "owner": "anna", "file": "study.yaml", "folder": None,
        "text": _TEXT.format(name=study), "priority": 0, "workers": None, "trials": 20,
        "state": "queued" if waits else "done", "wanted": "run", "submitted_at": now, "waiting_since": now,
        "started_at": None if waits else now, "ended_at": None if waits else now, "device_seconds": 0.0, "deaths": 0,
        "notify": [], "waits": "all 8 slots are in use" if waits else None, "position": None,
    }  # fmt: skip


OF_A_STUDY = (
    "/", "/studies/{study}", "/slots", "/v1/studies", "/v1/studies/{study}", "/v1/studies/{study}/trials?limit=100",
    "/v1/studies/{study}/trials/7", "/v1/studies/{study}/best", "/v1/studies/{study}/front",
    "/v1/studies/{study}/importances", "/v1/studies/{study}/stream", "/v1/slots", "/v1/queue", "/metrics",
    "/api/studies",
)  # fmt: skip
OF_ALL_TRIALS = (
    "/v1/studies/{study}/report", "/v1/studies/{study}/report/summary.json", "/v1/studies/{study}/report/trials.csv",
    "/v1/studies/{study}/report/report.html", "/api/studies/1?after=0",
)  # fmt: skip
"""They are made from all trials, whatever the way."""

OF_MANY = (
    "/", "/?offset=5&contains=noop", "/studies/{study}", "/slots", "/v1/studies?limit=10", "/v1/studies/{study}",
    "/v1/studies/{study}/stream", "/v1/queue", "/v1/submissions?limit=10", "/metrics", "/readyz", "/api/studies",
)  # fmt: skip
FIRST, PREPARED, CHANGED = "first", "prepared", "changed"


@dataclass(frozen=True, slots=True)
class Compared:
    """A path at two sizes: p95 in seconds by the clock, and the ratio of the medians of processor time."""

    path: str
    kind: str
    small: float
    large: float
    processor: float


def compared(
    folder: Path, sizes: Sequence[tuple[int, int]], paths: Sequence[str], rounds: int, once: Sequence[str] = ()
) -> list[Compared]:
    """Ask for each path at two sizes in turns: a service that knows nothing, one that is prepared, and after a change.

    Args:
        folder: for the databases.
        sizes: studies, and trials of each; of the small and of the large database.
        paths: what is asked for.
        rounds: how often each is asked for.
        once: what is asked for once, of a service that knows nothing yet.
    """
    draw = random.Random(0)  # noqa: S311 (no secret)
    (few, few_trials), (many, many_trials) = sizes
    label = f"{few}-{few_trials}"
    with (
        sized(folder, f"small-{label}", few, few_trials) as small,
        sized(folder, f"large-{label}", many, many_trials) as large,
    ):
        both = (small, large)
        for path in paths:  # templates and statements are made once
            for each in both:
                each.ask("warm", path)
        for kind, asked in ((FIRST, (*rounds * tuple(paths), *once)), (PREPARED, rounds * tuple(paths))):
            for path in asked:
                for each in both:
                    _ask_anew(each, kind, path)
        for each in both:
            each.forget()
            for path in paths:
                each.ask("warm", path)
        for _ in range(rounds):
            for each in both:
                each.wait_for_importances()
                each.end_a_trial(draw)
            time.sleep(1.1)  # so old may be what is known of a study
            for path in paths:
                for each in both:
                    each.drop_answers()
                    each.ask(CHANGED, path)
        return [
            _compared(path, kind, small.seconds[kind, path], large.seconds[kind, path])
            for kind, asked in ((FIRST, (*paths, *once)), (PREPARED, paths), (CHANGED, paths))
            for path in asked
        ]


def _ask_anew(server: Sized, kind: str, path: str) -> None:
    server.forget()
    if kind == PREPARED:
        server.prepare()
    server.ask(kind, path)
    if path.endswith("/importances"):
        server.wait_for_importances()


def _compared(
    path: str, kind: str, small: Sequence[tuple[float, float]], large: Sequence[tuple[float, float]]
) -> Compared:
    (ours, worked), (theirs, worked_theirs) = zip(*large, strict=True), zip(*small, strict=True)
    return Compared(path, kind, p95(theirs), p95(ours), median(worked) / median(worked_theirs))


def p95(seconds: Sequence[float]) -> float:
    """The 95th percentile."""
    return quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
