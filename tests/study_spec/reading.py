"""Reads study files that are written down in a test."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from cifar_tune.errors import Problem, UserError
from cifar_tune.study_spec.overrides import parse_override
from cifar_tune.study_spec.reader import ReadStudy, read_study
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import Document, read_yaml


def read(text: str, settings: Sequence[str] = ()) -> ReadStudy:
    """Read a study file's text; a name is added where it has none."""
    text = text if text.startswith("name:") else f"name: made\n{text}"
    document = read_yaml(text, "study.yaml", with_faults=True)
    return read_study(document, "study.yaml", [parse_override(each) for each in settings])


def read_plain(sections: Mapping[str, Any]) -> StudySpec:
    return read_study(Document({"name": "made", **sections}), "study.yaml").spec


def refused(text: str, settings: Sequence[str] = ()) -> tuple[Problem, ...]:
    """The problems of a study file that must not be accepted."""
    with pytest.raises(UserError) as raised:
        read(text, settings)
    return raised.value.problems


def only_problem(text: str, settings: Sequence[str] = ()) -> str:
    """The one message about a study file that must not be accepted."""
    [problem] = refused(text, settings)
    return str(problem)
