"""How good a recognizer is: metrics of clips and of timelines."""
