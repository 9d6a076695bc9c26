"""PyTorch's pt2: a graph that `torch.export.load` reads without the code of the model."""

import io
import json
import zipfile
from collections.abc import Mapping

import torch
from torch.export import ExportedProgram

from cifar_tune.conversion.agreement import Logits
from cifar_tune.conversion.exported import reason
from cifar_tune.conversion.file_format import Images, Run
from cifar_tune.errors import CheckError

METADATA_FILE = "metadata.json"
"""In the archive, among its extra files."""

_MOST_OF_METADATA = 100_000_000


def contents(program: ExportedProgram, metadata: Mapping[str, str]) -> bytes:
    """One archive with the weights inside.

    Raises:
        CheckError: torch cannot write the model.
    """
    buffer = io.BytesIO()
    try:
        torch.export.save(program, buffer, extra_files={METADATA_FILE: json.dumps(dict(metadata))})
    except Exception as error:  # it raises almost any type
        raise CheckError(f"pt2 cannot hold the model: {reason(error)}") from error
    return buffer.getvalue()


def opened(content: bytes) -> Run:
    """The graph, read again.

    Raises:
        CheckError: torch cannot read it.
    """
    try:
        module = torch.export.load(io.BytesIO(content)).module()
    except Exception as error:  # it raises almost any type
        raise CheckError(f"torch {torch.__version__} cannot run the file: {reason(error)}") from error

    @torch.no_grad()
    def run(images: Images) -> Logits:
        logits: Logits = module(torch.from_numpy(images)).numpy()
        return logits

    return run


def metadata(content: bytes) -> dict[str, str]:
    """The metadata of a file; empty where it is no pt2 of ours."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            [name] = [name for name in archive.namelist() if name.endswith(f"/extra/{METADATA_FILE}")]
            if archive.getinfo(name).file_size > _MOST_OF_METADATA:
                return {}
            values = json.loads(archive.read(name))
    except Exception:  # noqa: BLE001 (whatever a zip of another program leads to)
        return {}
    return {str(key): str(value) for key, value in values.items()} if isinstance(values, dict) else {}
