"""Figures for Prometheus: requests of this process, and the state of the service as the database has it.

The database is asked when Prometheus asks, and not before. How long trials and epochs took is summed up as they end:
each scrape reads those that have ended since the last one.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from threading import Lock

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine, func, select

from cifar_tune.optuna_questions import figures_of_ended, states_of_all_trials
from cifar_tune.service.submissions import STATES
from cifar_tune.service.tables import SUBMISSIONS
from cifar_tune.storage import attributes
from cifar_tune.web.models.queueing import Slots

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TRAINING_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
_MOST_AT_ONCE = 10_000


class Metrics:
    """The figures of one server.

    Args:
        engine: of the database.
        slots: what the machine has, and who uses it.
    """

    def __init__(self, engine: Engine, slots: Callable[[], Slots]) -> None:
        self._engine = engine
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "cifar_tune_http_requests", "Answered requests.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "cifar_tune_http_request_seconds",
            "Until a request was answered.",
            ("route",),
            buckets=_REQUEST_SECONDS,
            registry=self._registry,
        )
        self._trial_seconds = Histogram(
            "cifar_tune_trial_seconds",
            "Training time of trials that have ended since this process began.",
            ("state",),
            buckets=_TRAINING_SECONDS,
            registry=self._registry,
        )
        self._epoch_seconds = Histogram(
            "cifar_tune_epoch_seconds",
            "Mean training time of an epoch of each trial that has ended since this process began.",
            buckets=_TRAINING_SECONDS,
            registry=self._registry,
        )
        self.listeners = Gauge("cifar_tune_listeners", "Open event streams.", registry=self._registry)
        self._registry.register(_State(engine, slots))
        self._ended_after = datetime.now(UTC).replace(tzinfo=None)
        self._known: set[tuple[int, str, float, int]] = set()
        self._lock = Lock()

    def seen(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All figures in Prometheus' own format. Reads the database, so that it blocks."""
        with self._lock:
            self._add_ended()
            return generate_latest(self._registry)

    def _add_ended(self) -> None:
        """Add the trials that have ended since the last look.

        A trial may be written a little after its end, so that some seconds are looked at twice.
        """
        began = datetime.now(UTC).replace(tzinfo=None)
        for each in figures_of_ended(
            self._engine, self._ended_after, attributes.SECONDS, attributes.EPOCHS, _MOST_AT_ONCE
        ):
            if each in self._known:  # SQLite gives the id of a deleted trial again, with other figures
                continue
            self._known.add(each)
            _, state, seconds, epochs = each
            self._trial_seconds.labels(state).observe(seconds)
            if epochs > 0:
                self._epoch_seconds.observe(seconds / epochs)
        self._ended_after = began - _LATE
        if len(self._known) > 10 * _MOST_AT_ONCE:
            self._known = set()


_LATE = timedelta(seconds=60)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class _State(Collector):
    """What the database has at the moment."""

    def __init__(self, engine: Engine, slots: Callable[[], Slots]) -> None:
        self._engine = engine
        self._slots = slots

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing: the registry would read the database to find out the names."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read it."""
        began = time.perf_counter()
        with self._engine.connect() as connection:
            connection.execute(select(1))
            latency = time.perf_counter() - began
            counted = select(SUBMISSIONS.c.state, func.count()).group_by(SUBMISSIONS.c.state)
            by_state = {row[0]: row[1] for row in connection.execute(counted)}
            oldest = select(func.min(SUBMISSIONS.c.submitted_at)).where(SUBMISSIONS.c.state == "queued")
            waiting_since = connection.execute(oldest).scalar_one()
        yield GaugeMetricFamily("cifar_tune_database_seconds", "Until the database answered.", value=latency)
        states = GaugeMetricFamily("cifar_tune_submissions", "Submitted studies by their state.", labels=["state"])
        for state in STATES:
            states.add_metric([state], by_state.get(state, 0))
        yield states
        waits = 0.0 if waiting_since is None else max(0.0, time.time() - waiting_since)
        yield GaugeMetricFamily("cifar_tune_queue_length", "Studies that wait.", value=by_state.get("queued", 0))
        yield GaugeMetricFamily("cifar_tune_queue_waiting_seconds", "Of the study that waits longest.", value=waits)
        trials = GaugeMetricFamily("cifar_tune_trials", "Stored trials by their state.", labels=["state"])
        totals = {state.name: count for state, count in states_of_all_trials(self._engine).items()}
        for name, count in sorted(totals.items()):
            trials.add_metric([name], count)
        yield trials
        busy = self._slots().busy
        yield GaugeMetricFamily("cifar_tune_slots_busy", "Slots that studies hold, as on the slots page.", value=busy)
