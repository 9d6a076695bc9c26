"""Plugins that are installed packages: entry points of the group `cifar_tune.parts`.

A package declares one in its pyproject.toml, and a study names it without a suffix:

    [project.entry-points."cifar_tune.parts"]
    acme = "acme_vision.parts"
"""

import hashlib
import re
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from cifar_tune.errors import enumerate_names
from cifar_tune.knobs.plugin import PluginFile
from cifar_tune.plugins.meaning import meaning_of

GROUP = "cifar_tune.parts"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def is_entry_point_name(path: str) -> bool:
    """Whether this is no path of a file."""
    return _NAME.fullmatch(path) is not None


def installed_names() -> list[str]:
    """The names of all installed plugins."""
    return sorted(point.name for point in entry_points(group=GROUP))


def read_installed(name: str) -> PluginFile:
    """The installed plugin of this name. Its package is not imported for it, but the packages above its module are.

    Its digests are those of all Python files of its package.

    Raises:
        LookupError: with a sentence that says what is wrong.
    """
    found: list[EntryPoint] = list(entry_points(group=GROUP, name=name))
    if not found:
        names = installed_names()
        known = f"installed are {enumerate_names(names, 'and')}" if names else "none is installed"
        raise LookupError(f"is no Python file, such as my_parts.py, and no installed package of parts: {known}")
    module = found[0].module
    try:
        spec = find_spec(module)
        top = find_spec(module.partition(".")[0])
    except Exception as error:  # whatever the code of the packages above it raises
        raise LookupError(f"cannot be imported: {module}: {type(error).__name__}: {error}") from error
    if spec is None or top is None or spec.origin is None:
        raise LookupError(f"cannot be imported: there is no module {module}; install its package again")
    try:
        files = _files(top.submodule_search_locations, spec.origin)
        texts = [(path, Path(path).read_text(encoding="utf-8")) for path in files]
        source = Path(spec.origin).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LookupError(f"cannot be read: {error}") from error
    names = [Path(path).name for path, _ in texts]
    content = _digest(names, [text for _, text in texts])
    meaning = _digest(names, [meaning_of(text) for _, text in texts])
    return PluginFile(name, content, source, meaning, module=module)


def _files(folders: object, origin: str) -> list[str]:
    if not folders:
        return [origin]
    return sorted({str(path) for folder in folders for path in Path(folder).rglob("*.py")})  # type: ignore[attr-defined]


def _digest(names: list[str], texts: list[str]) -> str:
    digest = hashlib.sha256()
    for name, text in zip(names, texts, strict=True):
        digest.update(f"{name}\n{len(text)}\n{text}".encode())
    return digest.hexdigest()
