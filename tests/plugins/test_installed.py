"""Plugins that are installed packages, named by their entry points."""

import sys
from pathlib import Path

import pytest

from cifar_tune.errors import UserError
from cifar_tune.plugins.files import PluginFileError, read_plugin_file
from cifar_tune.plugins.load import load_plugins
from cifar_tune.study_spec.difference import differences
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.yaml_reader import Document

PARTS = """
from cifar_tune.plugins import LossPart

from .sums import doubled

LOSSES = {"doubled": LossPart(doubled, "twice the cross entropy")}
"""
SUMS = """
from torch.nn.functional import cross_entropy


def doubled(logits, targets):
    return 2 * cross_entropy(logits, targets)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A package of two modules, as pip installs it; each test has a name of its own for it."""
    name = f"acme_{request.node.name}"
    site = tmp_path / "site"
    (site / name).mkdir(parents=True)
    (site / name / "__init__.py").write_text("")
    (site / name / "parts.py").write_text(PARTS)
    (site / name / "sums.py").write_text(SUMS)
    metadata = site / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[cifar_tune.parts]\nacme = {name}.parts\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return site / name


def test_a_study_names_its_entry_point(package: Path) -> None:
    plain = {"name": "own", "plugins": ["acme"], "train": {"loss": "doubled"}}
    spec = read_study(Document(plain), None).spec
    assert spec.train["loss"] == "doubled"
    assert spec.plugins[0].path == "acme"
    (package / "sums.py").write_text(SUMS + "# a word\n")
    assert not differences(spec, read_study(Document(plain), None).spec)
    (package / "sums.py").write_text(SUMS.replace("2 *", "3 *"))
    changed = differences(spec, read_study(Document(plain), None).spec)
    assert [str(each) for each in changed] == ["plugins.acme: its code has changed"]


def test_an_executor_with_another_version_says_so(package: Path) -> None:
    file = read_plugin_file("acme")
    (package / "sums.py").write_text(SUMS.replace("2 *", "3 *"))
    with pytest.raises(UserError, match="acme: another version of this package is installed here than where the"):
        load_plugins([file])


def test_what_cannot_be_imported_is_told(package: Path) -> None:
    (package / "parts.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(UserError, match="acme: cannot be imported: ModuleNotFoundError: No module named"):
        load_plugins([read_plugin_file("acme")])
    with pytest.raises(PluginFileError, match="no installed package of parts: installed are acme") as raised:
        read_plugin_file("acne")
    assert raised.value.nearest == "acme"
    (package / "parts.py").unlink()
    with pytest.raises(PluginFileError, match=r"there is no module .*; install its package again"):
        read_plugin_file("acme")
