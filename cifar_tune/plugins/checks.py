"""Checks how the parts of plugins fit their knobs, each other and the built-in parts; problems carry line numbers."""

import inspect
import re
from collections.abc import Mapping, Sequence, Set
from typing import cast

from cifar_tune.errors import Problem, enumerate_names, nearest_name
from cifar_tune.knobs.knob import NO_NAMES, Kind, Knob
from cifar_tune.knobs.metrics import MEASURES, MetricPart, find_measure
from cifar_tune.knobs.part import Part, resolve
from cifar_tune.knobs.plugin import Plugin
from cifar_tune.knobs.schedules import SchedulePart
from cifar_tune.knobs.vocabulary import BUILT_IN, METRIC
from cifar_tune.plugins.kinds import (
    KINDS,
    OTHER_METRICS,
    OWN_KNOBS,
    OWNERS,
    RESERVED,
    RESERVED_BEGINNINGS,
    PartKind,
)


class Places:
    """The problems of some plugin files.

    Args:
        lines: for each file, on which line each entry of its dictionaries stands (`execute.entry_lines`).
    """

    def __init__(self, lines: Mapping[str, Mapping[tuple[str, str], int]]) -> None:
        self._lines = lines
        self.problems: list[Problem] = []

    def add(
        self,
        path: str,
        rule: str,
        dictionary: str | None = None,
        name: str = "",
        value: object = None,
        nearest: str | None = None,
    ) -> None:
        """Record one problem of a file: of the whole, of a dictionary, or of one of its entries."""
        known = self._lines[path]
        line = None if dictionary is None else known.get((dictionary, name)) or known.get((dictionary, ""))
        key = f"{dictionary}.{name}" if dictionary and name else dictionary
        self.problems.append(Problem(rule, key, value, path, line, nearest))


_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")
_NAME_RULE = "a name must be 1 to 50 small letters, digits or `_`, and begin with a letter"


def check_plugins(plugins: Sequence[Plugin], places: Places) -> None:
    """Record every problem of plugins that one study uses together."""
    knobs: dict[str, Knob] = dict(BUILT_IN.knobs)
    defined_by: dict[tuple[str, str], str] = {}
    for plugin in plugins:
        for name, knob in plugin.knobs.items():
            _check_name(name, OWN_KNOBS, BUILT_IN.knobs.keys(), plugin.path, defined_by, places)
            if name not in BUILT_IN.knobs:
                _check_knob(knob, plugins, plugin.path, places)
                knobs[name] = knob
    for plugin in plugins:
        for owner, parts in plugin.parts.items():
            dictionary = KINDS[owner].dictionary
            built_in = {*MEASURES, *OTHER_METRICS} if owner == METRIC else BUILT_IN.parts(owner).keys()
            for name, part in parts.items():
                _check_name(name, dictionary, built_in, plugin.path, defined_by, places)
                for rule, value, nearest in _part_problems(owner, part, knobs):
                    places.add(plugin.path, rule, dictionary, name, value, nearest)


def _check_name(
    name: str,
    dictionary: str,
    built_in: Set[str],
    path: str,
    defined_by: dict[tuple[str, str], str],
    places: Places,
) -> None:
    if not _NAME.fullmatch(name) or name in (NO_NAMES, *RESERVED):
        rule = _NAME_RULE if not _NAME.fullmatch(name) else "this name means something else in a study; take another"
        places.add(path, rule, dictionary, name)
    if dictionary == OWN_KNOBS and name.startswith(RESERVED_BEGINNINGS):
        rule = f"a knob's name cannot begin with {' or '.join(RESERVED_BEGINNINGS)}, as those of metrics do"
        places.add(path, rule, dictionary, name)
    if name in built_in or (dictionary == KINDS[METRIC].dictionary and find_measure(name, MEASURES) is not None):
        places.add(path, "this name is taken by a built-in one; take another", dictionary, name)
    other = defined_by.setdefault((dictionary, name), path)
    if other != path:
        places.add(path, f"this name is taken by {other}; take another", dictionary, name)


def _check_knob(knob: Knob, plugins: Sequence[Plugin], path: str, places: Places) -> None:
    if knob.owner not in OWNERS:
        rule = f"a plugin's knob needs an owner whose parts take it: {enumerate_names(list(OWNERS))}"
        places.add(path, rule, OWN_KNOBS, knob.name, knob.owner, nearest_name(knob.owner or "", OWNERS))
    elif not any(knob.name in part.arguments for each in plugins for part in each.parts.get(knob.owner, {}).values()):
        rule = f"no entry of {KINDS[knob.owner].dictionary} takes it: name it in the arguments of one"
        places.add(path, rule, OWN_KNOBS, knob.name)
    if knob.kind in (Kind.NAME, Kind.NAMES) and not knob.names:
        places.add(path, 'a knob of names needs its names: names={"mean": "what it is"}', OWN_KNOBS, knob.name)
        return
    try:
        knob.parse(knob.default)
    except ValueError as error:
        places.add(path, f"its default {error}", OWN_KNOBS, knob.name, knob.default)


def _part_problems(owner: str, part: Part, knobs: Mapping[str, Knob]) -> list[tuple[str, object, str | None]]:
    """Rules that the part breaks, each with the value and the name that was most likely meant."""
    found: list[tuple[str, object, str | None]] = []
    if isinstance(part, MetricPart) and (wrong := _metric_problems(part)):
        return wrong
    for knob, argument in part.arguments.items():
        if knob not in knobs:
            found.append(("there is no knob of that name", knob, nearest_name(knob, knobs)))
        elif knobs[knob].owner not in (owner, None) and knobs[knob].owner in KINDS:
            found.append((f"this knob belongs to {knobs[knob].owner}, not to {owner}", knob, None))
        if not re.fullmatch(r"\w+(\.\d+)?", argument):
            found.append(("must be an argument's name, or an item of one such as betas.0", argument, None))
    for knob, default in part.defaults.items():
        if knob not in part.arguments:
            found.append(("has a default, but is not among the arguments", knob, nearest_name(knob, part.arguments)))
        elif knob in knobs:
            try:
                knobs[knob].parse(default)
            except ValueError as error:
                found.append((f"its default of {knob} {error}", default, None))
    kind = KINDS[owner]
    found += [
        (f'must take {knob}, such as arguments={{"{knob}": "{knob}"}}', None, None)
        for knob in kind.needs
        if knob not in part.arguments
    ]
    return found or _target_problems(kind, part)


def _metric_problems(part: MetricPart) -> list[tuple[str, object, str | None]]:
    found: list[tuple[str, object, str | None]] = []
    if part.arguments:
        rule = "a metric takes no knobs, so that it means the same in every trial; constants can be given"
        found.append((rule, next(iter(part.arguments)), None))
    if part.number:
        found.append(("number is for built-in metrics; give it as a constant", part.number, None))
    if part.lowest >= part.highest:
        found.append(("its lowest must be below its highest", part.lowest, None))
    if part.fewest_classes > (part.most_classes or part.fewest_classes):
        found.append(("its fewest_classes must be at most its most_classes", part.fewest_classes, None))
    return found


def _target_problems(kind: PartKind, part: Part) -> list[tuple[str, object, str | None]]:
    target = part.target
    if not callable(target):
        return [(f"its target must be a class, or {kind.noun}", target, None)]
    if isinstance(target, type):
        if kind.base is None:
            return [(f"its target must be {kind.noun}, not a class", target.__name__, None)]
        base = cast(type, resolve(kind.base))
        if not issubclass(target, base):
            return [(f"its class must derive from {kind.base.replace(':', '.')}", target.__name__, None)]
        if kind.methods and not any(_defines(target, base, method) for method in kind.methods):
            return [(f"its class has no {kind.methods[0]}(), which training calls", target.__name__, None)]
    try:
        signature = inspect.signature(target)
    except ValueError:  # of some functions written in C
        return []
    parameters = signature.parameters.values()
    named = [each.name for each in parameters if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)]
    taken = _argument_names(part)
    if not any(each.kind is each.VAR_KEYWORD for each in parameters):
        unknown = [name for name in taken if name not in named]
        if unknown:
            spoken = getattr(target, "__name__", "the target")
            return [(f"{spoken} has no such argument", name, nearest_name(name, named)) for name in unknown]
    try:
        signature.bind(*kind.given, **dict.fromkeys(taken))
    except TypeError as error:
        call = ", ".join([*kind.given, *(f"{name}=..." for name in taken)])
        return [(f"cannot be called as ({call}): {error}", None, None)]
    return []


def _defines(target: type, base: type, method: str) -> bool:
    """Whether the class, or one between it and the base, has a method of its own.

    Optimizers that have been made once hold a wrapper of their base's `step`, which does not count.
    """
    inherited = vars(base).get(method)
    between = [vars(each) for each in target.__mro__ if each not in base.__mro__]
    return any(method in own and inspect.unwrap(own[method]) is not inherited for own in between)


def _argument_names(part: Part) -> list[str]:
    names = [*part.constants, *(argument.partition(".")[0] for argument in part.arguments.values())]
    if isinstance(part, SchedulePart):
        names += [name for name in (part.length_argument, part.lr_argument) if name is not None]
    return list(dict.fromkeys(names))
