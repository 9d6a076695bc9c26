"""Checks across several knobs or sections: who takes what, which conditions can hold, what cannot work together."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import cast

from cifar_tune.errors import enumerate_names
from cifar_tune.knobs.knob import Knob, stored
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.rules import RULES, Rule
from cifar_tune.knobs.vocabulary import Vocabulary
from cifar_tune.study_spec.metrics import METRICS
from cifar_tune.study_spec.problems import Path, Problems
from cifar_tune.study_spec.pruners import PRUNERS
from cifar_tune.study_spec.samplers import SAMPLERS
from cifar_tune.study_spec.search_space import Choices, Range, condition_holds
from cifar_tune.study_spec.settings import Objective, PrunerSpec
from cifar_tune.study_spec.space import Space, TooManyOutcomesError, find_cycle
from cifar_tune.study_spec.specification import StudySpec

FEWEST_PROMOTED = 20
"""Trials from which on `promotion` is the default pruner; replays of smaller studies have not shown it to be better."""


def default_pruner(objectives: Sequence[Objective], trials: int, deterministic: int | None) -> str:
    """The pruner of a study that does not name one: none where none is possible, and `promotion` in a larger study."""
    if _why_not_pruned(objectives):
        return "none"
    return "promotion" if trials >= FEWEST_PROMOTED and deterministic is None else PrunerSpec.name


def check_objectives(spec: StudySpec, problems: Problems) -> list[str]:
    """Refuse samplers and pruners that cannot work with the objectives; note what ignores constraints.

    Sections that are wrong by themselves are not judged.
    """
    if not problems.is_sound(("objective",)):
        return []
    why_not = _why_not_pruned(spec.objectives)
    if why_not and spec.pruner.name != "none" and problems.is_sound(("pruner",)):
        problems.add(("pruner", "name"), f"must be none: {why_not}", spec.pruner.name)
    if not problems.is_sound(("sampler",)):
        return []
    sampler = SAMPLERS[spec.sampler.name]
    if spec.has_several_objectives and not sampler.takes_several_objectives:
        able = [name for name, choice in SAMPLERS.items() if choice.takes_several_objectives]
        rule = f"handles one objective only, and here are {len(spec.objectives)}; use {enumerate_names(able)}"
        problems.add(("sampler", "name"), rule, spec.sampler.name)
    if spec.constraints and not sampler.heeds_constraints:
        able = [name for name, choice in SAMPLERS.items() if choice.heeds_constraints]
        return [
            f"sampler {spec.sampler.name} does not look for trials that keep the constraints; they are only judged by "
            f"them. {enumerate_names(able, 'and')} do"
        ]
    return []


def check_deterministic(spec: StudySpec, problems: Problems) -> None:
    """Refuse batches that could not keep their promise: a metric that is measured in time is never the same twice."""
    if not all(problems.is_sound((section,)) for section in ("objective", "constraints", "deterministic")):
        return
    clocked = [name for name in spec.judged if name in METRICS and METRICS[name].is_clocked]
    if spec.deterministic is not None and clocked:
        rule = f"does not work with {clocked[0]}, which is measured in time: it would differ from run to run"
        problems.add(("deterministic",), rule, spec.deterministic)
    if spec.deterministic is not None and problems.is_sound(("pruner",)) and PRUNERS[spec.pruner.name].promotes:
        rule = f"does not work with pruner {spec.pruner.name}: whether a trial goes on depends on all that came later"
        problems.add(("deterministic",), rule, spec.deterministic)


def _why_not_pruned(objectives: Sequence[Objective]) -> str:
    if len(objectives) > 1:
        return "pruners compare trials by one value per epoch, and here are several objectives"
    metric = METRICS.get(objectives[0].metric)
    reason = metric.not_pruned_by if metric else ""
    return f"no pruner can judge {objectives[0].metric}: {reason}" if reason else ""


@dataclass(frozen=True, slots=True)
class _Effect:
    """Where a knob should change something (`wanted`), when it does (`there`), and why else it does not.

    Both are asked of the values of the knobs in `names`.
    """

    names: tuple[str, ...]
    wanted: Callable[[Mapping[str, Value]], bool]
    there: Callable[[Mapping[str, Value]], bool]
    otherwise: str


def _is_shorter(name: str) -> Callable[[Mapping[str, Value]], bool]:
    return lambda values: cast(int, values[name]) < cast(int, values["epochs"])


def _decays(values: Mapping[str, Value]) -> bool:
    return cast(float, values.get("weight_decay", 0)) > 0 or cast(float, values.get("l1", 0)) > 0


def _balances_twice(values: Mapping[str, Value]) -> bool:
    return values["sampling"] == values.get("class_weights") == "balanced"


_EFFECTS: tuple[_Effect, ...] = (
    _Effect(
        ("decay_norm_and_bias", "weight_decay", "l1"),
        lambda values: values["decay_norm_and_bias"] is False,
        _decays,
        "decay_norm_and_bias: false changes nothing: weight_decay and l1 are 0",
    ),
    _Effect(
        ("patience", "epochs"),
        lambda values: cast(int, values["patience"]) > 0,
        _is_shorter("patience"),
        "patience changes nothing: no trial has more epochs",
    ),
    _Effect(
        ("schedule", "plateau_patience", "epochs"),
        lambda values: values["schedule"] == "plateau",
        _is_shorter("plateau_patience"),
        "schedule plateau is constant here: no trial has more epochs than plateau_patience",
    ),
    _Effect(
        ("schedule", "step_size", "epochs"),
        lambda values: values["schedule"] == "step",
        _is_shorter("step_size"),
        "schedule step is constant here: no trial has more epochs than step_size",
    ),
    _Effect(
        ("schedule", "t_0", "epochs"),
        lambda values: values["schedule"] == "cosine_restarts",
        _is_shorter("t_0"),
        "schedule cosine_restarts never restarts here: no trial has more epochs than t_0",
    ),
    _Effect(
        ("sampling", "class_weights"),
        _balances_twice,
        lambda _: False,
        "sampling balanced and class_weights balanced together make up for small classes twice; one of them is enough",
    ),
)


def check_space(
    space: Space, problems: Problems, unknown: Set[str] = frozenset(), also_fixed: Set[str] = frozenset()
) -> list[str]:
    """Record every problem of the space, and return notes: what is allowed but surely not meant.

    Args:
        space: the knobs whose values could be read.
        problems: where problems are recorded.
        unknown: knobs of whose values nothing is known, since what stands there is wrong. Nothing is said that depends
            on one of them.
        also_fixed: the fixed ones among them: whether a trial can take such a knob is judged all the same.
    """
    cycle = find_cycle(space)
    if cycle:
        searched = next(name for name in cycle if name in space.dimensions)
        words = "conditions, or `per`," if any(_is_scaled(space, name) for name in cycle) else "conditions"
        problems.add(("search_space", searched), f"{words} stand on each other in a circle: {' -> '.join(cycle)}")
        return []

    def is_known(*names: str) -> bool:
        return not space.needed(set(names)) & unknown

    knobs = space.vocabulary.knobs
    notes: list[str] = []
    try:
        for name in dict.fromkeys((*space.fixed, *sorted(also_fixed))):
            owner = knobs[name].owner
            if owner is not None and is_known(owner):
                _check_fixed(knobs[name], owner, space, problems)
        for name in space.dimensions:
            _check_conditions(name, space, problems, unknown)
            if is_known(name):
                notes += _check_searched(knobs[name], space, problems)
                _check_scaled(knobs[name], space, problems)
        _check_rules([rule for rule in RULES if is_known(*rule.knobs)], space, problems)
        notes += _without_effect([effect for effect in _EFFECTS if is_known(*effect.names)], space)
    except TooManyOutcomesError:
        problems.add(("search_space",), "the conditions entangle too many combinations; use fewer knobs in `when`")
    return notes


def check_sound(space: Space, given: object, problems: Problems) -> list[str]:
    """Check what could be read, whatever is wrong with the rest; returns notes, as `check_space` does.

    `given` is what stands under `train`, and `problems` says what could not be read.
    """
    named = given.keys() if isinstance(given, dict) else set()
    also_fixed = (named & space.vocabulary.knobs.keys()) - space.fixed.keys()
    return check_space(space, problems, unknown_knobs(space, problems), also_fixed)


def unknown_knobs(space: Space, problems: Problems) -> Set[str]:
    """The knobs of whose values nothing is known, since something is wrong with what stands there.

    An unknown key may have been meant for any knob that is not there.
    """
    places = ((), ("train",), ("search_space",))
    knobs = space.vocabulary.knobs
    wrong = {name for name in knobs if not all(problems.is_sound((*place, name)) for place in places)}
    if any(path[:-1] in places for path in problems.unknown_keys):
        wrong |= knobs.keys() - space.fixed.keys() - space.dimensions.keys()
    return wrong


def _check_fixed(knob: Knob, owner: str, space: Space, problems: Problems) -> None:
    refusers = []
    for outcome in space.outcomes({owner}):
        if space.vocabulary.applies(knob, outcome):
            return
        refusers.append(_named(owner, outcome))
    value = stored(space.fixed[knob.name]) if knob.name in space.fixed else None
    problems.add(("train", knob.name), _not_taken(knob, space.vocabulary, refusers), value)


def _check_searched(knob: Knob, space: Space, problems: Problems) -> list[str]:
    """A searched knob must be taken wherever its conditions hold."""
    active, refusers = False, []
    for outcome in space.outcomes({knob.name}):
        if not space.is_active(knob.name, outcome):
            continue
        active = True
        if not space.vocabulary.applies(knob, outcome) and knob.owner:
            refusers.append(_named(knob.owner, outcome))
    if refusers:
        problems.add(("search_space", knob.name), _not_taken(knob, space.vocabulary, refusers) + _advice(knob, space))
    if not active:
        return [f"search_space.{knob.name} is never searched: its conditions never hold"]
    return []


def _is_scaled(space: Space, name: str) -> bool:
    dimension = space.dimensions.get(name)
    return isinstance(dimension, Range) and dimension.per is not None


def _check_scaled(knob: Knob, space: Space, problems: Problems) -> None:
    """What a knob is searched per must be there in every trial, and keep the knob within its own bounds."""
    dimension = space.dimensions[knob.name]
    if isinstance(dimension, Choices) or dimension.per is None:
        return
    per = dimension.per
    for outcome in space.outcomes({knob.name}):
        if not space.is_active(knob.name, outcome):
            continue
        other = space.vocabulary.knobs[per.knob]
        if not space.vocabulary.applies(other, outcome) and other.owner:
            owner = _named(other.owner, outcome)
            problems.add(("search_space", knob.name, "per"), f"{owner} does not take {per.knob}, so it can be missing")
            return
        try:
            knob.parse(outcome[knob.name])
        except ValueError as error:
            beside, value = outcome[per.knob], outcome[knob.name]
            rule = f"with {per.knob} {beside} a trial would have {knob.name} {value}, and it {error}"
            problems.add(("search_space", knob.name, "per"), rule)
            return


def _check_conditions(name: str, space: Space, problems: Problems, unknown: Set[str]) -> None:
    for on, wanted in space.dimensions[name].when.items():
        if on in unknown:
            continue
        path: Path = ("search_space", name, "when", on)
        dimension = space.dimensions.get(on)
        if dimension is not None and not isinstance(dimension, Choices):
            problems.add(path, f"a condition needs {on} to be fixed or to have choices, not a range")
        elif dimension is not None:
            possible = [*dimension.choices, *(_default_beside(on, space.vocabulary) if dimension.when else ())]
            for value in wanted:
                if not any(condition_holds(on, (value,), candidate) for candidate in possible):
                    names = enumerate_names([_spoken(choice) for choice in dimension.choices], "and")
                    problems.add(path, f"{on} is never that here; its choices are {names}", stored(value))


def _default_beside(name: str, vocabulary: Vocabulary) -> tuple[Value, ...]:
    knob = vocabulary.knobs[name]
    parts = vocabulary.parts(knob.owner) if knob.owner else {}
    defaults = [part.defaults[name] for part in parts.values() if name in part.defaults]
    return (knob.default, *defaults)


def _check_rules(rules: Sequence[Rule], space: Space, problems: Problems) -> None:
    vocabulary = space.vocabulary
    for rule in rules:
        for outcome in space.outcomes(set(rule.knobs)):
            taken = all(knob in outcome and vocabulary.applies(vocabulary.knobs[knob], outcome) for knob in rule.knobs)
            if taken and rule.broken(outcome, vocabulary):
                written = [knob for place in (space.dimensions, space.fixed) for knob in rule.knobs if knob in place]
                culprit = written[0] if written else rule.knobs[0]
                section = "search_space" if culprit in space.dimensions else "train"
                pairs = [(knob, _spoken(outcome[knob])) for knob in rule.knobs]
                is_searched = any(knob in space.dimensions for knob in rule.knobs)
                together = enumerate_names([f"{knob} {value}" for knob, value in pairs], "and") + " can come together"
                fixed = "here " + enumerate_names([f"{knob} is {value}" for knob, value in pairs], "and")
                problems.add((section, culprit), f"{rule.message}, but {together if is_searched else fixed}")
                break


def _without_effect(effects: Sequence[_Effect], space: Space) -> list[str]:
    """Notes on what was asked for and changes nothing in any trial."""
    notes = []
    for effect in effects:
        wanted = [outcome for outcome in space.outcomes(set(effect.names)) if effect.wanted(outcome)]
        if wanted and not any(effect.there(outcome) for outcome in wanted):
            notes.append(effect.otherwise)
    return notes


def _named(owner: str, outcome: Mapping[str, Value]) -> str:
    if owner not in outcome:
        return f"a run without {owner}"
    return f"{owner} {_spoken(outcome[owner])}"


def _spoken(value: Value) -> str:
    return str(stored(value)).lower() if isinstance(value, bool) else str(stored(value))


def _not_taken(knob: Knob, vocabulary: Vocabulary, refusers: list[str]) -> str:
    unique = list(dict.fromkeys(refusers))
    verb = "does" if len(unique) == 1 else "do"
    takers = enumerate_names(vocabulary.takers(knob), "and")
    return f"{enumerate_names(unique, 'and')} {verb} not take {knob.name}; taken by {takers}"


def _advice(knob: Knob, space: Space) -> str:
    dimension = space.dimensions.get(knob.owner or "")
    taking = list(space.vocabulary.takers(knob))
    if isinstance(dimension, Choices):
        reachable = {
            name for choice in dimension.choices for name in (choice if isinstance(choice, tuple) else (choice,))
        }
        taking = [name for name in taking if name in reachable]
    if dimension is None or not taking:
        return ""
    wanted = taking[0] if len(taking) == 1 else f"[{', '.join(taking)}]"
    return f"; add `when: {{{knob.owner}: {wanted}}}`"
