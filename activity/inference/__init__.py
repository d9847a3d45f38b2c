"""Predictions on videos, for a recognizer of any file format."""
