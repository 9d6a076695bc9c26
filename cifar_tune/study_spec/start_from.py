"""`start_from`: known configurations that a study runs first, each a mapping of searched knobs, or a CONFIG file.

Values are those that training uses. Where a range is searched `per` another knob, they are turned into what the
sampler would have suggested. Optuna would run values outside of the space, and ignore names that it does not know, so
everything is judged here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from itertools import combinations
from pathlib import Path as FilePath

from cifar_tune.errors import UserError, enumerate_names
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.knob import stored
from cifar_tune.knobs.part import Scalar, Value
from cifar_tune.knobs.rules import broken_rules
from cifar_tune.knobs.vocabulary import Vocabulary
from cifar_tune.paths import PathError, expanded
from cifar_tune.study_spec.partial import Partial, partial_configuration
from cifar_tune.study_spec.placing import OutsideError, placed
from cifar_tune.study_spec.problems import Path, Problems
from cifar_tune.study_spec.search_space import Dimension, Range, condition_holds, read_value
from cifar_tune.study_spec.space import Space

KnownConfiguration = Mapping[str, Value]
"""The searched knobs that one item of `start_from` names, with the values that training uses."""

_EXAMPLE = "a mapping such as {optimizer: sgd, lr: 0.1}, or the path of a file such as an exported best.yaml"


def read_start_from(
    raw: object,
    space: Space | None,
    vocabulary: Vocabulary,
    overridden: Set[str],
    read_file: Callable[[FilePath], Configuration],
    problems: Problems,
) -> tuple[tuple[KnownConfiguration, ...], list[str]]:
    """Read `start_from`; returns the items, and notes on what files say beyond the space.

    Where the space is not in order it is None: then only what is wrong with the items themselves is recorded, and none
    is returned. `overridden` are the knobs that `--set` fixed: items lose them, as the search space does, and an item
    of which nothing new is left is dropped. Paths are relative to the current folder.
    """
    if raw is None:
        return (), []
    if not isinstance(raw, list):
        problems.add(("start_from",), f"must be a list; an item is {_EXAMPLE}", raw)
        return (), []
    items: dict[int, KnownConfiguration] = {}
    notes: list[str] = []
    for index, given in enumerate(raw):
        path: Path = ("start_from", index)
        item: KnownConfiguration | None
        if isinstance(given, str):
            item, remarks = _from_file(given, space, overridden, read_file, path, problems)
            notes += remarks
        elif isinstance(given, dict):
            item = _from_mapping(given, space, vocabulary, overridden, path, problems)
        else:
            problems.add(path, f"must be {_EXAMPLE}", given)
            continue
        if space is None:
            continue
        same = next((earlier for earlier, other in items.items() if other == item), None)
        if item and same is None:
            items[index] = item
        elif item is not None and not overridden:
            problems.add(path, f"says the same as start_from[{same}]" if item else "names no knob that is searched")
    return tuple(items.values()), notes


def check_grid_items(items: Sequence[KnownConfiguration], space: Space, problems: Problems) -> None:
    """Where every combination is tried once, what the sampler draws for one item must not be another item."""
    for (first, one), (second, other) in combinations(enumerate(items), 2):
        if all(one[name] == other[name] for name in one.keys() & other.keys()):
            open_ = next((item for item in (one, other) if partial_configuration(space, item).drawn), None)
            if open_ is not None:
                missing = enumerate_names(partial_configuration(space, open_).drawn, "and")
                rule = (
                    f"and start_from[{first}] may come out the same, since the sampler draws {missing}, and sampler "
                    f"grid tries every combination once; name them"
                )
                problems.add(("start_from", second), rule)


def suggested(space: Space, item: KnownConfiguration) -> dict[str, Scalar]:
    """What Optuna is to be given as suggested for an item that was read: its own numbers, lists of names joined."""
    known = partial_configuration(space, item).values
    return {name: stored(placed(space.dimensions[name], value, known)) for name, value in item.items()}


def _from_mapping(
    given: Mapping[str, object],
    space: Space | None,
    vocabulary: Vocabulary,
    overridden: Set[str],
    path: Path,
    problems: Problems,
) -> KnownConfiguration | None:
    before = problems.count
    knobs = vocabulary.knobs
    named: dict[str, Value] = {}
    for name, raw in given.items():
        if name not in knobs:
            problems.unknown_key((*path, name), knobs)
        elif name not in overridden:
            value = read_value(knobs[name], raw, (*path, name), problems)
            if value is not None:
                named[name] = value
    if problems.count > before or space is None:
        return None
    item = {name: value for name, value in named.items() if name in space.dimensions}
    known = partial_configuration(space, item)
    for name, value in named.items():
        reason = _not_searched(name, value, space, known)
        if reason is None:
            if name in item:
                _place(name, value, space, known, (*path, name), problems)
        elif name in item and overridden & space.dimensions[name].when.keys():
            item.pop(name)  # `--set` has decided that it is not searched
        else:
            problems.add((*path, name), reason, stored(value))
    _judge(known, space, path, problems)
    return item if problems.count == before else None


def _from_file(
    given: str,
    space: Space | None,
    overridden: Set[str],
    read_file: Callable[[FilePath], Configuration],
    path: Path,
    problems: Problems,
) -> tuple[KnownConfiguration | None, list[str]]:
    before = problems.count
    try:
        config = read_file(FilePath(expanded(given)))
    except PathError as error:
        problems.add(path, str(error), given)
        return None, []
    except UserError as error:
        for problem in error.problems:
            if problem.key is None and problem.line is None:  # the file as a whole, such as one that is not there
                problems.add(path, problem.rule, given)
            else:
                problems.include([problem], path)
        return None, []
    if space is None:
        return None, []
    # of all its knobs those count that are searched where the others are as in the file
    item = {name: config[name] for name in space.dimensions if name in config}
    known = partial_configuration(space, item)
    item = {name: value for name, value in item.items() if name in known.searched}
    for name, value in item.items():
        _place(name, value, space, known, (*path, name), problems)
    _judge(known, space, path, problems)
    differing = [
        f"{name} {stored(known.values[name])} (there {stored(value)})"
        for name, value in config.items()
        if name in known.values and name not in item and name not in overridden and known.values[name] != value
    ]
    notes = [f"start_from[{path[1]}], {given}: the study has {', '.join(differing)}"] if differing else []
    return (item if problems.count == before else None), notes


def _not_searched(name: str, value: Value, space: Space, known: Partial) -> str | None:
    """Why an item may not name a knob; None if it may."""
    if name in known.searched:
        return None
    if name in space.dimensions:
        parents = dict.fromkeys([*space.dimensions[name].when, space.vocabulary.knobs[name].owner or name])
        undecided = [parent for parent in parents if parent in known.undecided and parent != name]
        if undecided:
            return f"depends on {enumerate_names(undecided, 'and')}; name that in this item too"
        failing = enumerate_names(list(_failing(space.dimensions[name], known)), "and")
        return f"is not searched together with the others of this item: it needs {failing}"
    if name not in known.values:
        if name in known.undecided:
            return "is not searched in this study, and its default depends on what is drawn"
        takers = space.vocabulary.takers(space.vocabulary.knobs[name])
        return f"is not taken together with the others of this item; taken by {enumerate_names(takers, 'and')}"
    if known.values[name] == value:
        return None
    where = "fixed at" if name in space.fixed else "not searched in this study: it has its default,"
    return f"is {where} {stored(known.values[name])}"


def _failing(dimension: Dimension, known: Partial) -> Iterator[str]:
    for on, wanted in dimension.when.items():
        if not condition_holds(on, wanted, known.values.get(on)):
            yield f"{on} {enumerate_names([str(stored(value)) for value in wanted])}"


def _place(name: str, value: Value, space: Space, known: Partial, path: Path, problems: Problems) -> None:
    dimension = space.dimensions[name]
    if isinstance(dimension, Range) and dimension.per is not None and dimension.per.knob in known.undecided:
        per = dimension.per.knob
        rule = f"is what training uses, and {name} is searched {dimension.per}: name {per} in this item too"
        problems.add(path, rule, value)
        return
    try:
        placed(dimension, value, known.values)
    except OutsideError as error:
        problems.add(path, str(error), stored(value))


def _judge(known: Partial, space: Space, path: Path, problems: Problems) -> None:
    for rule in broken_rules(known.values, space.vocabulary):
        shown = ", ".join(f"{knob} {stored(known.values[knob])}" for knob in rule.knobs)
        problems.add(path, f"{rule.message}; with what is fixed it has {shown}")
