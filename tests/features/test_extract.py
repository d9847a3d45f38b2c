import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from activity.features import extract
from activity.features.extract import EncodeRows, FeatureChunk, VideoEnd, VideoRequest, extract_features
from activity.features.views import PLAIN, View
from activity.models.preprocess import Preprocess
from activity.video import decoding
from activity.video.decoding import Decoding, Picture
from activity.video.errors import VideoError
from activity.video.reader import SampledFrame, VideoReader
from tests.recognizers import tiny_encoder
from tests.videos import index_frames, noise_frames, write_video

CPU = torch.device("cpu")
WHOLE = (range(10**9),)
SAMPLE_FPS = 5.0


Encode = Callable[[Tensor, Tensor | None], Tensor]


def encode_by(encode: Callable[[Tensor, Tensor | None], Tensor]) -> EncodeRows:
    """The rows of a recognizer that knows windows only: `encode(frames (B, T, 3, H, W), previous)`, for each size."""

    def encode_rows(frames: Sequence[Tensor], rows: Tensor, previous_rows: Tensor | None) -> Tensor:
        places, features, start = [], [], 0
        for alike in frames:
            place = torch.nonzero((rows >= start) & (rows < start + len(alike)))[:, 0]
            if len(place):
                previous = None if previous_rows is None else alike[previous_rows[place] - start]
                features.append(encode(alike[rows[place] - start].unsqueeze(1), previous)[:, 0])
                places.append(place)
            start += len(alike)
        return torch.cat(features)[torch.argsort(torch.cat(places))]

    return encode_rows


def run(encode: Encode, requests: Sequence[VideoRequest], **changes: Any) -> Iterator[FeatureChunk | VideoEnd]:
    settings = {"motion": True, "rgb_every": 1, "square_pixels": False, "batch_frames": 4, "decode_threads": 2}
    return extract_features(encode_by(encode), requests, **{**settings, "device": CPU, **changes})


def request(path: Path, spans: tuple[range, ...], views: tuple[View, ...] = (PLAIN,)) -> VideoRequest:
    return VideoRequest(path, spans, SAMPLE_FPS, views)


def by_video(results: Iterator[FeatureChunk | VideoEnd]) -> dict[int, tuple[list[int], Tensor, VideoEnd]]:
    """Indices, features and end of each video; nothing may come after its end."""
    chunks: dict[int, list[FeatureChunk]] = {}
    done: dict[int, tuple[list[int], Tensor, VideoEnd]] = {}
    for result in results:
        assert result.video not in done
        if isinstance(result, FeatureChunk):
            assert len(result.indices) == len(result.features) > 0
            chunks.setdefault(result.video, []).append(result)
            continue
        own = chunks.get(result.video, [])
        features = torch.cat([chunk.features for chunk in own]) if own else torch.empty(0)
        done[result.video] = [index for chunk in own for index in chunk.indices], features, result
    return done


def frame_by_frame(encode: Encode, path: Path, *, motion: bool = True) -> dict[int, Tensor]:
    """Features by index, each frame by itself: what all else must equal."""
    features, previous = {}, None
    with VideoReader(path) as reader:
        for frame in reader.sampled_frames(SAMPLE_FPS):
            pixels = torch.from_numpy(frame.pixels).permute(2, 0, 1)[None]
            features[frame.index] = encode(pixels[None], previous if motion else None)[0, 0]
            previous = pixels
    return features


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three videos of several lengths, sizes and rates; the second is slower than the grid."""
    folder = tmp_path_factory.mktemp("videos")
    return [
        write_video(folder / "long.mp4", noise_frames(60), fps=25),
        write_video(folder / "slow.mp4", index_frames(6), fps=2),
        write_video(folder / "short.avi", noise_frames(11, width=48, height=80), fps=10),
    ]


@pytest.mark.parametrize(("batch_frames", "decode_threads"), [(1, 1), (4, 2), (7, 3), (100, 1), (100, 8)])
def test_features_are_those_of_each_frame_by_itself(videos: list[Path], batch_frames: int, decode_threads: int) -> None:
    encoder = tiny_encoder("rgb", "motion")
    requests = [request(path, WHOLE) for path in videos]
    done = by_video(run(encoder, requests, batch_frames=batch_frames, decode_threads=decode_threads))
    assert sorted(done) == [0, 1, 2]
    for video, path in enumerate(videos):
        indices, features, end = done[video]
        expected = frame_by_frame(encoder, path)
        assert indices == list(expected)  # each once, in order
        assert (expected[0] - expected[max(expected)]).abs().max() > 1e-3  # what differs can be told apart
        torch.testing.assert_close(features, torch.stack(list(expected.values())), rtol=0, atol=1e-5)
        assert end.error is None
        assert end.duration_seconds == pytest.approx([2.4, 3.0, 1.1][video], abs=0.05)


@pytest.mark.parametrize(("batch_frames", "decode_threads"), [(1, 1), (4, 2), (7, 3), (100, 8)])
@pytest.mark.parametrize("most_bytes", [1, 40_000, 512 << 20])
def test_rgb_looks_at_some_frames_of_the_video_wherever_a_span_begins(
    videos: list[Path], monkeypatch: pytest.MonkeyPatch, batch_frames: int, decode_threads: int, most_bytes: int
) -> None:
    monkeypatch.setattr(extract, "_MOST_BYTES", most_bytes)  # as where a batch does not become full
    encoder = tiny_encoder("rgb", "motion", rgb_every=3)
    spans = [(range(10**9),), (range(4, 6), range(7, 10)), (range(2, 5),)]
    requests = [request(path, own) for path, own in zip(videos, spans, strict=True)]
    rows: list[int] = []

    def encode_rows(frames: list[Tensor], wanted: Tensor, previous: Tensor | None) -> Tensor:
        rows.append(len(wanted))
        assert len(wanted) % 3 == 0
        return encoder.encode_rows(frames, wanted, previous)

    settings = {"batch_frames": batch_frames, "decode_threads": decode_threads, "square_pixels": False}
    done = by_video(extract_features(encode_rows, requests, motion=True, rgb_every=3, device=CPU, **settings))  # type: ignore[arg-type]
    for video, path in enumerate(videos):
        indices, features, end = done[video]
        assert end.error is None
        rgb, motion = (
            frame_by_frame(tiny_encoder(modality), path, motion=modality == "motion") for modality in ("rgb", "motion")
        )
        assert indices == [index for index in motion if any(index in span for span in spans[video])]
        expected = torch.stack([torch.cat([rgb[index - index % 3], motion[index]]) for index in indices])
        torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)
    assert max(rows) <= -(-batch_frames // 3) * 3
    if most_bytes > 40_000 and batch_frames < 100:
        assert sum(rows) <= 12 + 3 + 2 * 3 + 3 + 2 * 3  # whole looks, of a video one that is cut at each end


def test_without_motion_the_encoder_gets_no_previous_frames(videos: list[Path]) -> None:
    encoder = tiny_encoder("rgb")

    def encode(frames: Tensor, previous: Tensor | None) -> Tensor:
        assert previous is None
        return encoder(frames)

    indices, features, _ = by_video(run(encode, [request(videos[0], WHOLE)], motion=False))[0]
    expected = frame_by_frame(encoder, videos[0], motion=False)
    assert indices == list(range(12))
    torch.testing.assert_close(features, torch.stack(list(expected.values())), rtol=0, atol=1e-5)


def test_the_encoder_gets_what_it_asks_for(videos: list[Path]) -> None:
    seen = []

    def encode(frames: Tensor, previous: Tensor | None) -> Tensor:
        assert frames.dtype == torch.uint8
        assert previous is not None
        assert previous.shape[-3:] == frames.shape[-3:] == (3, *frames.shape[-2:])
        seen.append(frames.shape[0] * frames.shape[1])
        return torch.zeros(frames.shape[0], frames.shape[1], 2)

    list(run(encode, [request(path, WHOLE) for path in videos], batch_frames=5))
    assert sum(seen) == 12 + 15 + 6
    assert max(seen) <= 5
    assert len(seen) <= 7 * 3  # seven batches, in each a call for each size


def test_frames_of_all_sizes_fill_a_batch(videos: list[Path]) -> None:
    seen: list[tuple[int, int]] = []  # rows, sizes

    def encode(frames: list[Tensor], rows: Tensor, previous_rows: Tensor | None) -> Tensor:
        seen.append((len(rows), len(frames)))
        return torch.zeros(len(rows), 2)

    requests = [request(path, WHOLE) for path in videos]
    settings = {"motion": True, "rgb_every": 1, "square_pixels": False, "decode_threads": 1, "device": CPU}
    list(extract_features(encode, requests, batch_frames=5, **settings))  # type: ignore[arg-type]
    assert [rows for rows, _ in seen] == [5] * 6 + [3]
    assert max(sizes for _, sizes in seen) > 1


# Spans


@pytest.mark.parametrize(
    "spans",
    [
        (range(4, 8),),
        (range(3),),
        (range(2, 5), range(7, 9)),
        (range(7, 9), range(2, 5)),
        (range(2, 6), range(4, 8), range(4, 8)),
        (range(9, 100),),
    ],
)
def test_the_wanted_frames_and_no_others_are_encoded_once(videos: list[Path], spans: tuple[range, ...]) -> None:
    encoder, count = tiny_encoder("motion"), []

    def encode(frames: Tensor, previous: Tensor | None) -> Tensor:
        count.append(frames.shape[0] * frames.shape[1])
        return encoder(frames, previous)

    indices, features, end = by_video(run(encode, [request(videos[0], spans)]))[0]
    wanted = sorted({index for span in spans for index in span if index < 12})
    assert indices == wanted
    assert sum(count) == len(wanted)
    # The frame before a span is not wanted, but what moved since then is.
    expected = frame_by_frame(encoder, videos[0])
    torch.testing.assert_close(features, torch.stack([expected[i] for i in wanted]), rtol=0, atol=1e-5)
    assert end.error is None


def test_many_spans_cost_a_frame_no_more_than_few() -> None:
    def seconds_for_1000_frames(count: int) -> float:
        spans = request(Path("long.mp4"), tuple(range(20 * number, 20 * number + 10) for number in range(count)))
        assert [spans.wants(index) for index in (0, 9, 10, 20 * count - 20, 20 * count - 11)] == [1, 1, 0, 1, 1]
        start = time.process_time()
        assert sum(spans.wants(20 * count - 1 - index) for index in range(1000)) == 500
        return time.process_time() - start

    assert seconds_for_1000_frames(20_000) < 20 * seconds_for_1000_frames(50)


def test_a_span_beyond_the_end_gives_nothing_but_the_end(videos: list[Path]) -> None:
    indices, _, end = by_video(run(tiny_encoder(), [request(videos[0], (range(50, 60),))]))[0]
    assert indices == []
    assert end == VideoEnd(0, end.duration_seconds, last_index=12)
    assert end.duration_seconds == pytest.approx(2.4, abs=0.05)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_what_lies_between_spans_far_apart_is_not_decoded_and_changes_nothing(tmp_path: Path, suffix: str) -> None:
    frames = [np.roll(picture, 3 * i, axis=1) for i, picture in enumerate(noise_frames(10, width=48, height=32) * 40)]
    path = write_video(tmp_path / f"long{suffix}", frames, codec_options={"g": "25", "bf": "2", "crf": "30"})
    encoder = tiny_encoder("rgb", "motion", rgb_every=3)
    spans = (range(70, 74), range(5, 8), range(6, 9), range(10, 11), range(41, 42))

    def extracted(*spans: range) -> tuple[list[int], Tensor]:
        settings: dict[str, Any] = {"rgb_every": 3, "batch_frames": 6, "decode_threads": 1, "device": CPU}
        results = extract_features(
            encoder.encode_rows, [request(path, spans)], motion=True, square_pixels=False, **settings
        )
        indices, features, end = by_video(results)[0]
        assert end.error is None
        return indices, features

    decoded = 0

    def count() -> None:
        nonlocal decoded
        decoded += 1

    with VideoReader(path) as reader:
        reader.on_frame = count
        shown = [frame.index for frame in reader.sampled_spans(SAMPLE_FPS, spans)]
    assert shown == [5, 6, 7, 8, 10, 41, *range(70, 74)]
    assert decoded < 200 if suffix != ".ts" else 360 < decoded <= 400
    _, whole = extracted(range(80))
    indices, features = extracted(*spans)
    assert indices == shown
    torch.testing.assert_close(features, whole[indices], rtol=0, atol=1e-5)


# Pixels that are not square


@pytest.mark.parametrize("framing", ["centre", "whole"])
def test_a_picture_stored_narrow_has_the_features_of_the_same_with_square_pixels(tmp_path: Path, framing: str) -> None:
    rng = np.random.default_rng(0)
    wide = [cv2.resize(rng.integers(0, 255, (4, 12, 3), np.uint8), (192, 48)) for _ in range(12)]
    narrow = [cv2.resize(frame, (96, 48), interpolation=cv2.INTER_AREA) for frame in wide]
    square = write_video(tmp_path / "square.mp4", wide, codec_options={"crf": "5"})
    stored = write_video(tmp_path / "stored.mp4", narrow, codec_options={"crf": "5"}, pixel_aspect=Fraction(2))
    encoder = tiny_encoder("rgb")
    encoder.preprocess = Preprocess(**encoder.preprocess.describe() | {"framing": framing})
    requests = [request(path, WHOLE) for path in (square, stored)]
    done = by_video(run(encoder, requests, motion=False, square_pixels=encoder.preprocess.square_pixels))
    (_, features, _), (_, same, _) = done[0], done[1]
    assert (same - features).norm() < 0.05 * features.norm()
    as_stored = torch.stack(list(frame_by_frame(encoder, stored, motion=False).values()))
    if framing == "centre":
        assert (as_stored - features).norm() > 0.2 * features.norm()
    else:  # its proportions play no role: nothing is resized but by the preprocessing
        torch.testing.assert_close(same, as_stored, rtol=0, atol=1e-5)


def test_no_videos_give_nothing() -> None:
    assert list(run(tiny_encoder(), [])) == []


# Failures


@pytest.mark.parametrize("decode_threads", [1, 3])
def test_a_video_that_fails_says_so_and_the_others_are_done(
    videos: list[Path], tmp_path: Path, decode_threads: int
) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("this is no video")
    paths = [text, videos[0], tmp_path / "lost.mp4", videos[2]]
    encoder = tiny_encoder("rgb", "motion")
    done = by_video(run(encoder, [request(path, WHOLE) for path in paths], decode_threads=decode_threads))
    assert sorted(done) == [0, 1, 2, 3]
    for video in (0, 2):
        indices, _, end = done[video]
        assert indices == []
        assert isinstance(end.error, VideoError)
        assert str(paths[video]) in str(end.error)
    for video in (1, 3):
        indices, features, end = done[video]
        assert end.error is None
        expected = frame_by_frame(encoder, paths[video])
        torch.testing.assert_close(features, torch.stack(list(expected.values())), rtol=0, atol=1e-5)


# A reader that notes how far it was read


@pytest.mark.parametrize("decode_threads", [1, 2])
def test_a_video_in_which_decoding_hangs_is_given_up_and_the_others_are_done(
    videos: list[Path], monkeypatch: pytest.MonkeyPatch, decode_threads: int
) -> None:
    let_go, real = threading.Event(), Decoding.rgb

    def rgb(decoding: Decoding, picture: Picture) -> np.ndarray:
        if decoding.source == str(videos[1]) and decoding.frames == 3:
            let_go.wait()
        return real(decoding, picture)

    monkeypatch.setattr(Decoding, "rgb", rgb)
    encoder = tiny_encoder("rgb", "motion")
    requests = [request(path, WHOLE) for path in videos]
    start = time.monotonic()
    done = by_video(run(encoder, requests, decode_threads=decode_threads, hang_seconds=0.5))
    assert time.monotonic() - start < 10
    let_go.set()
    assert sorted(done) == list(range(len(videos)))
    _, _, end = done[1]
    assert isinstance(end.error, VideoError)
    assert "decoding hangs: there was no frame for 0.5 s" in end.error.reason
    assert str(videos[1]) in str(end.error)
    for video in set(done) - {1}:
        _, features, end = done[video]
        assert end.error is None
        expected = frame_by_frame(encoder, videos[video])
        torch.testing.assert_close(features, torch.stack(list(expected.values())), rtol=0, atol=1e-5)


def test_a_span_far_into_a_video_is_no_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(frames: Iterable[Any]) -> Iterator[Any]:
        for frame in real(frames):
            time.sleep(0.02)
            yield frame

    real = decoding.deinterlaced
    path = write_video(tmp_path / "long.ts", index_frames(60))  # in which nothing can be sought
    monkeypatch.setattr(decoding, "deinterlaced", slow)
    indices, _, end = by_video(run(tiny_encoder("rgb"), [request(path, (range(11, 12),))], hang_seconds=0.5))[0]
    assert (indices, end.error) == ([11], None)


class FakeReader:
    """Endless video, quick to read; each frame's brightness says its index."""

    produced = 0
    ends_at = 10**9
    error: BaseException | None = None

    damage: str | None = None
    last_frame_seconds = 1.0

    def __init__(self, path: Path, *, square_pixels: bool) -> None:
        self.path = path
        self.duration_seconds = 1.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def sampled_spans(self, sample_fps: float, spans: Sequence[range]) -> Iterator[SampledFrame]:
        for index in range(spans[0].start, min(spans[0].stop, type(self).ends_at)):
            type(self).produced += 1
            yield SampledFrame(index, np.full((8, 8, 3), index % 256, np.uint8), index / sample_fps)
        if type(self).error is not None:
            raise type(self).error


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> type[FakeReader]:
    class Reader(FakeReader):
        pass

    monkeypatch.setattr(extract, "VideoReader", Reader)
    return Reader


def brightness(frames: Tensor, previous: Tensor | None) -> Tensor:
    return frames.float().mean(dim=(2, 3, 4)).unsqueeze(2)


def settled(read: Any) -> Any:
    """The value once it does not change any more."""
    before = read()
    while True:
        time.sleep(0.25)  # longer than a thread waits for room
        if (now := read()) == before:
            return now
        before = now


@pytest.mark.parametrize("decode_threads", [1, 3])
def test_decoding_runs_ahead_but_not_away(reader: type[FakeReader], decode_threads: int) -> None:
    reader.ends_at = 500  # far away
    requests = [request(Path(f"{i}.mp4"), WHOLE) for i in range(4)]
    results = run(brightness, requests, batch_frames=6, decode_threads=decode_threads)
    encoded = 0
    for _ in range(4):
        chunk = next(results)
        assert isinstance(chunk, FeatureChunk)
        encoded += len(chunk.indices)
    ahead = settled(lambda: reader.produced) - encoded
    # A batch in the queue, one being collected or given out, and one frame in each thread's hand.
    assert 6 <= ahead <= 2 * 6 + decode_threads
    results.close()


@pytest.mark.parametrize("decode_threads", [1, 3])
@pytest.mark.parametrize("held", [1, 3, 20])
def test_large_frames_are_held_in_smaller_number(
    monkeypatch: pytest.MonkeyPatch, decode_threads: int, held: int
) -> None:
    """Whatever the batch and the number of videos, so many frames are in memory at once, and all of them come."""
    alive, most = 0, 0
    lock = threading.Lock()

    def born(pixels: np.ndarray) -> np.ndarray:
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        weakref.finalize(pixels, died)
        return pixels

    def died() -> None:
        nonlocal alive
        with lock:
            alive -= 1

    class Reader(FakeReader):
        def sampled_spans(self, sample_fps: float, spans: Sequence[range]) -> Iterator[SampledFrame]:
            for index in range(spans[0].start, 30):
                yield SampledFrame(index, born(np.full((8, 8, 3), index, np.uint8)), index / sample_fps)

    monkeypatch.setattr(extract, "VideoReader", Reader)
    monkeypatch.setattr(extract, "_MOST_BYTES", held * 8 * 8 * 3)
    requests = [request(Path(f"{i}.mp4"), WHOLE) for i in range(5)]
    done = by_video(run(brightness, requests, batch_frames=8, decode_threads=decode_threads))
    for video in range(5):
        indices, features, _ = done[video]
        assert indices == list(range(30))
        assert features[:, 0].tolist() == indices
    # Beside those held: in each thread the one that waits for room, the one before it, and the frame that the reader
    # holds; and those that are looked back at in batches of other videos.
    assert most <= held + 3 * decode_threads + 2


def test_closing_the_iterator_stops_the_threads(reader: type[FakeReader]) -> None:
    before = set(threading.enumerate())
    results = run(brightness, [request(Path(f"{i}.mp4"), WHOLE) for i in range(4)], decode_threads=3)
    next(results)
    assert len(set(threading.enumerate()) - before) == 3 + 1  # decoding, encoding
    results.close()
    assert set(threading.enumerate()) <= before
    produced = reader.produced
    time.sleep(0.05)
    assert reader.produced == produced


def test_an_error_in_the_encoder_stops_the_threads(reader: type[FakeReader]) -> None:
    def encode(frames: Tensor, previous: Tensor | None) -> Tensor:
        raise RuntimeError("out of memory")

    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="out of memory"):
        list(run(encode, [request(Path("a.mp4"), WHOLE)]))
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("ends_at", [0, 3, 50])
@pytest.mark.parametrize("decode_threads", [1, 3])
def test_an_error_of_ours_in_a_thread_is_raised_where_it_is_seen(
    reader: type[FakeReader], ends_at: int, decode_threads: int
) -> None:
    reader.ends_at, reader.error = ends_at, ZeroDivisionError("a mistake of ours")
    before = set(threading.enumerate())
    requests = [request(Path(f"{i}.mp4"), WHOLE) for i in range(5)]
    with pytest.raises(ZeroDivisionError, match="a mistake of ours"):
        list(run(brightness, requests, decode_threads=decode_threads))
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("ends_at", [0, 3, 50])
def test_a_video_that_breaks_off_ends_after_its_good_frames(reader: type[FakeReader], ends_at: int) -> None:
    reader.ends_at, reader.error = ends_at, VideoError("a.mp4", "it broke off", "copy it again")
    done = by_video(run(brightness, [request(Path(f"{i}.mp4"), WHOLE) for i in range(5)]))
    for indices, features, end in done.values():
        assert indices == list(range(ends_at))
        assert features.flatten().tolist() == indices
        assert replace(end, video=0) == VideoEnd(0, error=reader.error)
    assert len(done) == 5


def test_a_video_may_change_its_size_midway(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reader(FakeReader):
        def sampled_spans(self, sample_fps: float, spans: Sequence[range]) -> Iterator[SampledFrame]:
            for index, size in enumerate([8, 8, 12, 12, 8]):
                yield SampledFrame(index, np.full((size, 10, 3), 40 * index, np.uint8), index / sample_fps)

    def encode(frames: Tensor, previous: Tensor | None) -> Tensor:
        assert previous is not None
        now = brightness(frames, None)
        before = previous.reshape(frames.shape[0], -1, *frames.shape[2:])
        return torch.cat([now, now - brightness(before, None)], dim=2)

    monkeypatch.setattr(extract, "VideoReader", Reader)
    indices, features, _ = by_video(run(encode, [request(Path("a.mp4"), WHOLE)]))[0]
    assert indices == [0, 1, 2, 3, 4]
    assert features[:, 0].tolist() == [0, 40, 80, 120, 160]
    # Between two sizes nothing can be said to have moved.
    assert features[:, 1].tolist() == [0, 40, 0, 40, 0]
