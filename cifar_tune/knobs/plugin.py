"""Plugins: models, optimizers and the like out of a user's own file, beside the built-in ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cifar_tune.knobs.knob import Knob
from cifar_tune.knobs.part import Part


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
