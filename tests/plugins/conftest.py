"""Plugin files in a folder of their own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cifar_tune.errors import Problem, UserError
from cifar_tune.knobs.plugin import Plugin
from cifar_tune.plugins.files import read_plugin_file
from cifar_tune.plugins.load import load_plugins

Load = Callable[..., tuple[Plugin, ...]]

HEAD = """
import torch
from torch import nn
from cifar_tune.plugins import AugmentationPart, Kind, Knob, LossPart, MetricPart, ModelPart, Part, SchedulePart

class Own(torch.optim.SGD):
    def __init__(self, params, lr, bite=0.1):
        super().__init__(params, lr=lr)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def load(folder: Path) -> Load:
    """Write texts to parts0.py, parts1.py and so on, and load all of them; HEAD stands before each."""

    def run(*texts: str, head: str = HEAD) -> tuple[Plugin, ...]:
        names = [f"parts{index}.py" for index in range(len(texts))]
        for name, text in zip(names, texts, strict=True):
            (folder / name).write_text(head + text)
        return load_plugins([read_plugin_file(name) for name in names])

    return run


@pytest.fixture
def refused(load: Load) -> Callable[..., tuple[Problem, ...]]:
    def run(*texts: str, head: str = HEAD) -> tuple[Problem, ...]:
        with pytest.raises(UserError) as raised:
            load(*texts, head=head)
        return raised.value.problems

    return run
