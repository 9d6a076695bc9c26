"""Images: where they come from, the cache they live in, how they are split, augmented and normalised."""
