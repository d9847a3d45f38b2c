"""How good a recognizer is: metrics of clips and of timelines."""

from activity.torchvision_operators import declare_missing_operators

declare_missing_operators()  # before torchmetrics, which imports torchvision
