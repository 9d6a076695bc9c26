"""A disk that is full while a study runs: a real one, as large as a few checkpoints."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from cifar_tune.errors import UserError
from cifar_tune.files import Content, replace_files
from cifar_tune.reports.export import export
from tests.reports.factory import MadeTrial, make_record, make_spec
from tests.study.test_processes import Folder, values
from tests.waiting import PATIENCE, read_until, wait_until

_FILLER = "filler"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    with suppress(FileNotFoundError):
        if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
            yield place
            subprocess.run(["umount", "-l", str(place)], check=True)
            return
    pytest.skip("mounting a file system takes root")


def fill(disk: Path) -> None:
    """Leave no block free."""
    with (disk / _FILLER).open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, float | None, dict[int, float]]]:
    folder = Folder(tmp_path_factory.mktemp("undisturbed") / "here")
    assert folder.call("run", "study.yaml", "--quiet")[0] == 0
    return values(folder.record())


@pytest.mark.exhaustive
def test_training_goes_on_where_checkpoints_find_no_room(
    tmp_path: Path, small_disk: Path, undisturbed: list[tuple[str, float | None, dict[int, float]]]
) -> None:
    folder = Folder(tmp_path / "here")
    folder.environment["CIFAR_TUNE_ARTIFACTS"] = str(small_disk / "artifacts")
    folder.gate.let(2)
    process = folder.start("run", "study.yaml")
    folder.wait_for_epochs(2)
    fill(small_disk)
    folder.gate.open()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "cannot write the checkpoint" in err
    assert "No space left on device" in err
    assert values(folder.record()) == undisturbed


def test_a_disk_that_is_full_from_the_start_does_not_keep_a_study_from_training(
    tmp_path: Path, small_disk: Path, undisturbed: list[tuple[str, float | None, dict[int, float]]]
) -> None:
    folder = Folder(tmp_path / "here")
    folder.environment["CIFAR_TUNE_ARTIFACTS"] = str(small_disk / "artifacts")
    fill(small_disk)
    code, _, err = folder.call("run", "study.yaml")
    assert code == 0, err
    assert "checkpoints cannot be written: No space left on device" in err
    assert "training goes on without them" in err
    assert values(folder.record()) == undisturbed


def test_a_report_that_finds_no_room_leaves_the_former_one_whole(small_disk: Path) -> None:
    spec = make_spec({"lr": {"low": 1e-4, "high": 1.0, "log": True}})
    export(make_record(spec, [MadeTrial({"lr": 0.1}, 0.5)]), small_disk)
    before = {file.name: file.read_bytes() for file in small_disk.iterdir()}
    later = make_record(spec, [MadeTrial({"lr": 0.1 * (1 + index)}, 0.01 * index) for index in range(9)])
    fill(small_disk)
    (small_disk / _FILLER).open("ab").truncate((small_disk / _FILLER).stat().st_size - 100_000)  # room for some of it
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        export(later, small_disk)
    (small_disk / _FILLER).unlink()
    assert {file.name: file.read_bytes() for file in small_disk.iterdir()} == before
    export(later, small_disk)
    assert all(
        (small_disk / name).read_bytes() != before[name] for name in ("report.html", "trials.csv", "history.png")
    )


def test_a_disk_that_is_full_at_any_file_leaves_all_files_as_they_were(small_disk: Path) -> None:
    names = [f"file {index}" for index in range(6)]
    for name in names:
        (small_disk / name).write_text(f"old {name}")
    (small_disk / "former").write_text("old")
    before = {file.name: file.read_bytes() for file in small_disk.iterdir()}
    size = 100_000
    contents: dict[Path, Content] = {small_disk / name: bytes(size) for name in names}
    for number, name in enumerate(names):  # so many find room
        fill(small_disk)
        filler = small_disk / _FILLER
        filler.open("ab").truncate(filler.stat().st_size - number * size - 20_000)
        with pytest.raises(OSError, match="No space left on device") as raised:
            replace_files(contents, [small_disk / "former"])
        assert raised.value.filename == str(small_disk / name)
        filler.unlink()
        assert {file.name: file.read_bytes() for file in small_disk.iterdir()} == before
    replace_files(contents, [small_disk / "former"])
    assert {file.name: file.read_bytes() for file in small_disk.iterdir()} == {name: bytes(size) for name in names}


def test_a_full_disk_under_sqlite_loses_nothing(
    tmp_path: Path, small_disk: Path, undisturbed: list[tuple[str, float | None, dict[int, float]]]
) -> None:
    folder = Folder(tmp_path / "here")
    folder.url = folder.environment["CIFAR_TUNE_STORAGE"] = f"sqlite:///{small_disk}/studies.db"

    # for a while: what is missing is written when there is room again
    folder.gate.let(2)
    first = folder.start("run", "study.yaml")
    folder.wait_for_epochs(2)
    fill(small_disk)
    folder.gate.let(1)
    read_until(first, "the database accepts no writes (database or disk is full)")
    (small_disk / _FILLER).unlink()
    read_until(first, "the database is back")
    folder.gate.let(2)
    folder.wait_for_epochs(5)

    # and to the end of the run: its checkpoints hold what is missing
    fill(small_disk)
    full = time.time()
    folder.gate.let(2)
    read_until(first, "the database accepts no writes (database or disk is full)")
    wait_until(lambda: any(written > full for written in _times(folder.path / "artifacts")))
    first.send_signal(signal.SIGTERM)
    read_until(first, "is parked")
    first.send_signal(signal.SIGTERM)
    _, err = first.communicate(timeout=PATIENCE)
    assert first.returncode == 130, err
    assert "the next run writes them from there" in err

    code, _, err = folder.call("run", "study.yaml")
    assert code == 1, err
    assert "cannot be used" in err
    assert "Traceback" not in err
    (small_disk / _FILLER).unlink()
    folder.gate.open()
    code, _, err = folder.call("run", "study.yaml")
    assert code == 0, err
    assert values(folder.record()) == undisturbed


def _times(artifacts: Path) -> list[float]:
    """When checkpoints were written."""
    found = []
    for checkpoint in artifacts.rglob("trial-*.pt"):
        with suppress(FileNotFoundError):  # swept away meanwhile
            found.append(checkpoint.stat().st_mtime)
    return found
