"""The proof of speed and soundness on a GPU, in one command: `python -m benchmarks gpu`."""
