"""A package with parts, as pip installs it."""

import sys
from pathlib import Path

import pytest

PARTS = """
from torch import nn

from cifar_tune.plugins import LossPart, ModelPart

from .sums import doubled

def tiny(image_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(image_shape[0] * image_shape[1] * image_shape[2], classes))

MODELS = {"tiny": ModelPart(tiny, "one linear layer")}

LOSSES = {"doubled": LossPart(doubled, "twice the cross entropy")}
"""
SUMS = """
from torch.nn.functional import cross_entropy


def doubled(logits, targets):
    return 2 * cross_entropy(logits, targets)
"""


def written_package(site: Path, name: str, patch: pytest.MonkeyPatch) -> Path:
    """A package of two modules with the entry point `acme`; each test needs a name of its own for it."""
    (site / name).mkdir(parents=True)
    (site / name / "__init__.py").write_text("")
    (site / name / "parts.py").write_text(PARTS)
    (site / name / "sums.py").write_text(SUMS)
    metadata = site / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[cifar_tune.parts]\nacme = {name}.parts\n")
    patch.syspath_prepend(site)
    patch.setattr(sys, "dont_write_bytecode", True)
    return site / name
