"""Paths as people give them: in options, environment variables, URLs and study files.

All of them are read here, so that `~`, `~user`, `$NAME` and `${NAME}` mean the same everywhere, also where no shell has
replaced them, as in `--output=~/x` and in a file. What is stored stays as it was written: it may mean another folder on
another machine.
"""

import os
import re
import stat
from pathlib import Path

from cifar_tune.errors import Problem, UserError

STDIN = Path("/dev/stdin")
_OPEN_FILES = (STDIN, Path("/dev/fd"), Path("/proc/self/fd"))
_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")


class PathError(ValueError):
    """A path that stands for nothing on this machine; the message is the rule that it breaks."""


def given_path(given: str | Path, key: str) -> Path:
    """The path that somebody gave; `key` is what it was given as, for messages.

    Raises:
        UserError: there is no such user, no home folder or no such environment variable.
    """
    try:
        return Path(expanded(str(given)))
    except PathError as error:
        raise UserError(Problem(str(error), key, str(given))) from error


def expanded(text: str) -> str:
    """A path with its `~` or `~user` and its environment variables replaced.

    Raises:
        PathError: there is no such user, no home folder or no such environment variable.
    """
    home, slash, rest = text.partition("/")
    if home.startswith("~"):
        text = _home_of(home) + slash + rest
    if "$" in text and not all(os.environ.get(a or b) for a, b in _VARIABLE.findall(text)) and Path(text).exists():
        return text  # its very name holds a $
    return _VARIABLE.sub(lambda match: _value_of(match[1] or match[2]), text)


def is_stream(path: Path) -> bool:
    """Whether a file can be read only once, from its beginning to its end: a pipe such as `<(...)`, or stdin.

    What cannot be looked at, such as a name that is too long, is none: whoever reads it finds out why.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    is_open = path in _OPEN_FILES or path.parent in _OPEN_FILES
    return stat.S_ISFIFO(mode) or (is_open and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode))


def _home_of(tilde: str) -> str:
    if tilde == "~" and os.environ.get("HOME") == "":
        raise PathError("HOME is empty, so there is no home folder: set it, or write the path without ~")
    home = os.path.expanduser(tilde)  # noqa: PTH111 (Path.expanduser takes a whole path)
    if home.startswith("~"):
        if tilde == "~":
            raise PathError("there is no home folder: set HOME, or write the path without ~")
        raise PathError(f"there is no user {tilde[1:]!r} on this machine; write ./{tilde} for a folder of that name")
    return home.rstrip("/")


def _value_of(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise PathError(f"the environment variable {name} is {'not set' if value is None else 'empty'}")
    return value
