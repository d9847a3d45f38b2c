"""How good a recognizer is: metrics of clips."""
