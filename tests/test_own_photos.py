"""The tutorial of one's own photos, and what follows it on other pages: every block runs, in its order."""

import re
import runpy
import shlex
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.processes import call_cifar_tune

DOCS = Path(__file__).parents[1] / "docs"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COLOURS = {"cat": (200, 60, 40), "dog": (40, 60, 200)}


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Language and text of each block of code."""
    for found in _BLOCK.finditer((DOCS / page).read_text(encoding="utf-8")):
        yield found[1], found[2]


def photo(name: str, seed: int) -> Image.Image:
    """Red cats and blue dogs, of several shapes."""
    random = np.random.default_rng(seed)
    width, height = random.integers(40, 60, 2)
    pixels = random.normal(_COLOURS[name], 30, (height, width, 3)).clip(0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where somebody has photos."""
    folder = tmp_path_factory.mktemp("pets")
    for number, name in enumerate(_COLOURS):
        for seed in range(24):
            path = folder / "photos" / "train" / name / f"{seed}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            photo(name, 100 * number + seed).save(path)
    (folder / "new").mkdir()
    photo("dog", 300).save(folder / "photo.jpg")
    photo("cat", 301).save(folder / "new" / "one.jpg")
    return folder


def test_every_block_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said: dict[str, str] = {}
    printed: list[str] = []
    for language, text in blocks("own-photos.md"):
        if language == "yaml":
            (folder / "pets.yaml").write_text(text)
        elif language == "sh":
            for line in text.splitlines():
                program, *arguments = shlex.split(line)
                if program != "pip":  # the tests have what it would install
                    code, out, err = call_cifar_tune(tuple(arguments), folder, {"OMP_NUM_THREADS": "1"})
                    assert code == 0, f"{line}: {err}"
                    said[" ".join(arguments[:3])] = out
        else:
            assert language == "python"
            printed.append(run(text, folder, capsys))
    assert "test_accuracy=1.0" in said["finalize pets --quick"]
    assert said["predict models/pets photo.jpg"].startswith("photo.jpg: dog ")
    assert "cat" in (folder / "predictions.csv").read_text()
    assert (folder / "reports" / "pets" / "report.html").exists()
    assert printed == ["dog", "dog"]
    code, _, err = call_cifar_tune(("convert", "models/pets", "--to", "pt2"), folder, {"OMP_NUM_THREADS": "1"})
    assert code == 0, err
    later = "".join(text for language, text in blocks("convert.md") if language == "python")
    assert run(later, folder, capsys).split() == ["dog", "dog"]


def run(text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What a script prints."""
    script = folder / "script.py"
    script.write_text(text)
    capsys.readouterr()
    with chdir(folder):
        runpy.run_path(str(script))
    return capsys.readouterr().out.strip()
