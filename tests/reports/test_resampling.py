from cifar_tune.reports.importances import MOST_TRIALS, RESAMPLES, Importances, Spread, importances, spread
from cifar_tune.storage.records import StudyRecord

from .factory import make_record, make_spec, random_trials

SPEC = make_spec(train={"epochs": 3})


def both(record: StudyRecord) -> tuple[Importances, Spread]:
    found = importances(record)
    assert isinstance(found, Importances)
    around = spread(record, found)
    assert around is not None
    return found, around


def test_intervals_lie_in_a_share_and_shrink_with_more_trials() -> None:
    (_, few), (found, many) = (both(make_record(SPEC, random_trials(SPEC, count, pruned=0))) for count in (40, 400))
    assert set(many.intervals) == set(found.shares)
    assert all(0 <= low <= high <= 1 for low, high in (*few.intervals.values(), *many.intervals.values()))
    assert max(found.shares, key=lambda name: found.shares[name]) == "lr"

    def width(each: Spread) -> float:
        return sum(high - low for low, high in each.intervals.values())

    assert width(many) < width(few)
    assert many.intervals["lr"][0] > max(high for name, (_, high) in many.intervals.items() if name != "lr") / 2


def test_it_says_on_how_much_it_rests_and_is_the_same_every_time() -> None:
    record = make_record(SPEC, random_trials(SPEC, 700, pruned=0))
    found, around = both(record)
    assert (around.resamples, around.trials) == (RESAMPLES, MOST_TRIALS)
    assert around.completed == found.completed > MOST_TRIALS
    assert around == spread(record, found)


def test_several_objectives_have_intervals_too() -> None:
    spec = make_spec(train={"epochs": 2}, objective=[{"metric": "val_accuracy"}, {"metric": "parameters"}])
    found, around = both(make_record(spec, random_trials(spec, 50, pruned=0)))
    assert set(around.intervals) == set(found.shares)


def test_few_trials_have_none() -> None:
    record = make_record(SPEC, random_trials(SPEC, 8, pruned=0))
    found = importances(record)
    assert isinstance(found, Importances)
    assert spread(record, found) is None
