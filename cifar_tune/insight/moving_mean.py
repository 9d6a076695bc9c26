"""A mean that follows a noisy series."""


class MovingMean:
    """Exponential moving average whose bias towards its start at zero is taken off.

    After values v_1 ... v_n it is the sum of (1 - beta) beta^(n-i) v_i, over 1 - beta^n: the correction of Kingma and
    Ba 2015 (arXiv:1412.6980, section 3). It lags: its values are beta / (1 - beta) steps old in the mean.

    Args:
        beta: decay per step, in [0, 1).
    """

    def __init__(self, beta: float) -> None:
        self._beta = beta
        self._sum = 0.0
        self._weight = 0.0

    def add(self, value: float) -> float:
        """Take in a value; return the mean."""
        self._sum = self._beta * self._sum + (1 - self._beta) * value
        self._weight = self._beta * self._weight + (1 - self._beta)
        return self._sum / self._weight
