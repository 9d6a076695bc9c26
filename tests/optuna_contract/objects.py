"""What studies, trials, samplers and pruners of Optuna are."""

import importlib
from collections.abc import Container
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import CmaEsSampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from cifar_tune.statistics.densities import divergence

from .modules import SPACE, asked, database, internals

NAMES = {
    "optuna.storages._rdb.models": (
        "StudyDirectionModel "
        "StudyModel TrialModel TrialParamModel TrialIntermediateValueModel TrialUserAttributeModel "
        "TrialSystemAttributeModel"
    ),
    "optuna.storages._rdb.storage": "_create_scoped_session",
    "optuna.study._frozen": "FrozenStudy",
}
EVERY_KIND: dict[str, BaseDistribution] = {
    "float": FloatDistribution(0.0, 1.0),
    "log float": FloatDistribution(1e-4, 1.0, log=True),
    "float with a step": FloatDistribution(0.0, 1.0, step=0.25),
    "int": IntDistribution(1, 9),
    "large int": IntDistribution(1, 1000),
    "log int": IntDistribution(1, 64, log=True),
    "int with a step": IntDistribution(2, 8, step=2),
    "choices": CategoricalDistribution(["a", "b", "c"]),
}


def private_names(_folder: Path) -> None:
    """The private modules have the names that are imported from them."""
    for module, names in NAMES.items():
        for name in names.split():
            assert hasattr(importlib.import_module(module), name), f"{module}.{name} is gone"


def ids(folder: Path) -> None:
    """Studies and trials of each kind know the id that their storage gave them, as `_study_id` and `_trial_id`."""
    storage = database(folder)
    asked(storage)
    study = optuna.load_study(study_name="contract", storage=storage)
    trial = study.ask()
    (frozen_study,) = storage.get_all_studies()
    assert isinstance(frozen_study, internals().FrozenStudy)
    wanted = storage.get_study_id_from_name("contract")
    assert [internals().study_id(each) for each in (study, frozen_study)] == [wanted, wanted]
    wanted = storage.get_trial_id_from_study_id_trial_number(wanted, 1)
    assert [internals().trial_id(each) for each in (trial, study.get_trials()[1])] == [wanted, wanted]


def storage_of_a_study(_folder: Path) -> None:
    """A study holds the storage that it was loaded from, as `_storage`."""
    storage = InMemoryStorage()
    assert internals().storage_of(asked(storage)[0]) is storage


def a_trial_from_its_id(_folder: Path) -> None:
    """`optuna.Trial(study, id)` is the trial that `Study.ask` returned, and making it changes nothing."""
    study = asked()[0]
    before = study.get_trials()
    again = internals().as_asked(study, before[0])
    assert study.get_trials() == before
    again.report(0.5, 1)
    study.tell(again, 0.25)
    assert (study.trials[0].intermediate_values, study.trials[0].value) == ({1: 0.5}, 0.25)


def a_trial_as_stored(_folder: Path) -> None:
    """A trial knows its storage, as `storage`."""
    study, trial = asked()
    trial.set_user_attr("a", 1)
    assert internals().as_stored(trial) == study.get_trials()[0]


class _Listening(InMemoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[object] = []

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        self.asked.append(states)
        return super().get_all_trials(study_id, deepcopy, states)


def what_waits(_folder: Path) -> None:
    """`Study.ask` reads the waiting trials once, by `get_all_trials` with these states, and takes the first one."""
    storage = _Listening()
    study, _ = asked(storage, sampler=RandomSampler())
    for x in (0.25, 0.75):
        study.enqueue_trial({"x": x})
    storage.asked.clear()
    assert study.ask(SPACE).params == {"x": 0.25}
    assert [states for states in storage.asked if internals().asks_what_waits(states)] == [(TrialState.WAITING,)]
    assert not any(internals().asks_what_waits(states) for states in (None, (TrialState.RUNNING, TrialState.WAITING)))


def search_spaces(_folder: Path) -> None:
    """TPE and CMA-ES keep in `_search_space` what all trials have in common, and go on with one that is given."""
    for kind in (TPESampler, CmaEsSampler):
        first, second = kind(seed=0), kind(seed=1)
        space = internals().share_search_space(first, None)
        study, trial = asked(sampler=first)
        study.tell(trial, 0.0)
        assert first.infer_relative_search_space(study, study.trials[0]) == SPACE, kind.__name__
        assert internals().share_search_space(second, space) is space, kind.__name__
        assert second._search_space is space, kind.__name__
    assert internals().share_search_space(RandomSampler(), space) is space


def hyperband(_folder: Path) -> None:
    """Hyperband has no `_pruners` before `_try_initialization`, and draws brackets by `_get_bracket_id`."""
    theirs = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9)
    ours = internals().HyperbandPruner(min_resource=1, max_resource=9)
    assert theirs._pruners == ours._pruners == []
    study, trial = asked(pruner=theirs)
    trial.report(0.5, 1)
    trial.should_prune()
    bracket = ours.bracket_of(study, study.trials[0])
    asked_for: list[int] = []

    class Listening(optuna.pruners.HyperbandPruner):
        def _get_bracket_id(self, study: optuna.Study, trial: FrozenTrial) -> int:
            asked_for.append(trial.number)
            return optuna.pruners.HyperbandPruner._get_bracket_id(self, study, trial)

    listening, reporting = asked(pruner=Listening(min_resource=1, max_resource=9))
    reporting.report(0.5, 1)
    reporting.should_prune()
    assert set(asked_for) == {0}
    del listening
    assert len(theirs._pruners) == len(ours._pruners) == 3
    assert ours._brackets == {0: bracket} == {0: theirs._get_bracket_id(study, study.trials[0])}
    assert theirs._pruners[bracket]._min_early_stopping_rate == bracket


def studies_in_memory(_folder: Path) -> None:
    """In memory, the first study has the id 0, a trial's id is its number, and a change makes a new object of it."""
    storage = internals().StudyInMemory([StudyDirection.MINIMIZE], "contract")
    assert storage.get_study_id_from_name("contract") == 0
    assert [storage.create_new_trial(0) for _ in range(2)] == [0, 1]
    storage.set_trial_user_attr(1, "a", [1])
    before = storage.get_trial(1)
    storage.set_trial_user_attr(1, "b", [2])
    after = storage.get_trial(1)
    assert (before.user_attrs, after.user_attrs) == ({"a": [1]}, {"a": [1], "b": [2]})
    assert after.user_attrs["a"] is before.user_attrs["a"]
    taken = create_trial(value=0.5, params={"x": 0.25}, distributions=dict(SPACE))
    storage.take(taken)
    assert storage.get_trial(2) is taken
    assert (taken.number, internals().trial_id(taken)) == (2, 2)
    assert storage.get_best_trial(0) is taken
    assert storage.create_new_trial(0) == 3
    assert [trial.number for trial in storage.get_all_trials(0)] == [0, 1, 2, 3]


def drawn(distribution: BaseDistribution, share: float) -> Any:
    """The value that lies at this share of a range or of choices."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(share * len(distribution.choices))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    value = low * (high / low) ** share if distribution.log else low + share * (high - low)
    if step is not None:
        value = low + round((value - low) / step) * step
    return int(value) if isinstance(distribution, IntDistribution) else value


def importances(folder: Path) -> None:
    """PED-ANOVA compares the best trials with all by kernel densities on a grid, in `_compute_pearson_divergence`."""
    calls: list[object] = []

    def watched(*given: Any) -> float:
        calls.append(given)
        return divergence(*given)

    draw = np.random.default_rng(0)
    for trials in (2, 7, 60, 300):
        study = optuna.create_study()
        for value in draw.random(trials):
            chosen = {name: drawn(distribution, draw.random() ** 3) for name, distribution in EVERY_KIND.items()}
            study.add_trial(create_trial(value=value, params=chosen, distributions=EVERY_KIND))
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.2)
        theirs = optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(internals(), "divergence", watched)
            assert internals().ped_anova(study, 0.2) == pytest.approx(theirs, rel=1e-9)
        assert set(theirs) == set(EVERY_KIND)
    assert len(calls) == 4 * len(EVERY_KIND)
