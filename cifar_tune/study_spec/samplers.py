"""Optuna's samplers by the names used in study files, with the parameters that they take. A new one is one entry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cifar_tune.knobs.knob import Kind, Knob


@dataclass(frozen=True, slots=True)
class SamplerChoice:
    """A sampler.

    Attributes:
        target: Optuna's class, as `module:name`.
        meaning: one line for people.
        parameters: its scalar parameters under Optuna's own names.
        automatic: those of them that Optuna computes from the space unless they are given.
        seeding: `per_trial` draws each trial's seed from (sampler.seed, trial number), so that continuing a study
            does not repeat its draws; `constant` is for samplers whose position in a sequence depends on the seed.
        handles_categories: False where choices are drawn at random instead of searched.
        handles_conditions: False where knobs that not every trial has are drawn at random instead of searched.
        handles_ranges: False where every range needs a `step`.
        takes_several_objectives: False where Optuna raises with more than one.
        heeds_constraints: whether it looks for trials that keep them.
        learns_from_completed_only: whether a trial that was pruned teaches it nothing (COMPLETE is the only state that
            Optuna's GP and genetic samplers read; CMA-ES reads pruned trials on request, and only with reports).
        draws_slowly: whether a draw takes seconds, so that many in a row would keep everybody waiting.
        clashes: parameters that Optuna does not allow together.
    """

    target: str
    meaning: str
    parameters: tuple[Knob, ...] = ()
    automatic: tuple[str, ...] = ()
    seeding: Literal["per_trial", "constant"] = "per_trial"
    handles_categories: bool = True
    handles_conditions: bool = True
    handles_ranges: bool = True
    takes_several_objectives: bool = True
    heeds_constraints: bool = False
    learns_from_completed_only: bool = False
    draws_slowly: bool = False
    clashes: tuple[Mapping[str, bool], ...] = ()


def _count(name: str, default: int, meaning: str, low: int = 1) -> Knob:
    return Knob(name, Kind.INT, default, meaning, low=low, high=1_000_000)


def _share(name: str, default: float, meaning: str) -> Knob:
    return Knob(name, Kind.FLOAT, default, meaning, low=0, high=1)


def _flag(name: str, default: bool, meaning: str) -> Knob:
    return Knob(name, Kind.BOOL, default, meaning)


_STARTUP = _count("n_startup_trials", 10, "random trials before the model is used", low=0)
_GENETIC = (
    _count("population_size", 50, "trials per generation", low=2),
    _share("crossover_prob", 0.9, "chance that a child has two parents"),
    _share("swapping_prob", 0.5, "chance that a parameter comes from the second parent"),
    _share("mutation_prob", 0.1, "chance that a parameter is drawn again; by default 1 / number of parameters"),
)

SAMPLERS: Mapping[str, SamplerChoice] = {
    "tpe": SamplerChoice(
        "optuna.samplers:TPESampler",
        "tree-structured Parzen estimator, multivariate",
        (
            _STARTUP,
            _count("n_ei_candidates", 24, "candidates drawn for each suggestion"),
            _flag("multivariate", True, "model the parameters jointly"),
            _flag("group", False, "split a conditional space into groups"),
            _flag("constant_liar", True, "keep away from what is being tried right now"),
        ),
        heeds_constraints=True,
        clashes=({"group": True, "multivariate": False},),
    ),
    "gp": SamplerChoice(
        "optuna.samplers:GPSampler",
        "Gaussian process with expected improvement",
        (_STARTUP, _flag("deterministic_objective", False, "take values as free of noise")),
        handles_conditions=False,
        heeds_constraints=True,
        learns_from_completed_only=True,
        draws_slowly=True,
    ),
    "cmaes": SamplerChoice(
        "optuna.samplers:CmaEsSampler",
        "covariance matrix adaptation evolution strategy",
        (
            _count("n_startup_trials", 1, "random trials before the strategy begins", low=0),
            _count("popsize", 10, "trials per generation; by default 4 + 3 ln(parameters)", low=2),
            _flag("consider_pruned_trials", False, "learn from pruned trials too"),
            _flag("use_separable_cma", False, "diagonal covariance only"),
            _flag("with_margin", False, "keep a margin so that steps and integers do not get stuck"),
            _flag("lr_adapt", False, "adapt the learning rate of the strategy"),
        ),
        automatic=("popsize",),
        handles_categories=False,
        handles_conditions=False,
        takes_several_objectives=False,
        learns_from_completed_only=True,
        clashes=(
            {"use_separable_cma": True, "lr_adapt": True},
            {"with_margin": True, "lr_adapt": True},
            {"use_separable_cma": True, "with_margin": True},
        ),
    ),
    "nsgaii": SamplerChoice(
        "optuna.samplers:NSGAIISampler",
        "genetic algorithm NSGA-II",
        _GENETIC,
        automatic=("mutation_prob",),
        handles_conditions=False,
        heeds_constraints=True,
        learns_from_completed_only=True,
    ),
    "nsgaiii": SamplerChoice(
        "optuna.samplers:NSGAIIISampler",
        "genetic algorithm NSGA-III",
        (*_GENETIC, _count("dividing_parameter", 3, "density of the reference points")),
        automatic=("mutation_prob",),
        handles_conditions=False,
        heeds_constraints=True,
        learns_from_completed_only=True,
    ),
    "qmc": SamplerChoice(
        "optuna.samplers:QMCSampler",
        "quasi-Monte Carlo: points spread evenly",
        (
            Knob(
                "qmc_type",
                Kind.NAME,
                "sobol",
                "the sequence",
                names={"sobol": "Sobol's sequence", "halton": "Halton's sequence"},
            ),
            _flag("scramble", False, "randomize the sequence"),
        ),
        seeding="constant",
        handles_conditions=False,
    ),
    "grid": SamplerChoice(
        "optuna.samplers:BruteForceSampler",
        "every combination once, conditions included; numbers need a step or choices",
        handles_ranges=False,
    ),
    "random": SamplerChoice("optuna.samplers:RandomSampler", "independent random draws"),
}
