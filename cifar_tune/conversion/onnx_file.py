"""ONNX, by torch.onnx.export, and run by onnxruntime on the CPU."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from onnxscript.optimizer import optimize_ir
from torch.export import ExportedProgram

from cifar_tune.conversion.agreement import Logits
from cifar_tune.conversion.exported import BATCH, INPUT, OUTPUT, reason
from cifar_tune.conversion.file_format import Images, Run
from cifar_tune.conversion.quiet import quiet
from cifar_tune.errors import CheckError

_ERRORS_ONLY = 3
"""Level of onnxruntime's own log."""


def contents(program: ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    """One file with the weights inside.

    Raises:
        CheckError: ONNX has no operator for something in the model, or the file would be larger than 2 GB.
    """
    try:
        with quiet():
            is_half = any(weight.dtype == torch.float16 for weight in program.state_dict.values())
            made: Any = torch.onnx.export(
                program,
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
                external_data=False,
                optimize=not is_half,
            )
            if is_half:
                optimize_ir(made.model, should_fold=_may_be_folded)
    except Exception as error:  # it raises almost any type
        raise CheckError(f"ONNX cannot hold the model: {reason(error)}") from error
    proto = made.model_proto
    _tidy(proto)
    return with_metadata(proto, metadata)


def with_metadata(proto: onnx.ModelProto, metadata: Mapping[str, str]) -> bytes:
    """The content of a file that has these values besides.

    Raises:
        CheckError: it would be larger than 2 GB.
    """
    onnx.helper.set_model_props(proto, dict(metadata))
    try:
        content: bytes = proto.SerializeToString()
    except ValueError as error:
        raise CheckError("ONNX cannot hold the model: a file of it ends at 2 GB. Convert it --to pt2") from error
    return content


def opened(content: bytes) -> Run:
    """A session of onnxruntime on the CPU.

    Raises:
        CheckError: onnxruntime cannot run it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = _ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own types, all of them straight from Exception
        raise CheckError(f"onnxruntime {onnxruntime.__version__} cannot run the file: {reason(error)}") from error

    def run(images: Images) -> Logits:
        [logits] = session.run([OUTPUT], {INPUT: images})
        return np.asarray(logits, dtype=np.float32)

    return run


def metadata(content: bytes) -> dict[str, str]:
    """The metadata of a file; empty where it is no ONNX."""
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError:
        return {}
    return {entry.key: entry.value for entry in proto.metadata_props}


def _may_be_folded(node: ir.Node) -> bool | None:
    """Leave float16 weights as they are in the file; of all else the optimizer decides."""
    is_widened = node.op_type == "Cast" and node.inputs[0] is not None and node.inputs[0].dtype == ir.DataType.FLOAT16
    return False if is_widened else None


def _tidy(proto: onnx.ModelProto) -> None:
    """Give the batch its name, and leave out what torch notes for those who work on its exporter."""
    graph = proto.graph
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    del graph.value_info[:]
    del graph.metadata_props[:]
    for node in graph.node:
        del node.metadata_props[:]
