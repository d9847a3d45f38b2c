"""Findings about the split that training would make, and about what is there to train on after it."""

import warnings
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from activity.data.clips import Clip, DataError, DataNote, DataWarning, Manifest, count_text
from activity.data.copies import copied_groups
from activity.data.doctor.findings import Finding, Settings, Subject
from activity.data.doctor.survey import VideoRecord
from activity.data.splits import ClassError, ClassWarning, LeakError, LeakWarning, Splits, split_manifest


def splitting_findings(
    manifest: Manifest, records: Mapping[Path, VideoRecord], settings: Settings, *, leaks: Collection[str]
) -> Iterator[Finding]:
    """What splitting would say, with copies of one video in one group as training has them, and what it would leave.

    Args:
        manifest: the table of clips.
        records: what was found out about the video of each.
        settings: how training would split.
        leaks: the groups and videos of which it was said that they are on more than one side.
    """
    digests = {path: record.digest for path, record in records.items() if record.digest}
    joined = copied_groups(((clip, clip.split) for clip in manifest.clips), digests)
    outcome, said = _split(replace(manifest, clips=joined.applied(manifest.clips)), settings)
    if isinstance(outcome, DataError) and not _repeats(outcome, manifest, leaks):
        yield Finding("cannot-split", "error", str(outcome), "Do one of these before training.", _classes(outcome))
    advice = "Give each class clips on each side; else the measure leaves it out."
    for warning in said:
        if not isinstance(warning, DataNote | LeakWarning):
            yield Finding("absent-class", "warning", str(warning), advice, _classes(warning))
    if isinstance(outcome, Splits):
        yield from _unreadable_classes(outcome.train, records)
    else:
        yield from _unreadable_classes([clip for clip in manifest.clips if clip.split in (None, "train")], records)


def _split(manifest: Manifest, settings: Settings) -> tuple[Splits | DataError, list[Warning]]:
    """The splits, or why there are none, and the warnings."""
    outcome: Splits | DataError
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", DataWarning)
        try:
            outcome = split_manifest(
                manifest,
                val_fraction=settings.val_fraction,
                test_fraction=settings.test_fraction,
                seed=settings.seed,
            )
        except DataError as error:
            outcome = error
    return outcome, [warning.message for warning in said if isinstance(warning.message, Warning)]


def _repeats(error: DataError, manifest: Manifest, leaks: Collection[str]) -> bool:
    """Whether it names only what is known to be on more than one side; of groups that are given, all is known."""
    if not isinstance(error, LeakError):
        return False
    return manifest.groups_given or {name for name, _ in error.subjects} <= set(leaks)


def _classes(said: DataError | Warning) -> tuple[Subject, ...]:
    """The classes that it is about; none where it is about something else."""
    classes = said.subjects if isinstance(said, ClassError | ClassWarning) else ()
    return tuple(Subject((name,), detail) for name, detail in classes)


def _unreadable_classes(train: Sequence[Clip], records: Mapping[Path, VideoRecord]) -> Iterator[Finding]:
    """Classes whose clips to train on are there, and none of them can be read."""
    readable: dict[str, list[bool]] = defaultdict(list)
    for clip in train:
        readable[clip.label].append(records[clip.path].facts is not None)
    subjects = [
        Subject((label,), f"{count_text(len(own), 'clip')} to train on")
        for label, own in readable.items()
        if not any(own)
    ]
    if subjects:
        classes = count_text(len(subjects), "class")
        yield Finding(
            *("unreadable-class", "error"),
            f"{classes} of which no clip to train on can be read: activity train stops at that.",
            "Replace each file that cannot be read, or take it out; a class of which none is left goes with the last.",
            tuple(subjects),
        )
