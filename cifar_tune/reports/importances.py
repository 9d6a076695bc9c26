"""How much each searched knob had to do with reaching the best trials."""

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from cifar_tune.storage.records import StudyRecord

_TOP_SHARE = 0.1
_FEWEST_TOP = 5
ENOUGH_TRIALS = 50
"""Below, the best tenth would be fewer than five trials; more are taken, and the shares are a hint at most."""


@dataclass(frozen=True, slots=True)
class Importances:
    """Shares that add up to 1, largest first.

    They rest on `completed` trials, of which the `top` best ones are set against all. Of several objectives, the best
    ones are those `near_front`: on the Pareto front, then on the front of what remains, and so on.
    """

    shares: Mapping[str, float]
    completed: int
    top: int
    near_front: bool = False

    @property
    def basis(self) -> str:
        """On how much they rest, as half a sentence."""
        best = "the best one" if self.top == 1 else f"the best {self.top}"
        if self.near_front:
            best = f"the {self.top} nearest to the Pareto front"
        return f"{best} of {self.completed:,} completed trials against all of them"


def importances(record: StudyRecord) -> Importances | str:
    """The importances of a study, or the sentence that says why it has none.

    PED-ANOVA, on completed trials alone. It is given no `target`: it would then take low values for good ones and
    analyse the worst trials of a study that maximizes.
    """
    completed = record.counts["COMPLETE"]
    if completed < 2:
        return f"Importances need at least two completed trials; there is {'one' if completed else 'none'}."
    share = top_share(completed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's remarks on few trials; `basis` and the summary say it instead
        raw = get_param_importances(
            record.study, evaluator=PedAnovaImportanceEvaluator(target_quantile=share), normalize=False
        )
    knobs = varying(trial.params for trial in record.trials if trial.state == "COMPLETE")
    raw = {name: value if name in knobs else 0.0 for name, value in raw.items()}
    total = sum(raw.values())
    if not total > 0:
        return "No knob can be told more important than another: the best trials do not differ from the others."
    # Optuna orders equal ones by how the process happens to hash
    ordered = sorted(raw.items(), key=lambda item: (-item[1], item[0]))
    top = math.ceil(share * completed)
    return Importances(
        {name: value / total for name, value in ordered}, completed, top, record.spec.has_several_objectives
    )


def top_share(completed: int) -> float:
    """Which share of so many completed trials is set against all of them."""
    return min(0.5, max(_TOP_SHARE, _FEWEST_TOP / completed))


def varying(params: Iterable[Mapping[str, object]]) -> set[str]:
    """The knobs that have different values in these trials.

    Where all share one, the densities of the best trials and of all trials differ in their width alone, which the
    evaluator takes for importance.
    """
    values: dict[str, set[object]] = {}
    for each in params:
        for name, value in each.items():
            values.setdefault(name, set()).add(value)
    return {name for name, found in values.items() if len(found) > 1}
