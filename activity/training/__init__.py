"""Training on stored features, by Lightning."""
