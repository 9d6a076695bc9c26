"""The normalizations. A new one is one entry here, and a function in `cifar_tune.data.normalization`."""

from collections.abc import Mapping

from cifar_tune.knobs.part import Part

NORMALIZATIONS: Mapping[str, Part] = {
    "standardize": Part(
        "cifar_tune.data.normalization:standardize",
        "minus the mean, over the standard deviation, per channel, of the training split",
        arguments={"normalization_sample": "sample"},
    ),
    "zero_one": Part("cifar_tune.data.normalization:zero_one", "bytes scaled to [0, 1]"),
    "minus_one_one": Part("cifar_tune.data.normalization:minus_one_one", "bytes scaled to [-1, 1]"),
    "none": Part("cifar_tune.data.normalization:as_they_are", "bytes as they are, 0 to 255"),
}
