import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode, RandAugment, TrivialAugmentWide

from cifar_tune.data.augmentation.draw import Change, Draw, PlainChange
from cifar_tune.data.augmentation.operations import OPERATIONS, SIGNED
from cifar_tune.data.augmentation.pipeline import draw_augmentation
from cifar_tune.data.augmentation.policies import (
    BINS,
    TRIVIALAUGMENT_LARGEST,
    _draw_layer,
    _seated,
    randaugment,
    randaugment_largest,
    trivialaugment,
)
from cifar_tune.knobs.configuration import complete

from .draws import CPU, drawing, epoch_of, pixels

SPACES = {"randaugment": RandAugment, "trivialaugment": TrivialAugmentWide}
LARGEST = {"randaugment": randaugment_largest(32), "trivialaugment": TRIVIALAUGMENT_LARGEST}


def _theirs(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_")).replace("Autocontrast", "AutoContrast")


def test_the_operations_are_torchvisions() -> None:
    names = {_theirs(name) for name in OPERATIONS}
    for policy in SPACES.values():
        space = policy._AUGMENTATION_SPACE
        assert names == set(space)
        assert {_theirs(name) for name in SIGNED} == {name for name, (_, signed) in space.items() if signed}


@pytest.mark.parametrize("policy", SPACES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_against_torchvision_image_by_image(policy: str, name: str) -> None:
    bins = torch.arange(0, BINS, 3).repeat(2)
    count = len(bins)
    images = pixels(count)
    sign = torch.where((torch.arange(count) >= count // 2) & torch.tensor(name in SIGNED), -1.0, 1.0)
    amounts = LARGEST[policy][name] * bins / (BINS - 1)
    got = OPERATIONS[name](images, sign * amounts)
    theirs = SPACES[policy]()
    make, _ = theirs._AUGMENTATION_SPACE[_theirs(name)]
    magnitudes = make(BINS, 32, 32)
    different = 0
    for position in range(count):
        # Whole numbers are whole: torchvision's 15.999999 pixels would be 15.
        value = 0.0 if magnitudes is None else round(float(magnitudes[bins[position]]) * float(sign[position]), 5)
        if name in SIGNED:
            assert value == pytest.approx(float(sign[position] * amounts[position]), abs=2e-5)
        expected = theirs._apply_image_or_video_transform(
            images[position], _theirs(name), value, interpolation=InterpolationMode.NEAREST, fill={}
        )
        different += int(((got[position] - expected).abs() > 2e-5).any(0).sum())
    # Where a place lies in the middle between two pixels, or a value between two levels, rounding decides.
    assert different / (count * 32 * 32) < 0.003


def _largest_change(change: Change | PlainChange, count: int) -> torch.Tensor:
    images = pixels(count)[3:4].expand(count, 3, 32, 32)
    return (change(images, slice(0, None)) - images).abs().amax((1, 2, 3))


def test_every_image_has_an_operation_of_its_own() -> None:
    count = 700
    images = pixels(4)[3:].expand(count, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    got = trivialaugment(drawing(count))(images, slice(0, count))
    assert got.is_contiguous(memory_format=torch.channels_last)
    same = (got == images).all(dim=3).all(dim=2).all(dim=1)
    assert 40 < same.sum() < 130  # identity, and magnitudes of zero
    assert len({image.numpy().tobytes() for image in got}) > 200  # ten operations with 31 or 61 magnitudes, and three


def test_images_keep_their_places_in_every_batch() -> None:
    """Operations on a batch are those on its images one by one."""
    epoch = epoch_of(32, size=8, batch_size=16)
    images = pixels(32, size=8)
    change = trivialaugment(Draw(torch.Generator().manual_seed(1), epoch))
    for start in (0, 16):
        batch = slice(start, start + 16)
        got = change(images[batch], batch)
        for position in range(16):
            black = torch.zeros_like(images[batch])
            black[position] = images[start + position]
            torch.testing.assert_close(change(black, batch)[position], got[position])


def test_each_operation_is_as_likely_for_each_image_and_none_takes_more_than_its_share_of_a_batch() -> None:
    batches, size = 4000, 16  # two slots for each of fourteen operations
    draw = Draw(torch.Generator().manual_seed(3), epoch_of(batches * size, size=8, batch_size=size))
    slots, magnitudes = _draw_layer(draw, TRIVIALAUGMENT_LARGEST, None)
    assert all(len(set(batch)) == size for batch in slots.view(batches, size)[:100].tolist())
    operations = (slots // 2).view(batches, size)
    for place in (0, 7, 15):
        shares = torch.bincount(operations[:, place], minlength=len(OPERATIONS)) / batches
        assert (shares - 1 / len(OPERATIONS)).abs().max() < 5 * (1 / len(OPERATIONS) / batches) ** 0.5
    for number, name in enumerate(OPERATIONS):
        amounts = magnitudes[operations.view(-1) == number]
        assert amounts.abs().max() == pytest.approx(TRIVIALAUGMENT_LARGEST[name])
        assert (amounts.min() < 0) == (name in SIGNED)
        assert len(set(amounts.abs().tolist())) == (BINS if TRIVIALAUGMENT_LARGEST[name] else 1)


def test_randaugment_knobs_come_from_the_configuration() -> None:
    def mean_change(**knobs: int) -> float:
        config = complete({"augment": ("randaugment",), **knobs})
        [change] = draw_augmentation(config, epoch_of(200), CPU).pixels
        return float(_largest_change(change, 200).mean())

    assert mean_change(randaugment_num_ops=0) == 0
    assert mean_change(randaugment_num_ops=1) < mean_change(randaugment_num_ops=3)
    assert mean_change(randaugment_magnitude=1) < mean_change(randaugment_magnitude=15)


def test_more_operations_leave_the_first_as_it_was() -> None:
    images = pixels(50)
    once = randaugment(drawing(50), 1, 10)(images, slice(0, 50))
    twice = randaugment(drawing(50), 2, 10)(images, slice(0, 50))
    same = (once == twice).all(dim=3).all(dim=2).all(dim=1)
    assert 1 <= same.sum() < 30  # where the second is the identity


def test_the_global_generators_are_left_alone() -> None:
    before = torch.get_rng_state()
    trivialaugment(drawing(8))(pixels(8), slice(0, 8))
    assert torch.equal(torch.get_rng_state(), before)


def test_each_image_sits_in_its_slot_and_the_first_one_in_empty_ones() -> None:
    slots = torch.randperm(30, generator=torch.Generator().manual_seed(0))[:20]
    assert _seated(slots, 30).tolist() == [slots.tolist().index(slot) if slot in slots else 0 for slot in range(30)]
    assert _seated(torch.tensor([3]), 4).tolist() == [0, 0, 0, 0]
