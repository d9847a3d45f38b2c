"""`activity extract [overrides]`: fill the feature store for a data set."""

import time
from collections.abc import Sequence
from functools import partial

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from activity.cli.arguments import UsageError, note
from activity.cli.components import (
    clip_views,
    data_paths,
    feature_store,
    make_encoder,
    quiet_libraries,
    say_failures,
    store_use,
    stored_clips,
)
from activity.cli.configuration import run_with_configuration
from activity.cli.dataset import read_manifest
from activity.cli.findings import say_findings, say_what_spoils
from activity.cli.main import EXIT_OK
from activity.cli.printable import printable
from activity.cli.settings import check_overrides, check_settings
from activity.data.clips import count_text
from activity.features.outcome import FillProgress
from activity.features.usage import prune
from activity.training.lightning import seed_everything

_PRUNE, _FORGET, _DRY_RUN = "--prune", "--forget-missing", "--dry-run"


def main(arguments: Sequence[str]) -> int:
    """Run the verb."""
    quiet_libraries()
    flags = {flag for flag in (_PRUNE, _FORGET, _DRY_RUN) if flag in arguments}
    overrides = [argument for argument in arguments if argument not in flags]
    if _PRUNE in flags:
        prune_it = partial(prune_store, forget_missing=_FORGET in flags, dry_run=_DRY_RUN in flags)
        return run_with_configuration("extract", overrides, prune_it)
    for flag, what in {_DRY_RUN: "it shows what that would remove", _FORGET: "it says what else to remove"}.items():
        if flag in flags:
            raise UsageError(f"{flag} goes with {_PRUNE}: {what}.")
    return run_with_configuration("extract", overrides, extract)


def extract(config: DictConfig) -> int:
    """Compute what is not stored of one configuration; returns the exit code."""
    check_settings("extract", config)
    check_overrides("extract", HydraConfig.get().overrides.task)
    clip_views(config)
    manifest = read_manifest(config)
    # An encoder without pretrained weights is random: the same one for the same seed, as in training.
    seed_everything(config.seed, verbose=False)
    encoder = make_encoder(config)
    begun = time.monotonic()
    steps: list[FillProgress] = []

    def keep(state: FillProgress) -> None:
        steps[:] = [state]

    stored, failed = stored_clips(config, encoder, manifest.clips, on_progress=keep)
    seconds = time.monotonic() - begun
    findings = say_findings(config, manifest, stored, side_of=lambda clip: clip.split)
    code = max(say_what_spoils("extract", findings), say_failures("extract", failed, len(manifest.clips)))
    store, last = feature_store(config), steps[0]
    new = count_text(len(stored) - last.stored, "clip")
    print(
        f"{new} stored now, {last.stored} already there, {len(failed)} failed; "
        f"{count_text(last.frames, 'frame')} in {seconds:.1f} s ({last.frames / max(seconds, 1e-3):.1f} frames/s); "
        f"store {store.size_bytes() / 1e6:.1f} MB: {printable(str(store.root))}"
    )
    return code


def prune_store(config: DictConfig, *, forget_missing: bool, dry_run: bool) -> int:
    """Remove what no current configuration uses, and say how much that is; returns the exit code."""
    store = feature_store(config)
    current = None
    if data_paths(config):
        check_settings("extract", config)
        seed_everything(config.seed, verbose=False)
        encoder, views = make_encoder(config), clip_views(config)
        current = store_use(config, encoder, sample_fps=config.sampling.sample_fps, views=views)
    try:
        pruned = prune(store, current=current, forget_missing=forget_missing, dry_run=dry_run)
    except ValueError as error:
        raise UsageError(str(error)) from error
    for item in pruned.removed:
        print(f"{item.files:>8} files {item.size_bytes / 1e6:>10.1f} MB  {printable(item.reason)}")
    total = sum(item.size_bytes for item in pruned.removed)
    files = count_text(sum(item.files for item in pruned.removed), "file")
    print(f"{'would remove' if dry_run else 'removed'} {files}, {total} bytes")
    for path in pruned.missing:
        note(f"warning: {path} cannot be found; the features that were computed for it are kept.")
    if pruned.missing:
        note(f"Where such a data set is gone for good, activity extract {_PRUNE} {_FORGET} removes its features too.")
    return EXIT_OK
