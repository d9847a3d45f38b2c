"""What is wrong with a data set, as far as training, cross-validation and extraction come to know it by themselves."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from activity.cli.arguments import note
from activity.cli.components import Digests
from activity.cli.main import EXIT_OK, EXIT_SOME_FAILED
from activity.data.clips import Clip, Manifest
from activity.data.copies import JoinedGroups, copied_groups
from activity.data.doctor import (
    Finding,
    ReadClip,
    find_class_lists,
    identical_findings,
    read_findings,
    read_in_part_finding,
    span_outside_finding,
)
from activity.data.splits import Splits
from activity.features.outcome import StoredClip
from activity.inference.scoring import ScoredClip
from activity.video.errors import VideoError
from activity.video.reader import VideoReader

Contents = Mapping[Path, str]
_NAMES_IN_A_NOTE = 5


def contents_of(digests: Digests) -> Contents:
    """The digests of the videos that can be read: what two of them share is the same video.

    A web page that stands in place of many videos is no copy of a video, and says nothing of their groups. So files
    that share a digest are opened, each once; of the others the digest plays no role before they are read.
    """
    known = {path: digest for path, digest in digests.items() if isinstance(digest, str)}
    counts = Counter(known.values())
    return {path: digest for path, digest in known.items() if counts[digest] == 1 or _can_be_read(path)}


def join_copies(manifest: Manifest, contents: Contents, *, within_splits: bool) -> tuple[Manifest, JoinedGroups]:
    """The manifest with one group for groups that hold byte-identical videos, so that none is on two sides; says so.

    Args:
        manifest: the data set.
        contents: of `contents_of`.
        within_splits: leave apart what the data set itself has put into different splits.
    """
    tagged = [(clip, clip.split if within_splits else None) for clip in manifest.clips]
    joined = copied_groups(tagged, contents)
    _say_joined(joined)
    return replace(manifest, clips=joined.applied(manifest.clips)), joined


def join_copies_in_splits(splits: Splits, contents: Contents) -> Splits:
    """Splits that are given, with joined groups on each side; says so."""
    joined = copied_groups(((clip, side) for side, clips in splits.parts.items() for clip in clips), contents)
    _say_joined(joined)
    return Splits(*map(joined.applied, (splits.train, splits.val, splits.test)))


def say_findings(
    config: DictConfig,
    manifest: Manifest,
    stored: Iterable[StoredClip],
    *,
    side_of: Callable[[Clip], str | None] = lambda _: None,
) -> list[Finding]:
    """Name and count what is wrong with a data set, before training, and say what to do; returns it.

    Args:
        config: the configuration.
        manifest: the data set.
        stored: those of its clips that could be read.
        side_of: the side of the split that a clip stands on, or None where there is none.
    """
    findings = read_findings(
        manifest,
        [_read_clip(item, side_of(item.clip)) for item in stored],
        find_class_lists(manifest.root),
        sample_fps=config.sampling.sample_fps,
        window_frames=config.sampling.window_frames,
    )
    for finding in findings:
        note(_in_full(finding))
    if any(finding.code == "identical" for finding in findings):
        note("note: activity doctor also looks for the same pictures encoded, scaled or trimmed anew")
    return findings


def say_copies(manifest: Manifest, clips: Sequence[Clip], contents: Contents) -> list[Finding]:
    """Name byte-identical videos with different labels among clips that are measured; returns it."""
    unsplit = [replace(clip, split=None) for clip in clips]
    found = identical_findings(unsplit, contents, published_split=manifest.published_split)
    errors = [finding for finding in found if finding.severity == "error"]
    for finding in errors:
        note(_in_full(finding))
    return errors


def say_what_is_missing(clips: Sequence[ScoredClip]) -> list[Finding]:
    """Name the videos that break off, and the spans that reach beyond their end, among clips that were measured."""
    outside = list(span_outside_finding((item.clip, item.video_seconds) for item in clips))
    findings = say_what_breaks_off(dict.fromkeys(item.clip.name for item in clips if item.damage is not None))
    for finding in outside:
        note(_in_full(finding))
    return [*findings, *outside]


def say_what_breaks_off(names: Iterable[str]) -> list[Finding]:
    """Name the videos of which something is missing, among those that were measured."""
    findings = list(read_in_part_finding(names))
    for finding in findings:
        note(_in_full(finding))
    return findings


def say_what_spoils(verb: str, findings: Collection[Finding]) -> int:
    """Sum up at the end what was wrong with the data set; the exit code that follows from it."""
    errors = [finding for finding in findings if finding.severity == "error"]
    for finding in errors:
        note(f"activity {verb}: {finding.summary} {finding.advice}")
    return EXIT_SOME_FAILED if errors else EXIT_OK


def report_warnings(findings: Collection[Finding]) -> tuple[str, ...]:
    """What a report must say of the data set beside its figures."""
    return tuple(f"{finding.summary} {finding.advice}" for finding in findings if finding.severity != "note")


def _can_be_read(path: Path) -> bool:
    try:
        with VideoReader(path) as video:
            next(iter(video))
    except (VideoError, OSError):  # said where it is read in full
        return False
    return True


def _say_joined(joined: JoinedGroups) -> None:
    if joined.sets:
        groups = "; ".join(f"{', '.join(map(repr, names[1:]))} with {names[0]!r}" for names in joined.sets)
        note(
            f"warning: {sum(map(len, joined.sets))} groups hold a video that another of them holds too, byte for byte. "
            f"They count as one, so that no video is on two sides: {groups}"
        )


def _read_clip(item: StoredClip, side: str | None) -> ReadClip:
    return ReadClip(
        clip=item.clip,
        side=side,
        content=item.key.content,
        length=item.length,
        video_seconds=item.video_seconds,
        is_damaged=item.damage is not None,
    )


def _in_full(finding: Finding) -> str:
    """A finding with all names; with a few, where nothing is to be done."""
    shown = finding.subjects[:_NAMES_IN_A_NOTE] if finding.severity == "note" else finding.subjects
    lines = [" = ".join(item.names) + (f": {item.detail}" if item.detail else "") for item in shown]
    if len(shown) < len(finding.subjects):
        lines.append(f"and {len(finding.subjects) - len(shown)} more")
    return "\n  ".join([f"{finding.severity}: {finding.summary} {finding.advice}", *lines])
