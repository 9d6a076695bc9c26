"""Whatever a file holds, it is read, or refused with a message: no other exception, and no hang."""

import random
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks.trees import places, value_at
from cifar_tune.errors import Problem, UserError
from cifar_tune.knobs.table import KNOBS
from cifar_tune.study_spec.reader import read_study, read_study_file
from cifar_tune.study_spec.specification import StudySpec
from cifar_tune.study_spec.yaml_reader import Document, read_yaml
from tests.exhaustive import few_of

STUDY = """name: fuzzed
objective: {metric: val_accuracy, direction: maximize}
budget: {trials: 100, timeout: 8h}
sampler: {name: tpe, seed: 0}
pruner: {name: patient, patience: 1, wrapped_pruner: {name: asha, min_resource: 2}}
data: {name: digits, val_size: 300}
train:
  model: cnn3
  augment: [random_crop, horizontal_flip]
search_space:
  optimizer: {choices: [sgd, adamw]}
  lr: {low: 1e-4, high: 1.0, log: true}
  momentum: {low: 0.5, high: 0.9, step: 0.1, when: {optimizer: sgd}}
  epochs: {choices: [3, 5]}
  weight_decay: {low: 1e-4, high: 1.0, log: true, per: batch_size}
start_from:
  - {optimizer: sgd, lr: 0.1, momentum: 0.7}
  - {weight_decay: 0.5}
"""
TOKENS = (
    *b"\t\n\r -:,?[]{}#&*!|>'\"%@`~=<.+0123456789eE\0\x7f\x80\xc3\xff",
    *(
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"!!int ",
        b"&a ",
        b"*a",
        b"<<: ",
        b"---\n",
        b"...",
        b"\\U0011FFFF",
        b"null",
        b"true",
    ),
    *(b"1e999", b".nan", b"-1", b"99999999999999999999999999", b"{}", b"[]", b"''", b"\n  ", b"when: ", b"choices: "),
)
HARMLESS = tuple(b" 0123456789\n#")
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 0.5, 1e-300, 1e308, float("inf"), float("nan"), 10**29, -(10**29), 2**31, 2**63),
    *("", "x", "none", "sgd", "1", "../x", "a" * 5000, "\x1b[2J", "\n", "é", "1h", "random_crop+random_crop"),
    *(
        [],
        {},
        [[]],
        [{}],
        [None],
        {"": None},
        {"choices": [1]},
        {"low": 0, "high": 1},
        {"when": {}},
        ["sgd", "adam"],
        [1, 1.0],
    ),
)


def mutated_bytes(draw: random.Random) -> bytes:
    content = bytearray(STUDY.encode())
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        at = draw.randrange(len(content) + 1)
        until = min(at + draw.choice((0, 0, 1, 1, 5, 40)), len(content))
        token = draw.choice(TOKENS if draw.random() < 0.5 else HARMLESS)
        content[at:until] = bytes((token,)) if isinstance(token, int) else token
        if draw.random() < 0.2:
            lines = content.splitlines(keepends=True)
            lines.insert(draw.randrange(len(lines) + 1), draw.choice(lines) if lines else bytearray())
            content = bytearray(b"".join(lines))
    return bytes(content)


def mutated_tree(draw: random.Random) -> dict[str, Any]:
    tree = cast(dict[str, Any], read_yaml(STUDY).value)
    for _ in range(draw.choice((1, 1, 2, 3))):
        all_places = places(tree)
        path = draw.choice(all_places)
        parent = value_at(tree, path[:-1])
        match draw.randrange(5):
            case 0:
                del parent[path[-1]]
            case 1 if isinstance(parent, dict):
                parent[draw.choice(["", "x", "when", "choices", "low", "step", *KNOBS])] = parent.pop(path[-1])
            case 2:
                other: Any = tree
                for key in draw.choice(all_places):
                    other = other[key] if isinstance(other, dict | list) and key in range_or_keys(other) else other
                parent[path[-1]] = deepcopy(other)
            case _:
                parent[path[-1]] = deepcopy(draw.choice(VALUES))
        if not places(tree):
            break
    return tree


def range_or_keys(value: Any) -> Any:
    return value if isinstance(value, dict) else range(len(value))


def test_bytes(tmp_path: Path) -> None:
    draw = random.Random(0)  # noqa: S311
    file = tmp_path / "study.yaml"
    refused: list[Problem] = []
    for _ in range(400):
        file.write_bytes(mutated_bytes(draw))
        try:
            read_study_file(file)
        except UserError as error:
            refused += error.problems
    assert all(problem.source == str(file) and problem.rule for problem in refused)
    assert 250 < len(refused) < 2000


@pytest.mark.parametrize("seed", few_of(range(16), [0]))
def test_values(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311
    specs: list[StudySpec] = []
    for _ in range(200):
        with suppress(UserError):
            specs.append(read_study(Document(mutated_tree(draw)), "study.yaml").spec)
    assert 5 < len(specs) < 195
    for spec in specs:
        assert read_study(Document(spec.plain()), "again").spec == spec
