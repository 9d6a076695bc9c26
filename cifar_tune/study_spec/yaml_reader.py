"""Reads YAML as people mean it.

`1e-4` is a number, `on`, `off`, `yes` and `no` are text, a key given twice is an error, and every value knows its
line. Merge keys of YAML 1.1 (`<<: *base`) are read: a mapping's own keys win over merged ones. Nothing but mappings,
lists, text, numbers, true, false and null comes out: tags are refused, so no file can name a Python object.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import yaml

from cifar_tune.errors import Problem
from cifar_tune.study_spec.problems import Path, Problems

MAX_BYTES = 100_000
_MAX_NODES = 10_000  # aliases can name the same part many times over: a small file may stand for a huge one
_MAX_DEPTH = 50
_CORE = "tag:yaml.org,2002:"
_NOT_IN_TEXT = re.compile(r"[\0\ud800-\udfff]")
_MERGE = "<<"
_BAD_CHARACTER = "holds a character that text may not hold"


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 (PyYAML's own class attribute)


_Loader.add_implicit_resolver(f"{_CORE}null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(f"{_CORE}bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(f"{_CORE}int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    f"{_CORE}float",
    re.compile(r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$", re.IGNORECASE),
    list("-+.0123456789"),
)


@dataclass
class Document:
    """What a YAML text says, and on which line each value stands.

    `faults` are mistakes in spite of which everything could be read, such as a key that is given twice.
    """

    value: object
    lines: dict[Path, int] = field(default_factory=dict)
    faults: tuple[Problem, ...] = ()


def read_yaml(text: str, source: str | None = None, with_faults: bool = False) -> Document:
    """Parse one YAML document.

    Args:
        text: the document.
        source: for messages.
        with_faults: the caller reports `faults` together with what else is wrong; else they are raised.

    Raises:
        UserError: with every problem found: syntax, duplicate keys, tags, too much nesting.
    """
    document = Document(None)
    problems, faults = Problems(source, document.lines), Problems(source, document.lines)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        problems.add_at_line(None, f"is larger than {MAX_BYTES:,} bytes, which no study file needs")
    else:
        try:
            loader = _Loader(text)
            root = _compose(loader, problems)
            if root is not None:
                document.value = _Builder(loader, problems, faults, document.lines).build(root, ())
        except yaml.reader.ReaderError as error:
            problems.add_at_line(text.count("\n", 0, error.position) + 1, f"is not valid YAML: it {_BAD_CHARACTER}")
    document.faults = faults.found
    if problems or not with_faults:
        problems.include(document.faults)
    problems.raise_if_any()
    return document


def read_yaml_value(text: str) -> object:
    """One value as written after `--set key=`.

    Raises:
        UserError: if the text is not YAML.
    """
    return read_yaml(text).value


def _compose(loader: _Loader, problems: Problems) -> yaml.Node | None:
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.add_at_line(mark.line + 1 if mark else None, f"is not valid YAML: {_spoken(error)}")
    except (ValueError, OverflowError):  # PyYAML's own, of "\UFFFFFFFF" and of `%YAML 1.` with 5,000 digits
        problems.add_at_line(loader.line + 1, "is not valid YAML: a number in it is too large")
    except RecursionError:
        problems.add_at_line(None, "is nested too deeply")
    return None


_HINTS = {
    "expected <block end>": "keys of one section must begin in the same column",
    "mapping values are not allowed here": (
        "it is indented deeper than its section or has two colons, or the line before lacks the space behind its colon"
    ),
    "could not find expected ':'": "the line before it lacks a colon, or the space behind its colon",
}
"""What people usually did where PyYAML says so."""


def _spoken(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or ""
    if "'\\t'" in problem:
        return "a tab stands where only spaces may: indent with spaces"
    plain = f"{error.context} {problem}" if problem.startswith("but ") else problem
    hint = next((hint for words, hint in _HINTS.items() if words in plain), None)
    return f"{plain}; {hint}" if hint else plain


class _Builder:
    """Turns composed nodes into plain values."""

    def __init__(self, loader: _Loader, problems: Problems, faults: Problems, lines: dict[Path, int]) -> None:
        self._loader = loader
        self._problems = problems
        self._faults = faults
        self._lines = lines
        self._nodes = 0

    def build(self, node: yaml.Node, path: Path) -> object:
        line = node.start_mark.line + 1
        self._lines.setdefault(path, line)
        self._nodes += 1
        if len(path) > _MAX_DEPTH or self._nodes > _MAX_NODES:
            if not self._problems:
                self._problems.add_at_line(line, "is nested too deeply, or repeats itself without end")
            return None
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                self._refuse_tag(node, f"{_CORE}seq", line)
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(cast(yaml.ScalarNode, node), line)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        self._refuse_tag(node, f"{_CORE}map", node.start_mark.line + 1)
        values: dict[str, object] = {}
        merged: list[tuple[Mapping[str, object], Mapping[Path, int]]] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._problems.add_at_line(line, "a key must be a plain word")
                continue
            key = self._text(key_node, line)
            if (*path, key) in self._lines:
                first = self._lines[(*path, key)]
                self._faults.add(
                    (*path, key), f"is given twice, on {'line' if first == line else f'lines {first} and'} {line}"
                )
                continue
            self._lines[(*path, key)] = line
            if key == _MERGE and key_node.style is None:
                merged = self._merged(value_node, (*path, key))
            else:
                values[key] = self.build(value_node, (*path, key))
        for others, lines in merged:
            new = others.keys() - values.keys()
            self._lines.update({(*path, *rest): line for rest, line in lines.items() if rest[0] in new})
            values |= {key: value for key, value in others.items() if key in new}
        return values

    def _merged(self, node: yaml.Node, path: Path) -> list[tuple[Mapping[str, object], Mapping[Path, int]]]:
        """The mappings that a merge key names, each with the lines of what is in it; the first ones win."""
        found: list[tuple[Mapping[str, object], Mapping[Path, int]]] = []
        outer = self._lines
        for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            self._lines = {}
            values = self.build(item, path)
            lines = {inner[len(path) :]: line for inner, line in self._lines.items() if inner != path}
            self._lines = outer
            if isinstance(values, dict):
                found.append((values, lines))
            elif not self._problems:  # else nothing is made of it
                rule = "takes a mapping, or a list of mappings, such as `<<: *base` below `x-base: &base {model: cnn2}`"
                self._faults.add(path, rule)
        return found

    def _scalar(self, node: yaml.ScalarNode, line: int) -> object:
        text = self._text(node, line)
        if self._problems:
            return None  # nothing is made of this file any more
        match node.tag.removeprefix(_CORE):
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" if len(text) <= 30:
                return int(text)
            case "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        return text

    def _text(self, node: yaml.ScalarNode, line: int) -> str:
        plain = node.style is None
        untagged = self._loader.resolve(yaml.ScalarNode, node.value, (plain, not plain))  # type: ignore[no-untyped-call]
        self._refuse_tag(node, untagged, line)
        text: str = node.value
        if _NOT_IN_TEXT.search(text):  # written as an escape, such as "\0"
            self._problems.add_at_line(line, _BAD_CHARACTER)
        return text

    def _refuse_tag(self, node: yaml.Node, without: str, line: int) -> None:
        if node.tag != without:
            tag = node.tag.replace(_CORE, "!!")
            self._problems.add_at_line(line, f"the tag {tag!r} is not read; only plain values are")
