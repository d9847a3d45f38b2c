"""Video in and out: frames with presentation times, and the time grid."""
