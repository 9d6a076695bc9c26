"""The file formats, described without torch. A new one is one entry here, and one module like `FileFormat`."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

Weights = Literal["fp32", "fp16", "int8"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)


@dataclass(frozen=True, slots=True)
class Target:
    """An entry.

    Attributes:
        module: has the functions of `FileFormat`.
        suffix: of its files.
        meaning: for people.
        weights: the types of weights that it can have.
        packages: what must be installed beside cifar-tune, as it is imported.
    """

    module: str
    suffix: str
    meaning: str
    weights: tuple[Weights, ...]
    packages: tuple[str, ...] = ()


FORMATS: Mapping[str, Target] = MappingProxyType(
    {
        "onnx": Target(
            "cifar_tune.conversion.onnx_file",
            ".onnx",
            "for onnxruntime and many other programs, without PyTorch",
            ("fp32", "fp16", "int8"),
            ("onnx", "onnxscript", "onnxruntime"),
        ),
        "pt2": Target("cifar_tune.conversion.pt2_file", ".pt2", "for PyTorch, without cifar-tune", ("fp32", "fp16")),
    }
)
