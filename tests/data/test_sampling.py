"""Which images an epoch has."""

import pytest
import torch

from cifar_tune.data.batches import TrainingBatches
from cifar_tune.data.resident import ResidentData
from cifar_tune.data.sampling import SAMPLINGS
from cifar_tune.knobs.configuration import complete
from cifar_tune.knobs.table import KNOBS
from tests.data.images import prepared_data


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_names_are_those_of_the_knob() -> None:
    assert SAMPLINGS.keys() == (KNOBS["sampling"].names or {}).keys()


@pytest.mark.parametrize(
    ("counts", "count"),
    [
        ((2, 90, 8), 99),
        ((1, 99), 100),  # the one image comes fifty times
        ((30, 0, 30), 61),  # a class without images
        ((5, 5, 5), 15),
        ((40, 2, 3, 5), 7),  # an epoch smaller than the split
        ((7, 1), 1),
    ],
)
def test_balanced_has_as_many_of_every_class_and_of_every_image_in_it(counts: tuple[int, ...], count: int) -> None:
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(counts)])
    labels = labels[torch.randperm(len(labels), generator=generator(9))]
    draw = SAMPLINGS["balanced"](labels, counts, count)
    order = draw(generator())
    assert order.dtype == torch.int64
    assert len(order) == count
    per_class = torch.bincount(labels[order], minlength=len(counts))[torch.tensor(counts) > 0]
    assert int(per_class.max() - per_class.min()) <= 1
    for label, size in enumerate(counts):
        times = torch.bincount(order[labels[order] == label], minlength=len(labels))[labels == label]
        assert not size or int(times.max() - times.min()) <= 1
    assert torch.equal(order, draw(generator()))
    assert count == 1 or not torch.equal(order, draw(generator(1)))


def test_over_the_epochs_every_image_of_a_large_class_has_its_turn_and_no_class_is_ahead() -> None:
    labels = torch.tensor([0] * 40 + [1] * 3 + [2] * 5)
    draw = SAMPLINGS["balanced"](labels, (40, 3, 5), 11)
    orders = [draw(generator(seed)) for seed in range(300)]
    seen = torch.bincount(torch.cat(orders), minlength=48)
    assert int(seen.min()) > 0
    per_class = [int(seen[labels == label].sum()) for label in range(3)]
    assert max(per_class) - min(per_class) < 100  # of 1,100: the images that are left over go to any class
    first_half = [(labels[order[:5]] == 0).sum().item() for order in orders]
    assert len(set(first_half)) > 2  # classes are mixed within an epoch


def test_uniform_is_the_order_that_it_always_was() -> None:
    order = SAMPLINGS["uniform"](torch.arange(20) % 3, (7, 7, 6), 16)(generator())
    assert torch.equal(order, torch.randperm(20, generator=generator())[:16])


def test_a_balanced_epoch_depends_on_seed_and_number_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    prepared = prepared_data(tmp_path_factory.mktemp("skewed"), train=33)
    prepared.labels[prepared.train_indices[:20]] = 3
    data = ResidentData(prepared, "cpu")
    assert data.train_counts[3] > 20
    config = complete({"sampling": "balanced", "batch_size": 10, "seed": 4})

    def labels(epochs: list[int]) -> list[torch.Tensor]:
        batches = TrainingBatches(data, config)
        found = []
        for epoch in epochs:
            batches.draw_epoch(epoch)
            found.append(torch.cat([batches.next_batch()[1] for _ in range(batches.steps)]))
        return found

    one, two, again = labels([1, 2, 1])
    assert torch.equal(one, again)
    assert torch.equal(two, labels([2])[0])
    assert not torch.equal(one, two)
    assert torch.bincount(one, minlength=10).tolist() == [3] * 10
