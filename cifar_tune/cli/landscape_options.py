"""Reads the options of `cifar-tune landscape`."""

from collections.abc import Sequence

from cifar_tune.errors import Problem, UserError
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.knob import stored
from cifar_tune.knobs.part import Value
from cifar_tune.study_spec.checks import check_space
from cifar_tune.study_spec.problems import Problems
from cifar_tune.study_spec.search_space import read_value
from cifar_tune.study_spec.space import Space
from cifar_tune.study_spec.yaml_reader import read_yaml_value

AGAINST = "--against"
_ELSEWHERE = {"lr": "--lrs says it, for both models", "epochs": "--epochs says it, for both models"}


def read_lrs(text: str) -> list[float]:
    """Learning rates, as they stand in the option.

    Raises:
        UserError: they are no two different numbers above 0.
    """
    lrs = [_number(part, "--lrs", text) for part in text.split(",")]
    if len(set(lrs)) != len(lrs) or len(lrs) < 2 or not all(0 < lr < float("inf") for lr in lrs):
        raise UserError(Problem("must be at least two different numbers > 0, such as 1e-3,2e-3,1e-4", "--lrs", text))
    return lrs


def read_distances(text: str) -> list[int]:
    """Step distances, as they stand in the option.

    Raises:
        UserError: they are no different whole numbers from 1 on.
    """
    numbers = [_number(part, "--distances", text) for part in text.split(",")]
    if len(set(numbers)) != len(numbers) or not all(1 <= number == number // 1 for number in numbers):
        raise UserError(Problem("must be different whole numbers >= 1, such as 1,2,5", "--distances", text))
    return [int(number) for number in numbers]


def other_configuration(config: Configuration, against: Sequence[str]) -> Configuration:
    """The configuration with the knobs of `--against` changed; knobs that no longer apply are dropped.

    Raises:
        UserError: a knob or its value is wrong, does not exist with this configuration, or changes nothing.
    """
    problems = Problems(AGAINST)
    knobs = config.vocabulary.knobs
    changes: dict[str, Value] = {}
    for text in against:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(Problem("must be KNOB=VALUE, such as norm=none", AGAINST, text))
        if name not in knobs:
            problems.unknown_key((name,), knobs)
        elif name in _ELSEWHERE:
            problems.add((name,), _ELSEWHERE[name], value)
        else:
            read = read_value(knobs[name], read_yaml_value(value), (name,), problems)
            changes |= {} if read is None else {name: read}
    changed = config.replaced(**changes)
    unknown = {name for name in knobs if not problems.is_sound((name,))}
    for name, wanted in changes.items():
        owner = knobs[name].owner
        if name not in changed and owner not in unknown:
            by = f" by {owner} {stored(changed[owner])}" if owner is not None and owner in changed else ""
            rule = f"is not taken{by}: name another difference with {AGAINST} KNOB=VALUE"
            problems.add((name,), rule, stored(wanted))
    check_space(Space(dict(changed), {}, config.vocabulary), problems, unknown)
    problems.raise_if_any()
    if changed == config:
        rule = f"the configuration has that already: name a difference with {AGAINST} KNOB=VALUE"
        raise UserError(Problem(rule, AGAINST, " ".join(against)))
    return changed


def told_apart(config: Configuration, changed: Configuration) -> tuple[str, str]:
    """Names of both that say in what they differ, such as `norm=batch` and `norm=none`."""
    names = [name for name in changed if changed[name] != config.get(name) and name in config]
    names = names or [name for name in changed if name not in config]
    return _label(config, names), _label(changed, names)


def _label(config: Configuration, names: Sequence[str]) -> str:
    return ", ".join(f"{name}={stored(config[name])}" for name in names if name in config)


def _number(part: str, option: str, text: str) -> float:
    try:
        return float(part)
    except ValueError as error:
        raise UserError(Problem(f"{part.strip()!r} is no number", option, text)) from error
