"""A specification with every default filled in, as `cifar-tune check` prints it: YAML that is a study file itself."""

import math
from typing import Any

import yaml

from cifar_tune.errors import enumerate_names
from cifar_tune.knobs.knob import Knob, stored
from cifar_tune.study_spec.notify import shown as shown_address
from cifar_tune.study_spec.partial import partial_configuration
from cifar_tune.study_spec.pruners import PRUNERS
from cifar_tune.study_spec.samplers import SAMPLERS
from cifar_tune.study_spec.space import Space
from cifar_tune.study_spec.specification import StudySpec, plain_values
from cifar_tune.study_spec.start_from import KnownConfiguration


def spec_lines(spec: StudySpec) -> list[str]:
    """The study as YAML, then the knobs that it leaves at their defaults, as comments."""
    plain = spec.plain()
    sampler = SAMPLERS[spec.sampler.name]
    plain["sampler"] = plain["sampler"] | _defaults(sampler.parameters, (*sampler.automatic, *spec.sampler.options))
    pruner = PRUNERS[spec.pruner.name]
    given = (*pruner.required, *spec.pruner.options, *(("lower", "upper") if spec.pruner.name == "threshold" else ()))
    plain["pruner"] = plain["pruner"] | _defaults(pruner.parameters, given)
    if spec.plugins:
        plain["plugins"] = [plugin.path for plugin in spec.plugins]
    lines = []
    for section, content in plain.items():
        shown = (
            {key: value for key, value in content.items() if value is not None}
            if isinstance(content, dict)
            else content
        )
        if section in ("train", "search_space"):
            lines.append(f"{section}:" if shown else f"{section}: {{}}")
            lines += [f"  {name}: {_flow(value)}" for name, value in shown.items()]
        elif section == "start_from":
            lines.append(f"{section}:")
            lines += [
                f"  - {_flow(item)}{_drawn(spec.space, known)}"
                for item, known in zip(shown, spec.start_from, strict=True)
            ]
        else:
            lines.append(f"{section}: {_flow(shown)}")
        if section == "train":
            lines += [f"  # {name}: {value} (default)" for name, value in _default_knobs(spec.space).items()]
    if spec.notify:
        lines.append(f"# notify: {', '.join(map(shown_address, spec.notify))}")
    return lines


def _defaults(parameters: tuple[Knob, ...], given: tuple[str, ...]) -> dict[str, Any]:
    return {parameter.name: parameter.default for parameter in parameters if parameter.name not in given}


def _drawn(space: Space, known: KnownConfiguration) -> str:
    """A comment on what a known configuration leaves open; empty where it is complete."""
    drawn = partial_configuration(space, known).drawn
    return f"  # the sampler draws {enumerate_names(drawn, 'and')}" if drawn else ""


def _default_knobs(space: Space) -> dict[str, str]:
    """Knobs that some trial takes and that neither are fixed nor searched, with all defaults that can occur."""
    found: dict[str, str] = {}
    for name, knob in space.vocabulary.knobs.items():
        if name in space.fixed or name in space.dimensions:
            continue
        if knob.owner is None:
            found[name] = _flow(plain_values({name: knob.default})[name])
            continue
        by_default: dict[str, list[str]] = {}
        for outcome in space.outcomes({knob.owner}):
            if space.vocabulary.applies(knob, outcome):
                default = _flow(plain_values({name: space.vocabulary.default_of(knob, outcome)})[name])
                owners = by_default.setdefault(default, [])
                owner = str(stored(outcome[knob.owner]))
                if owner not in owners:
                    owners.append(owner)
        if len(by_default) == 1:
            found[name] = next(iter(by_default))
        elif by_default:
            found[name] = ", ".join(f"{default} with {'/'.join(owners)}" for default, owners in by_default.items())
    return found


class _Dumper(yaml.SafeDumper):
    """Quotes text such as `1e3`, which PyYAML takes for text but a study file's reader for a number."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if text[:1] in "+-.0123456789" else None)


_Dumper.add_representer(str, _text)


def _flow(value: object) -> str:
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=math.inf, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")
