"""How many executors share a GPU, found out by trying; the GPU is played."""

import math
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from cifar_tune.data.spec import DataSpec
from cifar_tune.executors.gpu_sharing import Sharing, SharingExecutors
from cifar_tune.executors.job_training import JobTrainer
from cifar_tune.executors.messages import Ended, Job, Prepared, Refused, Rehearsal, Rehearsed
from cifar_tune.executors.remembered import made_today, remember
from cifar_tune.executors.starting import Work
from cifar_tune.study.checking import auto_workers_lines
from cifar_tune.study.run import rehearsal_of
from tests.executors.played_gpu import GB, fails, must_not_rehearse, play, prepares, says_nothing
from tests.reports.factory import make_spec
from tests.waiting import PATIENCE

DIGITS = DataSpec(name="digits", val_size=100)
REHEARSAL = Rehearsal({}, (), DIGITS)


@pytest.fixture(autouse=True)
def nothing_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, in which decisions are kept."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("CIFAR_TUNE_CACHE", str(cache))
    return cache


def gpu(tmp_path: Path, name: str = "gpu") -> str:
    """A GPU that is played: a folder of its executors."""
    (tmp_path / name).mkdir()
    return str(tmp_path / name)


@pytest.mark.parametrize(
    ("room", "cores", "most", "chosen", "paces"),
    [
        (80 * GB, 64, 99, 4, "1: 1,000, 2: 2,000, 4: 2,500, 8: 2,500"),
        (80 * GB, 2, 99, 2, "1: 1,000, 2: 2,000"),  # each needs a core
        (80 * GB, 64, 3, 2, "1: 1,000, 2: 2,000"),  # more have nothing to do
        (19 * GB, 64, 99, 2, "1: 1,000, 2: 2,000"),  # four times the largest model, and three contexts, are 19 GB
        (9 * GB, 64, 99, 1, "1: 1,000"),
    ],
)
def test_as_many_as_train_more_together(
    room: int, cores: int, most: int, chosen: int, paces: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifar_tune.executors.gpu_sharing.cpu_count", lambda: cores)
    notes: list[str] = []
    rehearsal = replace(REHEARSAL, most=most)
    executors = SharingExecutors(rehearsal, (gpu(tmp_path),), 1, notes.append, partial(play, room))
    try:
        executors.wait_for_start(DIGITS, "", lambda: None)
        assert executors.workers == chosen
        assert executors.idle()
        assert notes == [
            f"--workers auto: {chosen} on each GPU; images/s by executors per GPU: {paces}; the largest model takes "
            "4.3 GB of 85.9"
        ]
    finally:
        executors.close(lambda: True)


FIGURES = "1 on each GPU; images/s by executors per GPU: 1: 100; the largest model takes 1.1 GB of 85.9"


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("prepares 0", "1 on each GPU, since more could not be tried: out of memory"),
        ("dies 0", "1 on each GPU, since more could not be tried: exit code 3"),
        (
            "prepares 1",
            FIGURES + "; there can be no more now: out of memory",
        ),
        (
            "trains 1",
            FIGURES + "; there can be no more now: out of memory",
        ),
        (
            "dies 1",
            FIGURES + "; there can be no more now: exit code 3",
        ),
        (
            "refuses 1",
            FIGURES + "; there can be no more now: no room for it",
        ),
    ],
)
def test_where_one_fails_there_is_one_on_each(when: str, words: str, tmp_path: Path) -> None:
    notes: list[str] = []
    executors = SharingExecutors(REHEARSAL, (str(tmp_path),), 1, notes.append, partial(fails, when))
    heard: list[object] = []
    try:
        executors.wait_for_start(DIGITS, "", lambda: None)
        assert executors.workers == 1
        assert notes[0] == f"--workers auto: {words}"
        assert not (tmp_path / "cache").exists()  # another time it may succeed
        deadline = time.monotonic() + PATIENCE
        while not executors.idle() and time.monotonic() < deadline:
            heard += executors.reports(0.1)
        assert executors.idle()
        assert not any(isinstance(report, Refused) for report in [*heard, *executors.reports(0.0)])
    finally:
        executors.close(lambda: True)


def decide(executors: SharingExecutors) -> int:
    try:
        executors.wait_for_start(DIGITS, "", lambda: None)
        return executors.workers
    finally:
        executors.close(lambda: True)


def test_what_was_found_out_serves_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same study begins at once; another one, or one for which the memory does not suffice now, is tried out."""
    monkeypatch.setattr("cifar_tune.executors.gpu_sharing.cpu_count", lambda: 64)
    notes: list[str] = []

    def executors(name: str, rehearsal: Rehearsal, work: Work) -> SharingExecutors:
        return SharingExecutors(rehearsal, (gpu(tmp_path, name),), 1, notes.append, work)

    assert decide(executors("first", REHEARSAL, partial(play, 80 * GB))) == 4
    assert decide(executors("again", REHEARSAL, partial(must_not_rehearse, 80 * GB))) == 4
    assert notes[1].startswith(f"{notes[0]} (found on 20")
    other = replace(REHEARSAL, typical={"width": 8})
    assert decide(executors("other", other, partial(play, 80 * GB))) == 4
    assert decide(executors("full", REHEARSAL, partial(play, 9 * GB))) == 1  # others have the rest of 80 GB
    assert decide(executors("free again", REHEARSAL, partial(must_not_rehearse, 80 * GB))) == 4
    assert [note.count("found on") for note in notes] == [0, 1, 0, 0, 1]


def test_a_run_asks_for_the_memory_and_tries_the_rest_with_its_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifar_tune.executors.gpu_sharing.cpu_count", lambda: 64)
    notes: list[str] = []
    work = partial(prepares, 80 * GB)
    executors = SharingExecutors(REHEARSAL, (str(tmp_path),), 1, notes.append, work, rehearses=False)
    try:
        executors.wait_for_start(DIGITS, "", lambda: None)
        question = executors.question
        assert question is not None
        assert (question.devices, question.most) == (("cuda:0",), 64)
        assert question.alone == Sharing(1, 1, 0.0, 4 * GB, 80 * GB, 80 * GB, 1.0)
        executors.reports(0.0)
        executors.submit(Job(0, {}, DIGITS, tmp_path / "0.pt"))
        assert executors.reports(PATIENCE) == [Ended(0, "completed")]
    finally:
        executors.close(lambda: True)
    assert question.path is not None
    remember(question.path, made_today(2, 4 * GB, "found before"))
    work = partial(must_not_rehearse, 80 * GB)
    again = SharingExecutors(REHEARSAL, (str(tmp_path),), 1, notes.append, work, rehearses=False)
    assert (decide(again), again.question) == (2, None)
    one = replace(REHEARSAL, most=1)
    alone = SharingExecutors(one, (str(tmp_path),), 1, notes.append, work, rehearses=False)
    assert (decide(alone), alone.question) == (1, None)
    assert [note[:12] for note in notes] == ["found before"]


def test_a_decision_that_cannot_be_read_or_kept_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifar_tune.executors.gpu_sharing.cpu_count", lambda: 64)
    notes: list[str] = []
    decide(SharingExecutors(REHEARSAL, (gpu(tmp_path, "first"),), 1, notes.append, partial(play, 80 * GB)))
    [kept] = (tmp_path / "cache").iterdir()
    for content in ("", '{"each": 0}', "[]", kept.read_text().replace('"each":4', '"each":"many"')):
        kept.write_text(content)
        name = str(len(list(tmp_path.iterdir())))
        assert decide(SharingExecutors(REHEARSAL, (gpu(tmp_path, name),), 1, notes.append, partial(play, 80 * GB))) == 4
    monkeypatch.setenv("CIFAR_TUNE_CACHE", str(tmp_path / "first" / "0" / "below a file"))
    assert decide(SharingExecutors(REHEARSAL, (gpu(tmp_path, "last"),), 1, notes.append, partial(play, 80 * GB))) == 4


@pytest.mark.parametrize(
    ("epochs", "study_seconds", "patience", "words"),
    [
        (None, None, math.inf, ""),
        (10_000_000, 10_000.0, math.inf, ""),  # hours
        (1, None, math.inf, "more were not tried, since that takes "),  # a millisecond
        (10_000_000, 0.01, math.inf, "more were not tried, since that takes "),
        (None, 0.01, math.inf, "more were not tried, since that takes "),
        (10_000_000, None, 0.0, "`run --workers auto` tries more"),
    ],
)
def test_trying_takes_no_longer_than_it_can_save(
    epochs: int | None,
    study_seconds: float | None,
    patience: float,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cifar_tune.executors.gpu_sharing.cpu_count", lambda: 64)
    notes: list[str] = []
    rehearsal = replace(REHEARSAL, epochs=epochs, study_seconds=study_seconds)
    work = partial(play, 80 * GB)
    executors = SharingExecutors(rehearsal, (gpu(tmp_path),), 1, notes.append, work, patience)
    assert decide(executors) == (1 if words else 4)
    assert words in notes[0]
    assert len(list(tmp_path.glob("cache/*"))) == (0 if words else 1)  # what was not tried to the end is not kept


def test_who_says_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifar_tune.executors.gpu_sharing._REHEARSAL_SECONDS", 0.2)
    notes: list[str] = []
    executors = SharingExecutors(REHEARSAL, (str(tmp_path),), 1, notes.append, says_nothing)
    try:
        executors.wait_for_start(DIGITS, "", lambda: None)
        assert notes == ["--workers auto: 1 on each GPU, since more could not be tried: no answer within 0 s"]
    finally:
        executors.close(lambda: True)


def test_a_rehearsal_trains() -> None:
    """On a CPU here; it asks a GPU for its memory besides."""
    space = {"width": {"choices": [4, 8, 16]}, "lr": {"low": 1e-4, "high": 1.0, "log": True}}
    spec = make_spec(space, train={"model": "cnn2", "epochs": 3}, data={"name": "digits", "val_size": 100})
    rehearsal = rehearsal_of(spec)
    assert rehearsal is not None
    assert rehearsal.epochs == 3 * spec.budget.trials
    assert (rehearsal.typical["width"], [each["width"] for each in rehearsal.largest]) == (8, [16])
    for goes_on in (True, False):
        trainer = JobTrainer(torch.device("cpu"), "cpu", [goes_on].pop)
        prepared, *rehearsed = trainer.rehearse(replace(rehearsal, seconds=0.2))
        assert prepared == Prepared(images=1_398 + 100 / 3)
        assert [isinstance(each, Rehearsed) and each.images_per_second > 0 for each in rehearsed] == [True] * goes_on
    [failed] = JobTrainer(torch.device("cpu"), "cpu", lambda: True).rehearse(REHEARSAL)
    assert failed.problem


def test_where_seconds_count_nobody_shares() -> None:
    assert rehearsal_of(make_spec(constraints=["seconds_per_epoch <= 2"])) is None
    assert rehearsal_of(make_spec(objective=[{"metric": "val_accuracy"}, {"metric": "seconds_per_epoch"}])) is None


def test_check_says_what_it_would_be_on_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cifar_tune.executors.local.cpu_count", lambda: 8)
    spec = make_spec({"threads": {"choices": [1, 3]}})
    assert [*auto_workers_lines(spec, ["cpu"])] == [
        "--workers auto: 2 at a time, by cores and the largest `threads` (3)"
    ]
