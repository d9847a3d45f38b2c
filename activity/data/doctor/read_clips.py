"""What is known of a data set once the features of its clips are there, without reading anything for it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from activity.data.clips import Clip, Manifest, count_text
from activity.data.doctor.class_lists import ClassList
from activity.data.doctor.copies import identical_findings
from activity.data.doctor.findings import SEVERITIES, Finding, Subject
from activity.data.doctor.manifest import (
    class_order_findings,
    class_size_findings,
    group_leak_finding,
    overlap_findings,
)
from activity.data.doctor.videos import (
    read_in_part_finding,
    short_finding,
    single_frame_finding,
    span_outside_finding,
)


@dataclass(frozen=True)
class ReadClip:
    """What was found out about a clip when its features were computed, then or now.

    Attributes:
        clip: the clip.
        side: the side of the split that it stands on, or None where there is none.
        content: digest of the video's bytes.
        length: sampled frames, T.
        video_seconds: the duration of the video where that ends within the span, 0 for one frame; None where it goes
            on.
        is_damaged: something is missing of the video.
    """

    clip: Clip
    side: str | None
    content: str
    length: int
    video_seconds: float | None
    is_damaged: bool


def read_findings(
    manifest: Manifest,
    clips: Sequence[ReadClip],
    class_lists: Sequence[ClassList],
    *,
    sample_fps: float,
    window_frames: int,
) -> list[Finding]:
    """Say what is wrong with a data set by what is known of it, the gravest first.

    It says in the words of `diagnose` what that finds as well. What takes a closer look at the pictures it does not
    find: the same ones encoded anew, black and frozen ones.

    Args:
        manifest: the table of clips.
        clips: those that could be read.
        class_lists: lists of class names beside the data set.
        sample_fps: sampled frames a second.
        window_frames: sampled frames a window.
    """
    sided = [replace(item.clip, split=item.side) for item in clips]
    findings = [
        *identical_findings(
            sided, {item.clip.path: item.content for item in clips}, published_split=manifest.published_split
        ),
        *read_in_part_finding(dict.fromkeys(item.clip.name for item in clips if item.is_damaged)),
        *single_frame_finding(dict.fromkeys(item.clip.name for item in clips if item.video_seconds == 0)),
        *span_outside_finding((item.clip, item.video_seconds) for item in clips),
        *overlap_findings(sided),
        *group_leak_finding(replace(manifest, clips=tuple(sided))),
        *class_size_findings(manifest),
        *class_order_findings(manifest, class_lists),
        *_short(clips, sample_fps, window_frames),
    ]
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def _short(clips: Sequence[ReadClip], sample_fps: float, window_frames: int) -> Iterator[Finding]:
    # The length of a span that reaches beyond its video's end is unknown until it is corrected.
    clips = [item for item in clips if item.video_seconds is None or not item.clip.reaches_beyond(item.video_seconds)]
    short = [
        Subject((item.clip.name,), count_text(item.length, "sampled frame"))
        for item in clips
        if item.length < window_frames
    ]
    if short:
        yield short_finding(short, [item.length for item in clips], sample_fps, window_frames)
