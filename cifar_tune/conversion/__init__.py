"""Turns a model folder into one file for other programs: ONNX, or PyTorch's own pt2."""
