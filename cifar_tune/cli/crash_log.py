"""What is left of an error that nobody foresaw: a file with its traceback, and a line on stderr that names it."""

import os
import platform
import shlex
import traceback
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import cifar_tune
from cifar_tune.errors import CifarTuneError
from cifar_tune.files import replace_file
from cifar_tune.study_spec.notify import addresses_in, without_addresses
from cifar_tune.visible import visible_lines

FOLDER = Path("storage/logs")


def crash_lines(error: BaseException, arguments: Sequence[str]) -> list[str]:
    """Write the traceback of an error into a file of its own.

    Args:
        error: with its causes.
        arguments: of the command.

    Returns:
        Lines for stderr: one that names the file; where it cannot be written, the traceback itself.
    """
    trace = "".join(traceback.format_exception(error))
    now = datetime.now().astimezone()
    head = (
        f"{now.isoformat(timespec='seconds')}: {shlex.join(['cifar-tune', *without_addresses(arguments)])}\n"
        f"cifar-tune {cifar_tune.__version__}, Python {platform.python_version()}, {platform.platform()}\n\n"
    )
    file = FOLDER / f"{now:%Y%m%d-%H%M%S}-{os.getpid()}.log"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, visible_lines(without_passwords(head + trace, arguments)))
    except OSError:
        return without_passwords(trace, arguments).split("\n")
    return [f"its traceback is in {file}; if it is a fault of cifar-tune, please report it with that file"]


def without_passwords(text: str, arguments: Sequence[str]) -> str:
    """The text without the secrets in URLs of databases, and without addresses (`notify`).

    Those in the environment and in the arguments are among them.
    """
    from cifar_tune.storage.urls import STORAGE_VARIABLE, storage_url, without_secrets, without_secrets_of_urls

    for address in addresses_in(arguments):
        text = text.replace(address, "***")
    options = [argument.partition("=")[2] for argument in arguments if argument.startswith("-")]
    for each in (os.environ.get(STORAGE_VARIABLE, ""), *arguments, *options):
        if "://" in each:
            with suppress(CifarTuneError):
                text = without_secrets(text, storage_url(each))
    return without_secrets_of_urls(text)
