from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from activity.inference.frame_features import FrameError, FrameFeatures
from activity.inference.live import LiveEvent, LiveRecognizer
from activity.inference.segmentation import TimelineSettings, TimelineSettingsError
from activity.inference.timeline import Timeline, make_timelines
from activity.models.recognizer import Recognizer
from activity.video.reader import VideoReader
from tests.recognizers import CLASS_NAMES, mean_pool_head, random_frames, tiny_encoder, tiny_recognizer
from tests.videos import noise_frames, write_timed_video, write_video

CPU = torch.device("cpu")
# Scores of a head that learned nothing lie near a third: a threshold among them makes segments come and go.
SETTINGS = TimelineSettings(enter_score=0.36, leave_score=0.345, smoothing_seconds=0.4, min_seconds=0.4, stride=1)


def restless_recognizer(*modalities: str, window_frames: int = 4) -> Recognizer:
    """One whose classes take turns on `scenes`: none is the best in the mean over many of them."""
    encoder = tiny_encoder(*modalities, rgb_every=3 if len(modalities) > 1 else 1)
    head = mean_pool_head(encoder.feature_size, modality_weights=[1.0] * len(encoder.modalities))
    recognizer = tiny_recognizer(encoder, head, sample_fps=5, window_frames=window_frames)
    with torch.inference_mode():
        some = torch.from_numpy(np.stack(scenes(600, seed=1)[::5])).permute(0, 3, 1, 2)
        logits = recognizer.classify(recognizer.encode(some.unsqueeze(1)))
    with torch.no_grad():
        head.classifier.bias.sub_(logits.mean(dim=0))
        head.classifier.weight.mul_(3)
        head.classifier.bias.mul_(3)
    return recognizer


def scenes(count: int, *, seed: int = 0) -> list[np.ndarray]:
    """Frames of a few seconds of one noise, then another: scores stay a while and change."""
    rng = np.random.default_rng(seed)
    frames: list[np.ndarray] = []
    while len(frames) < count:
        level = rng.integers(0, 255, 3)
        noise = rng.integers(0, 60, (24, 32, 3))
        frames += [np.clip(noise + level, 0, 255).astype(np.uint8)] * int(rng.integers(12, 60))
    return frames[:count]


def timeline_of(path: Path, recognizer: Recognizer, settings: TimelineSettings = SETTINGS) -> Timeline:
    (found,) = make_timelines(recognizer, [str(path)], settings=settings, batch_frames=7, decode_threads=1, device=CPU)
    assert isinstance(found, Timeline), found
    return found


def segments_of(events: Sequence[LiveEvent]) -> list[tuple[str, float, float]]:
    """Starts and ends alternate, and name the same class."""
    changes = [event for event in events if event.kind != "scores"]
    pairs = list(zip(changes[::2], changes[1::2], strict=True))
    assert all((one.kind, other.kind, one.label) == ("start", "end", other.label) for one, other in pairs)
    return [(one.label, one.time_seconds, other.time_seconds) for one, other in pairs]


def pushed(path: Path, live: LiveRecognizer) -> list[LiveEvent]:
    with VideoReader(path) as reader:
        return [event for frame in reader for event in live.push(frame.pixels, frame.time_seconds + 100.0)]


@pytest.mark.parametrize("modalities", [("rgb",), ("rgb", "motion")])
@pytest.mark.parametrize("fps", [3, 15, 30])
def test_a_stream_gives_the_segments_and_scores_of_the_file(
    tmp_path: Path, modalities: tuple[str, ...], fps: int
) -> None:
    path = write_video(tmp_path / "video.mkv", scenes(240)[:: 30 // fps], fps=fps)
    recognizer = restless_recognizer(*modalities)
    timeline = timeline_of(path, recognizer)
    live = LiveRecognizer(recognizer, settings=SETTINGS, scores_every_seconds=0)
    events = [*pushed(path, live), *live.finish()]
    scores = [event for event in events if event.kind == "scores"]
    assert [event.time_seconds for event in scores] == pytest.approx(timeline.frame_seconds.tolist())
    assert np.array([event.scores for event in scores]) == pytest.approx(timeline.frame_scores.numpy(), abs=1e-5)
    assert live.scores is not None
    assert live.scores.tolist() == pytest.approx(timeline.scores, abs=1e-5)
    found = segments_of(events)
    assert len(found) > 1
    assert len(found) == len(timeline.segments)
    for (label, start, end), segment in zip(found, timeline.segments, strict=True):
        assert (label, start) == (segment.label, segment.start_seconds)
        assert min(end, timeline.duration_seconds) == segment.end_seconds


@pytest.mark.parametrize("goes_on", [2810, 3010, 3210])  # at each place between two looks of rgb
def test_a_variable_rate_with_a_long_still_moment(tmp_path: Path, goes_on: int) -> None:
    frames = noise_frames(40, width=32, height=24)
    times = [*range(0, 800, 40), *range(goes_on, goes_on + 1600, 80)]
    path = write_timed_video(tmp_path / "video.mkv", frames, times)
    recognizer = restless_recognizer("rgb", "motion")
    timeline = timeline_of(path, recognizer)
    live = LiveRecognizer(recognizer, settings=SETTINGS, scores_every_seconds=0)
    events = [*pushed(path, live), *live.finish()]
    scores = np.array([event.scores for event in events if event.scores])
    assert scores == pytest.approx(timeline.frame_scores.numpy(), abs=1e-5)


def test_events_come_before_the_end_and_say_a_time_that_has_passed(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mkv", scenes(200), fps=25)
    live = LiveRecognizer(restless_recognizer(), settings=SETTINGS, scores_every_seconds=1.0)
    seen = []
    with VideoReader(path) as reader:
        for frame in reader:
            for event in live.push(frame.pixels, frame.time_seconds):
                assert event.time_seconds < frame.time_seconds
                seen.append(event)
    assert {event.kind for event in seen} == {"start", "end", "scores"}
    assert [event.time_seconds for event in seen if event.kind == "scores"] == [0, 1, 2, 3, 4, 5, 6, 7][
        : len([event for event in seen if event.kind == "scores"])
    ]


def test_missed_frames_are_taken_as_like_the_one_before() -> None:
    frames = random_frames(1, 12)[0].permute(0, 2, 3, 1).contiguous().numpy()
    recognizer = restless_recognizer()
    live, held = (LiveRecognizer(recognizer, settings=SETTINGS, scores_every_seconds=0) for _ in range(2))
    events = [event for index in (0, 1, 2, 5, 6, 7, 8, 9) for event in live.push_sampled(index, frames[index])]
    shown = [0, 1, 2, 2, 2, 5, 6, 7, 8, 9]
    expected = [event for index, frame in enumerate(shown) for event in held.push_sampled(index, frames[frame])]
    assert [(event.time_seconds, event.label) for event in events] == [
        (event.time_seconds, event.label) for event in expected
    ]
    assert [event.score for event in events] == pytest.approx([event.score for event in expected])


def test_a_break_ends_what_had_begun_and_nothing_of_before_is_carried_over() -> None:
    frames = scenes(30)
    recognizer = restless_recognizer()
    live = LiveRecognizer(recognizer, settings=TimelineSettings(enter_score=0.34, leave_score=0.01, min_seconds=0))
    events = [event for index in range(15) for event in live.push_sampled(index, frames[index])]
    assert [event.kind for event in events] == ["start"]
    events = live.push_sampled(15 + recognizer.window_frames, frames[20])  # as many were missed as a window has
    assert [(event.kind, event.time_seconds) for event in events] == [("end", 15 / 5)]
    fresh = LiveRecognizer(recognizer, settings=SETTINGS, scores_every_seconds=0)
    after = LiveRecognizer(recognizer, settings=SETTINGS, scores_every_seconds=0)
    for index in range(9):
        after.push_sampled(index, frames[index])
    after.interrupt()
    pairs = [(fresh.push_sampled(40 + k, frames[k]), after.push_sampled(40 + k, frames[k])) for k in range(20)]
    assert sum(len(one) for one, _ in pairs) > 10
    assert all(one == other for one, other in pairs)


def test_a_stream_of_one_frame_and_of_none() -> None:
    live = LiveRecognizer(restless_recognizer(), settings=SETTINGS, scores_every_seconds=0)
    assert live.finish() == []
    assert live.push(scenes(1)[0], 5.0) == []
    (event,) = live.finish()
    assert (event.kind, event.time_seconds) == ("scores", 0.0)


def test_a_buffer_that_is_used_again_by_the_caller_is_no_matter() -> None:
    recognizer = restless_recognizer("rgb", "motion")
    frames = scenes(60)
    one, other = (LiveRecognizer(recognizer, settings=SETTINGS, scores_every_seconds=0) for _ in range(2))
    buffer = np.empty_like(frames[0])
    for number, frame in enumerate(frames):
        buffer[:] = frame
        assert one.push(frame, number / 10) == other.push(buffer, number / 10)


def test_tensors_and_arrays_are_the_same_and_sizes_may_change() -> None:
    live, other = (LiveRecognizer(restless_recognizer("rgb", "motion"), scores_every_seconds=0) for _ in range(2))
    frames = [*random_frames(1, 20)[0], *random_frames(1, 20, 48, 40)[0]]
    for number, frame in enumerate(frames):
        array = np.ascontiguousarray(frame.permute(1, 2, 0).numpy())
        assert live.push(array, number / 5) == other.push(frame.permute(1, 2, 0), number / 5)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (np.zeros((24, 32, 3), np.float32), "float32"),
        (np.zeros((3, 24, 32), np.uint8), "transpose"),
        (torch.zeros(3, 24, 32, dtype=torch.uint8), "permute"),
        (np.zeros((24, 32), np.uint8), "GRAY2RGB"),
        (np.zeros((24, 32, 4), np.uint8), "transparency"),
        (np.zeros((1, 24, 32, 3), np.uint8), "One frame at a time"),
        (np.zeros((0, 32, 3), np.uint8), "accepted: RGB uint8"),
        ([[0, 0, 0]], "list"),
        (None, "NoneType"),
    ],
)
def test_a_frame_of_another_kind_is_refused_and_says_what_to_do(frame: object, said: str) -> None:
    live = LiveRecognizer(restless_recognizer())
    with pytest.raises(FrameError, match="accepted: RGB uint8") as raised:
        live.push(frame, 0.0)  # type: ignore[arg-type]
    assert said in str(raised.value)


@pytest.mark.parametrize("times", [(1.0, 1.0), (1.0, 0.5), (float("nan"),), (0.0, float("inf"))])
def test_times_must_rise(times: Sequence[float]) -> None:
    live = LiveRecognizer(restless_recognizer())
    for time in times[:-1]:
        live.push(scenes(1)[0], time)
    with pytest.raises(FrameError, match="time_seconds"):
        live.push(scenes(1)[0], times[-1])


def test_a_stride_that_leaves_frames_out_is_refused_at_once() -> None:
    with pytest.raises(TimelineSettingsError, match="stride is 5; accepted: 1 to 4"):
        LiveRecognizer(restless_recognizer(), settings=TimelineSettings(stride=5))


def test_class_names_are_those_of_the_recognizer() -> None:
    live = LiveRecognizer(restless_recognizer(), scores_every_seconds=0)
    events = [event for k, frame in enumerate(scenes(20)) for event in live.push(frame, k / 5)]
    assert len(events) > 10
    assert all(event.label == CLASS_NAMES[int(np.argmax(event.scores))] for event in events if event.scores)


def test_one_stream_after_the_other() -> None:
    recognizer = restless_recognizer("rgb", "motion")
    live, fresh = (LiveRecognizer(recognizer, settings=SETTINGS, scores_every_seconds=0) for _ in range(2))
    for k, frame in enumerate(scenes(60)):
        live.push(frame, k / 5)
    live.finish()
    frames = scenes(50, seed=7)
    pairs = [(live.push(frame, 3 + k / 5), fresh.push(frame, 3 + k / 5)) for k, frame in enumerate(frames)]
    pairs.append((live.finish(), fresh.finish()))
    assert sum(len(one) for one, _ in pairs) > 40
    assert all(one == other for one, other in pairs)


@pytest.mark.parametrize(("modalities", "rgb_every"), [(("rgb",), 1), (("rgb", "motion"), 1), (("rgb", "motion"), 4)])
def test_a_frame_that_is_still_shown_is_encoded_once_as_such(modalities: tuple[str, ...], rgb_every: int) -> None:
    recognizer = tiny_recognizer(tiny_encoder(*modalities, rgb_every=rgb_every))
    encoded: list[int] = []
    encode = recognizer.encode
    recognizer.encode = lambda *given: encoded.append(1) or encode(*given)  # type: ignore[method-assign,func-returns-value]
    frames = FrameFeatures(recognizer, CPU)
    for index in range(2):
        frames.push(scenes(2)[0].copy(), index)  # two arrays
    picture = scenes(20)[19]
    found = [frames.push(picture, index) for index in range(2, 30)]
    # As a new picture, as one that stays, and once more where "rgb" has first seen it.
    assert len(encoded) <= 2 + (1 if modalities == ("rgb",) else 2 if rgb_every == 1 else 3)
    expected = recognizer.encode(torch.from_numpy(picture).permute(2, 0, 1)[None, None].expand(1, 2, -1, -1, -1))[0, 1]
    torch.testing.assert_close(found[-1][0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("stays", [60.0, 60.2, 60.4])  # to each place between two looks of rgb
@pytest.mark.parametrize("modalities", [("rgb",), ("rgb", "motion")])
def test_a_frame_that_stays_is_as_if_it_were_pushed_each_time(modalities: tuple[str, ...], stays: float) -> None:
    recognizer, frames = restless_recognizer(*modalities), scenes(20)
    encoded: list[int] = []
    encode = recognizer.encode
    recognizer.encode = lambda *given: encoded.append(1) or encode(*given)  # type: ignore[method-assign,func-returns-value]
    staying = LiveRecognizer(recognizer, settings=SETTINGS, scores_every_seconds=0)
    events = [event for k in range(10) for event in staying.push(frames[k], k / 5)]
    events += staying.push(frames[10], 9 / 5 + stays)  # frame 9 stayed for a minute, some 300 sampled frames
    assert len(encoded) <= 12
    events += [event for k in range(1, 5) for event in staying.push(frames[10 + k], 9 / 5 + stays + k / 5)]
    pushed = LiveRecognizer(recognizer, settings=SETTINGS, scores_every_seconds=0)
    expected = [event for k in range(10) for event in pushed.push(frames[k], k / 5)]
    last = 9 + round(5 * stays)
    expected += [event for k in range(10, last) for event in pushed.push(frames[9], k / 5)]
    expected += [event for k in range(5) for event in pushed.push(frames[10 + k], 9 / 5 + stays + k / 5)]
    assert [(event.kind, event.label, event.time_seconds) for event in events] == [
        (event.kind, event.label, event.time_seconds) for event in expected
    ]
    ours, theirs = ([event.scores or (event.score,) for event in some] for some in (events, expected))
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("interrupted", [False, True])
def test_after_a_long_gap_all_begins_anew(interrupted: bool) -> None:
    recognizer, frames = restless_recognizer(), scenes(40)
    live = LiveRecognizer(recognizer, settings=TimelineSettings(enter_score=0.34, leave_score=0.01, min_seconds=0))
    events = [event for k in range(20) for event in live.push(frames[k], k / 5)]
    assert [event.kind for event in events] == ["start"]
    gap = 20.0 if interrupted else 1e9  # as of a clock that is set: nothing is shown for thirty years
    events = live.interrupt() if interrupted else []
    events += live.push(frames[20], 19 / 5 + gap)
    assert [event.kind for event in events] == ["end"]
    assert events[0].time_seconds <= 20 / 5
    events = [event for k in range(21, 40) for event in live.push(frames[k], k / 5 + gap)]
    assert events[0].kind == "start"
    assert events[0].time_seconds == pytest.approx(19 / 5 + gap, abs=0.41)
