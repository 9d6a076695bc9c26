"""Malformed study files: those that ship, damaged byte by byte or part by part, and texts made to break a reader."""

import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from benchmarks.trees import places, value_at
from cifar_tune.knobs.table import KNOBS
from cifar_tune.study_spec.reader import SECTIONS
from cifar_tune.study_spec.yaml_reader import read_yaml

_TOKENS = (
    *(bytes((each,)) for each in b"\t\n\r -:,?[]{}#&*!|>'\"%@`~=<.+0123456789eE\0\x7f\x80\xc3\xff"),
    *(b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\xf0\x9f\x98\x80", b"!!int ", b"!!binary ", b"&a ", b"*a"),
    *(b"<<: ", b"---\n", b"...", b"\\U0011FFFF", b"null", b"true", b"1e999", b".nan", b"-.inf", b"9" * 400, b"0x1F"),
    *(b"{}", b"[]", b"''", b"\n  ", b"when: ", b"choices: ", b"per: ", b"!!python/object/apply:os.system [true]"),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 0.5, 1e-300, 1e308, float("inf"), float("nan"), 10**29, -(10**29), 2**31, 2**63),
    *("", "x", "none", "sgd", "1", "../x", "/", "a" * 5000, "\x1b[2J", "\n", "\u202eé\U0001f600", "1h", "1e400h", "."),
    *("studies", "README.md", "random_crop+random_crop", "parameters <= 1", "val_accuracy >= nan"),
    *([], {}, [[]], [{}], [None], {"": None}, {"choices": [1]}, {"low": 0, "high": 1}, {"low": 1, "high": 0}),
    *({"when": {}}, {"low": 1e-320, "high": 1e308, "log": True}, {"low": 0, "high": 1, "step": 1e-300}),
    *(["sgd", "adam"], [1, 1.0], [0.1] * 300, {"metric": []}, {"name": {}}, [{"metric": "parameters"}] * 3),
)


def texts_of(folder: Path) -> list[bytes]:
    """The study files in a folder and below, in the order of their names."""
    return [file.read_bytes() for file in sorted(folder.rglob("*.yaml"))]


def malformed_study(draw: random.Random, texts: Sequence[bytes], canary: Path) -> bytes:
    """One malformed study file, or by chance a right one. `canary` is a file that a text may try to create."""
    kind = draw.random()
    if kind < 0.45:
        return _bytes(draw, draw.choice(texts), texts)
    if kind < 0.9:
        return _tree(draw, draw.choice(texts))
    return draw.choice(_MADE)(draw, canary)


def _bytes(draw: random.Random, text: bytes, others: Sequence[bytes]) -> bytes:
    content = bytearray(text)
    for _ in range(draw.choice((1, 1, 2, 4, 12))):
        at = draw.randrange(len(content) + 1)
        until = min(at + draw.choice((0, 0, 1, 1, 5, 40)), len(content))
        match draw.randrange(7):
            case 0 if content:
                content[at % len(content)] ^= 1 << draw.randrange(8)
            case 1:
                del content[at:]
            case 2:
                content[at:until] = b""
            case 3:
                lines = content.splitlines(keepends=True) or [bytearray()]
                lines.insert(draw.randrange(len(lines) + 1), draw.choice(lines))
                content = bytearray(b"".join(lines))
            case 4:
                other = draw.choice(others)
                start = draw.randrange(len(other))
                content[at:until] = other[start : start + draw.choice((1, 20, 400))]
            case _:
                content[at:until] = draw.choice(_TOKENS)
    return bytes(content)


def _tree(draw: random.Random, text: bytes) -> bytes:
    tree: Any = deepcopy(read_yaml(text.decode()).value)
    for _ in range(draw.choice((1, 1, 2, 3, 6))):
        inside = places(tree)
        if not inside:
            break
        path = draw.choice(inside)
        parent = value_at(tree, path[:-1])
        match draw.randrange(6):
            case 0:
                del parent[path[-1]]
            case 1 if isinstance(parent, dict):
                name = draw.choice([*SECTIONS, "", "x", "when", "choices", "low", "step", "per", *KNOBS])
                parent[name] = parent.pop(path[-1])
            case 2:
                parent[path[-1]] = deepcopy(value_at(tree, draw.choice(inside)))
            case 3 if isinstance(parent, dict):
                parent[draw.choice([*SECTIONS, *KNOBS])] = deepcopy(draw.choice(_VALUES))
            case _:
                parent[path[-1]] = deepcopy(draw.choice(_VALUES))
    return yaml.safe_dump(tree, allow_unicode=True, default_flow_style=draw.choice((None, True, False))).encode()


def _nested(draw: random.Random, _canary: Path) -> bytes:
    depth = draw.choice((10, 60, 500, 5_000, 40_000))
    opening, closing = draw.choice((("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", ""), ("!!seq [", "]"), ("&a [", "]")))
    return f"name: {opening * depth}1{closing * draw.choice((0, depth))}\n".encode()


def _indented(draw: random.Random, _canary: Path) -> bytes:
    depth = draw.choice((60, 300))
    return "".join(f"{' ' * level}a:\n" for level in range(depth)).encode()


def _laughs(draw: random.Random, _canary: Path) -> bytes:
    kinds = draw.choice((("[", "]"), ("{x: ", "}")))
    lines = ["a0: &a0 [ha, ha]"]
    for level in range(1, draw.choice((5, 12, 40))):
        alias = f"*a{level - 1}"
        body = ", ".join([alias] * draw.choice((2, 9))) if kinds[0] == "[" else alias
        lines.append(f"a{level}: &a{level} {kinds[0]}{body}{kinds[1]}")
    return "\n".join([*lines, f"name: *a{len(lines) - 1}"]).encode()


def _recursive(draw: random.Random, _canary: Path) -> bytes:
    return draw.choice((b"name: &a [*a]\n", b"&a {train: *a, name: x}\n", b"&a {<<: *a, name: x}\n", b"name: *b\n"))


def _tagged(draw: random.Random, canary: Path) -> bytes:
    call = f"pathlib.Path({str(canary)!r}).touch()"
    tag = draw.choice((
        f"!!python/object/apply:builtins.eval ['__import__(\"pathlib\").{call[8:]}']",
        f"!!python/object/apply:os.system ['touch {canary}']",
        f"!!python/object/new:os.system ['touch {canary}']",
        "!!python/name:os.system", "!!python/module:os", "!!binary aGVsbG8=", "!!timestamp 2001-01-01", "!!set {a, b}",
        "!!omap [a: 1]", "!own {a: 1}", "! x", "!!int 'x'", "!!float ''", "!!null x",
    ))  # fmt: skip
    return f"name: x\n{draw.choice(('train', 'data', 'plugins', 'budget'))}: {tag}\n".encode()


def _numbers(draw: random.Random, _canary: Path) -> bytes:
    number = draw.choice(("9" * 30, "9" * 5000, "1e999", "-1e999", "1e-9999", ".nan", "-.inf", "0" * 5000 + "1",
                          "1_000", "0x" + "f" * 4000, "1:30", "+", "1e", "--1", "1.2.3", "\u0663", "\u00bd",
                          "9" * 4301 + ".0"))  # fmt: skip
    place = draw.choice((
        "budget: {{trials: {0}}}", "budget: {{timeout: {0}}}", "budget: {{timeout: {0}h}}", "train: {{lr: {0}}}",
        "train: {{epochs: {0}}}", "search_space: {{lr: {{low: {0}, high: 1}}}}", "deterministic: {0}",
        "search_space: {{lr: {{low: 0, high: 1, step: {0}}}}}", "search_space: {{epochs: {{choices: [{0}, 1]}}}}",
        "data: {{val_size: {0}}}", "sampler: {{seed: {0}}}", "constraints: ['parameters <= {0}']",
        "pruner: {{name: patient, patience: {0}}}", "start_from: [{{lr: {0}}}]", "{0}: {0}",
    ))  # fmt: skip
    return f"name: x\n{place.format(number)}\n".encode()


def _large(draw: random.Random, _canary: Path) -> bytes:
    return draw.choice((
        b"name: " + b"x" * 99_000, b"#" * 200_000, b"name: x\n" * 12_000, b"a: " * 30_000, b"- x\n" * 24_000,
        b"name: x\ntrain: {" + b", ".join(b"k%d: 1" % n for n in range(9_000)) + b"}\n",
        b"name: x\nsearch_space: {epochs: {choices: [" + b", ".join(b"%d" % n for n in range(1, 9_000)) + b"]}}\n",
        b"name: x\nsampler: {name: grid}\nsearch_space: {epochs: {low: 1, high: 999999}, width: {low: 1, high: 999}}\n",
        b"name: x\nsearch_space: {" + b", ".join(
            b"%s: {choices: [1, 2, 3, 4], when: {epochs: 1}}" % name.encode() for name in KNOBS) + b"}\n",
    ))  # fmt: skip


def _encoded(draw: random.Random, _canary: Path) -> bytes:
    text = "name: größe\ntrain: {epochs: 2}\n"
    return draw.choice((text.encode("utf-16"), text.encode("utf-32"), text.encode("latin-1"), text.encode("utf-8-sig"),
                        b"\xff" * 50, b"", b"\0" * 100, draw.randbytes(300), b"\r\n" + text.encode(),
                        b"%YAML 9.9\n---\n", b"%TAG ! tag:x,2000:\n---\n!x y\n", b"--- a\n--- b\n",
                        "name: a\u2028b\n".encode()))  # fmt: skip


_MADE: tuple[Callable[[random.Random, Path], bytes], ...] = (
    _nested, _indented, _laughs, _recursive, _tagged, _numbers, _numbers, _large, _encoded,
)  # fmt: skip
