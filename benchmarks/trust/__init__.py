"""`python -m benchmarks trust`: whether the figures that we print hold, against a truth that was made up."""
