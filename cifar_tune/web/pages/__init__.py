"""The pages for people: made here, with a script of our own, and nothing from the network."""
