"""CSV and Parquet files of paths and labels."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cifar_tune.data.prepared import prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.test_split import load_test
from cifar_tune.errors import UserError

from .images import noise, oblong, write_folder


def spec(table: Path, **fields: Any) -> DataSpec:
    return DataSpec(name="table", root=str(table), **fields)


def refusal(table: Path, **fields: Any) -> str:
    with pytest.raises(UserError) as raised:
        prepare(spec(table, **fields))
    return str(raised.value).replace(f"{table.parent}/", "")


@pytest.fixture
def rows(tmp_path: Path) -> list[tuple[str, str, str]]:
    """Path, label and split of images that lie beside each other, whatever their class."""
    (tmp_path / "pictures").mkdir()
    made = []
    for number in range(30):
        Image.fromarray(noise(number, 16)).save(tmp_path / f"pictures/{number:02}.png")
        split = "test" if number >= 26 else "VAL" if number >= 20 else "train"
        made.append((f"pictures/{number:02}.png", str(9 + number % 2), split))
    return made


def write(folder: Path, rows: list[tuple[str, str, str]], head: str = "path,label,split", comma: str = ",") -> Path:
    lines = [head.replace(",", comma), *(comma.join(row) for row in rows)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "labels.csv"


def test_a_table_with_splits(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    table = write(tmp_path, rows)
    prepared = prepare(spec(table, image_size=16))
    assert prepared.classes == ("9", "10")
    assert (len(prepared.train_indices), len(prepared.val_indices)) == (20, 6)
    assert [prepared.classes[label] for label in prepared.labels] == [row[1] for row in rows[:26]]
    assert (prepared.open_images()[3] == noise(3, 16)).all()
    assert prepared.paths[25] == "pictures/25.png"
    images, labels, classes = load_test(spec(table, image_size=16))
    assert (images[0] == noise(26, 16)).all()
    assert [classes[label] for label in labels] == ["9", "10", "9", "10"]
    assert "4 rows (only finalize opens them)" in prepared.splits


@pytest.mark.parametrize("comma", [";", "\t"])
def test_columns_have_any_names_and_any_comma(tmp_path: Path, rows: list[tuple[str, str, str]], comma: str) -> None:
    plain = prepare(spec(write(tmp_path, rows), image_size=16))
    table = write(tmp_path, rows, "file,class,part", comma)
    named = spec(table, image_size=16, path_column="file", label_column="class", split_column="part")
    assert prepare(named).fingerprint == plain.fingerprint


def test_without_splits_the_test_is_held_out_and_no_such_image_is_opened(
    tmp_path: Path, rows: list[tuple[str, str, str]]
) -> None:
    table = write(tmp_path, [(path, label, "") for path, label, _ in rows], "path,label,")
    held_out, _, _ = load_test(spec(table, image_size=16))
    kept = {image.tobytes() for image in prepare(spec(table, image_size=16)).open_images()}
    assert len(held_out) == 5
    for number in range(30):
        if noise(number, 16).tobytes() not in kept:
            (tmp_path / f"pictures/{number:02}.png").write_bytes(b"garbage")
    table.touch()
    (tmp_path / "pictures/00.png").touch()  # decode again
    assert len(prepare(spec(table, image_size=16)).labels) == 25


def test_parquet_is_read_as_csv_is(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    paths, labels, splits = zip(*rows, strict=True)
    columns = {"path": paths, "label": [int(label) for label in labels], "split": splits}
    parquet.write_table(pyarrow.table(columns), tmp_path / "labels.parquet")
    found = prepare(spec(tmp_path / "labels.parquet", image_size=16))
    assert found.fingerprint == prepare(spec(write(tmp_path, rows), image_size=16)).fingerprint


def test_parquet_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'cifar-tune[parquet]'; or save the table as CSV" in refusal(tmp_path / "labels.parquet")


def test_images_of_a_table_are_made_square_as_those_of_a_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"ant": 9, "bee": 9})
    oblong(60, 40).save(tmp_path / "train/ant/000.png")
    files = sorted((tmp_path / "train").rglob("*.png"))
    made = [(str(path.relative_to(tmp_path)), path.parent.name, "train") for path in files]
    folder = prepare(DataSpec(name="image_folder", root=str(tmp_path), image_size=16))
    table = prepare(spec(write(tmp_path, made), image_size=16))
    assert (table.fingerprint, table.resize, table.notes) == (folder.fingerprint, "crop", folder.notes)
    assert np.array_equal(table.open_images(), folder.open_images())


def test_a_row_that_is_wrong_twice_is_told_of_twice(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    rows[3] = (rows[2][0], f"{rows[2][1]} ", rows[2][2])
    refused = refusal(write(tmp_path, rows))
    assert "stands in row 4 too; name every image once" in refused
    assert "differ only in spaces, or characters that cannot be seen: write both in the same way" in refused


def test_wrong_rows_are_named_by_their_lines(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    rows[1] = ("pictures/nobody.png", "9", "train")
    rows[2] = rows[3]
    rows[4] = ("pictures/04.png", "7", "val")
    rows[5] = ("pictures/05.png", "", "train")
    rows[6] = ("pictures/06.png", "9", "valley")
    rows[-1] = ("pictures/not-here.png", "9", "test")  # only finalize needs it
    assert refusal(write(tmp_path, rows)).splitlines() == [
        "labels.csv:3: 'pictures/nobody.png' cannot be read: No such file or directory",
        "labels.csv:5: 'pictures/03.png' stands in row 4 too; name every image once",
        "labels.csv:6: no training image has the label '7' of this validation image",
        "labels.csv:7: has no label",
        "labels.csv:8: its split must be train, val or test, not 'valley'",
    ]


def test_wrong_columns_and_missing_files_are_told_at_once(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    rows[0] = ("pictures/nobody.png", "9", "train")
    table = write(tmp_path, rows, "file,species,part")
    has = "it has file, species and part"
    missing = "labels.csv:2: 'pictures/nobody.png' cannot be read: No such file or directory"
    assert refusal(table).splitlines() == [
        f"data.path_column: is not given, and labels.csv has no column 'path'; {has}. Name the one with the paths "
        "(did you mean 'file'?)",
        f"data.label_column: is not given, and labels.csv has no column 'label'; {has}. Name the one with the labels "
        "(did you mean 'species'?)",
    ]
    assert refusal(table, path_column="file", label_column="specis").splitlines() == [
        f"data.label_column = 'specis': labels.csv has no column 'specis'; {has} (did you mean 'species'?)",
        missing,
    ]
    named = {"path_column": "file", "label_column": "species"}
    assert refusal(table, **named) == missing
    assert "the split" not in refusal(table, **named, split_column="parts")
    rows[0] = rows[1]
    rows[1] = rows[2]
    prepared = prepare(spec(write(tmp_path, [rows[0], *rows[2:]], "file,species,part"), image_size=16, **named))
    assert prepared.notes == (
        "the column 'part' of the table is not read, so all rows are for training; if it says which split a row "
        "belongs to, add data.split_column: part",
    )


def test_a_broken_table_is_told_with_its_columns(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text('file,label\na.png,"cat" x\n')
    said = refusal(tmp_path / "labels.csv").splitlines()
    assert len(said) == 2
    assert said[0].startswith("data.path_column: is not given")
    assert said[1].startswith("labels.csv:2: is not CSV: ")


def test_wrong_tables(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    table = write(tmp_path, rows, "file,label,split")
    assert "data.path_column: is not given, and labels.csv has no column 'path'; it has file, label and" in refusal(
        table
    )
    assert "there is no such file (did you mean 'labels.csv'?)" in refusal(tmp_path / "label.csv")
    assert "must have at least two labels; found only '9'" in refusal(write(tmp_path, rows[:1]))
    rows[-1] = (rows[-1][0], "new", "test")
    table = write(tmp_path, rows)
    prepare(spec(table))
    with pytest.raises(UserError, match="no training image has the label 'new' of this test image"):
        load_test(spec(table))


def text(folder: Path, content: str) -> Path:
    (folder / "labels.csv").write_text(content, encoding="utf-8", newline="")
    return folder / "labels.csv"


def test_fields_that_do_not_fit_the_columns(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    rows[2] = ("my,cat.png", "9", "train")
    rows[4] = ("pictures/04.png,x,y", "9", "train")
    said = refusal(write(tmp_path, rows))
    assert "labels.csv:4: has 4 fields, and the table has 3 columns: put a text with commas in quotes" in said
    assert "labels.csv:6: has 5 fields" in said
    table = write(tmp_path, rows[:2], "path,label,label")
    assert "has 2 columns of the name 'label': rename one" in refusal(table)


def test_labels_that_people_cannot_tell_apart(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    rows[0] = (rows[0][0], "9 ", "train")
    assert "the labels '9' and '9 ' differ only in spaces" in refusal(write(tmp_path, rows))


def test_lines_end_as_csv_has_it(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    lines = ["path,label", *(f"{path},{label}\u2028\x85x" for path, label, _ in rows)]
    for end in ("\n", "\r\n", "\r"):
        assert prepare(spec(text(tmp_path, end.join(lines)))).classes == ("10\u2028\x85x", "9\u2028\x85x")


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    os.mkfifo(tmp_path / "pipe")
    rows[0], rows[1], rows[2] = ("pipe", "9", "train"), ("/dev/zero", "10", "train"), ("pictures", "9", "train")
    said = refusal(write(tmp_path, rows))
    for line, name in ((2, "pipe"), (3, "/dev/zero"), (4, "pictures")):
        assert f"labels.csv:{line}: {name!r} cannot be read: it is no file, but a folder, a pipe or a device" in said
    for name in ("pipe.csv", "pipe.parquet"):
        os.mkfifo(tmp_path / name)
        assert "cannot be read (it is no regular file)" in refusal(tmp_path / name)


def test_values_of_parquet(tmp_path: Path, rows: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = tmp_path / "labels.parquet"
    paths = [path for path, _, _ in rows]

    def stored(labels: list[Any]) -> Path:
        parquet.write_table(pyarrow.table({"path": paths, "label": labels}), table)
        return table

    assert prepare(spec(stored([b"ant", b"bee"] * 15))).classes == ("ant", "bee")
    assert "labels.parquet:2: has no label" in refusal(stored([1.0, float("nan")] * 15))
    assert "labels.parquet:1: holds bytes that are not UTF-8 text" in refusal(stored([b"\xff", b"bee"] * 15))
    columns = [pyarrow.array(paths), pyarrow.array(["a", "b"] * 15), pyarrow.array(["c", "d"] * 15)]
    parquet.write_table(pyarrow.table(columns, names=["path", "label", "label"]), table)
    assert "has 2 columns of the name 'label': rename one" in refusal(table)
    content = stored(["a", "b"] * 15).read_bytes()
    for broken in (b"", content[:-20], content[:-6] + b"\xff" + content[-5:]):
        table.write_bytes(broken)
        assert "cannot be read" in refusal(table)
    table.write_bytes(content)
    monkeypatch.setattr("cifar_tune.data.sources.table_files.MOST_ROWS", 29)
    assert "has 30 rows, and tables of more than 29 are not read" in refusal(table)
