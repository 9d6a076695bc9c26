"""Training one configuration: optimizer, schedule, the loop, evaluation, checkpoints."""
