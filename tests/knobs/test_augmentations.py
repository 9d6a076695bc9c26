from cifar_tune.knobs.augmentations import AUGMENTATIONS


def test_which_augmentations_mix_labels() -> None:
    assert {name for name, part in AUGMENTATIONS.items() if part.mixes_labels} == {"mixup", "cutmix"}
