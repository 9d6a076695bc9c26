"""optuna-dashboard on our storage."""
