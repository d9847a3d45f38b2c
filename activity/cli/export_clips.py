"""Which clips an exported file is verified on: of a data set, of the run, videos, or rendered ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import torch
from hydra.errors import InstantiationException

from activity.cli.arguments import UsageError, note, videos_in
from activity.cli.dataset import read_manifest
from activity.cli.training_run import TrainingRun, training_run
from activity.data.clips import Clip, DataError, Manifest, clips_as_known
from activity.data.demo import render_demo
from activity.data.layouts.detect import detect_layout, read_any
from activity.data.layouts.folder import videos_directly_in
from activity.data.names import given_source
from activity.data.splits import read_splits
from activity.formats.compare import Window
from activity.models.recognizer import Recognizer
from activity.video.errors import VideoError
from activity.video.files import find_videos
from activity.video.reader import VideoReader

MOST_CALIBRATED = 64
_NO_LABEL = "unknown"


@dataclass(frozen=True)
class ExportClips:
    """What an export is held to.

    Attributes:
        verified: clips that the file is to label as the checkpoint does.
        calibration: clips that int8 takes its ranges from.
        verified_apart: clips that are verified where int8 is: of other groups than those of `calibration`, where there
            are several.
        labelled: whether accuracy can be told.
        source: what they are, for people.
    """

    verified: tuple[Clip, ...]
    calibration: tuple[Clip, ...]
    verified_apart: tuple[Clip, ...]
    labelled: bool
    source: str


def export_clips(
    data: Sequence[str], checkpoint: Path, recognizer: Recognizer, *, most: int, folder: Path
) -> ExportClips:
    """The clips of `data`; without it, those of the run that the checkpoint lies in; else rendered ones.

    Args:
        data: one data set, in any layout, or videos and folders of them.
        checkpoint: what is exported.
        recognizer: the same, loaded.
        most: how many clips at most, of each class as many as is its share.
        folder: an empty one, for what is rendered.

    Raises:
        DataError: the data set cannot be read, or has other classes than the model.
        UsageError: there are no videos.
    """
    if data:
        return _given(data, recognizer, most)
    run = training_run(checkpoint)
    found = None if run is None else _of_run(run, recognizer, most)
    if found is not None:
        return found
    render_demo(folder, actors=2, takes=1, seed=0)
    clips = unlabelled(find_videos(folder))
    return _spread(clips, (), most, labelled=False, source="rendered ones")


def first_windows(clips: Sequence[Clip], recognizer: Recognizer) -> Iterator[Window]:
    """The first window of each clip that can be read; a short one where a clip is short, or changes its size."""
    for clip in clips:
        indices = clip.sampled_indices(recognizer.sample_fps)
        try:
            with VideoReader(clip.path, square_pixels=recognizer.square_pixels) as reader:
                frames = reader.sampled_frames(recognizer.sample_fps, indices=indices)
                shown = [frame.pixels for frame in islice(frames, recognizer.window_frames)]
        except VideoError as error:
            note(f"warning: {error}")
            continue
        if shown:
            _, alike = next(groupby(shown, key=np.shape))
            yield Window(clip.name, torch.from_numpy(np.stack(list(alike))).permute(0, 3, 1, 2).unsqueeze(0))


def unlabelled(videos: Sequence[Path]) -> list[Clip]:
    """Whole videos as clips, of which nothing is said."""
    return [
        Clip(path=video.absolute(), relative_path=str(video), label=_NO_LABEL, group=str(video)) for video in videos
    ]


def _of_run(run: TrainingRun, recognizer: Recognizer, most: int) -> ExportClips | None:
    """Test clips of a run, or those of validation; None where its data set is not there any more."""
    try:
        manifest = read_manifest(run.config)
        parts = {name: _found(part) for name, part in read_splits(run.splits, manifest).parts.items()}
    except (DataError, OSError, InstantiationException) as error:  # Hydra's own, around the layout's
        note(f"note: the data set of the run cannot be read: {error.__cause__ or error}")
        return None
    for name in ("test", "val"):
        if clips := parts[name]:
            return _spread(
                clips_as_known(clips, recognizer.class_names),
                parts["train"],
                most,
                labelled=True,
                source=f"of the {name} split of its run",
            )
    note("note: the test videos of the run are not there any more.")
    return None


def _given(data: Sequence[str], recognizer: Recognizer, most: int) -> ExportClips:
    data = list(map(given_source, data))
    path = Path(data[0])
    if len(data) == 1 and _is_data_set(path):
        manifest = read_any(path, detect_layout(path), root=None, split=1, group_pattern=None)
        clips, rest = _test_clips(manifest)
        return _spread(clips_as_known(clips, recognizer.class_names), rest, most, labelled=True, source=str(path))
    videos: list[Path] = []
    for name in data:
        if Path(name).suffix.lower() == ".csv":
            raise UsageError(f"--verify {name}: a table stands alone; give it without the others, or videos only.")
        paths = videos_in(name) if Path(name).is_dir() else [Path(name)]
        if not paths:
            raise UsageError(f"--verify {name}: there are no videos. Give a data set (a folder or a CSV), or videos.")
        videos += paths
    # A folder and a video in it: one that is given twice is one.
    clips = unlabelled(list({video.absolute(): video for video in videos}.values()))
    return _spread(clips, (), most, labelled=False, source=", ".join(data[:3]))


def _is_data_set(path: Path) -> bool:
    """A table, or a folder whose videos lie in folders of their own."""
    if not path.is_dir():
        return path.suffix.lower() == ".csv"
    return not videos_directly_in(path)


def _test_clips(manifest: Manifest) -> tuple[list[Clip], list[Clip]]:
    """The test clips where the data set names some, and the others; else all, and none."""
    test = [clip for clip in manifest.clips if clip.split == "test"]
    return (test, [clip for clip in manifest.clips if clip.split != "test"]) if test else (list(manifest.clips), [])


def _found(clips: Sequence[Clip]) -> list[Clip]:
    return [clip for clip in clips if clip.path.exists()]


def _spread(clips: Sequence[Clip], others: Sequence[Clip], most: int, *, labelled: bool, source: str) -> ExportClips:
    """Without others to calibrate on, those of every second group are: clips of one recording are much alike."""
    ordered = sorted(clips, key=_by_label)
    rest = ordered
    if not others:
        apart = set(sorted({clip.group for clip in ordered})[1::2])
        others = [clip for clip in ordered if clip.group in apart] or ordered[1::2]
        taken = {clip.key for clip in others}
        rest = [clip for clip in ordered if clip.key not in taken]
    return ExportClips(
        verified=_evenly(ordered, most),
        calibration=_evenly(sorted(others, key=_by_label), MOST_CALIBRATED),
        verified_apart=_evenly(rest, most),
        labelled=labelled,
        source=source,
    )


def _by_label(clip: Clip) -> tuple[str, str]:
    return clip.label, clip.name


def _evenly(ordered: Sequence[Clip], most: int) -> tuple[Clip, ...]:
    """From the first to the last, so many of them: of each class as many as is its share."""
    if len(ordered) <= most:
        return tuple(ordered)
    return tuple(ordered[int(place)] for place in np.linspace(0, len(ordered) - 1, most).round())
