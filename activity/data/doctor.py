"""What is wrong with a data set, before training: from its clips and one reading of its videos to a diagnosis."""

from __future__ import annotations

import statistics
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from activity.data.class_lists import ClassList, difference
from activity.data.clips import SPLIT_NAMES, Clip, DataError, DataNote, DataWarning, Manifest
from activity.data.distribution import overlaps
from activity.data.duplicates import connected_sets, identical_sets, near_identical_pairs
from activity.data.findings import SEVERITIES, Finding, Severity, Subject, count_text, span_text, video_findings
from activity.data.grouping import GroupGuess, guess_groups
from activity.data.splits import split_manifest
from activity.data.survey import VideoRecord
from activity.video.reader import find_videos

# With three times the clips of another, a class is right three times in four by being guessed always.
_IMBALANCE = 3


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
class Settings:
    """What training would use by default: the sampling, and how it would split."""

    sample_fps: float
    window_frames: int
    val_fraction: float
    test_fraction: float
    seed: int


@dataclass(frozen=True)
class ClassCount:
    """How much there is of one class; `splits` counts the clips of each split that the data set gives."""

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
    """Call a layout's reader, and keep what it says as findings: warnings, and an error.

    Args:
        read: gives the manifest, or raises DataError.
        folder: where to look for videos when it does; None: nowhere.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", DataWarning)
        try:
            manifest = read()
        except DataError as error:
            advice = "Correct this first: without it there is nothing to train on."
            finding = Finding("unusable", "error", str(error), advice)
            return Reading(None, tuple(_clips_of_folder(folder)) if folder else (), (finding,))
    findings = []
    for warning in said:
        if issubclass(warning.category, DataNote):
            findings.append(Finding("layout", "note", str(warning.message), "Nothing to do."))
        elif issubclass(warning.category, DataWarning):
            findings.append(Finding("layout", "warning", str(warning.message), "See whether that is what you want."))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return Reading(manifest, manifest.clips, tuple(findings))


def diagnose(
    reading: Reading, records: Mapping[Path, VideoRecord], class_lists: Sequence[ClassList], *, settings: Settings
) -> Diagnosis:
    """Say what there is and what is wrong with it. Nothing is read here; only the near copies take time.

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
    findings += video_findings(clips, records, sample_fps=settings.sample_fps, window_frames=settings.window_frames)
    findings += _copies(clips, records)
    if manifest is not None:
        findings += _overlapping(clips)
        findings += _groups(manifest, guess)
        findings += _classes(manifest, class_lists)
        findings += _splitting(manifest, settings, leaks=any(f.code in ("group-leak", "overlap") for f in findings))
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
        frame_sizes=dict(Counter((item.width, item.height) for item in good).most_common()),
        codecs=dict(Counter(item.codec for item in good).most_common()),
        videos={name: records[path] for path, name in names.items()},
        findings=tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))),
    )


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


def _copies(clips: Sequence[Clip], records: Mapping[Path, VideoRecord]) -> Iterator[Finding]:
    clips_of: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        clips_of[clip.name].append(clip)
    by_name = {name: records[own[0].path] for name, own in clips_of.items()}
    identical = identical_sets({name: record.digest for name, record in by_name.items() if record.digest})
    yield from _of_copies("identical", "byte for byte the same", identical, clips_of)
    # Of copies to the byte one stands for all, and brings the others with it.
    twins = {names[0]: names for names in identical}
    copies = {name for names in identical for name in names[1:]}
    single = [(name, r.facts) for name, r in by_name.items() if name not in copies and r.facts]
    # Black and frozen pictures say too little to tell that they are the same.
    telling = [(name, facts) for name, facts in single if facts and not facts.black and not facts.frozen]
    pairs = near_identical_pairs([facts.thumbnails for _, facts in telling])
    sets = connected_sets((telling[one][0], telling[other][0]) for one, other in pairs)
    near = [tuple(twin for name in names for twin in twins.get(str(name), (str(name),))) for names in sets]
    yield from _of_copies("near-identical", "the same pictures, encoded, scaled or trimmed anew", near, clips_of)


def _of_copies(
    code: str, what: str, sets: Sequence[tuple[str, ...]], clips_of: Mapping[str, Sequence[Clip]]
) -> Iterator[Finding]:
    """One finding for each way in which copies do harm, the worst for each set."""
    kinds: dict[str, tuple[Severity, str, str]] = {
        "labels": (
            "error",
            "across labels",
            "Keep one file of each set: that with the right label. No model can learn both.",
        ),
        "splits": (
            "error",
            "across splits",
            "Keep the files of each set on one side: what was seen in training is no test.",
        ),
        "groups": (
            "error",
            "in different groups, which a split may put on different sides",
            "Keep one file of each set, or give all of them the same group (group column, data.group_pattern).",
        ),
        "same": (
            "warning",
            "with the same label, on the same side",
            "Keep one file of each set: repeated clips count twice in training and in every measure.",
        ),
    }
    subjects: dict[str, list[Subject]] = {kind: [] for kind in kinds}
    for names in sets:
        own = [clip for name in names for clip in clips_of[name]]
        labels = [sorted({clip.label for clip in clips_of[name]}) for name in names]
        sides = [sorted({clip.split for clip in clips_of[name] if clip.split}) for name in names]
        groups = {clip.group for clip in own}
        if any(other != labels[0] for other in labels):
            subjects["labels"].append(Subject(names, "labels " + _listed(label for each in labels for label in each)))
        elif any(other != sides[0] for other in sides):
            subjects["splits"].append(Subject(names, "splits " + _listed(side for each in sides for side in each)))
        else:
            subjects["same" if len(groups) == 1 or sides[0] else "groups"].append(Subject(names))
    for kind, (severity, where, advice) in kinds.items():
        if found := subjects[kind]:
            videos = sum(len(subject.names) for subject in found)
            sets_text = "1 set" if len(found) == 1 else f"{len(found)} sets"
            summary = f"{videos} videos are {what}, {where} ({sets_text})."
            yield Finding(code, severity, summary, advice, tuple(found))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _overlapping(clips: Sequence[Clip]) -> Iterator[Finding]:
    """Spans of one video that share time but not the label or the split."""
    by_label = [
        Subject((later.name,), f"{one} and {other}, at {span_text(later)}")
        for later, one, other in overlaps((clip, clip.label) for clip in clips)
        if one != other
    ]
    if by_label:
        summary = f"{count_text(by_label, 'span')} overlapping one of another label in the same video."
        advice = "See whether both labels are right; where one activity ends as the next begins, let the spans adjoin."
        yield Finding("overlapping-labels", "warning", summary, advice, tuple(by_label))
    by_split = [
        Subject((later.name,), f"{one} and {other}, at {span_text(later)}")
        for later, one, other in overlaps((clip, clip.split) for clip in clips if clip.split is not None)
        if one != other
    ]
    if by_split:
        summary = f"{count_text(by_split, 'span')} overlapping one of another split in the same video."
        yield Finding("overlap", "error", summary, "Give overlapping spans the same split and group.", tuple(by_split))


def _groups(manifest: Manifest, guess: GroupGuess | None) -> Iterator[Finding]:
    if manifest.groups_given:
        leaks = _leaks(manifest.clips, {clip.name: clip.group for clip in manifest.clips})
        if leaks:
            summary = f"{count_text(leaks, 'group')} on more than one side of the split."
            advice = "Move all clips of a group to one side, or correct the groups: else the test is too easy."
            severity: Severity = "error"
            if manifest.published_split:  # what a protocol has is not the user's to mend
                severity = "warning"
                advice = f"This is {manifest.published_split}, used as published: easier than a test on new groups."
            yield Finding("group-leak", severity, summary, advice, tuple(leaks))
        return
    files = len({clip.name for clip in manifest.clips})
    if guess is None:
        yield Finding(
            *("no-groups", "note"),
            "No groups are given, and the names of the files suggest none.",
            "Nothing to do where each file has a source of its own. Where one actor or source video is in several "
            "files, say so by a group column or data.group_pattern: else the test is too easy.",
        )
        return
    use = f"data.group_pattern='{guess.pattern}'"
    yield Finding(
        *("no-groups", "note"),
        f"No groups are given. The names of the {files} files suggest {guess.groups} groups: this is a guess.",
        f'If these are actors or source videos, use "{use}": else one of them may be on both sides of a split.',
        tuple(Subject((group,), f"{count} files") for group, count in sorted(Counter(guess.group_of.values()).items())),
    )
    if leaks := _leaks(manifest.clips, guess.group_of):
        summary = f"{count_text(leaks, 'group')} that the names suggest (a guess) on more than one side of the split."
        advice = f'If the guess is right, the test is too easy: split by these groups, with "{use}".'
        yield Finding("guessed-group-leak", "warning", summary, advice, tuple(leaks))


def _leaks(clips: Sequence[Clip], group_of: Mapping[str, str]) -> list[Subject]:
    sides: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        if clip.split is not None:
            sides[group_of[clip.name]].add(clip.split)
    return [
        Subject((group,), ", ".join(side for side in SPLIT_NAMES if side in own))
        for group, own in sorted(sides.items())
        if len(own) > 1
    ]


def _classes(manifest: Manifest, class_lists: Sequence[ClassList]) -> Iterator[Finding]:
    counts = manifest.clips_per_class
    most = max(counts.values())
    small = [Subject((name,), f"{count} clips") for name, count in counts.items() if count * _IMBALANCE <= most]
    if small:
        largest = max(counts, key=counts.__getitem__)
        summary = f"{len(small)} of {len(counts)} classes with a third or less of the {most} clips of {largest!r}."
        advice = (
            "Use data.balance=loss, and look at mean class accuracy rather than accuracy; better: add clips of these."
        )
        yield Finding("imbalance", "warning", summary, advice, tuple(small))
    differing = [
        Subject((str(item.path),), text) for item in class_lists if (text := difference(manifest.class_names, item))
    ]
    if differing:
        yield Finding(
            *("class-order", "warning"),
            "The classes here differ in order or name from a list that lies beside the data.",
            "Go by class names, which every file of a model carries, and never by their numbers; for UCF101 "
            "data=ucf101 takes the official order.",
            tuple(differing),
        )


def _splitting(manifest: Manifest, settings: Settings, *, leaks: bool) -> Iterator[Finding]:
    """What splitting would say, unless that has been said."""
    if leaks:
        return
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", DataWarning)
        try:
            split_manifest(
                manifest,
                val_fraction=settings.val_fraction,
                test_fraction=settings.test_fraction,
                seed=settings.seed,
            )
        except DataError as error:
            advice = "Do one of these before training."
            yield Finding("cannot-split", "error", str(error), advice)
    advice = "Give each class clips on each side; else the measure leaves it out."
    for warning in said:
        if not issubclass(warning.category, DataNote):
            yield Finding("absent-class", "warning", str(warning.message), advice)
