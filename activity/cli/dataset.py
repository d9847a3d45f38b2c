"""The data set of a configuration, as every verb reads it that takes `data.` settings."""

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from activity.data.background import background_spans, unlabelled_spans, with_background
from activity.data.clips import DataError, Manifest
from activity.data.layouts import read_clips
from activity.data.names import given_path
from activity.video.reader import declared_seconds


def read_manifest(config: DictConfig) -> Manifest:
    """The labelled clips, and with `data.background` those of the class background.

    Raises:
        DataError: what the layout raises, and where there is nothing to make background of.
    """
    manifest: Manifest = instantiate(config.data.layout)
    # A run from before there was this setting has been trained without it.
    if not OmegaConf.select(config, "data.background", default=False):
        return manifest
    if config.data.splits is None:
        return with_background(manifest, unlabelled_spans(manifest, declared_seconds=declared_seconds))
    splits = given_path(config.data.splits)
    clips, _ = read_clips(splits, root=manifest.root)
    spans = background_spans(clips)
    if not spans:
        raise DataError(
            f"data.background=true, and the splits {str(splits)!r} have no clip of background: they were made without. "
            "Leave one of the two out."
        )
    return with_background(manifest, spans)
