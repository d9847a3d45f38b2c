"""`activity evaluate MODEL --timeline ANNOTATIONS.csv`: predicted timelines of long videos against annotated ones."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from omegaconf import DictConfig

from activity.cli.arguments import UsageError, note
from activity.cli.components import encoding_device
from activity.cli.configuration import run_folder, run_with_configuration
from activity.cli.findings import say_what_breaks_off, say_what_spoils
from activity.cli.main import EXIT_OK, EXIT_SOME_FAILED
from activity.cli.progress import steps_progress
from activity.cli.settings import check_settings
from activity.cli.tables import print_timelines
from activity.cli.training_run import training_run, videos_seen_in_training
from activity.data.annotations import AnnotatedVideo, read_annotations, segments_csv
from activity.data.clips import DataError, count_text, labels_as_known
from activity.data.segments import BACKGROUND, Segment
from activity.evaluation.timelines import TimelineMetrics, timeline_metrics
from activity.files import write_atomically
from activity.formats import load_recognizer
from activity.formats.load import only_on_the_cpu
from activity.inference.segmentation import TimelineSettings
from activity.inference.timeline import Timeline, make_timelines
from activity.inference.videos import Failure
from activity.models.recognizer import LoadedRecognizer
from activity.video.errors import VideoError

METRICS, TIMELINES = "timeline_metrics.json", "timelines.csv"
_FLAG = "--timeline"
# What the verb makes use of without the flag, and why not with it.
_UNUSED = {
    "data": "the videos and their labels are those of the annotations",
    "split": "all annotated videos are measured; write those that you want into a file of their own",
    "features.store": "features of whole videos are used at once, and not kept",
}
_SPAN_TOLERANCE_SECONDS = 0.1  # seconds in tables are rounded, and players count a last frame's time


@dataclass(frozen=True)
class FoundTimelines:
    """What was found in annotated videos, of each by its name in the annotations.

    Attributes:
        segments: of the videos that can be measured.
        durations_seconds: of these, each above 0.
        damage: what is missing of those that could be read in part.
        failed: the others.
    """

    segments: Mapping[str, tuple[Segment, ...]]
    durations_seconds: Mapping[str, float]
    damage: Mapping[str, str]
    failed: tuple[Failure, ...]


def annotations_given(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """The file of `--timeline FILE` or `--timeline=FILE`, None without that flag, and the other arguments.

    Raises:
        UsageError: the flag is there without a file, or twice.

    >>> annotations_given(["format=json", "--timeline=day.csv"])[1], annotations_given(["split=all"])
    (['format=json'], (None, ['split=all']))
    """
    files, others = [], []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == _FLAG:
            files.append(next(remaining, ""))
        elif argument.startswith(f"{_FLAG}="):
            files.append(argument.removeprefix(f"{_FLAG}="))
        else:
            others.append(argument)
    if len(files) > 1 or not all(files):
        found = "given twice" if len(files) > 1 else "without a file"
        raise UsageError(f"{_FLAG} is {found}. Accepted: activity evaluate MODEL {_FLAG} ANNOTATIONS.csv.")
    return (Path(files[0]) if files else None), others


def check_no_timeline_settings(overrides: Sequence[str]) -> None:
    """Refuse, without the flag, settings that are for timelines.

    Raises:
        UsageError: with the first of them.
    """
    for override in overrides:
        if override.lstrip("+~").startswith("timeline"):
            raise UsageError(f"{override} plays no role without {_FLAG} ANNOTATIONS.csv. Give that, or leave it out.")


def evaluate_timelines(model: Path, annotations: Path, overrides: Sequence[str]) -> int:
    """Run the verb with the flag; returns the exit code."""
    for key in (override.lstrip("+~").partition("=")[0] for override in overrides if not override.startswith("-")):
        for name, reason in _UNUSED.items():
            if key == name or key.startswith(f"{name}."):
                raise UsageError(f"{key} plays no role in activity evaluate MODEL {_FLAG}: {reason}. Leave it out.")
    # Without a data set: none is given, and none of its settings is asked for.
    return run_with_configuration("evaluate", ["~data", *overrides], partial(_evaluate, model, annotations))


def take_timelines(videos: Sequence[AnnotatedVideo], results: Iterable[Timeline | Failure]) -> FoundTimelines:
    """Take timelines as they come, and name at once the videos that cannot be measured.

    Args:
        videos: what is annotated.
        results: of their paths, in any order.

    Raises:
        DataError: none can be measured.
    """
    by_source = {str(video.path): video for video in videos}
    segments: dict[str, tuple[Segment, ...]] = {}
    durations: dict[str, float] = {}
    damage: dict[str, str] = {}
    failed: list[Failure] = []
    for result in results:
        if isinstance(result, Timeline) and not result.duration_seconds:
            reason = "it has one frame and lasts no time, so there is nothing to measure"
            result = Failure(result.source, VideoError(result.source, reason, "leave it out of the annotations"))
        if isinstance(result, Failure):
            failed.append(result)
            note(f"activity evaluate: {result.error}")
        else:
            name = by_source[result.source].name
            segments[name], durations[name] = result.segments, result.duration_seconds
            if result.damage is not None:
                damage[name] = result.damage
    if not segments:
        raise DataError(f"Of {count_text(len(videos), 'annotated video')} none could be measured.")
    return FoundTimelines(segments, durations, damage, tuple(failed))


def measure_timelines(
    videos: Sequence[AnnotatedVideo], found: FoundTimelines, class_names: Sequence[str]
) -> TimelineMetrics:
    """Measure what was found.

    Args:
        videos: what is annotated.
        found: what was found in them.
        class_names: what the model knows.

    Raises:
        DataError: no activity is annotated in those that could be measured.
    """
    measured = [video for video in videos if video.name in found.segments]
    annotated = {video.name: video.segments for video in measured}
    return timeline_metrics(annotated, found.segments, found.durations_seconds, class_names)


def say_what_lies_beyond(videos: Sequence[AnnotatedVideo], found: FoundTimelines) -> list[str]:
    """Name the videos that are annotated beyond their end, where nothing can be found; returns their names."""
    beyond = []
    for video in videos:
        duration = found.durations_seconds.get(video.name)
        end = max(segment.end_seconds for segment in video.segments)
        if duration is None or end <= duration + _SPAN_TOLERANCE_SECONDS:
            continue
        beyond.append(video.name)
        cut = video.name in found.damage
        advice = "it is cut off or damaged: copy or record it again" if cut else "correct the annotations"
        note(
            f"warning: {video.name} is annotated to {end:g} s, but ends at {duration:.2f} s. Nothing can be found "
            f"beyond; {advice}."
        )
    return beyond


def _evaluate(model: Path, annotations: Path, config: DictConfig) -> int:
    check_settings("evaluate MODEL", config)
    folder = run_folder()
    _check_folder(folder)
    device = torch.device("cpu") if only_on_the_cpu(model) else encoding_device(config)
    settings = TimelineSettings(**{name: value for name, value in config.timeline.items() if value is not None})
    recognizer = load_recognizer(model, device)
    videos = read_annotations(annotations)
    labels = {segment.label for video in videos for segment in video.segments}
    if labels == {BACKGROUND}:
        raise DataError(
            f"No activity is annotated in {annotations}, so there is nothing to find; give at least one segment whose "
            f"label is not {BACKGROUND!r}."
        )
    videos = _as_known(videos, labels_as_known(labels - {BACKGROUND}, recognizer.class_names, of="segments"))
    seen, said = videos_seen_in_training(model, {video.name: video.path for video in videos}, training_run(model))
    if said:
        note(f"{'warning' if seen else 'note'}: {said}")
    found = take_timelines(videos, _timelines(config, recognizer, videos, settings, device))
    table = segments_csv(found.segments, scores=True)
    write_atomically(folder / TIMELINES, table.encode())  # hours of work: first of all they are kept
    findings = say_what_breaks_off(found.damage)
    beyond = say_what_lies_beyond(videos, found)
    metrics = measure_timelines(videos, found, recognizer.class_names)
    failed = [{"source": item.source, "error": item.error} for item in found.failed]
    damaged = [{"source": name, "damage": damage} for name, damage in found.damage.items()]
    document = metrics.document() | {
        "settings": asdict(settings),
        "seen_in_training": seen,
        "damaged": damaged,
        "annotated_beyond_end": beyond,
        "failed": failed,
    }
    text = json.dumps(document, indent=2, ensure_ascii=False)
    write_atomically(folder / METRICS, text.encode())
    _print(config.format, metrics, text, table)
    note(f"results: {folder / METRICS}, {folder / TIMELINES}")
    if failed:
        videos_text = count_text(len(videos), "video")
        note(f"activity evaluate: {len(failed)} of {videos_text} could not be measured; the rest was")
    return max(say_what_spoils("evaluate", findings), EXIT_SOME_FAILED if failed or beyond else EXIT_OK)


def _as_known(videos: Sequence[AnnotatedVideo], known: Mapping[str, str]) -> tuple[AnnotatedVideo, ...]:
    """Annotated videos with the labels that a model has for theirs."""

    def renamed(segment: Segment) -> Segment:
        return replace(segment, label=known.get(segment.label, segment.label))

    return tuple(replace(video, segments=tuple(map(renamed, video.segments))) for video in videos)


def _timelines(
    config: DictConfig,
    recognizer: LoadedRecognizer,
    videos: Sequence[AnnotatedVideo],
    settings: TimelineSettings,
    device: torch.device,
) -> Iterator[Timeline | Failure]:
    """The timelines as they are made, with a bar over the videos."""
    with steps_progress("videos", len(videos)) as advance:
        for result in make_timelines(
            recognizer,
            [str(video.path) for video in videos],
            settings=settings,
            batch_frames=config.features.batch_frames,
            decode_threads=config.features.decode_threads,
            device=device,
        ):
            yield result
            advance()


def _check_folder(folder: Path) -> None:
    taken = [name for name in ("checkpoints", METRICS, TIMELINES) if (folder / name).exists()]
    if taken:
        raise UsageError(f"{folder} holds a run already ({', '.join(taken)}). Give another hydra.run.dir.")


def _print(form: str, metrics: TimelineMetrics, document: str, table: str) -> None:
    if form == "json":
        print(document)
    elif form == "csv":
        print(table, end="")
    else:
        print_timelines(metrics)
