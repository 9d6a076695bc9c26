"""What an executor does while it waits for its first job: it makes its GPU ready, so that the first epoch is fast.

The first training of a process on a GPU loads kernels and the libraries that it needs (cuDNN, cuBLAS), and copies the
images there. Most of that stays for all later trainings. Nothing else stays: no memory, and no number that was drawn.
"""

import logging
from collections.abc import Callable, Generator
from contextlib import closing

import torch

from cifar_tune.data.resident import ResidentData
from cifar_tune.executors.messages import WarmUp
from cifar_tune.knobs.configuration import Configuration
from cifar_tune.training.failures import is_device_lost, release
from cifar_tune.training.probe import few_steps, room

WARMED = ["cuda"]
"""Types of the devices that are made ready. On a CPU it gains nothing: there, in a new executor, the first trial of
tutorial_net on scikit-learn's digits began after 0.15 s and the second one after 0.04 s, and their epochs took the same
time."""

_FREE_SHARE = 0.5
"""Of a GPU's memory that must be free before a training is tried: other programs may need the rest."""

_LOG = logging.getLogger("cifar_tune.executors")


def warm_up(
    order: WarmUp, device: torch.device, load_data: Callable[[], ResidentData], is_idle: Callable[[], bool]
) -> bool:
    """Load the images, and take a few steps of a training, until there is something else to do.

    What goes wrong is logged, and shows again when a trial meets it.

    Args:
        order: what to train.
        device: where.
        load_data: loads the images of `order` onto the device, unless they are there.
        is_idle: asked before each step whether to go on.

    Returns:
        Whether this process can still use the device.
    """
    if device.type not in WARMED or not is_idle():
        return True
    is_usable = True
    try:
        drawn_from = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(drawn_from), closing(_parts(order, device, load_data)) as parts:
            for _ in parts:
                if not is_idle():
                    break
    except Exception as error:  # noqa: BLE001 (a trial may do without whatever failed here)
        _LOG.info("%s was not made ready for the first trial: %s: %s", device, type(error).__name__, error)
        is_usable = not is_device_lost(error)
    if is_usable:
        release(device)  # not in the handler, where the error's traceback still holds the model
    return is_usable


def _parts(order: WarmUp, device: torch.device, load_data: Callable[[], ResidentData]) -> Generator[None, None, None]:
    data = load_data()
    yield
    free, total = room(device)
    if order.config is not None and free >= _FREE_SHARE * total:
        yield from few_steps(Configuration(order.config), data, device)
