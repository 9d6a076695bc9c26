"""From a study file, or what the database holds of one, to a specification."""

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path as FilePath
from typing import Any

from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import Problem, UserError
from cifar_tune.knobs.configuration import Configuration, as_exported, complete
from cifar_tune.knobs.knob import Kind
from cifar_tune.knobs.part import Value
from cifar_tune.knobs.vocabulary import BUILT_IN, Vocabulary, vocabulary_with
from cifar_tune.paths import is_stream
from cifar_tune.study_spec.automatic import chosen_sampler, sampler_words
from cifar_tune.study_spec.checks import (
    check_deterministic,
    check_objectives,
    check_sound,
    default_pruner,
    unknown_knobs,
)
from cifar_tune.study_spec.constraints import read_constraints
from cifar_tune.study_spec.data_section import in_train, read_data
from cifar_tune.study_spec.metrics import Metrics
from cifar_tune.study_spec.notify import read_notify
from cifar_tune.study_spec.overrides import Override, apply_overrides
from cifar_tune.study_spec.plugin_section import read_plugins
from cifar_tune.study_spec.problems import Path, Problems
from cifar_tune.study_spec.repeats import (
    SEARCH_WORDS,
    RepeatsSpec,
    check_with_seeds,
    check_without_search,
    read_repeats,
    unread_repeats,
)
from cifar_tune.study_spec.samplers import SAMPLERS
from cifar_tune.study_spec.search_checks import check_pruner, check_sampler
from cifar_tune.study_spec.search_space import Dimension, read_dimension, read_value
from cifar_tune.study_spec.settings import (
    as_mapping,
    read_budget,
    read_deterministic,
    read_metrics,
    read_objectives,
    read_pruner,
    read_sampler,
)
from cifar_tune.study_spec.space import Space, find_cycle
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.start_from import check_grid_items, read_start_from
from cifar_tune.study_spec.stop import read_stop
from cifar_tune.study_spec.transfer import read_transfer
from cifar_tune.study_spec.yaml_reader import MAX_BYTES, Document, read_yaml
from cifar_tune.wording import counted

SECTIONS = (
    "name",
    "objective",
    "constraints",
    "metrics",
    "budget",
    "stop",
    "repeats",
    "sampler",
    "pruner",
    "deterministic",
    "data",
    "plugins",
    "train",
    "search_space",
    "start_from",
    "transfer_from",
    "notify",
)
DEFAULT_SEARCH_SPACE: Mapping[str, Any] = {
    "lr": {"low": 1e-4, "high": 1.0, "log": True},
    "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
}
"""Searched by a study that says nothing of `search_space`, unless it fixes them."""

_ELSEWHERE: Mapping[str, str] = {
    **{key: f"budget.{key}" for key in ("trials", "timeout", "trial_timeout")},
    **{key: f"objective.{key}" for key in ("metric", "direction")},
    **{key: f"data.{key}" for key in DataSpec.model_fields if key != "name"},
}
"""Keys that people write into the wrong section, and where they belong."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
NAME_RULE = "must be 1 to 100 letters, digits, '.', '_' or '-', and begin with a letter or digit"
_FILE_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class ReadStudy:
    """A specification, and notes on what is allowed but surely not meant.

    `problems` found nothing; it knows where everything stands, for what is found later.
    """

    spec: StudySpec
    notes: tuple[str, ...]
    problems: Problems


def read_study_file(path: FilePath, overrides: Sequence[Override] = ()) -> ReadStudy:
    """Read and check a study file.

    Raises:
        UserError: with all problems of the file at once.
    """
    return read_study(read_document(path, with_faults=True), str(path), overrides)


def is_extension(key: str) -> bool:
    """Whether a top-level key is one that nothing reads, a place for anchors, as in files of Docker Compose."""
    return key.startswith("x-")


def is_study_name(text: str) -> bool:
    """Whether a study file can name its study so; other programs may give names that none can have."""
    return _NAME.fullmatch(text) is not None and not text.endswith(_FILE_SUFFIXES)


def read_study_name(path: FilePath) -> str:
    """The name in a study file, for commands on the stored study: no plugin runs for it.

    Raises:
        UserError: with all problems of the file at once; where it has plugins, only with those of the name.
    """
    document = read_document(path, with_faults=True)
    if not isinstance(document.value, dict) or not document.value.get("plugins"):
        return read_study(document, str(path)).spec.name
    problems = Problems(str(path), document.lines)
    problems.include(document.faults)
    name = _read_name(document.value.get("name"), problems, is_configuration=False)
    problems.raise_if_any()
    return name


def read_study(
    document: Document,
    source: str | None,
    overrides: Sequence[Override] = (),
    is_stored: bool = False,
    earlier: Set[str] = frozenset(),
) -> ReadStudy:
    """Check what a file, or the database, says of a study.

    Args:
        document: of the file.
        source: for messages.
        overrides: applied before anything is checked.
        is_stored: the database says so: `plugins` holds descriptions, and nothing runs.
        earlier: knobs that had another default when the study began, as in `Vocabulary`.

    Raises:
        UserError: with all problems at once.
    """
    raw = document.value
    if not isinstance(raw, dict):
        rule = "must be a study: a mapping with at least a name, such as `name: my-study`"
        raise UserError([Problem(rule, source=source), *document.faults])
    vocabulary = BUILT_IN
    broken: tuple[Problem, ...] = ()
    try:
        vocabulary = read_plugins(raw, source, document.lines, overrides, is_stored)
    except UserError as error:
        broken = error.problems
    if earlier:
        vocabulary = vocabulary_with(vocabulary.plugins, earlier)
    raw, overridden = apply_overrides(raw, overrides, vocabulary)
    problems = Problems(source, document.lines, overridden)
    problems.include(document.faults)
    if broken:  # nobody knows which knobs and parts there would be
        problems.include(broken, ("train",))
        raw |= {"train": {}, "search_space": {}, "start_from": None}
    for key in raw:
        if key not in SECTIONS and not is_extension(key):
            _refuse_section(key, vocabulary, problems)
    fixed_by_option = {str(path[1]) for path in overridden if path[0] == "train" and len(path) == 2}
    spec, notes = _read_sections(raw, vocabulary, fixed_by_option, problems)
    problems.raise_if_any()
    return ReadStudy(spec, tuple(notes), problems)


def read_document(path: FilePath, with_faults: bool = False) -> Document:
    """Read a YAML file, or a pipe to its end; `with_faults` as for `read_yaml`.

    Raises:
        UserError: if it cannot be read, or is not YAML.
    """
    return read_yaml(read_text(path), str(path), with_faults)


def read_text(path: FilePath) -> str:
    """Read the text of a YAML file, or a pipe to its end.

    Raises:
        UserError: if it cannot be read, is not text, or is larger than any study file.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir() and not is_stream(path):
            raise UserError(Problem("is a device, and no file", source=str(path)))
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UserError(Problem(f"is larger than {MAX_BYTES:,} bytes", source=str(path)))
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(Problem(f"is not UTF-8 text (byte {error.start})", source=str(path))) from error
    except OSError as error:
        raise UserError(Problem(f"cannot be read: {error.strerror}", source=str(path))) from error


def read_train(raw: object, vocabulary: Vocabulary, problems: Problems) -> dict[str, Value]:
    """Read the `train` section: fixed knobs."""
    fixed: dict[str, Value] = {}
    for name, given in as_mapping(raw, ("train",), "{model: resnet18, epochs: 30}", problems).items():
        if name not in vocabulary.knobs:
            problems.unknown_key(("train", name), vocabulary.knobs, _ELSEWHERE)
            continue
        if isinstance(given, dict) and vocabulary.knobs[name].kind is not Kind.CLASS_WEIGHTS:
            problems.add(("train", name), "takes one value here; ranges and choices belong under search_space", given)
            continue
        value = read_value(vocabulary.knobs[name], given, ("train", name), problems)
        if value is not None:
            fixed[name] = value
    return fixed


def _read_known(path: FilePath, vocabulary: Vocabulary) -> Configuration:
    """The train part of a CONFIG file, complete."""
    document = read_document(path, with_faults=True)
    problems = Problems(str(path), document.lines)
    problems.include(document.faults)
    raw = as_mapping(document.value, (), "{train: {optimizer: sgd}}", problems)
    for key in raw:
        if key not in ("data", "plugins", "train") and not is_extension(key):
            problems.add((key,), "a configuration has only data and train, such as an exported best.yaml")
    train = as_exported(read_train(raw.get("train"), vocabulary, problems), vocabulary)
    check_sound(Space(train, {}, vocabulary), raw.get("train"), problems)
    problems.raise_if_any()
    return complete(train, vocabulary)


def _read_sections(
    raw: Mapping[str, object], vocabulary: Vocabulary, fixed_by_option: Set[str], problems: Problems
) -> tuple[StudySpec, list[str]]:
    train = read_train(raw.get("train"), vocabulary, problems)
    dimensions = _read_search_space(raw, vocabulary, problems)
    space = Space(train, dimensions, vocabulary)
    notes = check_sound(space, raw.get("train"), problems)
    is_complete = not any(len(path) == 1 for path in problems.unknown_keys)  # no section hides behind a wrong name
    is_sound = is_complete and all(problems.is_sound((section,)) for section in ("train", "search_space"))
    metrics = Metrics(vocabulary)
    objectives = read_objectives(raw.get("objective"), problems, metrics)
    read_file = partial(_read_known, vocabulary=vocabulary)
    known, remarks = read_start_from(
        raw.get("start_from"), space if is_sound else None, vocabulary, fixed_by_option, read_file, problems
    )
    repeats = read_repeats(raw.get("repeats"), problems)
    budget = read_budget(raw.get("budget"), problems)
    deterministic = read_deterministic(raw.get("deterministic"), problems)
    pruner = "none" if raw.get("repeats") is not None else default_pruner(objectives, budget.trials, deterministic)
    data = read_data(raw.get("data"), vocabulary, problems)
    if repeats is not None and repeats.on_folds:
        data = data.model_copy(update={"folds": repeats.count, "fold": 1, "val_size": None})
    spec = StudySpec(
        name=_read_name(
            raw.get("name"),
            problems,
            is_configuration={key for key in raw if key != "plugins" and not is_extension(key)} == {"data", "train"},
        ),
        objectives=objectives,
        constraints=read_constraints(raw.get("constraints"), problems, metrics),
        budget=budget,
        sampler=read_sampler(raw.get("sampler"), problems),
        pruner=read_pruner(raw.get("pruner"), problems, default=pruner),
        data=data,
        train=train,
        search_space=dimensions,
        start_from=known,
        vocabulary=vocabulary,
        deterministic=deterministic,
        stop=read_stop(raw.get("stop"), objectives, dimensions, problems),
        listed=read_metrics(raw.get("metrics"), problems, metrics),
        repeats=repeats,
        transfer_from=read_transfer(raw.get("transfer_from"), raw.get("name"), problems),
        notify=read_notify(raw.get("notify"), problems),
    )
    if spec.sampler.is_automatic and is_sound:
        sampler, why = chosen_sampler(spec)
        spec = replace(spec, sampler=sampler)
        notes.append(f"sampler auto stands for {sampler_words(sampler)}: {why}")
    notes += [*remarks, *_check_together(spec, is_complete, is_sound, problems)]
    if raw.get("repeats") is not None:
        notes += _check_repeats(spec, repeats or unread_repeats(raw["repeats"]), raw, problems)
    if spec.priors and spec.sampler.name != "tpe" and problems.is_sound(("sampler",)):
        notes.append(f"prior changes only the first draws of tpe: sampler {spec.sampler.name} ignores it")
    if not dimensions:
        notes.append("nothing is searched: all trials are the same")
    return spec, notes


def _check_together(spec: StudySpec, is_complete: bool, is_sound: bool, problems: Problems) -> list[str]:
    """Check what sections ask of each other, as far as they could be read.

    `is_complete` says that every section is there under its name, `is_sound` that the space is in order too.
    """
    notes: list[str] = []
    if is_complete and problems.is_sound(("budget",)) and len(spec.start_from) > spec.budget.trials:
        rule = f"names {len(spec.start_from)} configurations, more than budget.trials, {spec.budget.trials}, lets run"
        problems.add(("start_from",), rule)
    elif is_complete and problems.is_sound(("budget",)) and spec.transfer_from is not None:
        left = spec.budget.trials - len(spec.start_from)
        if spec.transfer_from.configurations > left:
            rule = (
                f"takes up to {counted(spec.transfer_from.configurations, 'configuration')}, and budget.trials leaves "
                f"room for {left}; write {{study: {spec.transfer_from.study}, configurations: {max(1, left)}}}, or "
                f"raise budget.trials"
            )
            problems.add(("transfer_from",), rule)
    if problems.is_sound(("sampler",)):
        notes += check_sampler(spec.sampler, spec.space, is_sound, problems)
        if not SAMPLERS[spec.sampler.name].handles_ranges and is_sound and problems.is_sound(("start_from",)):
            check_grid_items(spec.start_from, spec.space, problems)
    notes += check_objectives(spec, problems)
    check_deterministic(spec, problems)
    unknown = unknown_knobs(spec.space, problems)
    if problems.is_sound(("pruner",)) and not find_cycle(spec.space) and not spec.space.needed({"epochs"}) & unknown:
        notes += check_pruner(spec.pruner, spec.largest_epochs, ("pruner",), problems)
    return notes


def _check_repeats(spec: StudySpec, repeats: RepeatsSpec, raw: Mapping[str, object], problems: Problems) -> list[str]:
    """Check `repeats` beside the other sections; returns why a search should do without."""
    data = raw.get("data")
    check_with_seeds(repeats, spec.train, spec.search_space, spec.vocabulary.knobs["seed"], problems)
    keys = [key for key, value in data.items() if value is not None] if isinstance(data, dict) else []
    pruner = raw.get("pruner")
    check_without_search(
        pruner if isinstance(pruner, str) else spec.pruner.name, raw.get("stop") is not None, keys, repeats, problems
    )
    notes = [] if spec.sampler.name == "grid" or spec.is_list else [SEARCH_WORDS]
    if repeats.stop_early and spec.has_several_objectives:
        notes.append("repeats.stop_early does nothing here: of several objectives, no configuration is the best")
    return notes


def _read_search_space(raw: Mapping[str, object], vocabulary: Vocabulary, problems: Problems) -> dict[str, Dimension]:
    train = raw.get("train")
    fixed = train if isinstance(train, dict) else {}
    if "search_space" not in raw:
        given: Mapping[str, object] = {name: plain for name, plain in DEFAULT_SEARCH_SPACE.items() if name not in fixed}
    else:
        example = "{lr: {low: 1e-4, high: 1.0, log: true}}"
        given = as_mapping(raw["search_space"], ("search_space",), example, problems)
    dimensions: dict[str, Dimension] = {}
    for name, dimension_raw in given.items():
        path: Path = ("search_space", name)
        if name not in vocabulary.knobs:
            problems.unknown_key(path, vocabulary.knobs, _ELSEWHERE)
            continue
        if name in fixed:
            problems.add(path, f"{name} is fixed under train as well; it may stand in one place only")
        dimension = read_dimension(vocabulary.knobs[name], dimension_raw, path, vocabulary, problems)
        if dimension is not None:
            dimensions[name] = dimension
    return dimensions


def _read_name(raw: object, problems: Problems, is_configuration: bool) -> str:
    if raw is None and is_configuration:
        problems.add(("name",), "is missing: this is one configuration, not a study; train it with `cifar-tune train`")
    elif raw is None:
        problems.add(("name",), "every study needs a name, such as `name: resnet18-cifar10`")
    elif not isinstance(raw, str):
        problems.add(("name",), f"{NAME_RULE}; a number needs quotes", raw)
    elif not _NAME.fullmatch(raw):
        problems.add(("name",), NAME_RULE, raw)
    elif raw.endswith(_FILE_SUFFIXES):
        problems.add(("name",), "must not end like a study file, which commands would take it for", raw)
    else:
        return raw
    return ""


def _refuse_section(key: str, vocabulary: Vocabulary, problems: Problems) -> None:
    if key in vocabulary.knobs:
        problems.add((key,), f"{key} is a knob: it belongs under train, or under search_space")
    else:
        knobs = {name: name for name in vocabulary.knobs} if problems.is_option((key,)) else in_train(vocabulary)
        problems.unknown_key((key,), SECTIONS, {**_ELSEWHERE, **knobs})
