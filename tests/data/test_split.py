import numpy as np
import pytest

from cifar_tune.data.seeding import derive_seed
from cifar_tune.data.spec import DataSpec
from cifar_tune.data.split import held_out_for_test, stratified_choice, training_and_validation
from cifar_tune.errors import UserError

CLASSES = tuple("abc")
LABELS = np.repeat(np.arange(3), (60, 30, 10))


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
    _, val = training_and_validation(np.repeat(np.arange(10), 5000), tuple("0123456789"), spec())
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
    rest, test = held_out_for_test(LABELS, 3)
    assert sorted([*rest, *test]) == list(range(100))
    assert len(test) == 16
    assert np.bincount(LABELS[test]).tolist() == [10, 5, 1]  # quotas 9.6, 4.8 and 1.6; the first of equals first


def test_too_few_images_for_a_test_split_are_refused() -> None:
    with pytest.raises(UserError, match=r"data: there are too few images to split"):
        held_out_for_test(np.arange(3).repeat(2), 3)
