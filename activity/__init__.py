"""Train an activity recogniser on your own videos, predict on files, deploy one file."""

from activity.torchvision_operators import declare_before_torchvision

declare_before_torchvision()
