"""Bundles of strangers: whatever is in them, nothing is written or run that should not be."""

import io
import json
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cifar_tune.bundles import archive
from cifar_tune.bundles.archive import MANIFEST_FILE, packed, read_bundle
from cifar_tune.bundles.verifying import Wanted, verify
from cifar_tune.errors import CheckError, UserError
from tests.model_files.conftest import *  # noqa: F403 (its fixtures)
from tests.model_files.test_refusals import PLUGIN, forget_plugins, with_plugin


def written(folder: Path, entries: list[tuple[Any, bytes]]) -> Path:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        for name, content in entries:
            made.writestr(name, content)
    path = folder / "bundle.zip"
    path.write_bytes(stream.getvalue())
    return path


def packed_by(method: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("model/x")
    info.compress_type = method
    return info


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../../etc/cron.d/x", "leads out of the bundle"),
        ("/etc/passwd", "leads out of the bundle"),
        ("model\\..\\x", "leads out of the bundle"),
        ("C:/x", "leads out of the bundle"),
        ("model/", "is none of a file"),
        ("model//x", "is none of a file"),
        ("./x", "is none of a file"),
        ("a\x1b[2Jb", "is none of a file"),
        ("x" * 400, "is none of a file"),
        ("model/" + "é" * 140, "is none of a file"),
        (MANIFEST_FILE.upper(), "is there twice"),
        (MANIFEST_FILE + "/x", "leads through a file"),
        (packed_by(zipfile.ZIP_LZMA), "is packed by another method"),
        (link("model/model.json"), "is a link or a device"),
        (MANIFEST_FILE, "is there twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_of_strangers(tmp_path: Path, name: Any, words: str) -> None:
    folder = tmp_path / "of" / "bundles"  # what lies further up belongs to other tests, which may still change it
    folder.mkdir(parents=True)
    path = written(folder, [(MANIFEST_FILE, b"{}"), (name, b"x")])
    with pytest.raises(UserError, match=words):
        read_bundle(path)
    assert {each for each in tmp_path.rglob("*") if each.is_file()} == {path}


def test_sizes_of_strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(MANIFEST_FILE, "{}")
        made.writestr("bomb", bytes(20_000_000))
    path = tmp_path / "bundle.zip"
    path.write_bytes(stream.getvalue())
    assert len(stream.getvalue()) < 50_000
    monkeypatch.setattr(archive, "MOST_BYTES", 10_000_000)
    with pytest.raises(UserError, match="would become 20,000,002 bytes, and no bundle has more than 10,000,000"):
        read_bundle(path)
    lying = stream.getvalue().replace((20_000_000).to_bytes(4, "little"), (5).to_bytes(4, "little"))
    path.write_bytes(lying)
    with pytest.raises(UserError, match="is no bundle"):
        read_bundle(path)
    monkeypatch.setattr(archive, "MOST_FILES", 1)
    with pytest.raises(UserError, match="holds 2 files"):
        read_bundle(path)


def test_what_is_no_bundle(tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    with pytest.raises(UserError, match="there is no such file"):
        read_bundle(path)
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UserError, match="is no bundle, or is damaged"):
        read_bundle(path)
    with pytest.raises(UserError, match=r"it has no manifest.json"):
        read_bundle(written(tmp_path, [("x", b"")]))
    with pytest.raises(UserError, match=r"its manifest.json cannot be read"):
        read_bundle(written(tmp_path, [(MANIFEST_FILE, b"[1]")]))
    for text in (b"[" * 100_000, b'{"format": "cifar-tune bundle", "study": NaN}'):
        with pytest.raises(UserError, match=r"its manifest.json cannot be read"):
            read_bundle(written(tmp_path, [(MANIFEST_FILE, text)]))
    newer = json.dumps({"format": archive.FORMAT, "format_version": 2, "cifar_tune": "9.0"}).encode()
    with pytest.raises(UserError, match=r"was written by cifar-tune 9.0, in version 2 of the format"):
        read_bundle(written(tmp_path, [(MANIFEST_FILE, newer)]))


def test_damage_is_told_by_file(tmp_path: Path) -> None:
    whole = packed("made", {"a": b"1", "b": b"2"})
    with zipfile.ZipFile(io.BytesIO(whole)) as made:
        manifest = made.read(MANIFEST_FILE)
    with pytest.raises(CheckError) as error:
        read_bundle(written(tmp_path, [(MANIFEST_FILE, manifest), ("a", b"other"), ("c", b"3")]))
    said = str(error.value)
    assert "b is missing; c is not in the manifest; a is damaged: its sha256 is not the one in the manifest" in said


def test_a_plugin_is_shown_before_it_runs(
    tmp_path: Path,
    save: Any,
    prepared: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "model"
    _, description = save(folder, with_plugin(model="tiny"))
    files = {
        f"model/{file.relative_to(folder).as_posix()}": file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }
    path = tmp_path / "bundle.zip"
    path.write_bytes(packed("made", {**files, "split.csv": archive_split(prepared)}))
    monkeypatch.setenv("CIFAR_TUNE_CACHE", str(prepared.images_path.parents[1]))
    forget_plugins(monkeypatch)
    said: list[str] = []
    with pytest.raises(UserError, match="They are Python programs and would run with your rights"):
        list(verify(path, Wanted(device="cpu"), said.append))
    assert said[0] == f"plugin parts/mine.py, sha256 {description.plugins[0].sha256}:"
    assert [line[7:] for line in said[1:]] == PLUGIN.splitlines()
    findings = {each.name: each for each in verify(path, Wanted(device="cpu", run_plugins=True), said.append)}
    assert findings["weights, validation images"].passed


def test_an_installed_plugin_is_shown_as_what_it_is(tmp_path: Path, save: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A description can name any module as that of a plugin. Nothing is imported for it without a word."""
    folder = tmp_path / "model"
    _, description = save(folder, with_plugin(model="tiny"))
    plugin = {**description.plugins[0].model_dump(), "path": "acme", "module": "json"}
    changes = {"plugins": [plugin], "origin": {"command": "finalize"}}
    (folder / "model.json").write_text(json.dumps(description.model_dump(mode="json") | changes))
    files = {
        f"model/{file.relative_to(folder).as_posix()}": file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }
    path = tmp_path / "bundle.zip"
    path.write_bytes(packed("made", files))
    imported: list[str] = []
    monkeypatch.setattr("cifar_tune.plugins.execute.import_module", imported.append)
    said: list[str] = []
    with pytest.raises(UserError) as error:
        list(verify(path, Wanted(device="cpu", retrain=True), said.append))
    assert imported == []
    assert said[0].startswith("plugin acme: what runs is not this text, but the package that is installed here")
    assert "They are Python programs and would run with your rights" in str(error.value)
    assert str(path) in str(error.value)


def archive_split(prepared: Any) -> bytes:
    from cifar_tune.bundles.packing import split_csv

    return split_csv(prepared)
