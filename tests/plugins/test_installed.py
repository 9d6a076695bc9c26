"""Plugins that are installed packages, named by their entry points."""

from pathlib import Path

import pytest

from cifar_tune.errors import UserError
from cifar_tune.plugins.files import PluginFileError, read_plugin_file
from cifar_tune.plugins.load import load_plugins
from cifar_tune.study_spec.difference import differences
from cifar_tune.study_spec.reader import read_study
from cifar_tune.study_spec.yaml_reader import Document

from .package import SUMS, written_package


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    return written_package(tmp_path / "site", f"acme_{request.node.name}", monkeypatch)


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
    with pytest.raises(UserError, match="acme: the package that is installed here has other code than the one"):
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
