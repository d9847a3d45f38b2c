"""Findings about the table of clips: spans that overlap, groups, classes, and whether it can be split."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from activity.data.clips import SPLIT_NAMES, Clip, Manifest, count_text
from activity.data.distribution import overlaps
from activity.data.doctor.class_lists import ClassList, difference
from activity.data.doctor.findings import Finding, Settings, Severity, Subject, span_text
from activity.data.doctor.grouping import GroupGuess
from activity.data.doctor.splitting import splitting_findings
from activity.data.doctor.survey import VideoRecord
from activity.data.segments import BACKGROUND

# Classes of unlike size are the rule: from three times on it is good to know. At ten times the smallest class hardly
# counts in the loss or in accuracy (surveys of imbalanced data call a ratio above 9 high).
_UNEVEN, _IMBALANCED = 3, 10


def manifest_findings(
    manifest: Manifest,
    guess: GroupGuess | None,
    class_lists: Sequence[ClassList],
    records: Mapping[Path, VideoRecord],
    settings: Settings,
) -> Iterator[Finding]:
    """What the table of clips has.

    Args:
        manifest: the table.
        guess: groups that the names suggest, where none are given.
        class_lists: lists of class names beside the data set.
        records: what was found out about the video of each clip.
        settings: how training would split.
    """
    findings = [*overlap_findings(manifest.clips), *_groups(manifest, guess)]
    yield from findings
    yield from class_size_findings(manifest)
    yield from class_order_findings(manifest, class_lists)
    leaks = [finding for finding in findings if finding.code in ("group-leak", "overlap")]
    names = {name for finding in leaks for subject in finding.subjects for name in subject.names}
    yield from splitting_findings(manifest, records, settings, leaks=names)


def overlap_findings(clips: Sequence[Clip]) -> Iterator[Finding]:
    """Spans of one video that share time but not the label or the split."""
    by_label = [
        Subject((later.name,), f"{one} and {other}, at {span_text(later)}")
        for later, one, other in overlaps((clip, clip.label) for clip in clips)
        if one != other
    ]
    if by_label:
        summary = f"{count_text(len(by_label), 'span')} overlapping one of another label in the same video."
        advice = "See whether both labels are right; where one activity ends as the next begins, let the spans adjoin."
        yield Finding("overlapping-labels", "warning", summary, advice, tuple(by_label))
    by_split = [
        Subject((later.name,), f"{one} and {other}, at {span_text(later)}")
        for later, one, other in overlaps((clip, clip.split) for clip in clips if clip.split is not None)
        if one != other
    ]
    if by_split:
        summary = f"{count_text(len(by_split), 'span')} overlapping one of another split in the same video."
        yield Finding("overlap", "error", summary, "Give overlapping spans the same split and group.", tuple(by_split))


def _groups(manifest: Manifest, guess: GroupGuess | None) -> Iterator[Finding]:
    if manifest.groups_given:
        yield from group_leak_finding(manifest)
        return
    if guess is None:
        yield Finding(
            *("no-groups", "note"),
            "No groups are given, and the names of the files suggest none.",
            "Nothing to do where each file has a source of its own. Where one actor or source video is in several "
            "files, say so by a group column or data.group_pattern: else the test is too easy.",
        )
    else:
        yield from _guessed_groups(manifest, guess)


def group_leak_finding(manifest: Manifest) -> Iterator[Finding]:
    """Groups that the data set itself has on more than one side of its split."""
    leaks = _leaks(manifest.clips, {clip.name: clip.group for clip in manifest.clips})
    if leaks:
        summary = f"{count_text(len(leaks), 'group')} on more than one side of the split."
        advice = "Move all clips of a group to one side, or correct the groups: else the test is too easy."
        severity: Severity = "error"
        if manifest.published_split:  # what a protocol has is not the user's to mend
            severity = "warning"
            advice = f"This is {manifest.published_split}, used as published: easier than a test on new groups."
        yield Finding("group-leak", severity, summary, advice, tuple(leaks))


def _guessed_groups(manifest: Manifest, guess: GroupGuess) -> Iterator[Finding]:
    use = f"data.group_pattern='{guess.pattern}'"
    sizes = Counter(guess.group_of.values())
    yield Finding(
        *("no-groups", "note"),
        f"No groups are given. The names of the {len(guess.group_of)} files suggest {guess.groups}: this is a guess.",
        f'If these are actors or source videos, use "{use}": else one of them may be on both sides of a split.',
        tuple(Subject((group,), count_text(size, "file")) for group, size in sorted(sizes.items())),
    )
    if leaks := _leaks(manifest.clips, guess.group_of):
        groups = count_text(len(leaks), "group")
        summary = f"{groups} that the names suggest (a guess) on more than one side of the split."
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


def class_size_findings(manifest: Manifest) -> Iterator[Finding]:
    """Classes of very unlike size."""
    counts = manifest.clips_per_class
    smallest, largest = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    least, most = counts[smallest], counts[largest]
    small = [Subject((name,), count_text(count, "clip")) for name, count in counts.items() if count * _UNEVEN <= most]
    if not small:
        return
    summary = (
        f"From {count_text(least, 'clip')} of {smallest!r} to {most} of {largest!r}: {len(small)} of "
        f"{count_text(len(counts), 'class')} with a third of the largest or less."
    )
    if least * _IMBALANCED > most:
        advice = "Look at mean class accuracy beside accuracy; data.balance=loss gives every class the same weight."
        yield Finding("imbalance", "note", summary, advice, tuple(small))
    else:
        advice = "Add clips of the small classes, or use data.balance=loss; go by mean class accuracy, not by accuracy."
        yield Finding("imbalance", "warning", summary, advice, tuple(small))


def class_order_findings(manifest: Manifest, class_lists: Sequence[ClassList]) -> Iterator[Finding]:
    """Lists of class names beside the data set whose order is another one."""
    published = [name for name in manifest.class_names if name != BACKGROUND]  # which no list has
    differing = [Subject((str(item.path),), text) for item in class_lists if (text := difference(published, item))]
    if differing:
        yield Finding(
            *("class-order", "warning"),
            "The classes here differ in order or name from a list that lies beside the data.",
            "Go by class names, which every file of a model carries, and never by their numbers; for UCF101 "
            "data=ucf101 takes the official order.",
            tuple(differing),
        )
