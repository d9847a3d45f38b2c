"""Features: from videos to feature sequences, and those kept on disk. Each sampled frame is encoded once."""
