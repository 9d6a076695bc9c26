"""What one configuration can show: its learning-rate range, loss landscape, filters, mistakes and layers."""
