"""CONFIG files: the `data`, `plugins` and `train` parts of a study file, such as an exported `best.yaml`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath

from cifar_tune.data.spec import DataSpec, as_before_resize
from cifar_tune.errors import Problem, UserError
from cifar_tune.knobs.configuration import Configuration, as_exported, complete
from cifar_tune.knobs.vocabulary import BUILT_IN
from cifar_tune.study_spec.checks import check_sound
from cifar_tune.study_spec.data_section import read_data
from cifar_tune.study_spec.metrics import Metrics
from cifar_tune.study_spec.overrides import Override, apply_overrides
from cifar_tune.study_spec.plugin_section import read_plugins
from cifar_tune.study_spec.problems import Problems
from cifar_tune.study_spec.reader import SECTIONS, is_extension, read_document, read_train
from cifar_tune.study_spec.settings import read_metrics
from cifar_tune.study_spec.space import Space

_PARTS = ("data", "metrics", "plugins", "train")
_EXPORTED = {"name", "root", "image_size", "split_seed", "download"}
"""Keys of `data` that every export has, whatever the study file said."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One training run: its data, its complete configuration, and what it is measured by beside the usual figures.

    `problems` found nothing; it knows where everything stands, for what is found later.
    """

    data: DataSpec
    train: Configuration
    metrics: tuple[str, ...] = ()
    problems: Problems = field(default_factory=lambda: Problems(None), compare=False, repr=False)


def read_run_config(path: FilePath, overrides: Sequence[Override] = ()) -> RunConfig:
    """Read and check a CONFIG file; knobs that it leaves out take their defaults, but see `as_exported`.

    Raises:
        UserError: with all problems of the file at once.
    """
    document = read_document(path, with_faults=True)
    if not isinstance(document.value, dict):
        rule = "must be a configuration: a mapping with data and train"
        raise UserError([Problem(rule, source=str(path)), *document.faults])
    vocabulary = BUILT_IN
    broken: tuple[Problem, ...] = ()
    try:
        vocabulary = read_plugins(document.value, str(path), document.lines, overrides)
    except UserError as error:
        broken = error.problems
    raw, overridden = apply_overrides(document.value, overrides, vocabulary)
    problems = Problems(str(path), document.lines, overridden)
    problems.include(document.faults)
    if broken:  # nobody knows which knobs and parts there would be
        problems.include(broken, ("train",))
        raw["train"] = {}
    for key in raw:
        if key in _PARTS or is_extension(key):
            continue
        if key in vocabulary.knobs:
            problems.add((key,), f"{key} is a knob: it belongs under train")
        elif key in SECTIONS:
            problems.add((key,), "belongs to a study; a configuration has only data and train, all knobs fixed")
        else:
            problems.unknown_key((key,), _PARTS)
    section = raw.get("data")
    if isinstance(section, dict) and section.keys() >= _EXPORTED:
        section = as_before_resize(section)
    data = read_data(section, vocabulary, problems)
    train = as_exported(read_train(raw.get("train"), vocabulary, problems), vocabulary)
    check_sound(Space(train, {}, vocabulary), raw.get("train"), problems)
    metrics = read_metrics(raw.get("metrics"), problems, Metrics(vocabulary))
    problems.raise_if_any()
    return RunConfig(data, complete(train, vocabulary), metrics, problems)
