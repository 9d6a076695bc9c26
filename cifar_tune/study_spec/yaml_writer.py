"""Writes YAML that `yaml_reader` reads as the same values."""

from collections.abc import Mapping
from typing import Any

import yaml

from cifar_tune.visible import visible_lines


class _Dumper(yaml.SafeDumper):
    """Writes text so that it is read as text: in the reader's YAML `1e3` is a number, in PyYAML's it is none."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isidentifier() else '"')


_Dumper.add_representer(str, _text)


def yaml_text(plain: Mapping[str, Any]) -> str:
    """A mapping of plain values as the text of a file. Innermost lists are written in one line each."""
    text: str = yaml.dump(
        plain, Dumper=_Dumper, sort_keys=False, default_flow_style=None, allow_unicode=True, width=1000
    )
    return visible_lines(text)  # escapes in quoted text, which YAML reads
