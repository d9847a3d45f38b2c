"""Findings about videos that are there more than once."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from activity.data.clips import Clip, count_text
from activity.data.copies import connected_sets, identical_sets
from activity.data.doctor.duplicates import near_identical_pairs
from activity.data.doctor.findings import Finding, Severity, Subject
from activity.data.doctor.survey import VideoRecord


@dataclass(frozen=True)
class _Harm:
    """A way in which copies do harm, and what to do."""

    severity: Severity
    where: str
    advice: str


# The gravest first: a set of copies counts under the first that holds.
_HARMS = {
    "labels": _Harm(
        "error", "across labels", "Keep one file of each set: that with the right label. No model can learn both."
    ),
    "splits": _Harm(
        *("error", "across splits"),
        "Keep the files of each set on one side: what was seen in training is no test.",
    ),
    "groups": _Harm(
        *("error", "in different groups, which a split may put on different sides"),
        "Keep one file of each set, or give all of them the same group (group column, data.group_pattern).",
    ),
    "same": _Harm(
        *("warning", "with the same label, on the same side"),
        "Keep one file of each set: repeated clips count twice in training and in every measure.",
    ),
}
# Copies to the byte are known before a split is made.
_JOINED = _Harm(
    *("warning", "in different groups"),
    "Keep one file of each set. Splits and folds that activity makes take such groups for one; other programs' do not.",
)


def copy_findings(
    clips: Sequence[Clip], records: Mapping[Path, VideoRecord], *, published_split: str | None
) -> Iterator[Finding]:
    """Copies to the byte, and the same pictures in another file; the gravest ways in which they do harm first.

    Args:
        clips: the clips.
        records: what was found out about the video of each.
        published_split: as for `Manifest`.
    """
    digests = {path: record.digest for path, record in records.items() if record.digest}
    yield from identical_findings(clips, digests, published_split=published_split)
    harms = _harms(published_split)
    clips_of = _by_name(clips)
    by_name = {name: records[own[0].path] for name, own in clips_of.items()}
    # Of copies to the byte one stands for all, and brings the others with it.
    identical = identical_sets({name: record.digest for name, record in by_name.items() if record.digest})
    twins = {names[0]: names for names in identical}
    copies = {name for names in identical for name in names[1:]}
    single = [(name, r.facts) for name, r in by_name.items() if name not in copies and r.facts]
    # Black and frozen pictures say too little to tell that they are the same.
    telling = [(name, facts) for name, facts in single if facts and not facts.black and not facts.frozen]
    pairs = near_identical_pairs([facts.thumbnails for _, facts in telling])
    sets = connected_sets((telling[one][0], telling[other][0]) for one, other in pairs)
    near = [tuple(twin for name in names for twin in twins.get(str(name), (str(name),))) for names in sets]
    what = "the same pictures, encoded, scaled or trimmed anew"
    for finding in _of_copies("near-identical", what, near, clips_of, harms):
        yield replace(finding, advice=f"Look at them. {finding.advice}")


def identical_findings(
    clips: Sequence[Clip], digest_of: Mapping[Path, str], *, published_split: str | None
) -> Iterator[Finding]:
    """Copies to the byte.

    Args:
        clips: their `split` is the side that each stands on.
        digest_of: a digest of each video's bytes; one that is the only one of its kind may be left out.
        published_split: as for `Manifest`.
    """
    clips_of = _by_name(clips)
    digests = {name: digest_of[own[0].path] for name, own in clips_of.items() if own[0].path in digest_of}
    harms = _harms(published_split) | {"groups": _JOINED}
    yield from _of_copies("identical", "byte for byte the same", identical_sets(digests), clips_of, harms)


def _harms(published_split: str | None) -> dict[str, _Harm]:
    if published_split is None:
        return _HARMS
    # What a protocol has is not the user's to mend.
    advice = f"This is {published_split}, used as published: easier than a test on new videos."
    return _HARMS | {"splits": replace(_HARMS["splits"], severity="warning", advice=advice)}


def _by_name(clips: Iterable[Clip]) -> Mapping[str, Sequence[Clip]]:
    clips_of: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        clips_of[clip.name].append(clip)
    return clips_of


def _of_copies(
    code: str,
    what: str,
    sets: Sequence[tuple[str, ...]],
    clips_of: Mapping[str, Sequence[Clip]],
    harms: Mapping[str, _Harm],
) -> Iterator[Finding]:
    """One finding for each way in which copies do harm, the worst for each set."""
    subjects: dict[str, list[Subject]] = {name: [] for name in harms}
    for names in sets:
        harm, detail = _worst_harm([clips_of[name] for name in names])
        subjects[harm].append(Subject(names, detail))
    for name, harm_done in harms.items():
        if found := subjects[name]:
            videos = sum(len(subject.names) for subject in found)
            summary = f"{videos} videos are {what}, {harm_done.where} ({count_text(len(found), 'set')})."
            yield Finding(code, harm_done.severity, summary, harm_done.advice, tuple(found))


def _worst_harm(copies: Sequence[Sequence[Clip]]) -> tuple[str, str]:
    """How copies of one video do harm, a key of `_HARMS`, and what they differ in; given the clips of each file."""
    labels = [sorted({clip.label for clip in own}) for own in copies]
    if any(other != labels[0] for other in labels):
        return "labels", "labels " + _listed(label for each in labels for label in each)
    sides = [sorted({clip.split for clip in own if clip.split}) for own in copies]
    if any(other != sides[0] for other in sides):
        return "splits", "splits " + _listed(side for each in sides for side in each)
    groups = {clip.group for own in copies for clip in own}
    return "same" if len(groups) == 1 or sides[0] else "groups", ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
