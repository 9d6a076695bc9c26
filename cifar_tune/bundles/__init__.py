"""A finished study as one file that others can check: the model, the report, the split and the versions in use."""
