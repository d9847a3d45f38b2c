"""What the command line takes from Lightning, and Lightning without notes that are no use on a folder of videos.

To import it from here is safe beside a CPU torch: see `activity.torchvision_operators`.
"""

import logging
import warnings

from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything

__all__ = ["Callback", "LightningModule", "Trainer", "quiet_lightning", "seed_everything"]


def quiet_lightning() -> None:
    """Silence notes on hardware, retries and advice to programmers, in this process."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for about in (
        ".*does not have many workers.*",
        ".*Checkpoint directory.*exists and is not empty.*",
        ".*Experiment logs directory.*exists and is not empty.*",
        r".*module\(s\) in eval mode.*",  # the encoder, on purpose
        ".*LeafSpec.*deprecated.*",
    ):
        warnings.filterwarnings("ignore", message=about)
