"""The networks, in the order in which data flows: preprocess, encoder, head, recognizer."""
