"""Diagnose a data set by its clips and videos."""

from __future__ import annotations

import statistics
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from activity.data.clips import SPLIT_NAMES, Clip, DataError, DataNote, DataWarning, Manifest, RowsWarning, count_text
from activity.data.doctor.class_lists import ClassList
from activity.data.doctor.copies import copy_findings
from activity.data.doctor.findings import SEVERITIES, Finding, Settings, Severity, Subject
from activity.data.doctor.grouping import GroupGuess, guess_groups
from activity.data.doctor.manifest import manifest_findings
from activity.data.doctor.survey import VideoRecord
from activity.data.doctor.videos import video_findings
from activity.video.files import find_videos


@dataclass(frozen=True)
class Reading:
    """A data set as far as its layout could be read.

    Attributes:
        manifest: the table of clips, or None where there is none to be had.
        clips: those of the manifest; without one, the videos that are there, each with its folder's name as label.
        findings: what was said while reading.
    """

    manifest: Manifest | None
    clips: tuple[Clip, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class ClassCount:
    """How much there is of one class.

    `splits` counts the clips of each split that the data set gives.
    """

    name: str
    clips: int
    videos: int
    groups: int
    splits: Mapping[str, int]


@dataclass(frozen=True)
class Distribution:
    """Least, middle and greatest of some numbers, and their sum."""

    minimum: float
    median: float
    maximum: float
    total: float


@dataclass(frozen=True)
class Diagnosis:
    """What there is, and what was found.

    Attributes:
        clips: how many.
        groups: how many are given, or None.
        guess: groups that the names suggest where none are given.
        classes: in the order of the class indices.
        durations_seconds: of the videos that can be read; None where there are none. So the following:
        frame_rates: frames a second, of those with two frames and more.
        frame_sizes: videos by (width, height), most frequent first.
        codecs: videos by codec, most frequent first.
        videos: all that was read, by the name of the video.
        findings: the gravest first.
    """

    clips: int
    groups: int | None
    guess: GroupGuess | None
    classes: tuple[ClassCount, ...]
    durations_seconds: Distribution | None
    frame_rates: Distribution | None
    frame_sizes: Mapping[tuple[int, int], int]
    codecs: Mapping[str, int]
    videos: Mapping[str, VideoRecord]
    findings: tuple[Finding, ...]

    @property
    def counts(self) -> dict[Severity, int]:
        """Number of findings by severity."""
        return {severity: sum(f.severity == severity for f in self.findings) for severity in SEVERITIES}


def read_for_diagnosis(read: Callable[[], Manifest], folder: Path | None) -> Reading:
    """Call a layout's reader, and keep its warnings and error as findings.

    Args:
        read: gives the manifest, or raises DataError.
        folder: where to look for videos when it does; None: nowhere.
    """
    manifest, findings = None, list[Finding]()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", DataWarning)
        try:
            manifest = read()
        except DataError as error:
            advice = "Correct this first: without it there is nothing to train on."
            findings.append(Finding("unusable", "error", str(error), advice))
    for warning in said:
        if isinstance(warning.message, DataWarning):
            findings.append(_layout_finding(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if manifest is None:
        return Reading(None, tuple(_clips_of_folder(folder)) if folder else (), tuple(findings))
    return Reading(manifest, manifest.clips, tuple(findings))


def diagnose(
    reading: Reading, records: Mapping[Path, VideoRecord], class_lists: Sequence[ClassList], *, settings: Settings
) -> Diagnosis:
    """Say what there is and what is wrong with it.

    Nothing is read here; only the near copies take time.

    Args:
        reading: the clips.
        records: what was found out about the video of each.
        class_lists: lists of class names beside the data set.
        settings: what training would use.
    """
    clips, manifest = reading.clips, reading.manifest
    given = manifest is not None and manifest.groups_given
    guess = None if given else guess_groups(clips)
    findings = list(reading.findings)
    findings += video_findings(clips, records, settings)
    published = None if manifest is None else manifest.published_split
    findings += copy_findings(clips, records, published_split=published)
    if manifest is not None:
        findings += manifest_findings(manifest, guess, class_lists, records, settings)
    names = {clip.path: clip.name for clip in clips}
    facts = [records[path].facts for path in names]
    good = [item for item in facts if item is not None]
    return Diagnosis(
        clips=len(clips),
        groups=len({clip.group for clip in clips}) if given else None,
        guess=guess,
        classes=tuple(_class_counts(clips, manifest)),
        durations_seconds=_distribution(item.duration_seconds for item in good),
        frame_rates=_distribution(item.fps for item in good if item.fps is not None),
        frame_sizes=dict(Counter(item.sizes[0] for item in good).most_common()),
        codecs=dict(Counter(item.codec for item in good).most_common()),
        videos={name: records[path] for path, name in names.items()},
        findings=tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))),
    )


def _layout_finding(warning: DataWarning) -> Finding:
    if isinstance(warning, RowsWarning):
        rows = [problem.partition(": ") for problem in warning.problems]
        bad = f"{count_text(len(rows), 'row')} of {str(warning.path)!r}"  # Kinetics has several tables
        summary = f"{bad} that cannot be used; the others are examined."
        advice = "Correct these rows, or remove them: training refuses the table."
        return Finding("bad-rows", "error", summary, advice, tuple(Subject((line,), text) for line, _, text in rows))
    if isinstance(warning, DataNote):
        return Finding("layout", "note", str(warning), "Nothing to do.")
    return Finding("layout", "warning", str(warning), "See whether that is what you want.")


def _clips_of_folder(folder: Path) -> Iterator[Clip]:
    for path in find_videos(folder):
        name = path.relative_to(folder).as_posix()
        yield Clip(path=path.absolute(), relative_path=name, label=path.absolute().parent.name or "/", group=name)


def _class_counts(clips: Sequence[Clip], manifest: Manifest | None) -> Iterator[ClassCount]:
    by_label: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_label[clip.label].append(clip)
    for name in manifest.class_names if manifest else sorted(by_label):
        own = by_label[name]
        splits = Counter(clip.split for clip in own if clip.split is not None)
        videos, groups = len({clip.path for clip in own}), len({clip.group for clip in own})
        yield ClassCount(name, len(own), videos, groups, {side: splits[side] for side in SPLIT_NAMES if splits})


def _distribution(numbers: Iterable[float]) -> Distribution | None:
    values = list(numbers)
    if not values:
        return None
    return Distribution(min(values), statistics.median(values), max(values), sum(values))
