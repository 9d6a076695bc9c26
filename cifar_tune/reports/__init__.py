"""What a finished study shows: summaries, tables and plots."""
