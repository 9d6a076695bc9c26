"""What the database counts is what one counts who has read all trials."""

import random
from collections import Counter
from datetime import datetime

import pytest
from sqlalchemy.engine import URL

from cifar_tune.errors import UserError
from cifar_tune.storage import attributes
from cifar_tune.storage.overview import overview
from cifar_tune.storage.rdb import close, open_storage
from cifar_tune.storage.records import load_record
from cifar_tune.study.best_trials import BestTrials

from .random_studies import store_random_study


@pytest.mark.parametrize("seed", [*range(10), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(10, 40))])
def test_it_says_what_all_trials_say(database: URL, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311
    storage = open_storage(database)
    spec = store_random_study(storage, draw, draw.choice([0, 1, 40, 120]))
    record, seen = load_record(storage, "test"), overview(storage, "test", 5)

    assert seen.counts == dict(record.counts)
    assert seen.finished == record.finished
    reasons = Counter(trial.reason for trial in record.trials if trial.reason in attributes.REASONS)
    assert list(seen.reasons.items()) == list(reasons.items())
    assert seen.strangers == record.strangers
    ended = [trial for trial in record.trials if trial.ended]
    ended.sort(key=lambda trial: (trial.ended or datetime.min, trial.number))
    assert [vars(trial) for trial in seen.last] == [vars(trial) for trial in ended[-5:]]
    if record.best is None:
        assert seen.without_best_words == record.without_best_words
    assert (seen.best and vars(seen.best)) == (record.best and vars(record.best))
    if spec.has_several_objectives:
        assert [trial.number for trial in seen.front] == [trial.number for trial in record.front]
        assert [vars(trial) for trial in seen.front] == [vars(trial) for trial in record.front]
    unfinished = [trial for trial in record.trials if trial.state in ("RUNNING", "WAITING")]
    assert [vars(trial) for trial in seen.unfinished] == [vars(trial) for trial in unfinished]
    assert list(seen.failed.items()) == [
        (trial.number, trial.error) for trial in record.trials if trial.state == "FAIL"
    ]
    best = BestTrials(record.study.get_trials(), spec.objectives, spec.constraints).best
    assert (best and best.number) == (record.best and record.best.number)
    close(storage)


def test_a_study_that_is_not_there(database: URL) -> None:
    storage = open_storage(database)
    with pytest.raises(UserError, match="the storage has no study 'test'"):
        overview(storage, "test")
    close(storage)
