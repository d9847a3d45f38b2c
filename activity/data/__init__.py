"""Data sets: clips, the layouts they are read from, splits, and the rendered demo set."""
