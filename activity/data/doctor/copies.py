"""Findings about videos that are there more than once."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from activity.data.clips import Clip, count_text
from activity.data.doctor.duplicates import connected_sets, identical_sets, near_identical_pairs
from activity.data.doctor.findings import Finding, Severity, Subject
from activity.data.doctor.survey import VideoRecord


def copy_findings(clips: Sequence[Clip], records: Mapping[Path, VideoRecord]) -> Iterator[Finding]:
    """Copies to the byte, and the same pictures in another file; the gravest ways in which they do harm first."""
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
            summary = f"{videos} videos are {what}, {where} ({count_text(len(found), 'set')})."
            advice = f"Look at them. {advice}" if code == "near-identical" else advice
            yield Finding(code, severity, summary, advice, tuple(found))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
