"""Draw labels on frames, in a window or in a video file."""
