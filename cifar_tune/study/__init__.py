"""The coordinator: asks, hands out, reports, prunes, tells, parks and continues."""
