"""Every knob of a training run, described without torch: name, type, bounds, default, who takes it."""
