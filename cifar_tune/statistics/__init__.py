"""Statistics of trials: functions of numbers, which know nothing of studies, files or Optuna."""
