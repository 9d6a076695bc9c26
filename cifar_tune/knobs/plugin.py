"""Plugins: models, optimizers and the like out of a user's own file, beside the built-in ones.

The vocabulary of a process is the built-in one and the plugins of one study or configuration: those that `plug_in` was
called with last. Reading a study file, a configuration or a stored study does so, so that a command that walks through
many studies sees each with its own plugins, even where two of them mean different things by one name. Who comes back to
one that was read before, or has threads that read several at a time, holds the `vocabulary` meanwhile.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cifar_tune.knobs.activations import ACTIVATIONS
from cifar_tune.knobs.augmentations import AUGMENTATIONS
from cifar_tune.knobs.knob import Knob
from cifar_tune.knobs.losses import LOSSES
from cifar_tune.knobs.models import MODELS
from cifar_tune.knobs.norms import NORMS
from cifar_tune.knobs.optimizers import OPTIMIZERS
from cifar_tune.knobs.part import Part
from cifar_tune.knobs.registry import Registry
from cifar_tune.knobs.schedules import SCHEDULES
from cifar_tune.knobs.table import KNOBS

REGISTRIES: Mapping[str, Registry[Any]] = {
    "model": MODELS,
    "norm": NORMS,
    "activation": ACTIVATIONS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "loss": LOSSES,
    "augment": AUGMENTATIONS,
}
"""What a plugin can add to, by the knob that names it."""


@dataclass(frozen=True, slots=True)
class PluginFile:
    """A plugin's file as it was read, once: what runs is this text, whatever happens to the file meanwhile.

    Attributes:
        path: as a study file names it, relative to the folder that a command is started in.
        sha256: of its bytes, in hex.
        source: its text.
    """

    path: str
    sha256: str
    source: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Plugin:
    """What a file adds. Two are equal if path and content are.

    Attributes:
        path, sha256: of its file.
        parts: by the knob that names them, then by name.
        knobs: of its own.
        file: None where the parts come from a study's description: they can be shown, but not built.
    """

    path: str
    sha256: str
    parts: Mapping[str, Mapping[str, Part]] = field(compare=False)
    knobs: Mapping[str, Knob] = field(compare=False)
    file: PluginFile | None = field(default=None, compare=False)

    @property
    def reference(self) -> dict[str, str]:
        """The item of a `plugins` section that takes this very file and no other content."""
        return {"path": self.path, "sha256": self.sha256}


_in_force: tuple[Plugin, ...] = ()
_held = threading.RLock()


def plug_in(plugins: Sequence[Plugin]) -> None:
    """Put these plugins in force in this process, and no others.

    Where the same ones already are and can be built, they stay: their description alone takes nothing away.
    """
    global _in_force  # noqa: PLW0603 (the one vocabulary of a process, as described above)
    if tuple(plugins) == _in_force and all(plugin.file is None for plugin in plugins):
        return
    _in_force = tuple(plugins)
    for owner, registry in REGISTRIES.items():
        registry.plug({name: part for plugin in plugins for name, part in plugin.parts.get(owner, {}).items()})
    KNOBS.plug({name: knob for plugin in plugins for name, knob in plugin.knobs.items()})


def plugins_in_force() -> tuple[Plugin, ...]:
    """The plugins that `plug_in` was called with last."""
    return _in_force


@contextmanager
def vocabulary(plugins: Sequence[Plugin] | None = None) -> Iterator[None]:
    """Let no other thread that asks for it change the vocabulary meanwhile; begin with these plugins, if given."""
    with _held:
        if plugins is not None:
            plug_in(plugins)
        yield
