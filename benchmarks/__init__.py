"""What cifar-tune costs beside the alternatives: one file per question, run by `python -m benchmarks`."""
