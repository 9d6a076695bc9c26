import hashlib

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifar_tune.data.seeding import derive_seed
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.split import held_out_for_test, stratified_choice, training_and_validation
from cifar_tune.errors import UserError

CLASSES = tuple("abc")
LABELS = np.repeat(np.arange(3), (60, 30, 10))
RARE = np.repeat(np.arange(3), (300, 300, 3))
DIGITS = tuple("0123456789")


def spec(val_size: int | None = None, train_size: int | None = None, split_seed: int = 0) -> DataSpec:
    return DataSpec(name="digits", val_size=val_size, train_size=train_size, split_seed=split_seed)


@pytest.mark.parametrize(
    ("size", "per_class"),
    # Quotas of 7: 4.2, 2.1 and 0.7: the one image left goes to the largest remainder.
    [(10, [6, 3, 1]), (7, [4, 2, 1]), (50, [30, 15, 5]), (99, [59, 30, 10]), (100, [60, 30, 10])],
)
def test_a_choice_is_exact_in_size_and_in_proportion(size: int, per_class: list[int]) -> None:
    chosen = stratified_choice(LABELS, size, seed=1)
    assert np.bincount(LABELS[chosen], minlength=3).tolist() == per_class
    assert len(set(chosen.tolist())) == size


@pytest.mark.parametrize("size", range(1, 101))
def test_every_size_is_met_exactly(size: int) -> None:
    assert len(stratified_choice(LABELS, size, seed=0)) == size


def test_a_choice_repeats_on_every_machine() -> None:
    # Written down once: if this changes, studies begun before cannot be continued.
    assert stratified_choice(LABELS, 5, derive_seed("validation", 0)).tolist() == [3, 36, 51, 75, 81]


def test_splits_are_disjoint_and_cover_all_images() -> None:
    train, val = training_and_validation(LABELS, CLASSES, spec(val_size=20))
    assert sorted([*train, *val]) == list(range(100))
    assert np.bincount(LABELS[val]).tolist() == [12, 6, 2]


def test_the_default_validation_split_is_a_tenth() -> None:
    _, val = training_and_validation(np.repeat(np.arange(10), 5000), DIGITS, spec())
    assert len(val) == 5000


def test_split_seed_draws_the_validation_split() -> None:
    first, again, other = (training_and_validation(LABELS, CLASSES, spec(split_seed=seed))[1] for seed in (0, 0, 1))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_train_size_takes_a_stratified_part_and_leaves_validation_alone() -> None:
    whole, val = training_and_validation(LABELS, CLASSES, spec(val_size=20))
    part, val_of_part = training_and_validation(LABELS, CLASSES, spec(val_size=20, train_size=40))
    assert np.bincount(LABELS[part]).tolist() == [24, 12, 4]
    assert set(part.tolist()) < set(whole.tolist())
    assert val_of_part.tolist() == val.tolist()


def test_train_size_may_be_all_that_is_left() -> None:
    train, _ = training_and_validation(LABELS, CLASSES, spec(val_size=20, train_size=80))
    assert len(train) == 80


@pytest.mark.parametrize(
    ("val_size", "train_size", "message"),
    [
        (2, None, "data.val_size = 2: must be 3 (one image per class) to 97"),
        (98, None, "data.val_size = 98: must be 3 (one image per class) to 97"),
        (100, None, "data.val_size = 100: must be"),
        (20, 2, "data.train_size = 2: must be 3 (one image per class) to 80"),
        (20, 81, "data.train_size = 81: must be 3 (one image per class) to 80"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(val_size: int, train_size: int | None, message: str) -> None:
    with pytest.raises(UserError) as raised:
        training_and_validation(LABELS, CLASSES, spec(val_size, train_size))
    assert message in str(raised.value)


def test_too_few_images_for_a_validation_split_are_refused() -> None:
    with pytest.raises(UserError, match=r"data\.val_size.*too few images"):
        training_and_validation(np.arange(3), CLASSES, spec())


def test_the_test_split_is_a_sixth_stratified() -> None:
    rest, test = held_out_for_test(LABELS, CLASSES)
    assert sorted([*rest, *test]) == list(range(100))
    assert len(test) == 16
    assert np.bincount(LABELS[test]).tolist() == [10, 5, 1]  # quotas 9.6, 4.8 and 1.6; the first of equals first


def test_too_few_images_for_a_test_split_are_refused() -> None:
    with pytest.raises(UserError, match=r"data: there are too few images to split"):
        held_out_for_test(np.arange(3).repeat(2), CLASSES)


def per_class(labels: npt.NDArray[np.int64]) -> list[int]:
    return [int(count) for count in np.bincount(labels, minlength=3)]


def test_a_rare_class_is_in_every_split() -> None:
    rest, test = held_out_for_test(RARE, CLASSES)
    assert (per_class(RARE[rest]), per_class(RARE[test])) == ([250, 251, 2], [50, 49, 1])
    train, val = training_and_validation(RARE[rest], CLASSES, spec())
    assert (per_class(RARE[rest][train]), per_class(RARE[rest][val])) == ([225, 227, 1], [25, 24, 1])
    train, _ = training_and_validation(RARE[rest], CLASSES, spec(train_size=20))
    assert per_class(RARE[rest][train]) == [10, 9, 1]


def test_a_large_validation_split_leaves_a_rare_class_for_training() -> None:
    train, val = training_and_validation(RARE, CLASSES, spec(val_size=600))
    assert (per_class(RARE[train]), per_class(RARE[val])) == ([1, 1, 1], [299, 299, 2])


def test_a_rare_class_gives_no_more_than_its_proportion() -> None:
    _, val = training_and_validation(np.repeat(np.arange(3), (300, 300, 8)), CLASSES, spec())
    assert np.bincount(val // 300).tolist() == [30, 29, 1]  # quotas 29.6, 29.6 and 0.8


@given(st.data(), st.lists(st.integers(2, 60), min_size=2, max_size=8))
def test_every_class_is_in_every_split_whatever_the_sizes(data: st.DataObject, counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    classes = tuple(str(number) for number in range(len(counts)))
    val_size = data.draw(st.integers(len(counts), len(labels) - len(counts)))
    train_size = data.draw(st.integers(len(counts), len(labels) - val_size))
    train, val = training_and_validation(labels, classes, spec(val_size, train_size))
    assert (len(train), len(val), len(np.intersect1d(train, val))) == (train_size, val_size, 0)
    assert set(labels[train]) == set(labels[val]) == set(range(len(counts)))


@given(st.lists(st.integers(3, 60), min_size=2, max_size=8))
def test_every_class_is_in_the_test_split_and_twice_in_the_rest(counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    rest, test = held_out_for_test(labels, tuple(str(number) for number in range(len(counts))))
    assert np.bincount(labels[test], minlength=len(counts)).min() >= 1
    assert np.bincount(labels[rest], minlength=len(counts)).min() >= 2
    assert sorted([*rest, *test]) == list(range(len(labels)))


@pytest.mark.parametrize(("counts", "named"), [((60, 60, 1), "'c' has 1"), ((60, 1, 1), "'b' has 1 and 'c' has 1")])
def test_a_class_that_is_too_rare_is_named(counts: tuple[int, ...], named: str) -> None:
    labels = np.repeat(np.arange(3), counts)
    with pytest.raises(UserError, match=f"data: every class needs 2 images, .* training and validation: {named}"):
        training_and_validation(labels, CLASSES, spec())
    with pytest.raises(UserError, match=f"every class needs 3 images, .* validation and test: {named}"):
        held_out_for_test(labels, CLASSES)
    with pytest.raises(UserError, match=f"every class needs 2 images, .* training and test: {named}"):
        held_out_for_test(labels, CLASSES, has_validation=True)


def test_of_many_classes_that_are_too_rare_ten_are_named() -> None:
    labels = np.concatenate([np.zeros(60, dtype=np.int64), np.arange(1, 13)])
    with pytest.raises(UserError, match="'10' has 1 and 2 more have fewer"):
        training_and_validation(labels, tuple(str(number) for number in range(13)), spec())


@pytest.mark.parametrize(
    ("labels", "val_size", "train_size", "split_seed", "digest"),
    [
        ("mixed", None, None, 0, "7646ddf46de4679a2b060fe1a63faa04c986ab929c554223a413de5e18b29368"),
        ("mixed", 5000, 10000, 0, "6e0880ff64161fb55faf933516eddeb86f6be6432294dbb98ffe580c0cab4e91"),
        ("mixed", 123, 457, 3, "8e87a69c65939eba1faee97e38d877e6bd691e053c0d2ffbb060eb5dad40328b"),
        ("sorted", None, None, 0, "b55a6aef665924bbde72d53a414b0207960ccf4230953c2b663a57e5a8708090"),
        ("sorted", 5000, 10000, 0, "fcaf8acac1c8fe5892df75522239d68035de98ea3ae8cd3b8deb927e176f447c"),
        ("sorted", 123, 457, 3, "cee1301707e6a87bcc00cdac959119b6479ccb78c4397f513259ae91a6cdcc5e"),
    ],
)
def test_the_splits_of_cifar_10_never_change(
    labels: str, val_size: int | None, train_size: int | None, split_seed: int, digest: str
) -> None:
    # Written down before rare classes were looked after: stored studies go on with the same splits.
    each = np.tile(np.arange(10), 5000) if labels == "mixed" else np.repeat(np.arange(10), 5000)
    found = hashlib.sha256()
    for indices in (
        *held_out_for_test(each, DIGITS),
        *training_and_validation(each, DIGITS, spec(val_size, train_size, split_seed)),
    ):
        found.update(indices.astype("<i8").tobytes())
    assert found.hexdigest() == digest


@pytest.mark.parametrize(
    ("split_seed", "training", "validation"),
    [
        (0, [19, 30, 70, 73, 95], [103, 104, 108, 113, 117, 119]),
        (1, [41, 54, 61, 81, 97], [100, 106, 111, 115, 116, 118]),
    ],
)
def test_parts_of_splits_that_the_source_brings_never_change(
    split_seed: int, training: list[int], validation: list[int]
) -> None:
    labels = np.concatenate([LABELS, np.repeat(np.arange(3), (12, 6, 3))])
    train, val = training_and_validation(labels, CLASSES, spec(6, 5, split_seed), given=21)
    assert (train.tolist(), val.tolist()) == (training, validation)


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_folds_are_equal_disjoint_and_stratified(folds: int) -> None:
    labels = np.random.RandomState(0).permutation(np.repeat(np.arange(3), (50, 31, 9))).astype(np.int64)
    classes = ("a", "b", "c")
    parts = []
    for fold in range(1, folds + 1):
        train, val = training_and_validation(labels, classes, DataSpec(folds=folds, fold=fold), given=20)
        assert np.array_equal(np.union1d(train, val), np.arange(90))
        assert not np.intersect1d(train, val).size
        parts.append(val)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(90)), "each image validates once"
    counts = np.array([np.bincount(labels[part], minlength=3) for part in parts])
    assert np.ptp(counts, axis=0).max() <= 1
    assert np.ptp(counts.sum(axis=1)) <= 1
    first = training_and_validation(labels, classes, DataSpec(folds=folds))[1]
    assert np.array_equal(first, parts[0]), "by default the first one"
    other = training_and_validation(labels, classes, DataSpec(folds=folds, split_seed=1))[1]
    assert not np.array_equal(other, first)


def test_a_class_with_fewer_images_than_folds_is_named() -> None:
    labels = np.repeat(np.arange(2), (50, 3)).astype(np.int64)
    with pytest.raises(UserError, match="each of the 5 folds: 'b' has 3"):
        training_and_validation(labels, ("a", "b"), DataSpec(folds=5))


def test_fewer_training_images_leave_a_fold_as_it_is() -> None:
    labels = np.repeat(np.arange(2), (50, 50)).astype(np.int64)
    whole = training_and_validation(labels, ("a", "b"), DataSpec(folds=5, fold=2))
    part = training_and_validation(labels, ("a", "b"), DataSpec(folds=5, fold=2, train_size=40))
    assert np.array_equal(whole[1], part[1])
    assert len(part[0]) == 40
