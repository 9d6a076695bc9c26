"""`docs/python-reference.md`, from the source: `python -m cifar_tune.cli.python_reference` prints it.

Modules are read, not imported: signatures stand there as they were written, whatever the version of Python.
"""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

COMMAND = "python -m cifar_tune.cli.python_reference > docs/python-reference.md"

_PACKAGE = Path(__file__).parents[1]
_WIDTH = 100
_SEE = "See `Desk`."
_SECTIONS = {"Args": "Arguments", "Attributes": "Attributes", "Returns": "Returns", "Raises": "Raises"}


@dataclass(frozen=True)
class Group:
    """Names that are imported from one module.

    Attributes:
        title: the heading.
        words: what the names are for.
        imported_from: where a user imports them from; empty for classes of which users only get instances.
        names: each name, with the module that defines it, below `cifar_tune`.
    """

    title: str
    words: str
    imported_from: str
    names: Mapping[str, str]


GROUPS: Sequence[Group] = (
    Group(
        "Studies and models",
        "`load_study` reads a study with all its trials, and `load_model` a trained model. [The report](reports.md) "
        "and [Model folders](model-files.md) have examples.",
        "cifar_tune",
        {"load_study": "reports.loaded", "load_model": "model_files.loading"},
    ),
    Group(
        "What they return",
        "",
        "",
        {"LoadedStudy": "reports.loaded", "SavedModel": "model_files.loading", "Comparison": "reports.comparison"},
    ),
    Group(
        "Plugins",
        "Entries of the dictionaries that a plugin defines. [Your own parts](plugins.md) says which dictionaries there "
        "are, and what the function or class of an entry gets.",
        "cifar_tune.plugins",
        {
            "Part": "knobs.part",
            "ModelPart": "knobs.models",
            "LossPart": "knobs.losses",
            "SchedulePart": "knobs.schedules",
            "AugmentationPart": "knobs.augmentations",
            "MetricPart": "knobs.metrics",
            "Knob": "knobs.knob",
            "Kind": "knobs.knob",
        },
    ),
    Group(
        "What augmentations get and return",
        "An augmentation of a plugin gets a `Draw`, and may return a `Change`.",
        "cifar_tune.data.augmentation.draw",
        dict.fromkeys(("Draw", "Epoch", "Change", "Shares"), "data.augmentation.draw"),
    ),
    Group(
        "A server",
        "`HttpDesk` asks a server over HTTP; it needs the extra `service`. [The service over HTTP](http.md) has an "
        "example.",
        "cifar_tune.client",
        {"HttpDesk": "client.http_desk"},
    ),
    Group("The token", "", "cifar_tune.client.token_file", {"own_token": "client.token_file"}),
    Group(
        "What a server answers",
        "",
        "",
        {
            "Submission": "service.submissions",
            "Stopped": "service.desk",
            "Removed": "study.removing",
            "Event": "service.audit",
            "Owner": "service.owners",
            "Token": "service.people",
        },
    ),
    Group(
        "Errors",
        "All of them derive from `CifarTuneError`. Their text is the message that the commands print.",
        "cifar_tune.errors",
        dict.fromkeys(
            ("CifarTuneError", "UserError", "CheckError", "DamagedError", "UnexpectedError", "Problem"), "errors"
        ),
    ),
    Group(
        "Refusals of a server",
        "",
        "cifar_tune.service.refusals",
        dict.fromkeys(
            (
                "RefusedError",
                "NotAllowedError",
                "UnknownStudyError",
                "NameTakenError",
                "ConflictError",
                "QuotaError",
                "AwayError",
            ),
            "service.refusals",
        ),
    ),
)


def python_reference() -> str:
    """The whole page, in Markdown."""
    parts = [
        "# Python reference",
        f"Made from the code by `{COMMAND}`; a test keeps it true. These names are what scripts, notebooks and plugins "
        "may rely on. What else is in the package may change in any version.",
    ]
    for group in GROUPS:
        parts.append(f"## {group.title}")
        if group.words:
            parts.append(group.words)
        if group.imported_from:
            parts.append(_code(_import(group)))
        for name, module in group.names.items():
            parts += _entry(name, module)
    return "\n\n".join(parts) + "\n"


@cache
def _definitions(module: str) -> Mapping[str, ast.FunctionDef | ast.ClassDef]:
    """Functions and classes of a module, by name."""
    tree = ast.parse((_PACKAGE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    return {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef | ast.ClassDef)}


def _entry(name: str, module: str) -> Iterator[str]:
    node = _definitions(module)[name]
    yield f"### {name}"
    if isinstance(node, ast.FunctionDef):
        yield _code(_signature(node))
        yield from _prose(ast.get_docstring(node) or "")
        return
    yield _code("\n".join(_head(node)))
    yield from _prose(ast.get_docstring(node) or "")
    for method in _methods(node):
        yield f"#### {name}.{method.name}"
        yield _code(_signature(method))
        yield from _prose(_docstring(method))


def _head(node: ast.ClassDef) -> Iterator[str]:
    """A class with what it derives from, how it is made, and its fields or members."""
    bases = [_text(each) for each in node.bases]
    shown = [_text(each) for each in node.body if isinstance(each, ast.AnnAssign | ast.Assign) and _is_open(each)]
    if "Args:" in (ast.get_docstring(node) or ""):
        [made] = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
        shown += _signature(made).splitlines()
    head = f"class {node.name}({', '.join(bases)}):" if bases else f"class {node.name}:"
    yield head if shown else f"{head} ..."
    yield from (f"    {line}" for line in shown)


def _is_open(node: ast.AnnAssign | ast.Assign) -> bool:
    target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
    return not ast.unparse(target).startswith("_")


def _methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and not each.name.startswith("_"):
            yield each


def _signature(node: ast.FunctionDef) -> str:
    """How it is called, on several lines if one is too short; a property as a name with a type."""
    returns = _annotation(node.returns) if node.returns else "None"
    if any("property" in ast.unparse(each) for each in node.decorator_list):
        return f"{node.name}: {returns}"
    arguments = _arguments(node.args)
    line = f"def {node.name}({', '.join(arguments)}) -> {returns}: ..."
    if len(line) <= _WIDTH:
        return line
    inner = "".join(f"    {each},\n" for each in arguments)
    return f"def {node.name}(\n{inner}) -> {returns}: ..."


def _arguments(arguments: ast.arguments) -> list[str]:
    """Each argument with its type and default, without self."""
    places = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(places) - len(arguments.defaults)) + list(arguments.defaults)
    shown = [_argument(each, default) for each, default in zip(places, defaults, strict=True) if each.arg != "self"]
    if arguments.kwonlyargs:
        shown.append("*")
        named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        shown += [_argument(each, default) for each, default in named]
    return shown


def _argument(each: ast.arg, default: ast.expr | None) -> str:
    text = each.arg if each.annotation is None else f"{each.arg}: {_annotation(each.annotation)}"
    return text if default is None else f"{text} = {_text(default)}"


def _annotation(node: ast.expr) -> str:
    """A type; that of a class which is defined later stands in quotes, which are left out."""
    return str(node.value) if isinstance(node, ast.Constant) else _text(node)


def _text(node: ast.AST) -> str:
    """Code with the quotes that the formatter writes."""
    return ast.unparse(node).replace("'", '"')


def _import(group: Group) -> str:
    line = f"from {group.imported_from} import {', '.join(group.names)}"
    if len(line) <= _WIDTH:
        return line
    names = "".join(f"    {name},\n" for name in group.names)
    return f"from {group.imported_from} import (\n{names})"


def _docstring(method: ast.FunctionDef) -> str:
    """What a method says of itself; one of `HttpDesk` that refers to `Desk` says what that says."""
    own = ast.get_docstring(method) or ""
    if not own.startswith(_SEE):
        return own
    desk = _definitions("service.desk")["Desk"]
    [there] = [each for each in desk.body if isinstance(each, ast.FunctionDef) and each.name == method.name]
    first, _, rest = (ast.get_docstring(there) or "").partition("\n")
    return f"{first} {own.removeprefix(_SEE).strip()}".strip() + f"\n{rest}"


def _prose(docstring: str) -> Iterator[str]:
    """A docstring in Markdown: its paragraphs, and its sections as lists."""
    for block in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        head, _, rest = block.partition("\n")
        title = _SECTIONS.get(head.removesuffix(":")) if head.endswith(":") else None
        if title is None:
            if block.strip():
                yield " ".join(block.split())
            continue
        items = list(_items(inspect.cleandoc(rest).splitlines()))
        if title == "Returns":
            yield f"Returns: {' '.join(items)}"
        else:
            yield f"{title}:"
            yield "\n".join(f"- {_named(each)}" for each in items)


def _items(lines: Iterable[str]) -> Iterator[str]:
    """Each item of a section on one line; lines that go on are indented."""
    item = ""
    for line in lines:
        if line.startswith(" "):
            item += f" {line.strip()}"
        else:
            if item:
                yield item
            item = line.strip()
    if item:
        yield item


def _named(item: str) -> str:
    names, colon, words = item.partition(": ")
    return f"{', '.join(f'`{name}`' for name in names.split(', '))}: {words}" if colon else item


def _code(text: str) -> str:
    return f"```py\n{text}\n```"


if __name__ == "__main__":
    print(python_reference(), end="")
