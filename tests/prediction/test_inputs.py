"""Which images somebody means who names files, folders or stdin, and which labels their folders give."""

import io
import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from cifar_tune.errors import UserError
from cifar_tune.prediction.inputs import MIXED, Given, GivenImage, find_images, known_notes
from tests.data.images import noise, write_folder

CLASSES = ("ant", "bee", "ñandú")


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`val/` with the three classes, two images each, and `loose.png`."""
    monkeypatch.chdir(tmp_path)
    write_folder(Path("val"), dict.fromkeys(CLASSES, 2))
    Image.fromarray(noise(9)).save("loose.png")


def found(*arguments: str, stdin: bytes = b"") -> Given:
    return find_images(arguments, CLASSES, lambda: stdin)


def named(given: Given) -> list[tuple[str, int | None]]:
    return [(image.name, image.label) for image in given.images]


def test_files_are_taken_as_they_are_named() -> None:
    given = found("loose.png", "val/bee/001.png")
    assert given.images == [GivenImage(name, Path(name)) for name in ("loose.png", "val/bee/001.png")]
    assert not given.is_table
    assert not given.is_labelled


def test_class_folders_give_labels() -> None:
    given = found("val")
    assert named(given) == [
        (f"val/{name}/00{number}.png", label) for label, name in enumerate(CLASSES) for number in range(2)
    ]
    assert given.is_table
    assert given.notes == [
        "labels were taken from the folders in val: 3 of them are called like classes of the model, and hold 6 of 6 "
        "images"
    ]


def test_a_folder_in_another_unicode_form_is_the_same_class() -> None:
    Path("val/ñandú").rename(Path("val") / unicodedata.normalize("NFD", "ñandú"))
    assert sorted(image.label or 0 for image in found("val").images) == [0, 0, 1, 1, 2, 2]


def test_images_beside_class_folders_have_no_label() -> None:
    Path("val/bee").rename("val/Bee")
    Path("loose.png").rename("val/loose.png")
    given = found("val")
    assert [label for _, label in named(given)] == [None, None, 0, 0, None, 2, 2]
    assert given.notes[-1] == (
        "without a label in val: the images in 'Bee', since the model has no such class ('Bee' and 'bee' differ only "
        "in upper and lower case)"
    )


def test_without_a_class_folder_there_are_no_labels() -> None:
    given = found("val/ant")
    assert [label for _, label in named(given)] == [None, None]
    assert given.notes == []


def test_a_folder_of_splits_says_which_one_to_name() -> None:
    given = found(".")
    assert not given.is_labelled
    assert given.notes == [
        "no labels were used: . holds splits and no class folders. Name one of them, such as val, to compare the "
        "predictions with its class folders"
    ]


def test_what_is_left_out_of_a_folder_is_told() -> None:
    Path("val/ant/notes.txt").write_text("hello")
    assert found("val").notes[0] == "left out, not an image that can be read: 1 ('ant/notes.txt')"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\0"])
def test_a_list_of_paths_comes_in(end: str) -> None:
    given = found("-", stdin=end.join(["loose.png", "val", ""]).encode())
    assert named(given)[:2] == [("loose.png", None), ("val/ant/000.png", 0)]
    assert len(given.images) == 7
    assert given.is_table


def test_a_name_that_is_no_utf8_is_the_same_file() -> None:
    name = os.fsencode("caf\udce9.png")
    Path(os.fsdecode(name)).touch()
    given = found("-", stdin=b"./" + name + b"\n")
    assert os.fsencode(given.images[0].name) == b"./" + name


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "TGA", "PCX", "ICO"])
def test_an_image_comes_in(kind: str) -> None:
    file = io.BytesIO()
    Image.fromarray(noise(1)).save(file, kind)
    assert found("-", stdin=file.getvalue()).images == [GivenImage("-", file.getvalue())]


def test_a_pipe_is_read_once() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"\xff\xd8\xff")
    os.close(writing)
    try:
        assert found(f"/dev/fd/{reading}").images == [GivenImage(f"/dev/fd/{reading}", b"\xff\xd8\xff")]
    finally:
        os.close(reading)


def test_everything_that_is_not_there_is_told_at_once() -> None:
    Path("empty").mkdir()
    with pytest.raises(UserError) as refused:
        found("losse.png", "val", "empty", "-", "/dev/null", "loose.png/x")
    assert str(refused.value).splitlines() == [
        "IMAGE = 'losse.png': there is no such file or folder (did you mean 'loose.png'?)",
        "IMAGE = 'empty': holds no image",
        "IMAGE = '-': nothing came in: give an image, or a list of paths",
        "IMAGE = '/dev/null': is neither a file nor a folder",
        "IMAGE = 'loose.png/x': there is no such file or folder",
    ]


def test_a_list_with_paths_that_are_not_there_is_refused_as_arguments_are() -> None:
    with pytest.raises(UserError) as refused:
        found("-", "q.gif", stdin=b"loose.png\nlosse.png\n~/x.png\n/dev/null\n")
    assert str(refused.value).splitlines() == [
        "IMAGE = 'losse.png': there is no such file or folder (did you mean 'loose.png'?)",
        "IMAGE = '~/x.png': there is no such file or folder",
        "IMAGE = '/dev/null': is neither a file nor a folder",
        "IMAGE = 'q.gif': there is no such file or folder",
    ]
    with pytest.raises(UserError) as refused:
        found("-", stdin="\n".join(f"{number}.jpg" for number in range(11)).encode())
    assert len(refused.value.problems) == 11
    assert str(refused.value).endswith("\nand 1 more path of the list like these")


def test_stdin_is_read_once() -> None:
    with pytest.raises(UserError, match="can be read only once"):
        found("-", "-", stdin=b"loose.png")


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("val", "the model's own validation images are in val: it was chosen by them"),
        ("TEST", "the model's own test images are in TEST: do not choose between models by their accuracy"),
        ("new", None),
    ],
)
def test_an_accuracy_on_the_models_own_data_is_put_right(tmp_path: Path, folder: str, said: str | None) -> None:
    if folder != "val":
        Path("val").rename(folder)
    notes = known_notes(found(folder), {"name": "image_folder", "root": str(tmp_path)})
    assert len(notes) == (said is not None)
    assert all(note.startswith(said or "") for note in notes)
    assert known_notes(found(folder), {"name": "image_folder", "root": str(tmp_path / "elsewhere")}) == []
    for part in (f"{folder}/ant", next(str(file) for file in Path(folder, "ant").iterdir())):
        of_part = known_notes(found(part), {"name": "image_folder", "root": str(tmp_path)})
        assert [note.replace(f"{folder}/ant:", f"{folder}:") for note in of_part] == notes


@pytest.mark.parametrize("root", ["x\0", "/nowhere/" + "x" * 5000, "~nobody-here", "$NOTHING_OF_THAT_NAME"])
@pytest.mark.parametrize("name", ["table", "image_folder"])
def test_data_that_cannot_be_here_are_no_reason_to_stop(name: str, root: str) -> None:
    assert known_notes(found("val"), {"name": name, "root": root}) == []


def test_test_images_that_were_held_out_lie_among_the_training_images(tmp_path: Path) -> None:
    Path("val").rename("train")
    data = {"name": "image_folder", "root": str(tmp_path)}
    (note,) = known_notes(found("train"), data)
    assert "A sixth of them is held out as the test images" in note
    Path("test").mkdir()
    (note,) = known_notes(found("train"), data)
    assert "held out" not in note


def test_test_folders_that_the_model_ignores_are_none_of_its_own(tmp_path: Path) -> None:
    Path("val").rename("train")
    write_folder(Path("test"), dict.fromkeys(CLASSES, 2))
    data = {"name": "image_folder", "root": str(tmp_path), "ignore": ["test"]}
    (note,) = known_notes(found("train"), data)
    assert "A sixth of them is held out as the test images" in note
    assert known_notes(found("test"), data) == []


@pytest.mark.parametrize("name", ["food101", "dtd"])
def test_folders_in_which_training_and_test_images_lie_side_by_side(tmp_path: Path, name: str) -> None:
    assert set(MIXED) == {"food101", "dtd"}
    Path("data/set").mkdir(parents=True)
    Path("val").rename("data/set/images")
    for root in (None, str(tmp_path / "data")):
        (note,) = known_notes(found("data/set/images"), {"name": name, "root": root})
        assert "others are its test images, so do not choose between models by this accuracy" in note
    assert known_notes(found("data/set/images"), {"name": name, "root": "elsewhere"}) == []


def test_images_beside_the_table_of_the_model_are_known(tmp_path: Path) -> None:
    (note,) = known_notes(found("val"), {"name": "table", "root": str(tmp_path / "labels.csv")})
    assert "the model has learned most of them, and the others may be its test images" in note
    assert known_notes(found("val"), {"name": "table", "root": str(tmp_path / "elsewhere" / "labels.csv")}) == []
