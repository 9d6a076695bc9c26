"""Checks of what the modules `optuna_*` rely on. `tests/test_optuna_contract.py` runs them."""

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{each}" for each in ("attributes", "objects", "queries")))
