"""Lightning, told to keep to itself what is no use to whoever trains on a folder of videos."""

import logging
import warnings


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
