"""`prior`: a share of TPE's first draws keeps near a value, the rest is as it was, and later ones are TPE's own."""

import math
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from cifar_tune.errors import UserError
from cifar_tune.samplers.build import build_sampler
from cifar_tune.samplers.prior import near
from cifar_tune.study_spec.difference import differences
from cifar_tune.study_spec.prior import Prior
from cifar_tune.study_spec.reader import ReadStudy, read_study
from cifar_tune.study_spec.settings import SamplerSpec
from cifar_tune.study_spec.yaml_reader import Document

LR = FloatDistribution(1e-4, 1.0, log=True)


def draws(study: optuna.Study, priors: dict[str, Prior], count: int) -> list[tuple[float, float]]:
    found = []
    for number in range(count):
        study.sampler = build_sampler(SamplerSpec("tpe", 3), number, priors)
        trial = study.ask()
        found.append((trial.suggest_float("lr", 1e-4, 1.0, log=True), trial.suggest_float("dropout", 0.0, 0.5)))
    return found


def test_a_share_of_the_first_draws_keeps_near_the_value() -> None:
    plain = draws(optuna.create_study(), {}, 300)
    bent = draws(optuna.create_study(), {"lr": Prior(0.01, 0.7)}, 300)
    same = [one[0] == other[0] for one, other in zip(plain, bent, strict=True)]
    assert 0.2 < np.mean(same) < 0.4, "as many as the prior has no say in"
    assert [dropout for _, dropout in plain] == [dropout for _, dropout in bent]
    moved = [math.log10(lr) for (lr, _), is_same in zip(bent, same, strict=True) if not is_same]
    assert np.mean(moved) == pytest.approx(-2, abs=0.1)
    assert np.std(moved) == pytest.approx(0.4, abs=0.08), "a tenth of four decades"


def test_what_follows_is_that_of_tpe() -> None:
    def later(priors: dict[str, Prior]) -> list[tuple[float, float]]:
        study = optuna.create_study(direction="maximize")
        draws(study, {}, 10)
        for trial in study.get_trials(deepcopy=False):
            study.tell(trial.number, -abs(math.log(trial.params["lr"])))
        found = []
        for number in range(10, 15):
            study.sampler = build_sampler(SamplerSpec("tpe", 3), number, priors)
            asked = study.ask({"lr": LR, "dropout": FloatDistribution(0.0, 0.5)})
            found.append((asked.params["lr"], asked.params["dropout"]))
            study.tell(asked, -abs(math.log(asked.params["lr"])))
        return found

    assert later({"lr": Prior(1e-4, 1.0)}) == later({})


@pytest.mark.parametrize(
    ("value", "distribution"),
    [
        (1.0, LR),
        (1e-4, LR),
        (0.3, FloatDistribution(0.1, 0.5, step=0.1)),
        (64, IntDistribution(32, 512, step=32)),
        (4, IntDistribution(1, 8, log=True)),
        ("elu", CategoricalDistribution(["relu", "elu"])),
        (("random_crop", "horizontal_flip"), CategoricalDistribution(["none", "random_crop+horizontal_flip"])),
    ],
)
def test_draws_are_values_that_are_searched(value: Any, distribution: BaseDistribution) -> None:
    draw = np.random.default_rng(0)
    found = [near(Prior(value, 0.5), distribution, draw) for _ in range(50)]
    if isinstance(distribution, CategoricalDistribution):
        assert set(found) <= set(distribution.choices)
        return
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    assert all(distribution.low <= each <= distribution.high for each in found)
    assert len(set(found)) > 1
    if distribution.step is not None:
        steps = [(each - distribution.low) / distribution.step for each in found]
        assert steps == pytest.approx([round(step) for step in steps])


def read(**sections: Any) -> ReadStudy:
    return read_study(Document({"name": "made", **sections}), "made.yaml")


def test_a_study_file_holds_it_and_may_change_it() -> None:
    with_prior = {"lr": {"low": 0.001, "high": 1.0, "log": True, "prior": {"value": 0.1, "confidence": 0.7}}}
    read_ = read(search_space=with_prior)
    assert read_.spec.priors == {"lr": Prior(0.1, 0.7)}
    assert not read_.notes
    assert read_study(Document(read_.spec.plain()), "stored", is_stored=True).spec == read_.spec
    without = read(search_space={"lr": {"low": 0.001, "high": 1.0, "log": True}}).spec
    assert not differences(read_.spec, without)
    (note,) = read(search_space=with_prior, sampler={"name": "random"}).notes
    assert note == "prior changes only the first draws of tpe: sampler random ignores it"


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        (0.1, "must be a mapping such as {value: 0.05, confidence: 0.7}"),
        ({"confidence": 0.5}, "must be a mapping such as"),
        ({"value": 2.0}, "search_space.lr.prior.value = 2.0: must be between low and high, 0.001 and 1.0"),
        ({"value": "fast"}, "search_space.lr.prior.value"),
        ({"value": 0.1, "confidence": 0}, "search_space.lr.prior.confidence = 0"),
        ({"value": 0.1, "sure": 0.5}, "search_space.lr.prior.sure"),
    ],
)
def test_what_is_refused(prior: object, words: str) -> None:
    with pytest.raises(UserError) as raised:
        read(search_space={"lr": {"low": 0.001, "high": 1.0, "log": True, "prior": prior}})
    assert words in str(raised.value)


def test_a_choice_that_is_not_searched_is_refused() -> None:
    with pytest.raises(UserError, match="must be one of the choices"):
        read(search_space={"activation": {"choices": ["relu", "elu"], "prior": {"value": "tanh"}}})
