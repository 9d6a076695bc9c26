"""Which files of a class become images: those that torchvision reads, and those that are images by their content."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from cifar_tune.data.prepared import PreparedData, prepare
from cifar_tune.data.sources import folder_files
from cifar_tune.data.spec import DataSpec
from cifar_tune.errors import UserError

from .images import noise, write_folder
from .permissions import as_nobody

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


def read(root: Path, **fields: Any) -> PreparedData:
    return prepare(DataSpec(name="image_folder", root=str(root), **fields))


def count(root: Path) -> int:
    """Images of the class `ant`."""
    return int((read(root).labels == 0).sum())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("0.jfif", "JPEG"),
        ("0.jpe", "JPEG"),
        ("0.JPG", "JPEG"),
        ("0.PnG", "PNG"),
        ("0.jp2", "JPEG2000"),
        ("0.j2k", "JPEG2000"),
        ("0.avif", "AVIF"),
        ("0.pbm", "PPM"),
        ("0.TIFF", "TIFF"),
        *((f"0{suffix}", kind) for suffix in ("", ".", ".bin", ".1", ".jpg_large") for kind in FORMATS),
    ],
)
def test_an_image_is_read_whatever_it_is_called(folder: Path, name: str, kind: str) -> None:
    image = Image.fromarray(noise(99))
    image.save(folder / "train/ant" / name, kind)
    prepared = read(folder)
    assert int((prepared.labels == 0).sum()) == 21
    with Image.open(folder / "train/ant" / name) as written:
        assert (prepared.open_images()[0] == np.asarray(written.convert("RGB"))).all()
    assert prepared.notes == ()


@pytest.mark.parametrize(
    "content",
    [
        b"BMW is a car maker",
        b"P1 is the first",
        b"P6\nis no header",
        b"",
        b"GIF89",
        b"RIFF\0\0\0\0WAVE",
        b"%PDF-1.7",
        b"\0" * 300,
    ],
)
def test_a_file_without_a_suffix_that_is_no_image_is_left_out_and_told(folder: Path, content: bytes) -> None:
    before = read(folder)
    (folder / "train/ant/notes").write_bytes(content)
    after = read(folder)
    assert after.fingerprint == before.fingerprint
    assert after.notes == ("left out, not an image that can be read: 1 ('train/ant/notes')",)


@pytest.mark.parametrize("name", ["0.png", "0.PNG", "0.JpG", "0.AVIF"])
def test_a_broken_image_is_an_error_and_not_left_out(folder: Path, name: str) -> None:
    (folder / "train/ant" / name).write_bytes(b"no image")
    rule = "cannot be read as an image (cannot identify image file): replace it or leave it out"
    with pytest.raises(UserError) as raised:
        read(folder)
    if not name.endswith("AVIF"):
        assert str(raised.value) == f"{folder / 'train/ant' / name}: {rule}"
    assert f"{folder / 'train/ant' / name}: cannot be read as an image" in str(raised.value)


def test_folders_in_a_class_are_read_as_torchvision_reads_them(folder: Path) -> None:
    for number, name in enumerate(("2024/0.png", "2024/may/0.png", "z/y/x/0.png", "folder.png/0.png")):
        path = folder / "train/ant" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(200 + number)).save(path)
    write_folder(folder.parent / "elsewhere", {"more": 3}, seed=5)
    (folder / "train/bee/linked").symlink_to(folder.parent / "elsewhere" / "more")
    prepared = read(folder)
    theirs = ImageFolder(str(folder / "train"))
    assert prepared.classes == tuple(theirs.classes)
    expected = sorted((np.asarray(image).tobytes(), label) for image, label in theirs)
    ours = sorted(
        (image.tobytes(), int(label)) for image, label in zip(prepared.open_images(), prepared.labels, strict=True)
    )
    assert ours == expected
    assert len(ours) == 40 + 4 + 3


def test_what_is_left_out_is_counted_by_reason(folder: Path) -> None:
    ant = folder / "train/ant"
    for name in ("a.txt", "b.txt", "c.txt", "d.csv", "Thumbs.db"):
        (ant / name).write_text("no image")
    Image.fromarray(noise(1)).save(folder / "train/loose.png")
    (folder / "train/readme.txt").write_text("about")
    (folder / "test/loose.png").write_text("not opened")
    (ant / ".hidden.png").write_bytes(b"")
    (ant / ".DS_Store").write_bytes(b"")
    (ant / ".thumbnails").mkdir()
    (ant / "dead.png").symlink_to("nowhere")
    (ant / "itself").symlink_to("itself")
    os.mkfifo(ant / "pipe.png")  # opening it would take for ever
    (ant / "zero.png").symlink_to("/dev/zero")
    (ant / "up").symlink_to("..")  # to other classes
    (ant / "deep").mkdir()
    (ant / "deep/round").symlink_to("..")
    assert count(folder) == 20
    assert [note.removeprefix("left out, ") for note in read(folder).notes] == [
        "a link to a folder above it: 2 ('train/ant/deep/round' and 'train/ant/up')",
        "hidden (a name that begins with a dot): 2 ('train/ant/.hidden.png' and 'train/ant/.thumbnails')",
        "not a file (a broken link, a socket or a device): 4 (such as 'train/ant/dead.png', "
        "'train/ant/itself', 'train/ant/pipe.png'; by suffix: .png 3, no suffix 1)",
        "not an image that can be read: 5 (such as 'train/ant/Thumbs.db', "
        "'train/ant/a.txt', 'train/ant/b.txt'; by suffix: .txt 3, .db 1, .csv 1)",
        "not in a class folder: 3 ('test/loose.png', 'train/loose.png' and 'train/readme.txt')",
    ]


@pytest.mark.parametrize("name", ["train/ant/nosuffix", "train/ant/deep", "train/ant", "train", "."])
def test_what_may_not_be_read_is_an_error_and_not_left_out(open_folder: Path, name: str) -> None:
    (open_folder / "train/ant/deep").mkdir()
    (open_folder / "train/ant/nosuffix").write_text("x")
    (open_folder / name).chmod(0)
    with as_nobody(), pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        read(open_folder)


def test_a_root_that_may_not_be_reached_is_an_error(open_folder: Path) -> None:
    open_folder.parent.chmod(0)
    with as_nobody(), pytest.raises(UserError, match=r"data.root = .*: cannot be read \(Permission denied\)"):
        read(open_folder)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux")
def test_a_disk_that_fails_is_an_error_and_not_left_out(folder: Path) -> None:
    (folder / "train/ant/nosuffix").symlink_to("/proc/self/mem")  # its first byte is an I/O error
    with pytest.raises(UserError, match=r"nosuffix: cannot be read \(Input/output error\)"):
        read(folder)


def test_a_class_without_an_image_says_what_is_there_instead(folder: Path) -> None:
    (folder / "train/dog").mkdir()
    (folder / "test/dog").mkdir()
    (folder / "train/dog/0.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(UserError, match=r"train/dog: holds no image; left out, .*: 1 \('train/dog/0\.heic'\)$"):
        read(folder)


def test_of_many_classes_without_an_image_ten_are_named(folder: Path) -> None:
    for number in range(12):
        for split in ("train", "test"):
            (folder / split / f"empty{number:02d}").mkdir()
    with pytest.raises(UserError) as raised:
        read(folder)
    assert len(raised.value.problems) == 11
    assert str(raised.value.problems[-1]) == "and 2 more classes without an image"


def test_every_format_is_known_by_suffix_and_by_content(tmp_path: Path) -> None:
    for kind in FORMATS:
        path = tmp_path / kind
        Image.fromarray(noise(1)).save(path, kind)
        assert folder_files._begins_like_an_image(path)
    Image.init()
    assert {Image.EXTENSION[suffix] for suffix in folder_files.SUFFIXES if suffix in Image.EXTENSION} == set(FORMATS)
