"""The tutorials: every block runs, in its order, as a reader would run it."""

import os
import re
import runpy
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.processes import call_cifar_tune, start_cifar_tune
from tests.waiting import PATIENCE

pytestmark = pytest.mark.tutorial

DOCS = Path(__file__).parents[1] / "docs"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SAVED_AS = re.compile(r"Save this as `([^`]+)`")
_COLOURS = {"cat": (200, 60, 40), "dog": (40, 60, 200)}


def photo(name: str, seed: int) -> Image.Image:
    """Red cats and blue dogs, of several shapes."""
    random = np.random.default_rng(seed)
    width, height = random.integers(40, 60, 2)
    pixels = random.normal(_COLOURS[name], 30, (height, width, 3)).clip(0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


@dataclass
class Reader:
    """Somebody who does what a page says, in a folder."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    said: dict[str, str] = field(default_factory=dict)
    printed: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=lambda: {"OMP_NUM_THREADS": "1"})

    def follow(self, page: str, changes: Mapping[str, str] | None = None) -> None:
        """Save the files of a page, with `changes` of their text, and run its commands and scripts."""
        for file, language, text in blocks(page):
            changed = text
            for old, new in (changes or {}).items():
                changed = changed.replace(old, new)
            if file:
                (self.folder / file).write_text(changed)
            elif language == "sh":
                self.type_in(changed.splitlines())
            else:
                assert language == "python"
                self.printed.append(self.run(changed))

    def type_in(self, lines: Sequence[str]) -> None:
        """Run commands, each of which must end well."""
        for line in lines:
            program, *arguments = shlex.split(line)
            if program == "pip":  # the tests have what it would install
                continue
            code, out, err = call_cifar_tune(tuple(arguments), self.folder, self.environment)
            assert code == 0, f"{line}: {err}"
            self.said[line] = out

    def run(self, text: str) -> str:
        """What a script prints."""
        script = self.folder / "script.py"
        script.write_text(text)
        self.capsys.readouterr()
        with chdir(self.folder):
            runpy.run_path(str(script))
        return self.capsys.readouterr().out.strip()


def blocks(page: str) -> Iterator[tuple[str, str, str]]:
    """Of each block of code the file that the page tells to save it as (else empty), the language and the text."""
    text = (DOCS / page).read_text(encoding="utf-8")
    end = 0
    for found in _BLOCK.finditer(text):
        names = _SAVED_AS.findall(text[end : found.start()])
        yield names[-1] if names and found[1] != "sh" else "", found[1], found[2]
        end = found.end()


@pytest.fixture
def reader(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Reader:
    """Begins in an empty folder."""
    return Reader(tmp_path, capsys)


def test_own_photos(reader: Reader) -> None:
    folder = reader.folder
    for number, name in enumerate(_COLOURS):
        for seed in range(24):
            path = folder / "photos" / "train" / name / f"{seed}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            photo(name, 100 * number + seed).save(path)
    (folder / "new").mkdir()
    photo("dog", 300).save(folder / "photo.jpg")
    photo("cat", 301).save(folder / "new" / "one.jpg")
    reader.follow("own-photos.md")
    assert "test_accuracy=1.0" in reader.said["cifar-tune finalize pets --quick"]
    assert reader.said["cifar-tune predict models/pets photo.jpg"].startswith("photo.jpg: dog ")
    assert "cat" in (folder / "predictions.csv").read_text()
    assert (folder / "reports" / "pets" / "report.html").exists()
    assert reader.printed == ["dog", "dog"]
    reader.type_in(["cifar-tune convert models/pets --to pt2"])
    later = "".join(text for _, language, text in blocks("convert.md") if language == "python")
    assert reader.run(later).split() == ["dog", "dog"]


def test_get_started(reader: Reader) -> None:
    reader.follow("get-started.md")
    [found] = re.findall(r"^val_accuracy=(.*)$", reader.said["cifar-tune run first.yaml"], re.MULTILINE)
    assert f"val_accuracy={found}\n" in reader.said["cifar-tune train reports/first/best.yaml"]
    assert "test_openings=1" in reader.said["cifar-tune finalize first"]


def test_cifar10(reader: Reader) -> None:
    photo("dog", 300).save(reader.folder / "photo.jpg")
    small = {
        "trials: 40": "trials: 5",
        "name: cifar10": "name: digits",
        "epochs: 15": "epochs: 2",
        "[32, 64]": "[4, 8]",
    }
    reader.follow("tutorials/cifar10.md", small | {"width: 64": "width: 8", "--workers auto": "--workers 2"})
    assert "test_openings=1" in reader.said["cifar-tune finalize cnn"]


def test_own_parts(reader: Reader) -> None:
    reader.follow("tutorials/own-parts.md")
    assert "clipped_sgd" in reader.said["cifar-tune compare own --by optimizer"]


def test_paper_table(reader: Reader) -> None:
    reader.follow("tutorials/paper-table.md")
    assert "tanh" in reader.said["cifar-tune compare table --by activation"]
    assert (reader.folder / "reports" / "table" / "compare").exists() or list(
        (reader.folder / "reports").rglob("*.csv")
    )


def test_lab_server(reader: Reader) -> None:
    """The administrator has the database, and Anna has a token."""
    start = ("serve", "--port", "0", "--devices", "cpu", "--slots", "1")
    server = start_cifar_tune(start, reader.folder, {**os.environ, **reader.environment})
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        tokens, *annas, limits = (
            (file, text) for file, language, text in blocks("tutorials/lab-server.md") if language in ("sh", "yaml")
        )
        reader.type_in(tokens[1].splitlines())
        secret = reader.said["cifar-tune token create anna --role editor --label laptop"].strip()
        administrator = reader.environment
        reader.environment = administrator | {"CIFAR_TUNE_SERVER": address, "CIFAR_TUNE_TOKEN": secret}
        for file, text in annas:
            if file:
                (reader.folder / file).write_text(text)
            else:
                reader.type_in(text.splitlines())
        reader.environment = administrator
        reader.type_in(limits[1].splitlines())
    finally:
        server.terminate()
        server.communicate(timeout=PATIENCE)
    assert server.returncode == 0
    assert "first has ended: done (" in reader.said["cifar-tune submit first.yaml --wait"]
    assert " third " in reader.said["cifar-tune queue"]
    assert "anna" in reader.said["cifar-tune events --limit 10"]
    assert reader.said["cifar-tune cancel second"].startswith("second: ")
