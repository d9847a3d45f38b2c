"""Training on stored features, by Lightning."""

from activity.torchvision_operators import declare_missing_operators

declare_missing_operators()  # before Lightning, which imports torchvision
