"""Which folders become which split, under all the names that people give them, and what is said of the others."""

import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from cifar_tune.data.prepared import PreparedData, _fingerprint, prepare
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.test_split import load_test
from cifar_tune.errors import UserError

from .images import noise, write_folder

TRAIN = {"ant": 20, "bee": 10, "cow": 10}
FEW = {"ant": 4, "bee": 3, "cow": 2}


def spec(root: Path, **fields: Any) -> DataSpec:
    return DataSpec(name="image_folder", root=str(root), **fields)


def contents(root: Path, *folders: str) -> list[bytes]:
    """The pixels of all images in these folders, in the order of their paths."""
    return [
        np.asarray(Image.open(path)).tobytes() for folder in folders for path in sorted((root / folder).rglob("*.png"))
    ]


def drawn(prepared: PreparedData, indices: npt.NDArray[np.int64]) -> list[bytes]:
    return [image.tobytes() for image in prepared.open_images()[indices]]


def refusal(root: Path, **fields: Any) -> str:
    with pytest.raises(UserError) as raised:
        prepare(spec(root, **fields))
    return str(raised.value)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Training, validation and test images, in `train`, `val` and `test`."""
    root = tmp_path / "pictures"
    write_folder(root / "train", TRAIN)
    write_folder(root / "val", FEW, seed=1)
    write_folder(root / "test", FEW, seed=2)
    return root


@pytest.mark.parametrize("val", ["val", "valid", "validation", "dev", "Val", "VALIDATION"])
@pytest.mark.parametrize("train", ["train", "Train", "training"])
def test_a_validation_folder_is_the_validation_split(three: Path, val: str, train: str) -> None:
    (three / "val").rename(three / val)
    (three / "train").rename(three / train)
    prepared = prepare(spec(three))
    assert drawn(prepared, prepared.train_indices) == contents(three, train)
    assert drawn(prepared, prepared.val_indices) == contents(three, val)
    assert np.bincount(prepared.labels[prepared.val_indices]).tolist() == [4, 3, 2]
    assert prepared.notes == ()


@pytest.mark.parametrize("test", ["test", "Test", "TEST", "testing"])
def test_a_test_folder_is_the_test_split(three: Path, test: str) -> None:
    (three / "test").rename(three / test)
    assert prepare(spec(three)).splits.endswith(f"test: 9 files in {test} (only finalize opens them)")
    images, labels, _ = load_test(spec(three))
    assert [image.tobytes() for image in images] == contents(three, test)
    assert np.bincount(labels).tolist() == [4, 3, 2]


def test_without_a_test_folder_one_is_held_out_of_train_and_validation_stays_whole(three: Path) -> None:
    shutil.rmtree(three / "test")
    prepared = prepare(spec(three))
    test = [image.tobytes() for image in load_test(spec(three))[0]]
    assert (len(prepared.train_indices), len(prepared.val_indices), len(test)) == (34, 9, 6)
    assert sorted(drawn(prepared, prepared.train_indices) + test) == sorted(contents(three, "train"))
    assert drawn(prepared, prepared.val_indices) == contents(three, "val")


def test_with_a_validation_folder_two_images_of_a_class_are_enough_to_hold_one_out(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"ant": 20, "bee": 2})
    write_folder(tmp_path / "val", {"ant": 2, "bee": 1}, seed=1)
    assert np.bincount(prepare(spec(tmp_path)).labels).tolist() == [18 + 2, 1 + 1]
    assert np.bincount(load_test(spec(tmp_path))[1]).tolist() == [2, 1]
    assert "every class needs 3 images, one each for training, validation and test: 'bee' has 2" in refusal(
        tmp_path, ignore=("val",)
    )


def test_val_size_takes_a_stratified_part_of_the_validation_folder(three: Path) -> None:
    whole = prepare(spec(three))
    part = prepare(spec(three, val_size=6))
    assert np.bincount(part.labels[part.val_indices]).tolist() == [3, 2, 1]
    assert set(part.val_indices.tolist()) < set(whole.val_indices.tolist())
    assert part.train_indices.tolist() == whole.train_indices.tolist()  # nothing of it is trained on
    other = prepare(spec(three, val_size=6, split_seed=1))
    assert other.val_indices.tolist() != part.val_indices.tolist()
    message = r"data.val_size = 10: must be 3 (one image per class) to 9 (of 9 images that come as validation split; "
    assert message + "without val_size all of them are used)" in refusal(three, val_size=10)
    assert "data.val_size = 2: must be 3" in refusal(three, val_size=2)


def test_train_size_leaves_the_validation_folder_alone(three: Path) -> None:
    part = prepare(spec(three, train_size=4))
    assert np.bincount(part.labels[part.train_indices]).tolist() == [2, 1, 1]
    assert drawn(part, part.val_indices) == contents(three, "val")
    assert "data.train_size = 41: must be 3 (one image per class) to 40 (of 40 images)" in refusal(three, train_size=41)


def test_after_merging_training_and_validation_images_are_trained_on(three: Path) -> None:
    merged = prepare(spec(three)).merged()
    assert drawn(merged, merged.train_indices) == contents(three, "train", "val")
    assert len(merged.val_indices) == 0


def test_no_image_of_the_test_folder_is_opened(three: Path) -> None:
    before = prepare(spec(three))
    for path in (three / "test").rglob("*.png"):
        path.write_bytes(b"garbage")
        path.rename(path.with_suffix(""))  # not even to see what it is
    (three / "train/ant/000.png").touch()  # decode again
    after = prepare(spec(three))
    assert (after.fingerprint, after.splits) == (before.fingerprint, before.splits)


def test_the_fingerprint_tells_a_given_validation_split_from_a_drawn_one(tmp_path: Path) -> None:
    write_folder(tmp_path / "drawn" / "train", {"ant": 20, "bee": 20})
    write_folder(tmp_path / "drawn" / "test", {"ant": 2, "bee": 2}, seed=1)
    before = prepare(spec(tmp_path / "drawn"))
    shutil.copytree(tmp_path / "drawn", tmp_path / "given")
    files = sorted((tmp_path / "given" / "train").rglob("*.png"))
    for index in before.val_indices:
        target = tmp_path / "given" / "val" / files[index].relative_to(tmp_path / "given" / "train")
        target.parent.mkdir(parents=True, exist_ok=True)
        files[index].rename(target)
    given = prepare(spec(tmp_path / "given"))
    assert sorted(drawn(given, given.val_indices)) == sorted(drawn(before, before.val_indices))
    assert given.fingerprint != before.fingerprint
    ignored = prepare(spec(tmp_path / "given", ignore=("val",)))
    assert len({given.fingerprint, before.fingerprint, ignored.fingerprint}) == 3


def test_the_fingerprint_holds_the_origin_of_the_validation_split_itself() -> None:
    train, val = np.arange(4), np.arange(4, 6)
    assert _fingerprint("content", train, val, is_drawn=True) != _fingerprint("content", train, val, is_drawn=False)


def test_the_fingerprint_of_a_folder_without_one_is_what_it_was(tmp_path: Path) -> None:
    # Written down before validation folders were read: stored studies go on.
    write_folder(tmp_path / "train", {"ant": 30, "bee": 30, "cow": 30})
    assert prepare(spec(tmp_path)).fingerprint == "89a9f887ec9b647fa8b43d27e9493223adb9a7de30499a6515594a6cd5533c0b"
    write_folder(tmp_path / "test", {"ant": 4, "bee": 4, "cow": 4}, seed=1)
    assert prepare(spec(tmp_path)).fingerprint == "d0bd81c32b8214435e5fcd8f3ffdae49e97e84ac7a6f7fb2397b1126660f4d2d"


@pytest.mark.parametrize(
    ("names", "role"),
    [
        (("val", "validation"), "validation"),
        (("dev", "valid"), "validation"),
        (("Test", "test"), "test"),
        (("train", "training"), "training"),
    ],
)
def test_two_folders_for_one_split_are_both_named(tmp_path: Path, names: tuple[str, str], role: str) -> None:
    for number, name in enumerate({"train", *names}):
        write_folder(tmp_path / name, TRAIN, seed=number)
    message = refusal(tmp_path)
    assert f"the folders '{names[0]}' and '{names[1]}' would all be the {role} images" in message
    assert f"data: {{ignore: [{names[1]}]}}" in message
    assert prepare(spec(tmp_path, ignore=(names[1],))).notes == ()


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("kind", ["empty", "flat", "unlabelled", "one class is missing", "one class is empty"])
def test_a_split_that_cannot_be_used_has_a_way_on(three: Path, split: str, kind: str) -> None:
    before = prepare(spec(three, ignore=(split,)))
    match kind:
        case "empty":
            shutil.rmtree(three / split)
            (three / split).mkdir()
            reason = f"{split}: is empty. Either"
        case "flat":
            for path in (three / split).rglob("*.png"):
                path.rename(three / split / f"{path.parent.name}-{path.name}")
            for name in FEW:
                (three / split / name).rmdir()
            reason = f"{split}: holds 9 files, but no folder per class, so they have no labels. Either"
        case "unlabelled":
            for name in ("ant", "bee"):
                shutil.rmtree(three / split / name)
            (three / split / "cow").rename(three / split / "unknown")
            reason = f"same classes: {split} lacks 'ant', 'bee' and 'cow'; train lacks 'unknown'. Either"
        case "one class is missing":
            shutil.rmtree(three / split / "cow")
            reason = f"same classes: {split} lacks 'cow'. Either"
        case _:
            shutil.rmtree(three / split / "cow")
            (three / split / "cow").mkdir()
            reason = f"{split}: no image of 'cow'. Either" if split == "test" else "val/cow: holds no image"
    message = refusal(three)
    assert reason in message
    if reason.endswith("Either"):
        assert f"Either put images into {split}/<class>/, or " in message
    ways = {"val": "draw the validation split from the training images", "test": "hold a sixth of the training images"}
    assert ways[split] in message
    assert f"data: {{ignore: [{split}]}}" in message
    after = prepare(spec(three, ignore=(split,)))  # it works
    assert after.fingerprint == before.fingerprint
    assert after.notes == ()


@pytest.mark.parametrize("split", ["val", "test"])
def test_an_empty_class_folder_that_another_split_lacks_is_named_as_empty(three: Path, split: str) -> None:
    shutil.rmtree(three / ({"val", "test"} - {split}).pop())
    for folder, other in (("train", split), (split, "train")):
        empty = three / folder / "emptyclass"
        empty.mkdir()
        rule = f"holds no image, and {other} has no such folder: remove it, or add images to both"
        assert f"{empty}: {rule}" in refusal(three)
        empty.rmdir()
    assert prepare(spec(three)).classes == tuple(TRAIN)


def test_a_class_that_differs_from_another_one_only_in_case_is_explained(three: Path) -> None:
    shutil.copytree(three / "train" / "cow", three / "train" / "Cow")
    words = "train holds both 'cow' and 'Cow', which differ only in upper and lower case: merge them if they are one"
    assert f"val lacks 'Cow' ({words} class)" in refusal(three)
    shutil.rmtree(three / "train" / "Cow")
    shutil.copytree(three / "test" / "cow", three / "test" / "Cow")
    assert f"train lacks 'Cow' ({words.replace('train', 'test')} class)" in refusal(three)


def test_an_ignored_test_folder_leaves_a_sixth_of_train_for_the_test(three: Path) -> None:
    prepared = prepare(spec(three, ignore=("test", "val")))
    assert (len(prepared.train_indices), len(prepared.val_indices)) == (31, 3)
    test, _, _ = load_test(spec(three, ignore=("test", "val")))
    assert {image.tobytes() for image in test} < set(contents(three, "train"))


def test_a_folder_to_ignore_that_is_not_there_is_an_error_with_the_nearest_name(three: Path) -> None:
    message = refusal(three, ignore=("tset",))
    assert message == "data.ignore = 'tset': there is no such folder in data.root (did you mean 'test'?)"


def test_folders_and_files_that_are_not_read_are_named(three: Path) -> None:
    for name in ("extra", "test_set"):
        (three / name).mkdir()
    for name in ("labels.csv", "a.png"):
        (three / name).write_text("x")
    (three / ".git").mkdir()
    assert prepare(spec(three)).notes == (
        f"not read in {three}: the folders 'extra' and 'test_set' and the files 'a.png' and 'labels.csv'",
    )
    assert len(prepare(spec(three, ignore=("extra", "test_set"))).notes) == 1


def test_a_folder_under_nearly_the_name_of_a_split_is_pointed_out(three: Path) -> None:
    (three / "test").rename(three / "test_set")
    (three / "val").rename(three / "val2017")
    [note] = prepare(spec(three)).notes
    assert note.endswith(
        "the folders 'test_set' and 'val2017' ('val2017' would be the validation split if it were called val; "
        "'test_set' would be the test split if it were called test)"
    )


def test_of_many_files_that_are_not_read_ten_are_named(three: Path) -> None:
    for number in range(13):
        (three / f"{number:02d}.txt").write_text("x")
    [note] = prepare(spec(three)).notes
    assert note.endswith("'08.txt', '09.txt' and 3 more")


def test_one_folder_cannot_be_two_splits(three: Path) -> None:
    shutil.rmtree(three / "val")
    (three / "val").symlink_to("train")
    assert "train and val are the same folder" in refusal(three)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_root_that_no_system_can_have_is_an_error(tmp_path: Path, name: str) -> None:
    assert "data.root" in refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("given", "present", "words"),
    [
        ("pictures", "Pictures", "'pictures' and 'Pictures' differ only in upper and lower case"),
        ("caf\u00e9", "cafe\u0301", r"'caf\xe9' and 'cafe\u0301' differ only in their Unicode normal form"),
    ],
)
def test_a_folder_that_only_looks_like_the_one_that_is_there(
    tmp_path: Path, given: str, present: str, words: str
) -> None:
    write_folder(tmp_path / present / "train", TRAIN)
    (tmp_path / present / present).mkdir()
    message = refusal(tmp_path / given)
    assert message.startswith("data.root = ")
    assert message.endswith(f": there is no such folder; {words}")
    message = refusal(tmp_path / present, ignore=(given,))
    assert f"data.ignore = {given!r}: there is no such folder in data.root; {words}" in message


def test_classes_in_the_root_itself_are_recognised(tmp_path: Path) -> None:
    write_folder(tmp_path, {"ant": 2, "bee": 2})
    assert "if these are the classes, move them into a folder train" in refusal(tmp_path)


# Names that only look alike. The two forms of é: one character, or e and an accent.
NFC, NFD = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")


def test_a_class_in_another_normal_form_is_the_same_class(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"ant": 20, NFC: 20, "zoo": 20})
    for number, split in enumerate(("val", "test")):
        write_folder(tmp_path / split, {"ant": 2, NFD: 3, "zoo": 4}, seed=number + 1)
    prepared = prepare(spec(tmp_path))
    assert prepared.classes == ("ant", NFC, "zoo")
    assert np.bincount(prepared.labels[prepared.val_indices]).tolist() == [2, 3, 4]
    images, labels, classes = load_test(spec(tmp_path))
    assert classes == prepared.classes
    assert [image.tobytes() for image, label in zip(images, labels, strict=True) if label == 1] == contents(
        tmp_path, f"test/{NFD}"
    )
    assert prepared.notes == tuple(
        rf"the class 'caf\xe9' of train is called 'cafe\u0301' in {split}: the same text in another Unicode normal form"
        for split in ("val", "test")
    )


def test_renaming_a_class_into_another_form_is_seen_by_the_test_split_too(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {NFC: 20, "zoo": 20})
    write_folder(tmp_path / "test", {NFC: 3, "zoo": 3}, seed=1)
    load_test(spec(tmp_path))
    (tmp_path / "train" / NFC).rename(tmp_path / "train" / NFD)
    assert load_test(spec(tmp_path))[2] == prepare(spec(tmp_path)).classes == (NFD, "zoo")


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (NFC, NFD, r"'cafe\u0301' and 'caf\xe9' differ only in their Unicode normal form"),
        ("ant", "ant ", "'ant' and 'ant ' differ only in spaces, or characters that cannot be seen"),
        ("ant", "ant\u200b", r"'ant' and 'ant\u200b' differ only in spaces, or characters that cannot be seen"),
        ("a b", "a\u00a0b", r"'a b' and 'a\xa0b' differ only in spaces, or characters that cannot be seen"),
    ],
)
def test_two_classes_that_look_the_same_are_refused(tmp_path: Path, first: str, second: str, words: str) -> None:
    write_folder(tmp_path / "train", {first: 20, second: 20, "zoo": 20})
    assert f"train: the class folders {words}: merge or rename them" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("A", "a", "upper and lower case"),
        ("A", "\uff21", "forms of the same characters"),
    ],  # Ａ, as wide as an ideograph
)
def test_two_classes_that_are_much_alike_are_told(tmp_path: Path, first: str, second: str, words: str) -> None:
    write_folder(tmp_path / "train", {first: 20, second: 20})  # letters may well be what is classified
    prepared = prepare(spec(tmp_path))
    assert prepared.classes == (first, second)
    assert prepared.notes == (f"the classes {first!r} and {second!r} differ only in {words}: they are two classes",)


@pytest.mark.parametrize(
    ("in_test", "words"), [("Ant", "upper and lower case"), ("ant ", "spaces, or characters that cannot be seen")]
)
def test_a_class_that_differs_between_splits_only_in_form_is_explained(three: Path, in_test: str, words: str) -> None:
    (three / "test/ant").rename(three / "test" / in_test)
    message = refusal(three)
    assert f"test lacks 'ant'; train lacks {in_test!r} ('ant' and {in_test!r} differ only in {words}" in message


def test_a_class_that_is_not_utf_8_is_named_with_what_it_may_have_been(three: Path) -> None:
    (three / "train/ant").rename(three / "train" / b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert refusal(three) == (
        rf"{three}/train: b'caf\xe9': the name of a class must be UTF-8 text, and this one is not: rename the folder "
        "(did you mean 'café'?)"
    )


def test_files_may_have_any_name(three: Path) -> None:
    names = [b"caf\xe9.png", b"new\nline.png", "猫.png".encode()]
    for number, name in enumerate(names):
        Image.fromarray(noise(100 + number)).save(three / "train/ant" / name.decode("utf-8", "surrogateescape"))
    prepared = prepare(spec(three))
    assert (len(prepared.train_indices), prepared.notes) == (43, ())
    assert json.dumps(prepared.summary())
