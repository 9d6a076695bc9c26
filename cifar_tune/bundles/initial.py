"""The weights that a training began with (knob `init_from`): a bundle holds them, so that others can train again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cifar_tune.errors import Problem, UserError
from cifar_tune.files import read_regular
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.knobs.initial_weights import FRESH, TIMM, WEIGHTS_FILE, weights_source
from cifar_tune.model_files.description import DESCRIPTION_FILE, MOST_BYTES
from cifar_tune.model_files.reading import MOST_BYTES_OF_WEIGHTS
from cifar_tune.paths import PathError

INITIAL_FOLDER = "init_from"
_KNOB = "init_from"


def initial_files(train: dict[str, Any], say: Callable[[str], None]) -> dict[str, bytes]:
    """The file that the training began with, by its name in the bundle, and the description beside it.

    Args:
        train: the knobs of the training.
        say: told where the file is not here any more.
    """
    source = weights_source(str(train.get(_KNOB, FRESH)))
    if source is None:
        return {}
    try:
        file = source.file
        weights = read_regular(file, MOST_BYTES_OF_WEIGHTS, follow_links=True)
    except (OSError, PathError):
        weights = b""
    if not source.is_content(weights):
        say(
            f"note: the training began with the weights in {source.path}, and that file is not here any more: the "
            f"bundle does not hold it, and whoever retrains the model needs it"
        )
        return {}
    found = {f"{INITIAL_FOLDER}/{WEIGHTS_FILE}": weights}
    try:  # its classes decide whether the last layer was taken over
        description = read_regular(file.with_name(DESCRIPTION_FILE), MOST_BYTES, follow_links=True)
        found[f"{INITIAL_FOLDER}/{DESCRIPTION_FILE}"] = description
    except OSError:
        pass
    return found


def with_initial_weights(config: Configuration, unpacked: Path, say: Callable[[str], None]) -> Configuration:
    """The configuration with the weights of the bundle, where it has some; else with those on this machine.

    Args:
        config: to be trained.
        unpacked: the folder that the bundle was unpacked into.
        say: told where the weights come from elsewhere.

    Raises:
        UserError: the weights are neither in the bundle nor here.
    """
    value = config.text(_KNOB)
    if value == TIMM:
        say("note: the training begins with the weights that timm publishes; they come from its cache or the network")
    source = weights_source(value)
    if source is None:
        return config
    folder = unpacked / INITIAL_FOLDER
    if (folder / WEIGHTS_FILE).exists():
        return config.replaced(init_from=f"{folder}@sha256:{source.sha256}")
    try:
        is_here = source.file.is_file()
    except (OSError, ValueError):
        is_here = False
    if not is_here:
        rule = (
            f"the training began with weights that are neither in the bundle nor here: {source.path}, with the sha256 "
            f"{source.sha256}. Ask the author of the bundle for them; without --retrain all else can be verified"
        )
        raise UserError(Problem(rule, "--retrain"))
    return config
