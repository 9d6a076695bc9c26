"""Optuna's pruners by the names used in study files, with the parameters that they take. A new one is one entry."""

from collections.abc import Mapping
from dataclasses import dataclass

from cifar_tune.knobs.knob import Kind, Knob


@dataclass(frozen=True, slots=True)
class PrunerChoice:
    """A pruner.

    Attributes:
        target: Optuna's class, as `module:name`.
        meaning: one line for people.
        parameters: its scalar parameters under Optuna's own names. Steps are finished epochs, counted from 1.
        required: parameters without a default.
        wraps: whether it takes another pruner under `wrapped_pruner`.
        needs_max_resource: whether it is told the largest reachable number of epochs.
        promotes: whether it pauses trials and lets them go on later, which the study does itself.
    """

    target: str
    meaning: str
    parameters: tuple[Knob, ...] = ()
    required: tuple[str, ...] = ()
    wraps: bool = False
    needs_max_resource: bool = False
    promotes: bool = False


def _epochs(name: str, default: int, meaning: str, low: int = 0) -> Knob:
    return _count(name, default, meaning, low)


def _count(name: str, default: int, meaning: str, low: int = 0) -> Knob:
    return Knob(name, Kind.INT, default, meaning, low=low, high=1_000_000)


SPARE = Knob(
    "spare",
    Kind.FLOAT,
    0.0,
    "share of the trials that are trained to their end whatever the pruner says",
    low=0,
    high=1,
)
"""Goes with every pruner: what becomes of these trials tells what the pruner costs."""

_WARMUP = _epochs("n_warmup_steps", 0, "epochs in which nothing is pruned")
_INTERVAL = _epochs("interval_steps", 1, "epochs between two decisions", low=1)
_AGAINST_OTHERS = (
    _count("n_startup_trials", 5, "trials that must finish before anything is pruned"),
    _WARMUP,
    _INTERVAL,
    _count("n_min_trials", 1, "trials that must have reached the epoch", low=1),
)
_MIN_RESOURCE = _epochs("min_resource", 1, "epochs of the first rung", low=1)
_BOOTSTRAP = _count("bootstrap_count", 0, "trials a rung waits for before it promotes")

PRUNERS: Mapping[str, PrunerChoice] = {
    "median": PrunerChoice(
        "optuna.pruners:MedianPruner", "stops what is below the median at the same epoch", _AGAINST_OTHERS
    ),
    "percentile": PrunerChoice(
        "optuna.pruners:PercentilePruner",
        "keeps the best percentile at the same epoch",
        (Knob("percentile", Kind.FLOAT, 25.0, "percent that is kept", low=0, high=100), *_AGAINST_OTHERS),
        required=("percentile",),
    ),
    "asha": PrunerChoice(
        "cifar_tune.pruners.halving:SuccessiveHalvingPruner",
        "asynchronous successive halving (Li et al. 2020)",
        (
            _MIN_RESOURCE,
            _count("reduction_factor", 4, "one trial in this many is promoted", low=2),
            Knob("min_early_stopping_rate", Kind.INT, 0, "rungs left out at the start", low=0, high=20),
            _BOOTSTRAP,
        ),
    ),
    "hyperband": PrunerChoice(
        "cifar_tune.pruners.halving:HyperbandPruner",
        "successive halving at several rates (Li et al. 2018)",
        (
            _MIN_RESOURCE,
            _count("reduction_factor", 3, "one trial in this many is promoted", low=2),
            _BOOTSTRAP,
        ),
        needs_max_resource=True,
    ),
    "promotion": PrunerChoice(
        "optuna.pruners:NopPruner",
        "pauses trials, and goes on with those that turn out to be among the best (Li et al. 2020)",
        (
            _MIN_RESOURCE,
            _count("reduction_factor", 3, "each rung has this many times the epochs of the one before", low=2),
            _count("keep", 2, "one trial in this many goes on from each rung", low=2),
            Knob(
                "complete",
                Kind.FLOAT,
                0.1,
                "share of budget.trials that completes, at least",
                low=0,
                high=1,
            ),
            _count("most_paused", 20, "trials that wait at a time, each with its checkpoint", low=1),
        ),
        promotes=True,
    ),
    "patient": PrunerChoice(
        "optuna.pruners:PatientPruner",
        "lets another pruner stop a trial only after patience epochs without improvement",
        (
            _epochs("patience", 5, "epochs without improvement that are tolerated"),
            Knob("min_delta", Kind.FLOAT, 0.0, "what counts as improvement", low=0),
        ),
        required=("patience",),
        wraps=True,
    ),
    "threshold": PrunerChoice(
        "optuna.pruners:ThresholdPruner",
        "stops what is outside of bounds",
        (
            Knob("lower", Kind.FLOAT, 0.0, "stop below"),
            Knob("upper", Kind.FLOAT, 1.0, "stop above"),
            _WARMUP,
            _INTERVAL,
        ),
    ),
    "none": PrunerChoice("optuna.pruners:NopPruner", "stops nothing"),
}
