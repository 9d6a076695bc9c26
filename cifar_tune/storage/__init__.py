"""The relational database and the artifacts folder: studies, trials, leases, checkpoints."""
