"""Findings about single videos, and about clips as spans of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from activity.data.clips import Clip, count_text
from activity.data.doctor.facts import VideoFacts
from activity.data.doctor.findings import Finding, Settings, Severity, Subject, agreeing, span_text
from activity.data.doctor.survey import VideoRecord
from activity.data.names import in_other_case
from activity.video.errors import NoFileError, NoFramesError
from activity.video.sampling import grid_range

CUT_OFF_ADVICE = (
    "See whether what is left shows the activity; copy {them} again where the original is whole, else take {them} out."
)


@dataclass(frozen=True)
class _Kind:
    """A property of videos: which have it, and what to say.

    `agreeing` fits `advice` to the number of videos.
    """

    code: str
    severity: Severity
    what: str
    advice: str
    applies: Callable[[VideoFacts], object]
    detail: Callable[[VideoFacts], str] = lambda _: ""

    def finding(self, subjects: Sequence[Subject]) -> Finding:
        summary = f"{count_text(len(subjects), 'video')} {self.what}."
        return Finding(self.code, self.severity, summary, agreeing(self.advice, len(subjects)), tuple(subjects))


_SINGLE_FRAME = _Kind(
    *("single-frame", "warning", "with one frame"),
    "A picture shows no activity: take {them} out, or record {them} again.",
    lambda facts: facts.frames == 1,
)
_KINDS = (
    _Kind(
        *("cut-off", "error", "shorter than declared"),
        CUT_OFF_ADVICE,
        lambda facts: facts.ends_early,
        lambda facts: facts.damage or "",
    ),
    _Kind(
        *("damaged", "error", "with damaged places"),
        "Copy or export {them} again; without that, the good frames are used.",
        lambda facts: facts.damage and not facts.ends_early,
        lambda facts: facts.damage or "",
    ),
    _SINGLE_FRAME,
    _Kind(
        *("black", "warning", "black throughout"),
        "Export {them} again, or take {them} out: there is nothing to learn from.",
        lambda facts: facts.black,
    ),
    _Kind(
        *("frozen", "warning", "with the same picture throughout"),
        "Look at {them}, and take {them} out where recording had stopped: nothing moves.",
        lambda facts: facts.frozen and not facts.black,
        lambda facts: count_text(facts.frames, "frame"),
    ),
    _Kind(
        *("size-changes", "warning", "with a frame size that changes midway"),
        "See whether two recordings were joined; if so, cut these apart.",
        lambda facts: len(facts.sizes) > 1,
        lambda facts: ", ".join(f"{width}x{height}" for width, height in facts.sizes),
    ),
    _Kind(
        *("variable-rate", "note", "with a variable frame rate, or a long gap between frames"),
        "Nothing to do: frames are sampled by time. Programs that count frames go wrong on {them}; a long gap "
        "may mean that recording halted.",
        lambda facts: facts.variable_rate,
        lambda facts: f"{facts.fps or 0:.3g} frames/s as a rule, longest gap {facts.longest_gap_seconds:.2f} s",
    ),
    _Kind(
        *("assumed", "note", "of which something is assumed"),
        "Nothing to do where it is right; else export {them} again, in MP4, from what recorded {them}.",
        lambda facts: facts.notes,
        lambda facts: "; ".join(facts.notes),
    ),
    _Kind(
        *("rotated", "note", "to be shown rotated"),
        "Nothing to do where {they} play{s} upright: the rotation is applied. Where {they} play{s} on {their} side, "
        "correct it.",
        lambda facts: facts.rotation,
        lambda facts: f"{facts.rotation} degrees clockwise",
    ),
)


def video_findings(clips: Sequence[Clip], records: Mapping[Path, VideoRecord], settings: Settings) -> Iterator[Finding]:
    """Findings about single videos and clips, in the order of the clips."""
    names = {clip.path: clip.name for clip in clips}
    good = [(names[path], records[path].facts) for path in names if records[path].facts]
    yield from _unreadable(names, records)
    yield from _of_facts([(name, facts) for name, facts in good if facts is not None], settings.sample_fps)
    yield from _of_spans(clips, records, settings.sample_fps, settings.window_frames)


def _unreadable(names: Mapping[Path, str], records: Mapping[Path, VideoRecord]) -> Iterator[Finding]:
    kinds = {
        "missing": (
            "missing on the disk",
            "Correct {their} path{plural}, or remove {their} row{plural}; data.root= gives the folder.",
        ),
        "no-frames": ("without a frame that can be decoded", "Copy or export {them} again, or take {them} out."),
        "unreadable": ("that cannot be read", "Do what stands behind each, or take it out."),
    }
    code_of = {NoFileError: "missing", NoFramesError: "no-frames"}
    subjects: dict[str, list[Subject]] = {code: [] for code in kinds}
    failed = {name: (path, error) for path, name in names.items() if (error := records[path].error)}
    other_case = in_other_case({name: path for name, (path, error) in failed.items() if isinstance(error, NoFileError)})
    for name, (_, error) in failed.items():
        code = code_of.get(type(error), "unreadable")
        advice = error.advice
        if name in other_case:
            advice = f"on disk it is {other_case[name]!r}, in other upper and lower case"
        subjects[code].append(Subject((name,), f"{error.reason}; {advice}"))
    for code, (what, advice) in kinds.items():
        if own := subjects[code]:
            advice += " Training goes on without {them} as long as each class has others to train on."
            summary = f"{count_text(len(own), 'video')} {what}."
            yield Finding(code, "error", summary, agreeing(advice, len(own)), tuple(own))


def _of_facts(videos: Sequence[tuple[str, VideoFacts]], sample_fps: float) -> Iterator[Finding]:
    for kind in (*_KINDS, _low_rate(sample_fps)):
        subjects = [Subject((name,), kind.detail(facts)) for name, facts in videos if kind.applies(facts)]
        if subjects:
            yield kind.finding(subjects)


def _low_rate(sample_fps: float) -> _Kind:
    return _Kind(
        *("low-rate", "note", f"with fewer than {sample_fps:g} frames/s, so that frames are sampled twice"),
        "Nothing to do for a few; where most do, use a lower sampling.sample_fps.",
        lambda facts: facts.fps is not None and facts.fps < sample_fps * 0.99,
        lambda facts: f"{facts.fps or 0:.3g} frames/s",
    )


def _of_spans(
    clips: Sequence[Clip], records: Mapping[Path, VideoRecord], sample_fps: float, window_frames: int
) -> Iterator[Finding]:
    ends, short, lengths = [], [], []
    for clip in clips:
        facts = records[clip.path].facts
        if facts is None:
            continue
        end = facts.duration_seconds
        ends.append((clip, end))
        if clip.reaches_beyond(end):  # its length is unknown until it is corrected
            continue
        if clip.end_seconds is not None:
            end = min(end, clip.end_seconds)
        sampled = max(1, len(grid_range(clip.start_seconds, max(end, clip.start_seconds), sample_fps)))
        lengths.append(sampled)
        if sampled < window_frames:
            detail = f"{count_text(sampled, 'sampled frame')} in {max(0.0, end - clip.start_seconds):.2f} s"
            short.append(Subject((clip.name,), detail))
    yield from span_outside_finding(ends)
    if short:
        yield short_finding(short, lengths, sample_fps, window_frames)


def single_frame_finding(names: Iterable[str]) -> Iterator[Finding]:
    """What to say of videos with one frame, given their names."""
    if subjects := [Subject((name,)) for name in names]:
        yield _SINGLE_FRAME.finding(subjects)


def read_in_part_finding(names: Iterable[str]) -> Iterator[Finding]:
    """Say which videos were read only in part, given their names."""
    # What is missing of each was said as it was read.
    if subjects := [Subject((name,)) for name in names]:
        yield Finding(
            *("read-in-part", "error"),
            f"{count_text(len(subjects), 'video')} cut off or damaged; what could be read was used.",
            agreeing(CUT_OFF_ADVICE, len(subjects)),
            tuple(subjects),
        )


def span_outside_finding(clips: Iterable[tuple[Clip, float | None]]) -> Iterator[Finding]:
    """Say which clips have a span that ends after their video.

    Args:
        clips: each with its video's duration in seconds, or None where the video goes on after the span.
    """
    subjects = [
        Subject((clip.name,), f"{span_text(clip)}, but the video ends at {seconds:.2f} s")
        for clip, seconds in clips
        if seconds is not None and clip.reaches_beyond(seconds)
    ]
    if subjects:
        summary = f"{count_text(len(subjects), 'clip')} with a span that reaches beyond the end of the video."
        yield Finding("span-outside", "error", summary, "Correct start and end, in seconds.", tuple(subjects))


def short_finding(short: Sequence[Subject], lengths: Sequence[int], sample_fps: float, window_frames: int) -> Finding:
    """Say which clips fill no window.

    `lengths` counts the sampled frames of each clip of the data set.
    """
    summary = (
        f"{count_text(len(short), 'clip')} shorter than a window of {window_frames} sampled frames at {sample_fps:g} "
        f"a second ({window_frames / sample_fps:.2f} s): padded."
    )
    advice = "Nothing to do for a few."
    fitting = sorted(lengths)[len(lengths) // 20]  # all but the shortest twentieth fill such a window
    if 2 * len(short) > len(lengths) and 2 <= fitting < window_frames:
        advice = f"Most are: use sampling.window_frames={fitting}, or a higher sampling.sample_fps."
    elif len(short) > len(lengths) / 20:
        advice = (
            "Padding is not learned from; a shorter sampling.window_frames or a higher sampling.sample_fps fills it."
        )
    return Finding("short", "note", summary, advice, tuple(short))
