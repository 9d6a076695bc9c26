import errno
import os
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
from PIL import Image

from cifar_tune.errors import UserError
from cifar_tune.plotting import style
from cifar_tune.reports.comparison import compare
from cifar_tune.reports.comparison_files import write
from cifar_tune.reports.export import export
from cifar_tune.reports.pictures import PICTURES
from cifar_tune.storage.rdb import open_storage
from cifar_tune.storage.records import StudyRecord
from cifar_tune.storage.urls import storage_url

from .factory import MadeTrial, make_record, make_spec

LR = {"lr": {"low": 1e-4, "high": 1.0, "log": True}}
TEXTS = {"best.yaml", "epochs.csv", "report.html", "summary.json", "summary.md", "trials.csv"}


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.usefixtures("blank_pictures")
def test_it_returns_the_files_that_it_wrote(tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "made"
    written = export(make_record(make_spec(LR), [MadeTrial({"lr": 0.1}, 0.5)]), folder)
    assert {path.name for path in written} == TEXTS | set(PICTURES) == files(folder)
    assert all(path.parent == folder for path in written)


def test_a_second_export_overwrites_and_removes_what_no_longer_holds(tmp_path: Path) -> None:
    first = make_record(make_spec(LR), [MadeTrial({"lr": 0.1}, 0.5), MadeTrial({"lr": 0.2}, 0.6)])
    export(first, tmp_path, ("svg", "pdf"))
    for picture in PICTURES:
        assert (tmp_path / picture).with_suffix(".svg").read_bytes().startswith(b"<?xml")
        assert (tmp_path / picture).with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "my.png").write_text("mine too")
    before = (tmp_path / "history.png").read_bytes()
    written = export(make_record(make_spec(LR), []), tmp_path)
    assert "best.yaml" not in {path.name for path in written}
    assert files(tmp_path) == (TEXTS - {"best.yaml"}) | set(PICTURES) | {"notes.txt", "my.png"}
    assert (tmp_path / "history.png").read_bytes() != before
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_same_study_gives_the_same_files(record: StudyRecord, drawn: Path, tmp_path: Path) -> None:
    export(record, tmp_path)
    for path in tmp_path.iterdir():
        if path.suffix in (".csv", ".json", ".png"):
            assert path.read_bytes() == (drawn / path.name).read_bytes(), path.name


def test_vector_pictures_are_the_same_each_time_and_stay_small() -> None:
    drawn = []
    for _ in range(2):
        with style.applied():
            figure = style.new_figure(4, 3)
            figure.add_subplot().scatter(range(20_000), [(each * 7) % 1000 for each in range(20_000)], s=4)
            drawn.append(style.drawn_as(figure, ("svg", "pdf")))
    assert drawn[0] == drawn[1]
    assert list(drawn[0]) == ["png", "svg", "pdf"]
    assert max(map(len, drawn[0].values())) < 400_000


@pytest.mark.usefixtures("blank_pictures")
def test_it_works_from_a_database(tmp_path: Path) -> None:
    storage = open_storage(storage_url(f"sqlite:///{tmp_path / 'studies.db'}"))
    record = make_record(make_spec(LR), [MadeTrial({"lr": 0.1}, 0.5), MadeTrial({"lr": 0.2}, 0.6)], storage)
    export(record, tmp_path / "report")
    assert TEXTS | set(PICTURES) == files(tmp_path / "report")


@pytest.mark.usefixtures("blank_pictures")
def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/report: cannot be written: Not a directory"):
        export(make_record(make_spec(LR), []), tmp_path / "file" / "report")


@pytest.mark.usefixtures("blank_pictures")
def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "trials.csv").mkdir()
    with pytest.raises(UserError, match=r"trials\.csv: cannot be written: Is a directory"):
        export(make_record(make_spec(LR), []), tmp_path)


def test_an_error_while_the_last_file_takes_its_place_leaves_the_former_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    colours = count()  # no picture is equal to another one
    monkeypatch.setattr(style, "_pixels", lambda _figure: Image.new("RGB", (16, 16), (next(colours), 0, 0)))
    objectives = [{"metric": "val_accuracy"}, {"metric": "parameters"}]
    several = make_spec(LR, objective=objectives)
    export(make_record(several, [MadeTrial({"lr": 0.1}, 0.5, figures={"parameters": 9})]), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert tmp_path / "front" / "trial-0.yaml" in before
    real = os.replace

    def full(source: Path, target: Path) -> None:
        if target.name == "trials.csv":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    single = make_record(make_spec(LR), [MadeTrial({"lr": 0.2}, 0.6)])
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(UserError, match=r"trials\.csv: cannot be written: No space left on device"):
            export(single, tmp_path)
        with pytest.raises(UserError, match=r"trials\.csv: cannot be written: No space left on device"):
            export(single, tmp_path / "new" / "folder")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "new").exists()
    export(single, tmp_path)
    assert not (tmp_path / "front" / "trial-0.yaml").exists()


@pytest.mark.usefixtures("blank_pictures")
def test_links_in_the_place_of_files_are_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    for name in TEXTS | set(PICTURES):
        (tmp_path / f"precious {name}").write_text("mine")
        (folder / name).symlink_to(tmp_path / f"precious {name}")
    record = make_record(make_spec(LR), [MadeTrial({"lr": 0.1}, 0.5), MadeTrial({"lr": 0.2}, 0.6)])
    export(record, folder)
    write(compare(record, "lr"), folder)
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert {path.read_text() for path in tmp_path.glob("precious *")} == {"mine"}


@pytest.mark.usefixtures("blank_pictures")
def test_a_front_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "trial-1.yaml").write_text("mine")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "front").symlink_to(tmp_path / "mine")
    export(make_record(make_spec(LR), [MadeTrial({"lr": 0.1}, 0.5)]), tmp_path / "report")
    objectives = [{"metric": "val_accuracy"}, {"metric": "parameters"}]
    several = make_record(make_spec(LR, objective=objectives), [MadeTrial({"lr": 0.1}, 0.5, figures={"parameters": 9})])
    with pytest.raises(UserError, match="report/front: cannot be written: is a link, and no folder"):
        export(several, tmp_path / "report")
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["trial-1.yaml"]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("cifar_tune.reports", {"matplotlib", "optuna", "torch"}),
        ("cifar_tune.reports.export", {"matplotlib.pyplot", "torch"}),  # pyplot looks for a window system
    ],
)
def test_what_an_import_does_not_bring(module: str, absent: set[str]) -> None:
    code = f"import {module}, sys; raise SystemExit(bool({absent!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
