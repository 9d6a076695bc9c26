"""The token that a person shows to a server: from the environment, or a file that nobody else can read."""

import os
import stat
from pathlib import Path

from cifar_tune.errors import Problem, UserError
from cifar_tune.files import open_regular
from cifar_tune.paths import given_path

TOKEN_VARIABLE = "CIFAR_TUNE_TOKEN"  # noqa: S105 (a name)
FILE_VARIABLE = "CIFAR_TUNE_TOKEN_FILE"
_MOST_BYTES = 1000


def own_token() -> str:
    """The token of whoever runs this process.

    It is taken from CIFAR_TUNE_TOKEN, else from the file that CIFAR_TUNE_TOKEN_FILE names, else from
    `~/.config/cifar-tune/token` (or the same below XDG_CONFIG_HOME).

    Raises:
        UserError: there is none, or others can read the file.
    """
    given = os.environ.get(TOKEN_VARIABLE, "").strip()
    if given:
        return _sound(given, TOKEN_VARIABLE)
    named = os.environ.get(FILE_VARIABLE)
    file = given_path(named, FILE_VARIABLE) if named else _usual_file()
    if not named and not file.exists():
        rule = f"no token: set {TOKEN_VARIABLE}, or write it into {file} and then: chmod 600 {file}"
        raise UserError(Problem(rule))
    return _sound(secret_in(file, "the token"), str(file))


def secret_in(file: Path, what: str) -> str:
    """What a file holds that nobody else can read, without spaces around it.

    Args:
        file: with the secret.
        what: the secret is, for messages.

    Raises:
        UserError: it cannot be read, or others can read it.
    """
    try:
        with open_regular(file, follow_links=True) as content:
            mode = os.fstat(content.fileno()).st_mode
            text = content.read(_MOST_BYTES).decode(errors="replace")
    except OSError as error:
        raise UserError(Problem(f"{what} cannot be read: {error.strerror}", source=str(file))) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(Problem(f"others can read {what} in it; change that: chmod 600 {file}", source=str(file)))
    return text.strip()


def _usual_file() -> Path:
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return given_path(folder, "XDG_CONFIG_HOME") / "cifar-tune" / "token"


def _sound(text: str, source: str) -> str:
    """Refuse what no token can be, and say nothing of what it is.

    Raises:
        UserError: it is empty, or holds what a header cannot hold.
    """
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise UserError(Problem("holds no token, which is one word such as ct_...", source=source))
    return text
