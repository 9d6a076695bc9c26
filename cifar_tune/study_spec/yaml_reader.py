"""Reads YAML as people mean it.

`1e-4` is a number, `on`, `off`, `yes` and `no` are text, a key given twice is an error, and every value knows its
line. Nothing but mappings, lists, text, numbers, true, false and null comes out: tags are refused, so no file can
name a Python object.
"""

import re
from dataclasses import dataclass, field

import yaml

from cifar_tune.study_spec.problems import Path, Problems

MAX_BYTES = 1_000_000
_MAX_NODES = 50_000  # aliases can name the same part many times over: a small file may stand for a huge one
_MAX_DEPTH = 50
_CORE = "tag:yaml.org,2002:"


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
    """What a YAML text says, and on which line each value stands."""

    value: object
    lines: dict[Path, int] = field(default_factory=dict)


def read_yaml(text: str, source: str | None = None) -> Document:
    """Parse one YAML document.

    Raises:
        UserError: with every problem found: syntax, duplicate keys, tags, too much nesting.
    """
    problems = Problems(source)
    document = Document(None)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        problems.add_at_line(None, f"is larger than {MAX_BYTES:,} bytes, which no study file needs")
    else:
        try:
            root = _Loader(text).get_single_node()
            if root is not None:
                document.value = _Builder(problems, document.lines).build(root, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problems.add_at_line(
                mark.line + 1 if mark else None, f"is not valid YAML: {error.problem or error.context}"
            )
        except yaml.reader.ReaderError as error:
            problems.add_at_line(
                text.count("\n", 0, error.position) + 1,
                "is not valid YAML: it holds a character that text may not hold",
            )
        except RecursionError:
            problems.add_at_line(None, "is nested too deeply")
    problems.raise_if_any()
    return document


def read_yaml_value(text: str) -> object:
    """One value as written after `--set key=`.

    Raises:
        UserError: if the text is not YAML.
    """
    return read_yaml(text).value


class _Builder:
    """Turns composed nodes into plain values."""

    def __init__(self, problems: Problems, lines: dict[Path, int]) -> None:
        self._problems = problems
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
                self._refuse_tag(node, "seq", line)
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, line)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        self._refuse_tag(node, "map", node.start_mark.line + 1)
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._problems.add_at_line(line, "a key must be a plain word")
                continue
            key: str = key_node.value
            if key in values:
                first = self._lines[(*path, key)]
                self._problems.add((*path, key), f"is given twice, on lines {first} and {line}")
                continue
            self._lines[(*path, key)] = line
            values[key] = self.build(value_node, (*path, key))
        return values

    def _scalar(self, node: yaml.Node, line: int) -> object:
        text: str = node.value
        match node.tag.removeprefix(_CORE):
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" if len(text) <= 30:
                return int(text)
            case "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            case "str" | "int":
                return text
        self._problems.add_at_line(line, f"the tag {node.tag!r} is not read; only plain values are")
        return None

    def _refuse_tag(self, node: yaml.Node, kind: str, line: int) -> None:
        if node.tag != _CORE + kind:
            self._problems.add_at_line(line, f"the tag {node.tag!r} is not read; only plain values are")
