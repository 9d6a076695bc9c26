import math
import random
from dataclasses import replace

import optuna
import pytest

from cifar_tune.knobs.part import Value
from cifar_tune.reports.findings import BEST, FEWEST, findings
from cifar_tune.reports.report import Report
from tests.exhaustive import few_of

from .factory import MadeTrial, make_record, make_spec, random_trials

optuna.logging.set_verbosity(optuna.logging.WARNING)

KNOBS = {
    "lr": {"low": 1e-4, "high": 1.0, "log": True},
    "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
    "activation": {"choices": ["relu", "elu", "silu"]},
    "width": {"choices": [16, 32, 64]},
}


def drawn(count: int, seed: int) -> list[dict[str, Value]]:
    draw = random.Random(seed)  # noqa: S311
    return [
        {
            "lr": 10 ** draw.uniform(-4, 0),
            "weight_decay": 10 ** draw.uniform(-6, -2),
            "activation": draw.choice(["relu", "elu", "silu"]),
            "width": draw.choice([16, 32, 64]),
        }
        for _ in range(count)
    ]


def number(value: Value) -> float:
    assert isinstance(value, float)
    return value


def test_where_nothing_matters_nothing_is_found() -> None:
    spec = make_spec(train={"epochs": 3})
    found = 0
    for seed in range(30):
        draw = random.Random(seed)  # noqa: S311
        trials = [replace(t, value=None if t.value is None else draw.random()) for t in random_trials(spec, 110, seed)]
        found += bool(findings(Report(make_record(spec, trials))))
    assert found <= 1  # one in a hundred at most is promised, so 0.3 are expected


@pytest.mark.parametrize("seed", few_of(range(6), [0]))
def test_a_sampler_that_learns_makes_no_finding_of_a_knob_without_effect(seed: int) -> None:
    spec = make_spec(KNOBS, train={"epochs": 2})
    draw = random.Random(seed)  # noqa: S311
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    trials = []
    for _ in range(90):
        trial = study.ask()
        lr = trial.suggest_float("lr", 1e-4, 1, log=True)
        params: dict[str, Value] = {
            "lr": lr,
            "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
            "activation": trial.suggest_categorical("activation", ["relu", "elu", "silu"]),
            "width": trial.suggest_categorical("width", [16, 32, 64]),
        }
        value = 0.8 - 0.05 * (math.log10(lr) + 2) ** 2 + draw.gauss(0, 0.01)
        study.tell(trial, value)
        trials.append(MadeTrial(params, value, epochs=2))
    assert [
        found.sentence for found in findings(Report(make_record(spec, trials))) if "have lr" not in found.sentence
    ] == []


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_what_matters_is_found_with_its_evidence(direction: str) -> None:
    metric = {"maximize": "val_accuracy", "minimize": "val_loss"}[direction]
    spec = make_spec(KNOBS, train={"epochs": 2}, objective={"metric": metric})
    trials = []
    for params in drawn(150, seed=1):
        quality = 0.8 - 0.1 * abs(math.log10(number(params["lr"])) + 2) + 0.1 * (params["activation"] == "elu")
        trials.append(MadeTrial(params, quality if direction == "maximize" else 1 - quality, epochs=2))
    report = Report(make_record(spec, trials))
    lr, activation = findings(report)
    assert " have lr between 0.0" in lr.sentence
    assert activation.sentence == f"{BEST} of the best {BEST} have activation elu."
    assert "fewer than 0.1 %" in activation.evidence
    share = sum(params["activation"] == "elu" for params in drawn(150, seed=1)) / 150
    assert f"{share * 100:.0f} % of all 150" in activation.evidence
    assert [trial.number for trial in activation.trials] == [trial.number for trial in report.ranked[:BEST]]
    low, high = (float(word) for word in lr.sentence.rstrip(".").split(" between ")[1].split(" and "))
    assert low <= 0.011
    assert high >= 0.009
    assert high / low < 4


def test_an_optimum_at_the_end_of_a_range_is_said() -> None:
    spec = make_spec(KNOBS, train={"epochs": 2})
    trials = [
        MadeTrial(params, 0.5 + 0.1 * math.log10(number(params["lr"])), epochs=2) for params in drawn(200, seed=2)
    ]
    (found,) = findings(Report(make_record(spec, trials)))
    assert found.sentence.endswith("That is the upper end of its range, 1: higher values may be better still.")


def test_few_trials_and_several_objectives_carry_no_finding() -> None:
    params = drawn(FEWEST - 1, seed=3)
    spec = make_spec(KNOBS, train={"epochs": 2})
    record = make_record(spec, [MadeTrial(each, number(each["lr"]) / 2, epochs=2) for each in params])
    assert findings(Report(record)) == []
    several = make_spec(KNOBS, train={"epochs": 2}, objective=[{"metric": "val_accuracy"}, {"metric": "parameters"}])
    trials = [
        MadeTrial(each, number(each["lr"]) / 2, epochs=2, figures={"parameters": 5.0}) for each in drawn(99, seed=4)
    ]
    assert findings(Report(make_record(several, trials))) == []


@pytest.mark.parametrize(("knob", "space", "sign", "words"), [
    ("dropout", {"low": 0.0, "high": 0.9}, -1, "the lower end of its range, 0, and there is nothing below."),
    ("dropout", {"low": 0.1, "high": 0.9}, -1, "the lower end of its range, 0.1: lower values may be better still."),
    ("width", {"low": 1, "high": 640}, -1, "the lower end of its range, 1, and there is nothing below."),
    ("width", {"low": 16, "high": 640}, 1, "the upper end of its range, 640: higher values may be better still."),
    ("momentum", {"low": 0.0, "high": 0.99}, 1, "the upper end of its range, 0.99: higher values may be better still."),
])  # fmt: skip
def test_nobody_is_sent_beyond_what_a_knob_can_be(knob: str, space: dict[str, object], sign: int, words: str) -> None:
    spec = make_spec({knob: space}, train={"epochs": 2})
    trials = []
    for each in range(100):
        low, high = float(str(space["low"])), float(str(space["high"]))
        value = min(low + (high - low) * each / 99, high)
        params: dict[str, Value] = {knob: round(value) if knob == "width" else value}
        trials.append(MadeTrial(params, 0.5 + sign * 0.3 * each / 99, epochs=2))
    random.Random(0).shuffle(trials)  # noqa: S311
    (found,) = findings(Report(make_record(spec, trials)))
    assert found.sentence.endswith(words)


@pytest.mark.parametrize(
    ("peak", "words"), [(0.05, "lower end of its range"), (0.15, ""), (0.85, ""), (0.95, "upper end of its range")]
)
def test_the_end_of_a_range_is_its_outer_tenth(peak: float, words: str) -> None:
    spec = make_spec({"dropout": {"low": 0.0, "high": 0.9}}, train={"epochs": 2})
    shares = [each / 99 for each in range(100)]
    random.Random(0).shuffle(shares)  # noqa: S311
    trials = [MadeTrial({"dropout": 0.9 * share}, 0.9 - abs(share - peak), epochs=2) for share in shares]
    (found,) = findings(Report(make_record(spec, trials)))
    assert words in found.sentence
    assert ("end of its range" in found.sentence) == bool(words)


def test_whole_numbers_are_whole() -> None:
    spec = make_spec({"width": {"low": 8, "high": 512}}, train={"epochs": 2})
    trials = [MadeTrial({"width": 8 + 5 * n}, 0.9 - abs(8 + 5 * n - 128) / 1000, epochs=2) for n in range(100)]
    random.Random(0).shuffle(trials)  # noqa: S311
    (found,) = findings(Report(make_record(spec, trials)))
    best = sorted((trial for trial in trials), key=lambda trial: -(trial.value or 0))[:BEST]
    low, high = found.sentence.rstrip(".").split(" between ")[1].split(" and ")
    assert {int(low), int(high)} <= {trial.params["width"] for trial in best}
    assert int(high) > 128


def test_the_more_knobs_are_tested_the_more_a_finding_has_to_show() -> None:
    """What one choice in two hundred would show is a finding about the only knob, and chance where there are three."""
    draw = random.Random(6)  # noqa: S311
    space = {name: {"low": 0.0, "high": 0.9} for name in ("momentum", "dropout", "label_smoothing")}
    three = [{name: draw.uniform(0, 0.9) for name in space} for _ in range(60)]
    values = [0.5 - 0.35 * abs(params["momentum"] - 0.4) + draw.gauss(0, 0.07) for params in three]

    def found(*names: str) -> list[str]:
        spec = make_spec({name: space[name] for name in names}, train={"epochs": 2})
        trials = [
            MadeTrial({name: params[name] for name in names}, value, epochs=2)
            for params, value in zip(three, values, strict=True)
        ]
        return [finding.evidence.rpartition(" in ")[2] for finding in findings(Report(make_record(spec, trials)))]

    assert found("momentum") == ["fewer than 0.5 % of draws"]
    assert found(*space) == []
