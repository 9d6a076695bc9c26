"""A trained model as a folder that people keep, share and load: weights, description, card and plugin files."""
