"""Findings about the split that training would make."""

import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from activity.data.clips import DataError, DataNote, DataWarning, Manifest
from activity.data.copies import copied_groups
from activity.data.doctor.findings import Finding, Settings, Subject
from activity.data.doctor.survey import VideoRecord
from activity.data.splits import ClassError, ClassWarning, LeakError, LeakWarning, Splits, split_manifest


def splitting_findings(
    manifest: Manifest, records: Mapping[Path, VideoRecord], settings: Settings, *, leaks: Collection[str]
) -> Iterator[Finding]:
    """What splitting would say, with copies of one video in one group as training has them.

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
