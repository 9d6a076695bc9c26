"""Runs a plugin's file, once per process and content, and tells errors of its code as such."""

import ast
import hashlib
import linecache
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

from cifar_tune.errors import CheckError, CifarTuneError, Problem
from cifar_tune.knobs.plugin import Plugin, PluginFile, is_same_code
from cifar_tune.plugins.installed import read_installed

_running: dict[str, threading.Lock] = {}
_imported_ones: dict[str, PluginFile] = {}  # by path: installed plugins as they were imported
_first: dict[str, str] = {}  # by path: the digest of the first content that ran under it


def execute(file: PluginFile) -> ModuleType | Problem:
    """Run the file as a module of its own, or return why it cannot be.

    What runs is the text that was read. The module is known to Python under a name that holds the hash of its path and
    content, so that pickling, dataclasses and the like find it, and so that other content is another module. Threads
    that want the same one wait for the first of them.
    """
    if file.module:
        return _imported(file)
    name = _module_name(file)
    # Tracebacks show the lines that run, even where the file has changed since, or another study's has the same path.
    shown = name_in_tracebacks(file)
    linecache.cache[shown] = (len(file.source), None, file.source.splitlines(keepends=True), shown)
    with _running.setdefault(name, threading.Lock()):
        return sys.modules[name] if name in sys.modules else _executed(name, file)


def _imported(file: PluginFile) -> ModuleType | Problem:
    """The module of an installed plugin: other modules of its package know it by its own name."""
    try:
        here = read_installed(file.path)
        if not is_same_code(file.sha256, file.meaning, here.sha256, here.meaning):
            rule = "the package that is installed here has other code than the one that was read before"
            return Problem(rule, source=file.path)
        if here.module != file.module:
            rule = f"the package that is installed here brings {here.module} under this name, and not {file.module}"
            return Problem(rule, source=file.path)
        module = import_module(here.module)
        _imported_ones[file.path] = here
        return module
    except LookupError as error:
        return Problem(str(error.args[0]), source=file.path)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 (whatever a user's code raises is told to the user)
        said = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
        return Problem(f"cannot be imported: {said}", source=file.path)


def has_run(file: PluginFile) -> bool:
    """Whether this very content has run as a plugin in this process under this path."""
    if not file.module:
        return _module_name(file) in sys.modules
    ran = _imported_ones.get(file.path)  # that a module is loaded says nothing: a description can name any
    return (
        ran is not None
        and ran.module == file.module
        and is_same_code(ran.sha256, ran.meaning, file.sha256, file.meaning)
    )


def name_in_tracebacks(file: PluginFile) -> str:
    """What Python calls the file of its code: the path, with a hash where other content of that path ran before it.

    Python finds the lines of a traceback by this name alone, so each content needs its own.
    """
    if file.module:
        return str(getattr(sys.modules.get(file.module), "__file__", None) or file.path)
    digest = _digest(file)
    is_first = _first.setdefault(file.path, digest) == digest
    return file.path if is_first else f"{file.path}@{file.sha256[:8]}"


def _module_name(file: PluginFile) -> str:
    return file.module or f"cifar_tune_plugin_{_digest(file)[:16]}"


def _digest(file: PluginFile) -> str:
    return hashlib.sha256(f"{file.path}\n{file.sha256}".encode()).hexdigest()


def _executed(name: str, file: PluginFile) -> ModuleType | Problem:
    try:
        code = compile(file.source, name_in_tracebacks(file), "exec", dont_inherit=True)
    except SyntaxError as error:
        return Problem(f"is not valid Python: {error.msg}", source=file.path, line=error.lineno)
    except ValueError as error:  # null characters, in Python 3.11
        return Problem(f"is not valid Python: {error}", source=file.path)
    except (RecursionError, MemoryError):
        return Problem("cannot be compiled: an expression in it is nested too deeply", source=file.path)
    module = ModuleType(name, None)
    module.__file__ = file.path
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)  # noqa: S102 (a plugin is the user's own code)
    except KeyboardInterrupt:
        del sys.modules[name]
        raise
    except BaseException as error:  # noqa: BLE001 (whatever a user's code raises is told to the user)
        del sys.modules[name]
        said = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
        return Problem(f"cannot be imported: {said}", source=file.path, line=_line_in(error, name_in_tracebacks(file)))
    return module


def _line_in(error: BaseException, name: str) -> int | None:
    """The line of this file in which the error came up, or through which it was called; None if it was not."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
    return lines[-1] if lines else None


def entry_lines(source: str) -> dict[tuple[str, str], int]:
    """On which line each entry of the dictionaries at the top of a module stands: `("OPTIMIZERS", "my_sgd")`."""
    lines: dict[tuple[str, str], int] = {}
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # of an installed package perhaps; it has run anyway
        return lines
    for statement in statements:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=value)
            ):
                lines[name, ""] = statement.lineno
                keys = value.keys if isinstance(value, ast.Dict) else []
                for key in keys:
                    if isinstance(key, ast.Constant):
                        lines[name, str(key.value)] = key.lineno
    return lines


@contextmanager
def plugin_errors_told(plugins: Sequence[Plugin]) -> Iterator[None]:
    """Turn what goes wrong inside into one message, where these plugins are used: their code can fail in any way.

    Raises:
        CheckError: naming the plugin's line that it came from, or else the plugins.
    """
    try:
        yield
    except CifarTuneError:
        raise
    except Exception as error:
        if not plugins:
            raise
        raise CheckError(_told(error, [plugin.file for plugin in plugins if plugin.file is not None])) from error


def _told(error: Exception, files: Sequence[PluginFile]) -> str:
    said = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    paths = {name_in_tracebacks(file): file.path for file in files}
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in paths]
    if frames:
        return f"{paths[frames[-1].filename]}:{frames[-1].lineno}: in {frames[-1].name}: {said}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{'/'.join(Path(last.filename).parts[-2:])}:{last.lineno}, in {last.name}"
    return f"while the parts of {', '.join(paths.values())} were used: {said} ({place}, not in a line of theirs)"
