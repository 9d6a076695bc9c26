"""What a simulation found, beside what it should have found."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One figure of a simulation.

    Attributes:
        words: what it is.
        value: what came out.
        low, high: where it should lie, ends included.
        note: how, on what, and what the alternative gives.
    """

    words: str
    value: float
    low: float = -math.inf
    high: float = math.inf
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether it lies there."""
        return self.low <= self.value <= self.high

    @property
    def wanted(self) -> str:
        """`93.5 to 97`, `>= 93.5` or `<= 5`; empty where it is only reported."""
        if self.low == -math.inf and self.high == math.inf:
            return ""
        if self.low == -math.inf:
            return f"<= {self.high:g}"
        return f">= {self.low:g}" if self.high == math.inf else f"{self.low:g} to {self.high:g}"
