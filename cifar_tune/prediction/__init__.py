"""What a saved model says of image files: finding and reading them, predicting in batches, tables and scores."""
