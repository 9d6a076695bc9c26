"""A layer table as text and as plain values."""

from dataclasses import asdict
from typing import Any

from cifar_tune.insight.layers import LayerTable

_HEADER = ("layer", "kind", "output", "parameters", "multiply-adds")


def as_lines(table: LayerTable) -> list[str]:
    """Aligned columns, with a header; numbers on the right."""
    rows = [
        (
            layer.name,
            layer.kind,
            "-" if layer.output is None else "x".join(map(str, layer.output)),
            f"{layer.parameters:,}",
            f"{layer.multiply_adds:,}",
        )
        for layer in table.layers
    ]
    rows.append(("total", "", "", f"{table.parameters:,}", f"{table.multiply_adds:,}"))
    widths = [max(len(row[column]) for row in (_HEADER, *rows)) for column in range(len(_HEADER))]
    rule = tuple("-" * width for width in widths)
    return ["  ".join(_aligned(row, widths)).rstrip() for row in (_HEADER, rule, *rows[:-1], rule, rows[-1])]


def as_values(table: LayerTable) -> dict[str, Any]:
    """The table for JSON."""
    return {
        "layers": [asdict(layer) for layer in table.layers],
        "parameters": table.parameters,
        "multiply_adds": table.multiply_adds,
    }


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    return [
        cell.ljust(width) if column < 3 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
