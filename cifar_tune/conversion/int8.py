"""Weights and activations in 8 bits, by onnxruntime's own quantization."""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

from cifar_tune.conversion.exported import INPUT, reason
from cifar_tune.conversion.file_format import Images
from cifar_tune.conversion.onnx_file import with_metadata
from cifar_tune.conversion.quiet import quiet
from cifar_tune.errors import CheckError

_QUANTIZED = ["Conv", "Gemm", "MatMul"]
"""Operators with weights. All others compute in float32."""


class _Calibration:
    """Batches one by one, as onnxruntime asks for them."""

    def __init__(self, batches: Iterable[Images]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> Mapping[str, Images] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def quantized(content: bytes, calibration: Iterable[Images], metadata: Mapping[str, str]) -> bytes:
    """The same model with weights of 8 bits, one scale per channel, and activations of 8 bits, one scale per tensor.

    Norms are first folded into the convolutions before them. The range of each activation is what the calibration
    images show. Weights take 7 of the 8 bits: on processors without VNNI, products of 8 bits would overflow.

    Args:
        content: an ONNX file with float32 weights.
        calibration: batches of training images, as the file takes them.
        metadata: of the new file.

    Raises:
        CheckError: onnxruntime cannot do it.
    """
    with tempfile.TemporaryDirectory(prefix="cifar-tune-") as folder, quiet():
        folded, made = Path(folder, "folded.onnx"), Path(folder, "int8.onnx")
        try:
            _fold(content, folded)
            quantize_static(
                folded,
                made,
                _Calibration(calibration),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_QUANTIZED,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
            proto = onnx.load(made)
        except Exception as error:  # it raises almost any type
            raise CheckError(f"onnxruntime cannot make int8 of the model: {reason(error)}") from error
    return with_metadata(proto, metadata)


def _fold(content: bytes, file: Path) -> None:
    """Write what onnxruntime makes of the graph before it runs it, as far as that is still plain ONNX."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(file)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
