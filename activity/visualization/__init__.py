"""How results look: labels drawn on frames, in a window or in a video file."""
