"""Optuna's samplers by name, seeded so that a continued study does not repeat its draws."""
