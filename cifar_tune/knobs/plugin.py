"""Plugins: models, optimizers and the like out of a user's own file, beside the built-in ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cifar_tune.knobs.knob import Knob
from cifar_tune.knobs.part import Part


@dataclass(frozen=True, slots=True)
class PluginFile:
    """A plugin's file as it was read, once: what runs is this text, whatever happens to the file meanwhile.

    Attributes:
        path: as a study file names it; of an installed plugin the name of its entry point.
        sha256: of its bytes, in hex.
        source: its text.
        meaning: a digest of its code that comments and formatting do not change; empty where it is not known.
        folder: what the path is relative to: empty for the folder that the command was started in.
        module: of an installed plugin, which Python imports; else empty.
    """

    path: str
    sha256: str
    source: str = field(repr=False)
    meaning: str = ""
    folder: str = field(default="", compare=False)
    module: str = ""

    @property
    def identity(self) -> str:
        """What says whether a training can go on with it: its meaning, or where that is not known its content."""
        return self.meaning or self.sha256


@dataclass(frozen=True, slots=True)
class Plugin:
    """What a file adds. Two are equal if path and content are.

    Attributes:
        path, sha256, meaning, folder: of its file.
        parts: by the knob that names them, then by name.
        knobs: of its own.
        file: None where the parts come from a study's description: they can be shown, but not built.
    """

    path: str
    sha256: str
    parts: Mapping[str, Mapping[str, Part]] = field(compare=False)
    knobs: Mapping[str, Knob] = field(compare=False)
    file: PluginFile | None = field(default=None, compare=False)
    meaning: str = field(default="", compare=False)
    folder: str = field(default="", compare=False)

    @property
    def reference(self) -> dict[str, str]:
        """The item of a `plugins` section that takes this file and no other code."""
        known = {"meaning": self.meaning, "folder": self.folder}
        return {"path": self.path, "sha256": self.sha256, **{name: text for name, text in known.items() if text}}

    @property
    def place(self) -> dict[str, str]:
        """The item of a `plugins` section that finds it again, whatever its code is then."""
        return {"path": self.path, **({"folder": self.folder} if self.folder else {})}

    def is_as_good_as(self, other: "Plugin") -> bool:
        """Whether trials of the one can be compared with those of the other: the same path, and the same code."""
        return self.path == other.path and is_same_code(self.sha256, self.meaning, other.sha256, other.meaning)


def is_same_code(sha256: str, meaning: str, other_sha256: str, other_meaning: str) -> bool:
    """Whether two files hold the same code. Of a file that was written down long ago no meaning is known."""
    return sha256 == other_sha256 or (bool(meaning) and meaning == other_meaning)
