"""Errors in a user's code, told as such."""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cifar_tune.errors import CheckError, CifarTuneError
from cifar_tune.knobs.plugin import Plugin


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
        raise CheckError(_told(error, [plugin.path for plugin in plugins])) from error


def _told(error: Exception, paths: list[str]) -> str:
    said = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in paths]
    if frames:
        return f"{frames[-1].filename}:{frames[-1].lineno}: in {frames[-1].name}: {said}"
    return f"with the parts of {', '.join(paths)}, which are not on the way to the error: {said}"
