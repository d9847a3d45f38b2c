import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from activity.data.clips import Clip
from activity.features import extract, remembered
from activity.features import store as store_module
from activity.features.fill import fill_store
from activity.features.outcome import CheckProgress, FailedClip, FillProgress, StoredClip
from activity.features.spans import FillWarning
from activity.features.store import Entry, FeatureStore
from activity.features.views import PLAIN, View
from activity.models.encoder import FrameEncoder
from activity.video.reader import VideoReader
from tests.recognizers import tiny_encoder
from tests.videos import cut_off, noise_frames, write_video

SAMPLE_FPS = 5.0
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds, 15 sampled frames."""
    return write_video(tmp_path_factory.mktemp("videos") / "three seconds.mp4", noise_frames(75), fps=25)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "features")


def clip_of(path: Path, start: float = 0.0, end: float | None = None) -> Clip:
    return Clip(path=path, relative_path=path.name, label="run", start_seconds=start, end_seconds=end, group=path.name)


def fill(
    store: FeatureStore, clips: Sequence[Clip], encoder: FrameEncoder | None = None, **changes: Any
) -> tuple[list[StoredClip], list[FailedClip], list[FillProgress]]:
    progress: list[FillProgress] = []
    settings = {"sample_fps": SAMPLE_FPS, "batch_frames": 4, "decode_threads": 2, "device": torch.device("cpu")}
    good, failed = fill_store(
        store, clips, encoder or tiny_encoder(), on_progress=progress.append, **{**settings, **changes}
    )
    return good, failed, progress


def features_of(path: Path, encoder: FrameEncoder) -> Tensor:
    """Features of the whole video, read at once."""
    with VideoReader(path) as reader:
        frames = [torch.from_numpy(frame.pixels) for frame in reader.sampled_frames(SAMPLE_FPS)]
    with torch.inference_mode():
        return encoder(torch.stack(frames).permute(0, 3, 1, 2)[None])[0]


def assert_stored(store: FeatureStore, stored: StoredClip, expected: Tensor) -> None:
    assert stored.length == len(expected)
    assert stored.key in store
    torch.testing.assert_close(store.read(stored.key), expected, rtol=0, atol=1e-5)


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(path: Path) -> Any:
        raise AssertionError(f"{path} was decoded")

    monkeypatch.setattr(extract, "VideoReader", decode)


def test_clips_get_the_features_of_their_spans(store: FeatureStore, video: Path) -> None:
    """Several clips of one video: whole, its beginning, a middle part, and one that goes on to the end."""
    encoder = tiny_encoder("rgb", "motion")
    clips = [clip_of(video), clip_of(video, 0, 1), clip_of(video, 0.9, 2.4), clip_of(video, 2)]
    good, failed, _ = fill(store, clips, encoder)
    assert failed == []
    assert [stored.clip for stored in good] == clips
    whole = features_of(video, encoder)
    assert len(whole) == 15
    for stored, span in zip(good, [slice(15), slice(5), slice(5, 12), slice(10, 15)], strict=True):
        assert_stored(store, stored, whole[span])


def test_a_video_with_several_clips_is_decoded_once(
    store: FeatureStore, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    class CountingReader(VideoReader):
        def __init__(self, source: Path, **options: Any) -> None:
            opened.append(source)
            super().__init__(source, **options)

    monkeypatch.setattr(extract, "VideoReader", CountingReader)
    _, failed, progress = fill(store, [clip_of(video, 0, 1), clip_of(video, 0.4, 2), clip_of(video)])
    assert failed == []
    assert opened == [video]
    assert progress[-1].frames == 15  # a frame in several clips is encoded once


def test_a_second_run_decodes_nothing(store: FeatureStore, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = [clip_of(video, 0, 1), clip_of(video, 1)]
    first, _, _ = fill(store, clips)
    forbid_decoding(monkeypatch)
    second, failed, progress = fill(FeatureStore(store.root), clips)
    assert failed == []
    assert second == first
    assert progress[-1] == FillProgress(clips=2, done=2, stored=2, frames=0)


def test_a_copy_under_another_name_is_not_decoded(
    store: FeatureStore, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "a copy.mp4"
    copy.write_bytes(video.read_bytes())
    fill(store, [clip_of(video)])
    forbid_decoding(monkeypatch)
    [stored], _, _ = fill(store, [clip_of(copy)])
    assert stored.clip.path == copy


def test_another_video_under_the_same_name_is_decoded(store: FeatureStore, tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", noise_frames(25))
    [before], _, _ = fill(store, [clip_of(path)])
    write_video(path, noise_frames(50))
    [after], _, _ = fill(store, [clip_of(path)])
    assert (before.length, after.length) == (5, 10)
    assert before.key != after.key


@pytest.mark.parametrize("what", ["weights", "modalities", "preprocessing", "sample_fps"])
def test_another_encoder_or_sampling_makes_features_of_its_own(store: FeatureStore, video: Path, what: str) -> None:
    clips = [clip_of(video, 0, 1)]
    [before], _, _ = fill(store, clips)
    encoder = tiny_encoder("motion") if what == "modalities" else tiny_encoder(seed=int(what == "weights"))
    if what == "preprocessing":
        encoder.preprocess.resize_size += 1
    [after], _, progress = fill(store, clips, encoder, sample_fps=10.0 if what == "sample_fps" else SAMPLE_FPS)
    assert progress[-1].stored == 0
    assert after.key != before.key
    assert not torch.equal(store.read(after.key)[:5], store.read(before.key))


def test_a_damaged_entry_is_computed_again(store: FeatureStore, video: Path) -> None:
    [stored], _, _ = fill(store, [clip_of(video)])
    store.path(stored.key).write_bytes(b"damaged")
    with pytest.warns(match="damaged; computing them again"):
        [again], _, progress = fill(store, [clip_of(video)])
    assert progress[-1].frames == 15
    assert_stored(store, again, features_of(video, tiny_encoder()))


@pytest.fixture
def read_entries(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The entries that are read to know that they are sound, by a program for which no file is too new."""
    read: list[Path] = []
    whole = store_module.read_entry

    def noted(path: Path, key_text: str | None = None) -> Entry | None:
        read.append(path)
        return whole(path, key_text)

    monkeypatch.setattr(store_module, "read_entry", noted)
    monkeypatch.setattr(remembered, "_TOO_NEW_SECONDS", -1.0)
    return read


def test_what_was_found_sound_is_not_read_at_each_start(
    store: FeatureStore, video: Path, read_entries: list[Path]
) -> None:
    clips = [clip_of(video, 0, 1), clip_of(video, 1)]
    first, _, _ = fill(store, clips)
    read_entries.clear()
    fill(FeatureStore(store.root), clips)
    assert len(read_entries) == 2
    again, _, progress = fill(FeatureStore(store.root), clips)
    assert len(read_entries) == 2
    assert again == first
    assert progress[-1].stored == 2


def test_a_flipped_byte_in_what_was_found_sound_is_found(
    store: FeatureStore, video: Path, read_entries: list[Path]
) -> None:
    [stored], _, _ = fill(store, [clip_of(video)])
    fill(store, [clip_of(video)])
    path = store.path(stored.key)
    before = data = path.read_bytes()
    data = data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
    path.write_bytes(data)
    with pytest.warns(match="damaged; computing them again"):
        _, _, progress = fill(store, [clip_of(video)])
    assert progress[-1].frames == 15
    assert path.read_bytes() == before


def test_what_is_read_before_any_work_is_counted(store: FeatureStore, video: Path) -> None:
    seen: list[CheckProgress] = []
    fill(store, [clip_of(video, 0, 1), clip_of(video, 1)], on_check=seen.append)
    assert seen == [
        CheckProgress("videos", 1, 1),
        CheckProgress("stored features", 1, 2),
        CheckProgress("stored features", 2, 2),
    ]


@pytest.mark.parametrize(("start", "end"), [(0.55, 0.65), (2.78, None)])
def test_a_view_that_shows_no_frame_is_not_looked_for_again(
    store: FeatureStore, video: Path, monkeypatch: pytest.MonkeyPatch, start: float, end: float | None
) -> None:
    """Its sampled frames lie elsewhere: beside a very short span, or after the video's end."""
    clip = clip_of(video, start, end)
    views = (PLAIN, View(flip=True), View(rate=1.25))
    [first], failed, _ = fill(store, [clip], views_of=lambda _: views)
    assert failed == []
    assert [view.length for view in first.views] == [1]
    forbid_decoding(monkeypatch)
    [again], failed, progress = fill(store, [clip], views_of=lambda _: views)
    assert failed == []
    assert again == first
    assert progress[-1].stored == 1


@pytest.mark.parametrize("held", [1, 3])
def test_large_frames_get_the_very_same_features(
    store: FeatureStore, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """Where few frames may be held at once, batches go before they are full."""
    encoder = tiny_encoder("rgb", "motion")
    [usual], _, _ = fill(store, [clip_of(video)], encoder)
    monkeypatch.setattr(extract, "_MOST_BYTES", held * 96 * 64 * 3)
    [large], _, _ = fill(FeatureStore(tmp_path / "other"), [clip_of(video)], encoder)
    assert torch.equal(FeatureStore(tmp_path / "other").read(large.key), store.read(usual.key))


# Failures


def test_what_cannot_be_read_is_named_and_the_rest_is_done(store: FeatureStore, video: Path, tmp_path: Path) -> None:
    broken, empty = tmp_path / "broken.mp4", tmp_path / "empty.mp4"
    broken.write_text("this is no video")
    empty.write_bytes(b"")
    clips = [clip_of(path) for path in (tmp_path / "lost.mp4", broken, video, empty)]
    good, failed, progress = fill(store, clips)
    assert [stored.clip for stored in good] == [clips[2]]
    assert [item.clip for item in failed] == [clips[0], clips[1], clips[3]]
    for item, reason in zip(failed, ["there is no such file", "not a video", "empty"], strict=True):
        assert str(item.clip.path) in item.error
        assert reason in item.error
    assert progress[-1] == FillProgress(clips=4, done=4, stored=0, frames=15)


def test_a_failure_is_not_remembered(store: FeatureStore, video: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    _, [failed], _ = fill(store, [clip_of(path)])
    assert failed.clip.path == path
    path.write_bytes(video.read_bytes())
    good, none_failed, _ = fill(store, [clip_of(path)])
    assert len(good) == 1
    assert none_failed == []


def test_a_span_that_ends_after_the_video_is_used_as_far_as_it_goes(store: FeatureStore, video: Path) -> None:
    with pytest.warns(FillWarning, match=r"three seconds\.mp4: the span ends at 9 s but the video at 3\.00 s"):
        [stored], failed, _ = fill(store, [clip_of(video, 2, 9)])
    assert failed == []
    assert_stored(store, stored, features_of(video, tiny_encoder())[10:])


def test_a_span_that_ends_with_the_video_is_no_news(store: FeatureStore, video: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [stored], _, _ = fill(store, [clip_of(video, 2, 3.04)])
    assert stored.length == 5


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An AVI that says it has four seconds, and has less."""
    whole = write_video(tmp_path_factory.mktemp("cut") / "cut.avi", noise_frames(100), fps=25, codec="mpeg4")
    return cut_off(whole, 0.6)


@pytest.mark.filterwarnings("ignore:.*good frames are used", "ignore:.*the span ends at")
def test_an_entry_is_the_same_file_whatever_else_was_read_with_it(tmp_path: Path, video: Path, cut: Path) -> None:
    clips = [clip_of(path, *span) for path in (video, cut) for span in ((0.0, 0.4), (1.0, 9.0), (0.0, None))]
    together, reverse, alone = (FeatureStore(tmp_path / name) for name in ("together", "reverse", "alone"))
    found, _, _ = fill(together, clips)
    fill(reverse, clips[::-1])
    for clip in clips:
        fill(alone, [clip])
    names = [path.name for path in together.entries.rglob("*.safetensors")]
    assert len(names) == len(clips)
    for store in (reverse, alone):
        for clip in found:
            assert store.path(clip.key).read_bytes() == together.path(clip.key).read_bytes()


@pytest.mark.filterwarnings("ignore:.*good frames are used", "ignore:.*the span ends at")
def test_damage_is_said_of_the_clips_that_reach_it(store: FeatureStore, cut: Path) -> None:
    (early, late, whole), _, _ = fill(store, [clip_of(cut, 0, 0.4), clip_of(cut, 1, 9), clip_of(cut)])
    assert (early.damage, early.video_seconds) == (None, None)
    assert late.damage == whole.damage
    assert "cut off" in (whole.damage or "")
    assert late.video_seconds == whole.video_seconds
    assert 1.5 < (whole.video_seconds or 0) < 3


@pytest.mark.parametrize("end", [9.0, None])
def test_a_span_that_begins_after_the_video_is_a_failure(store: FeatureStore, video: Path, end: float | None) -> None:
    good, [failed], _ = fill(store, [clip_of(video, 8, end), clip_of(video, 0, 1)])
    assert failed.clip.start_seconds == 8
    assert "begins after the video ends (3.00 s). Correct the span." in failed.error
    assert [stored.length for stored in good] == [5]


def test_a_span_between_two_sampled_frames_is_a_failure(store: FeatureStore, video: Path) -> None:
    _, [failed], _ = fill(store, [clip_of(video, 0.25, 0.35)])
    assert "the span 0.25 s to 0.35 s holds no sampled frame at 5 frames/s" in failed.error
    assert "sample_fps" in failed.error


def test_a_video_that_breaks_off_fails_all_of_its_clips(
    store: FeatureStore, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was decoded before an error is not taken for the whole clip."""
    from activity.video.errors import VideoError

    class BreakingReader(VideoReader):
        def sampled_spans(self, *arguments: Any, **options: Any) -> Any:
            for number, frame in enumerate(super().sampled_spans(*arguments, **options)):
                if number == 7:
                    raise VideoError(self.source, "it broke off", "copy it again")
                yield frame

    with monkeypatch.context() as patch:
        patch.setattr(extract, "VideoReader", BreakingReader)
        good, failed, _ = fill(store, [clip_of(video)])
    assert good == []
    assert "it broke off; copy it again" in failed[0].error
    assert fill(store, [clip_of(video)])[0][0].length == 15


def test_a_store_that_cannot_be_written_is_an_error(tmp_path: Path, video: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        fill(FeatureStore(tmp_path / "file"), [clip_of(video)])


# Progress


def test_progress_counts_up_to_all_clips(store: FeatureStore, video: Path, tmp_path: Path) -> None:
    short = write_video(tmp_path / "short.mp4", noise_frames(25), fps=25)
    fill(store, [clip_of(video, 0, 1)])
    clips = [clip_of(video, 0, 1), clip_of(video), clip_of(short), clip_of(tmp_path / "lost.mp4"), clip_of(video, 2)]
    _, _, progress = fill(store, clips)
    # Before any work: one is stored, one has failed.
    assert progress[0] == FillProgress(clips=5, done=2, stored=1, frames=0)
    assert progress[-1] == FillProgress(clips=5, done=5, stored=1, frames=15 + 5)
    for before, after in pairwise(progress):
        assert after.done >= before.done
        assert after.frames >= before.frames
        assert replace(after, done=0, frames=0) == FillProgress(clips=5, done=0, stored=1, frames=0)
