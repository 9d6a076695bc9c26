"""The look that all pictures share."""
