import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from cifar_tune.data.augmentation.mixing import cutmix, mix, mixup, one_of
from cifar_tune.data.augmentation.pipeline import draw_augmentation
from cifar_tune.knobs.configuration import complete

from .draws import CPU, drawing, epoch_of

WHOLE = slice(0, None)


def test_mixing_against_a_slow_reference() -> None:
    images = torch.randn(6, 3, 8, 8).to(memory_format=torch.channels_last)
    labels = torch.tensor([0, 1, 2, 2, 1, 3])
    shares = torch.rand(6, 8, 8)
    mixed, targets = mix(images, labels, shares, 4)
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    for own in range(6):
        other = own - 1
        expected = images[own] * shares[own] + images[other] * (1 - shares[own])
        torch.testing.assert_close(mixed[own], expected)
        share = float(shares[own].mean())
        counted = [0.0] * 4
        counted[labels[own]] += share
        counted[labels[other]] += 1 - share
        torch.testing.assert_close(targets[own], torch.tensor(counted))


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.0, 3.0, 100.0])
def test_the_beta_distribution_is_scipys(alpha: float) -> None:
    drawn = drawing(50_000).beta(alpha).double().numpy()
    assert ((drawn >= 0) & (drawn <= 1)).all()
    places = np.linspace(0.01, 0.99, 99)
    shares = np.searchsorted(np.sort(drawn), places) / len(drawn)
    assert np.abs(shares - scipy.stats.beta(alpha, alpha).cdf(places)).max() < 0.01  # Kolmogorov: p is below 1e-4


@pytest.mark.parametrize("alpha", [1e-3, 1e-6])
def test_of_an_alpha_near_zero_no_number_is_missing(alpha: float) -> None:
    drawn = drawing(10_000).beta(alpha)
    assert ((drawn - drawn.round()).abs() < 0.5).all()
    assert ((drawn < 1e-6) | (drawn > 1 - 1e-6)).float().mean() > 0.98


@pytest.mark.parametrize("alpha", [0.1, 1.0, 5.0])
def test_mixup_draws_from_the_beta_distribution_for_every_image(alpha: float) -> None:
    shares = mixup(drawing(20_000, 8), alpha)(WHOLE)
    assert shares.shape == (20_000, 8, 8)
    assert torch.equal(shares, shares[:, :1, :1].expand_as(shares))
    own = shares[:, 0, 0]
    assert float(own.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(own.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


def test_cutmix_pastes_rectangles_and_counts_their_area() -> None:
    size = 32
    shares = cutmix(drawing(2000, size), 1.0)(WHOLE)
    assert ((shares == 0) | (shares == 1)).all()
    for pasted in (1 - shares[:200]).bool():
        rows, cols = (pasted.any(dim).nonzero().flatten() for dim in (1, 0))
        assert pasted.sum() == len(rows) * len(cols)
        assert len(rows) == 0 or rows[-1] - rows[0] == len(rows) - 1
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, size, size)
    mixed, targets = mix(images, torch.arange(4), shares[:4], 4)
    for own in range(4):
        assert targets[own, own] == (mixed[own, 0] == own).float().mean()


def test_cutmix_rectangles_have_the_area_of_the_share() -> None:
    """Those that lie in the image whole; sides are whole pixels, rounded down."""
    draw = drawing(4000, 32)
    own = drawing(4000, 32).beta(1.0)
    pasted = 1 - cutmix(draw, 1.0)(WHOLE)
    whole = (pasted[:, 0].sum(1) + pasted[:, -1].sum(1) + pasted[:, :, 0].sum(1) + pasted[:, :, -1].sum(1)) == 0
    side = ((1 - own).sqrt() * 32).int()
    assert whole.sum() > 500
    assert torch.equal(pasted.sum((1, 2))[whole], (side * side)[whole].float())


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_alpha_comes_from_the_configuration(name: str) -> None:
    def middle(alpha: float) -> float:
        config = complete({"augment": (name,), f"{name}_alpha": alpha})
        shares = draw_augmentation(config, epoch_of(2000), CPU).shares
        assert shares is not None
        own = shares(WHOLE).mean((1, 2))
        return float(((own > 0.25) & (own < 0.75)).float().mean())

    assert middle(0.0) == 0
    assert middle(0.1) < middle(1.0) < middle(20.0)


def test_of_two_each_image_takes_one() -> None:
    always, never = (torch.full((100, 4, 4), value) for value in (0.25, 1.0))
    choice = torch.arange(100, dtype=torch.int32) % 2
    shares = one_of(choice, [lambda batch: always[batch], lambda batch: never[batch]])
    assert torch.equal(shares(slice(3, 60))[:, 0, 0], torch.where(choice == 0, 0.25, 1.0)[3:60])


def test_mixup_beside_cutmix_mixes_each_image_by_one_of_them_and_half_of_the_images_by_each() -> None:
    def shares(*names: str) -> Tensor:
        drawn = draw_augmentation(complete({"augment": names}), epoch_of(1000, batch_size=100), CPU).shares
        assert drawn is not None
        return torch.cat([drawn(slice(start, start + 100)) for start in range(0, 1000, 100)])

    both, blended, pasted = shares("mixup", "cutmix"), shares("mixup"), shares("cutmix")
    by_mixup, by_cutmix = ((both == alone).all(dim=2).all(dim=1) for alone in (blended, pasted))
    assert (by_mixup ^ by_cutmix).all()  # one of the two, and just as it mixes alone
    assert 450 < by_mixup.sum() < 550
    for batch in by_mixup.view(10, 100):  # drawn for each image, not for a batch
        assert 20 < batch.sum() < 80


def test_an_image_alone_stays_as_it_is() -> None:
    image = torch.rand(1, 3, 8, 8)
    mixed, targets = mix(image, torch.tensor([2]), torch.full((1, 8, 8), 0.3), 4)
    torch.testing.assert_close(mixed, image)
    torch.testing.assert_close(targets, torch.tensor([[0.0, 0.0, 1.0, 0.0]]))
