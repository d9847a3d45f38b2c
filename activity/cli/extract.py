"""`activity extract [overrides]`: fill the feature store for a data set."""

import time
from collections.abc import Sequence

from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning import seed_everything

from activity.cli.components import clip_views, feature_store, make_encoder, quiet_libraries, say_failures, stored_clips
from activity.cli.configuration import run_with_configuration
from activity.cli.settings import check_settings
from activity.data.clips import Manifest
from activity.features.fill import FillProgress


def main(arguments: Sequence[str]) -> int:
    """Run the verb."""
    quiet_libraries()
    return run_with_configuration("extract", arguments, extract)


def extract(config: DictConfig) -> int:
    """Compute what is not stored of one configuration; returns the exit code."""
    check_settings("extract", config)
    clip_views(config)
    manifest: Manifest = instantiate(config.data.layout)
    # An encoder without pretrained weights is random: the same one for the same seed, as in training.
    seed_everything(config.seed, verbose=False)
    encoder = make_encoder(config)
    begun = time.monotonic()
    steps: list[FillProgress] = []

    def keep(state: FillProgress) -> None:
        steps[:] = [state]

    stored, failed = stored_clips(config, encoder, manifest.clips, on_progress=keep)
    seconds = time.monotonic() - begun
    code = say_failures("extract", failed, len(manifest.clips))
    store, last = feature_store(config), steps[0]
    print(
        f"{len(stored) - last.stored} clips stored now, {last.stored} already there, {len(failed)} failed; "
        f"{last.frames} frames in {seconds:.1f} s ({last.frames / max(seconds, 1e-3):.1f} frames/s); "
        f"store {store.size_bytes() / 1e6:.1f} MB: {store.root}"
    )
    return code
