"""The short sections of a study file: objective, budget, sampler and pruner."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from cifar_tune.errors import enumerate_names, nearest_name
from cifar_tune.knobs.knob import Kind, Knob
from cifar_tune.knobs.metrics import EXAMPLE_NUMBER, Direction
from cifar_tune.knobs.part import Value
from cifar_tune.study_spec.metrics import METRICS, Metric
from cifar_tune.study_spec.problems import Path, Problems
from cifar_tune.study_spec.pruners import PRUNERS, SPARE
from cifar_tune.study_spec.samplers import SAMPLERS
from cifar_tune.study_spec.search_space import read_value

_AMOUNT = r"(\d+(?:\.\d+)?)"
_DURATION = re.compile(rf"{_AMOUNT}|(?:{_AMOUNT}d)?(?:{_AMOUNT}h)?(?:{_AMOUNT}m)?(?:{_AMOUNT}s)?", re.ASCII)
_TRIALS = Knob("trials", Kind.INT, 50, "trials in total", low=1)
MOST_OBJECTIVES = 3
"""With more, nearly every trial would lie on the Pareto front."""

_BATCH = Knob("deterministic", Kind.INT, 1, "trials in a batch", low=1, high=1_000_000)
AUTO = "auto"
"""The name under which the sampler is chosen by a rule (`study_spec.automatic`)."""

_SEED = Knob("seed", Kind.INT, 0, "seeds the sampler", low=0, high=2**32 - 1)  # numpy's limit, which Optuna inherits


@dataclass(frozen=True)
class Objective:
    """What is optimized."""

    metric: str = "val_accuracy"
    direction: Direction = "maximize"


@dataclass(frozen=True)
class Budget:
    """When a study ends: `trials` in total, `timeout` in seconds summed over all runs (None: no limit).

    `trial_timeout` is the same for one trial, summed over the runs in which it was trained.
    """

    trials: int = 50
    timeout: float | None = None
    trial_timeout: float | None = None


@dataclass(frozen=True)
class SamplerSpec:
    """A sampler by name; `options` holds the parameters that were given.

    `is_automatic` says that the file leaves the choice to us (`auto`): a study that is there keeps its own then.
    """

    name: str = "tpe"
    seed: int = 0
    options: Mapping[str, Value] = field(default_factory=dict)
    is_automatic: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class PrunerSpec:
    """A pruner by name; `options` holds the parameters that were given, `wrapped` the pruner that it wraps.

    `spare` is the share of the trials that are trained to their end all the same. `is_default` says that the file names
    no pruner: a study that is there keeps its own then.
    """

    name: str = "median"
    options: Mapping[str, Value] = field(default_factory=dict)
    wrapped: "PrunerSpec | None" = None
    spare: float = 0.0
    is_default: bool = field(default=False, compare=False)

    @property
    def wraps_another(self) -> bool:
        """Whether this kind of pruner wraps another."""
        return PRUNERS[self.name].wraps


def read_objectives(raw: object, problems: Problems, metrics: Mapping[str, Metric] = METRICS) -> tuple[Objective, ...]:
    """Read `objective`: one mapping, or a list of one to three. Without anything usable, the default one."""
    path: Path = ("objective",)
    if not isinstance(raw, list):
        return (_read_objective(raw, path, problems, metrics) or Objective(),)
    if not 1 <= len(raw) <= MOST_OBJECTIVES:
        problems.add(path, f"must hold 1 to {MOST_OBJECTIVES} objectives, such as [{{metric: val_accuracy}}]")
        return (Objective(),)
    found: list[Objective] = []
    for index, item in enumerate(raw):
        objective = _read_objective(item, (*path, index), problems, metrics)
        if objective in found:
            problems.add((*path, index), f"{objective.metric} is an objective already; each may stand here once")
        elif objective is not None:
            found.append(objective)
    return tuple(found) or (Objective(),)


def _read_objective(raw: object, path: Path, problems: Problems, metrics: Mapping[str, Metric]) -> Objective | None:
    if isinstance(raw, str):
        name = raw if raw in metrics else nearest_name(raw, metrics)
        meant = f"{{metric: {name}}}" if name else None
        problems.add(path, "must be a mapping such as {metric: val_accuracy, direction: maximize}", raw, meant)
        return None
    found = problems.count
    values = as_mapping(raw, path, "{metric: val_accuracy, direction: maximize}", problems)
    if problems.count > found:
        return None
    _refuse_unknown(values, path, ("metric", "direction"), problems)
    if str(values.get("metric")).startswith("test_"):
        rule = "cannot be an objective: the test split stays closed until `cifar-tune finalize`"
        problems.add((*path, "metric"), rule, values["metric"], nearest_name(str(values["metric"])[5:], metrics))
        return None
    metric = read_name(values.get("metric", "val_accuracy"), (*path, "metric"), metrics, problems)
    if metric is None:
        return None
    natural = metrics[metric].direction
    direction = values.get("direction", natural)
    if direction not in ("maximize", "minimize"):
        problems.add((*path, "direction"), "must be maximize or minimize", direction, nearest=natural)
    elif direction != natural:
        problems.add((*path, "direction"), f"{metric} is there to {natural}", direction)
    return Objective(metric, natural)


def read_metrics(raw: object, problems: Problems, metrics: Mapping[str, Metric] = METRICS) -> tuple[str, ...]:
    """Read `metrics`: further ones that are measured and listed, a list of names."""
    path: Path = ("metrics",)
    if raw is None:
        return ()
    if not isinstance(raw, list):
        problems.add(path, "must be a list of metrics, such as [val_macro_f1, val_top3_accuracy]", raw)
        return ()
    found: list[str] = []
    for index, item in enumerate(raw):
        name = read_name(item, (*path, index), metrics, problems)
        if name in found:
            problems.add((*path, index), "is listed twice", item)
        elif name is not None:
            found.append(name)
    return tuple(found)


def read_budget(raw: object, problems: Problems) -> Budget:
    """Read `budget`."""
    values = as_mapping(raw, ("budget",), "{trials: 50, timeout: 8h}", problems)
    _refuse_unknown(values, ("budget",), ("trials", "timeout", "trial_timeout"), problems)
    trials = _read_whole(_TRIALS, values, ("budget",), problems)
    return Budget(
        trials, _read_duration(values, "timeout", problems), _read_duration(values, "trial_timeout", problems)
    )


def _read_duration(values: Mapping[str, object], key: str, problems: Problems) -> float | None:
    given = values.get(key)
    seconds = parse_duration(given) if given is not None else None
    if given is not None and seconds is None:
        problems.add(("budget", key), "must be a duration > 0 such as 45m, 8h, 1h30m or 2d", given)
    return seconds


def read_deterministic(raw: object, problems: Problems) -> int | None:
    """Read `deterministic`: how many trials are a batch; None where trials are not dealt in batches."""
    if raw is None:
        return None
    return cast("int | None", read_value(_BATCH, raw, ("deterministic",), problems))


def parse_duration(raw: object) -> float | None:
    """Seconds in `90s`, `45m`, `8h`, `1h30m`, `2d`, or in a plain number of seconds; None if it is none of these."""
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return None
    if not isinstance(raw, str):
        seconds = float(raw)
    elif match := _DURATION.fullmatch(raw.replace(" ", "")):
        factors = (1, 86400, 3600, 60, 1)
        seconds = sum(float(part) * factor for part, factor in zip(match.groups(), factors, strict=True) if part)
    else:
        return None
    return seconds if 0 < seconds < math.inf else None


def read_sampler(raw: object, problems: Problems) -> SamplerSpec:
    """Read `sampler`: its name, its seed, and Optuna's own parameters beside them; or the word `auto`."""
    path: Path = ("sampler",)
    values = as_mapping({"name": AUTO} if raw == AUTO else raw, path, "{name: tpe, seed: 0}", problems)
    names = {AUTO: None, **SAMPLERS}
    name = read_name(values.get("name", SamplerSpec.name), (*path, "name"), names, problems)
    seed = _read_whole(_SEED, values, path, problems)
    if name is None:
        return SamplerSpec(seed=seed)
    if name == AUTO:
        _refuse_unknown(values, path, ("name", "seed"), problems)
        return SamplerSpec(seed=seed, is_automatic=True)
    options = _read_options(values, path, SAMPLERS[name].parameters, ("name", "seed"), problems)
    for clash in SAMPLERS[name].clashes:
        if all(options.get(parameter) == value for parameter, value in clash.items()):
            pair = " and ".join(f"{parameter}: {str(value).lower()}" for parameter, value in clash.items())
            problems.add((*path, next(iter(clash))), f"Optuna does not allow {pair} together")
    return SamplerSpec(name, seed, options)


def read_pruner(
    raw: object, problems: Problems, path: Path = ("pruner",), default: str = PrunerSpec.name
) -> PrunerSpec:
    """Read `pruner`: its name (`default` where nothing is said) and Optuna's own parameters beside it."""
    values = as_mapping(raw, path, "{name: hyperband, min_resource: 2}", problems)
    if not values and isinstance(raw, dict | None):
        return PrunerSpec(default, is_default=True)
    name = read_name(values.get("name", PrunerSpec.name if values else default), (*path, "name"), PRUNERS, problems)
    if name is None:
        return PrunerSpec()
    choice = PRUNERS[name]
    is_outer = path == ("pruner",)
    reserved = ("name", *(("wrapped_pruner",) if choice.wraps else ()), *((SPARE.name,) if is_outer else ()))
    options = _read_options(values, path, choice.parameters, reserved, problems)
    for parameter in choice.required:
        if parameter not in values:
            problems.add(path, f"pruner {name} needs {parameter}")
    if name == "threshold" and not values.keys() & {"lower", "upper"}:
        problems.add(path, "pruner threshold needs lower, upper or both")
    if "lower" in options and "upper" in options and cast(float, options["lower"]) > cast(float, options["upper"]):
        problems.add((*path, "lower"), f"must be at most upper, which is {options['upper']}", options["lower"])
    wrapped = None
    if choice.wraps and "wrapped_pruner" in values:
        inner = (*path, "wrapped_pruner")
        wrapped = read_pruner(values["wrapped_pruner"], problems, inner)
        if wrapped.wraps_another:
            problems.add((*inner, "name"), "must be a pruner that does not wrap another", wrapped.name)
        elif PRUNERS[wrapped.name].promotes:
            problems.add((*inner, "name"), "must be a pruner that stops trials; promotion pauses them", wrapped.name)
    return PrunerSpec(name, options, wrapped, _read_spare(name, values, path, problems) if is_outer else 0.0)


def _read_spare(pruner: str, values: Mapping[str, object], path: Path, problems: Problems) -> float:
    if SPARE.name not in values:
        return 0.0
    if pruner == "none":
        problems.add((*path, SPARE.name), "pruner none stops nothing, so nothing is to be spared", values[SPARE.name])
    return cast("float", read_value(SPARE, values[SPARE.name], (*path, SPARE.name), problems) or 0.0)


def as_mapping(raw: object, path: Path, example: str, problems: Problems) -> Mapping[str, object]:
    """`raw` if it is a mapping, the empty one if it is missing; anything else is a problem."""
    if raw is None:
        return {}
    if isinstance(raw, dict):
        return raw
    problems.add(path, f"must be a mapping such as {example}", raw)
    return {}


def read_name(raw: object, path: Path, names: Mapping[str, object], problems: Problems) -> str | None:
    """`raw` if it is one of `names`; anything else is a problem, and None."""
    if isinstance(raw, str) and raw in names:
        return raw
    found = re.search(r"top(\d+)", raw) if isinstance(raw, str) else None
    if found:  # the mapping lists one number for all
        with_number = re.sub(r"top\d+", f"top{EXAMPLE_NUMBER}", str(raw))
        alike = (nearest_name(with_number, names) or "").replace(f"top{EXAMPLE_NUMBER}", found[0])
        if alike in names:
            problems.add(path, f"must be {enumerate_names(sorted(names))}", raw, alike)
            return None
    problems.add_name(path, raw, names)
    return None


def _read_whole(rule: Knob, values: Mapping[str, object], path: Path, problems: Problems) -> int:
    if rule.name not in values:
        return cast(int, rule.default)
    value = read_value(rule, values[rule.name], (*path, rule.name), problems)
    return cast(int, rule.default if value is None else value)


def _read_options(
    values: Mapping[str, object],
    path: Path,
    parameters: tuple[Knob, ...],
    reserved: tuple[str, ...],
    problems: Problems,
) -> dict[str, Value]:
    by_name = {parameter.name: parameter for parameter in parameters}
    options: dict[str, Value] = {}
    for name, raw in values.items():
        if name in by_name:
            value = read_value(by_name[name], raw, (*path, name), problems)
            if value is not None:
                options[name] = value
        elif name not in reserved:
            problems.unknown_key((*path, name), (*reserved, *by_name))
    return options


def _refuse_unknown(values: Mapping[str, object], path: Path, names: tuple[str, ...], problems: Problems) -> None:
    for key in values:
        if key not in names:
            problems.unknown_key((*path, key), names)
