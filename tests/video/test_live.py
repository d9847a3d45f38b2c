import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from activity.video import live
from activity.video.errors import VideoError, VideoWarning
from activity.video.live import LiveFrame, LiveSource, SourceBack, SourceLost
from activity.video.reader import VideoReader
from activity.video.sampling import first_index_at_or_after
from tests.video.cameras import HLS, Camera, Send
from tests.video.test_sources import FakeCamera, answering
from tests.videos import cut_off, frame_index, index_frames, noise_frames, write_timed_video, write_video

UNEVEN = [0, 80, 146, 160, 700, 712, 800, 801, 1500, 1533, 1567, 1600]  # milliseconds


def source_of(source: str | Path, **changes: Any) -> LiveSource:
    return LiveSource(str(source), **{"sample_fps": 10.0, "realtime": False, "stall_seconds": 0.5, **changes})


def frames_of(items: list[Any]) -> list[LiveFrame]:
    return [item for item in items if isinstance(item, LiveFrame)]


def until(source: LiveSource, last: type) -> list[Any]:
    """What comes, until one of a kind came."""
    items = []
    for item in source:
        items.append(item)
        if isinstance(item, last):
            break
    return items


def flv_parts(count: int) -> list[bytes]:
    """What a camera sends for each frame."""
    parts: list[bytes] = []

    class Sink:
        def write(self, data: bytes) -> int:
            parts[-1] += data
            return len(data)

    with av.open(Sink(), "w", format="flv", options={"flush_packets": "1"}) as container:
        stream = container.add_stream("libx264", rate=20, options={"tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index, pixels in enumerate(index_frames(count)):
            parts.append(b"")
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
    return parts


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_FIRST_WAIT_SECONDS", 0.1)


class TestFiles:
    @pytest.mark.parametrize("sample_fps", [2.0, 8.0, 30.0])
    @pytest.mark.parametrize("realtime", [False, True])
    def test_frames_are_those_of_the_reader(self, tmp_path: Path, sample_fps: float, realtime: bool) -> None:
        path = write_timed_video(tmp_path / "uneven.mkv", index_frames(len(UNEVEN)), UNEVEN)
        with source_of(path, sample_fps=sample_fps, realtime=realtime) as source:
            frames = list(source)
        expected = list(VideoReader(path).sampled_frames(sample_fps))
        assert [frame.index for frame in frames] == [frame.index for frame in expected]
        assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(frames, expected, strict=True))
        assert (source.dropped, source.frames >= len(UNEVEN)) == (0, True)
        assert all(frame.missed == 0 for frame in frames)

    def test_it_plays_at_its_own_speed(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "video.mp4", index_frames(30))
        start = time.monotonic()
        frames = list(source_of(path, realtime=True))
        assert [frame.index for frame in frames] == list(range(12))
        for frame in frames:
            assert -0.01 < frame.received_at - frames[0].received_at - frame.index / 10 < 0.2
        assert 1.0 < time.monotonic() - start < 4

    def test_or_as_fast_as_it_is_taken(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "video.mp4", index_frames(200))
        start = time.monotonic()
        assert len(list(source_of(path))) == 80
        assert time.monotonic() - start < 4

    def test_a_slow_reader_misses_frames_of_what_plays(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "video.mp4", index_frames(50))
        source, frames = source_of(path, realtime=True), []
        for frame in source:
            frames.append(frame)
            time.sleep(0.35)
        indices = [frame.index for frame in frames]
        assert indices == sorted(set(indices))
        assert 4 <= len(frames) <= 8
        assert source.dropped == 20 - len(frames) > 0
        assert [frame.missed for frame in frames] == [
            after - before - 1 for before, after in pairwise([-1, *indices])
        ]  # fmt: skip
        for frame in frames:  # those given are still the ones of their time
            assert frame_index(frame.pixels) in (int(frame.index * 2.5), round(frame.index * 2.5))

    def test_and_none_of_what_does_not(self, tmp_path: Path) -> None:
        source, indices = source_of(write_video(tmp_path / "video.mp4", index_frames(20))), []
        for frame in source:
            time.sleep(0.1)
            indices.append(frame.index)
        assert (indices, source.dropped) == (list(range(8)), 0)

    @pytest.mark.parametrize("realtime", [False, True])
    def test_a_damaged_one_warns_after_its_last_frame(self, tmp_path: Path, realtime: bool) -> None:
        path = cut_off(write_video(tmp_path / "cut.mkv", noise_frames(50)), 0.6)
        frames = []
        with pytest.raises(VideoWarning, match=r"it is 2\.0 s long"):  # noqa: PT012 - warnings are errors here
            for frame in source_of(path, realtime=realtime):
                frames.append(frame)  # noqa: PERF402
        assert 10 <= len(frames) <= 14

    def test_what_is_no_video(self, tmp_path: Path) -> None:
        (tmp_path / "text.mp4").write_text("no video")
        with pytest.raises(VideoError, match="it is not a video"):
            list(source_of(tmp_path / "text.mp4"))
        (tmp_path / "list.mp4").write_text(HLS)
        with pytest.raises(VideoError, match="HLS playlist"):
            list(source_of(tmp_path / "list.mp4"))
        with pytest.raises(VideoError, match="no such file"):
            source_of(tmp_path / "missing.mp4")

    def test_one_in_which_decoding_hangs_is_given_up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        go_on = threading.Event()
        path = write_video(tmp_path / "video.mp4", index_frames(20))
        source = source_of(path)
        monkeypatch.setattr(live, "HANGS_AFTER_SECONDS", 0.1)
        monkeypatch.setattr(live, "_JOIN_SECONDS", 0.1)
        source = source_of(path, stall_seconds=0.1)
        real = VideoReader.sampled_frames
        monkeypatch.setattr(VideoReader, "sampled_frames", lambda *given: (go_on.wait(), real(*given))[1])
        with pytest.raises(VideoError, match="decoding hangs"):
            list(source)
        go_on.set()


class TestStreams:
    def test_frames_come_on_the_grid_of_their_arrival(self) -> None:
        camera = Camera(lambda _, send: camera.send_at(send, 20, 30))
        with camera.running() as url, source_of(url) as source:
            items = until(source, SourceLost)
        frames = frames_of(items)
        indices = [frame.index for frame in frames]
        assert indices == sorted(set(indices))
        assert indices[0] == 0
        assert 12 <= indices[-1] <= 16
        assert len(frames) + source.dropped >= indices[-1] - 1
        start = frames[0].received_at
        for frame in frames:  # the frame had come by the time of its grid point, and the next had not
            late = frame.index / 10 - (frame.received_at - start)
            assert -0.002 < late < 0.15
        shown = [frame_index(frame.pixels) for frame in frames]
        assert shown == sorted(shown)
        assert source.frames == 30

    @pytest.mark.parametrize("codec", ["jpeg", pytest.param("h264", marks=pytest.mark.slow)])
    def test_a_frame_is_given_as_soon_as_the_next_one_comes(self, codec: str) -> None:
        """Not a frame later for a clock that compares with the next, nor for each thread that decodes."""
        sent: list[int] = []
        parts = flv_parts(140) if codec == "h264" else range(20)
        camera = Camera(
            lambda _, send: camera.send_at(lambda number: (sent.append(number), send(parts[number])), 20, len(parts)),
            mime="video/x-flv" if codec == "h264" else None,
        )
        behind = []
        with camera.running() as url, source_of(url, stall_seconds=8.0) as source:  # a FLV is analysed for 5 s
            for item in source:
                if isinstance(item, SourceLost):
                    break
                behind.append(sent[-1] - frame_index(item.pixels))
        assert np.median(behind[-6:]) == 1

    def test_one_whose_sound_goes_on_without_a_picture_is_lost(self, tmp_path: Path) -> None:
        data = write_video(tmp_path / "video.ts", index_frames(20), sound_seconds=20).read_bytes()

        def script(_: int, write: Callable[[bytes], object]) -> None:
            write(data[: len(data) // 2])
            for start in range(len(data) // 2, len(data), len(data) // 100):
                camera.wait(0.1)
                write(data[start : start + len(data) // 100])

        camera = Camera(script, mime="video/mp2t")
        with camera.running() as url, source_of(url, stall_seconds=1.0) as source:
            items = until(source, SourceLost)
        assert frames_of(items)
        assert items[-1].reason == "there was no frame for 1 s"

    def test_a_slow_source_shows_a_frame_several_times(self) -> None:
        camera = Camera(lambda _, send: camera.send_at(send, 4, 10))
        with camera.running() as url, source_of(url, stall_seconds=2.0) as source:
            frames = frames_of(until(source, SourceLost))
        assert [frame.index for frame in frames] == list(range(len(frames)))
        assert 15 <= len(frames) <= 23
        assert source.dropped == 0
        by_picture = {frame_index(frame.pixels): frame.pixels for frame in frames}
        assert set(by_picture) >= set(range(3, 10))  # the first ones came before it was known what they are
        assert all(frame.pixels is by_picture[frame_index(frame.pixels)] for frame in frames)

    def test_a_slow_reader_gets_the_newest_frame_and_the_count_of_those_it_missed(self) -> None:
        camera = Camera(lambda number, send: camera.wait(30) if number else camera.send_at(send, 20, 40))
        frames = []
        with camera.running() as url, source_of(url) as source:
            for item in source:
                if isinstance(item, SourceLost):
                    break
                frames.append(item)
                time.sleep(0.35)
                assert time.monotonic() - item.received_at < 1.0
        missed = sum(frame.missed for frame in frames)
        assert source.dropped == missed >= 8
        assert all(
            after.index - before.index == after.missed + 1 for before, after in pairwise(frames)
        )  # fmt: skip
        assert source.frames == 40

    def test_one_that_is_cut_comes_back_on_the_same_grid(self) -> None:
        def script(number: int, send: Send) -> None:
            if number in (1, 2):
                return  # it answers, but gives nothing
            camera.send_at(send, 20, 16, first=100 * (number > 0))
            camera.wait(0.0 if number == 0 else 10)

        camera = Camera(script)
        items: list[Any] = []
        with camera.running() as url, source_of(f"{url}?token=secret", stall_seconds=5.0) as source:
            for item in source:
                items.append(item)
                if isinstance(item, LiveFrame) and frame_index(item.pixels) >= 110:
                    break
        lost = [item for item in items if isinstance(item, SourceLost)]
        (back,) = [item for item in items if isinstance(item, SourceBack)]
        assert [(item.retry_seconds, item.attempt) for item in lost] == [(0.1, 1), (0.2, 2), (0.4, 3)]
        assert "closed" in lost[0].reason
        place = items.index(back)
        before, after = frames_of(items[:place]), frames_of(items[place:])
        assert {frame_index(frame.pixels) < 100 for frame in before} == {True}
        assert {frame_index(frame.pixels) >= 100 for frame in after} == {True}
        assert 0.7 < back.away_seconds < 3
        assert after[0].index == back.index >= before[-1].index + 7  # indices are left out
        seconds = after[0].received_at - before[0].received_at
        assert back.index == first_index_at_or_after(seconds, 10)
        assert "secret" not in "".join(item.reason for item in lost) + source.name + repr(source)

    def test_waits_between_tries_grow_to_the_most(self) -> None:
        camera = Camera(lambda number, send: camera.send_at(send, 20, 0 if number else 3))
        with camera.running() as url, source_of(url, most_wait_seconds=0.25) as source:
            lost = []
            for item in source:
                lost += [item] if isinstance(item, SourceLost) else []
                if len(lost) == 5:
                    break
        assert [item.retry_seconds for item in lost] == [0.1, 0.2, 0.25, 0.25, 0.25]
        assert [item.attempt for item in lost] == [1, 2, 3, 4, 5]

    def test_one_that_refuses_after_it_was_lost(self) -> None:
        camera = Camera(lambda _, send: camera.send_at(send, 20, 5))
        source = source_of("tcp://none")
        lost: list[SourceLost] = []
        with camera.running() as url:
            source = source_of(url)
            items = iter(source)
            lost.append(next(item for item in items if isinstance(item, SourceLost)))
        lost.append(next(item for item in items if isinstance(item, SourceLost) and item.attempt > 1))
        assert "the connection was refused" in lost[-1].reason
        with camera.running():  # at the same port
            assert isinstance(next(item for item in items if not isinstance(item, SourceLost)), SourceBack)
            source.close()
            assert list(items) == []

    def test_one_that_stalls_is_lost(self) -> None:
        def script(number: int, send: Send) -> None:
            camera.send_at(send, 20, 6, first=100 * number)
            camera.wait(30)

        camera = Camera(script)
        with camera.running() as url, source_of(url) as source:
            start = time.monotonic()
            items = until(source, SourceBack)
        assert time.monotonic() - start < 6
        (lost,) = [item for item in items if isinstance(item, SourceLost)]
        assert "there was no frame for" in lost.reason

    def test_one_that_stays_away_is_given_up(self) -> None:
        camera = Camera(lambda number, send: camera.send_at(send, 20, 0 if number else 3))
        with camera.running() as url:
            start = time.monotonic()
            with pytest.raises(VideoError, match=r"it gave no frame for \d s and is given up") as caught:
                list(source_of(url.replace("//", "//me:secret@"), give_up_seconds=1.0))
        assert 1.0 < time.monotonic() - start < 4
        assert "secret" not in str(caught.value)
        assert caught.value.source == url

    def test_one_that_is_not_there_at_first_is_an_error_at_once(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        start = time.monotonic()
        with pytest.raises(VideoError, match="the connection was refused"):
            list(source_of(f"http://127.0.0.1:{port}/"))
        with pytest.raises(VideoError, match=r"no such camera, .* /dev/video\* here"):
            list(source_of("9"))
        camera = Camera(lambda _, send: None)
        with camera.running() as url, pytest.raises(VideoError, match=url):
            list(source_of(url))
        assert time.monotonic() - start < 5

    def test_an_error_closes_the_camera_while_its_traceback_is_held(self, monkeypatch: pytest.MonkeyPatch) -> None:
        camera = FakeCamera()
        monkeypatch.setattr(camera, "read", lambda: (True, np.zeros((2, 2, 3))))  # OpenCV converts no such numbers
        monkeypatch.setattr(cv2, "VideoCapture", lambda *_: camera)
        with pytest.raises(cv2.error) as caught:
            list(source_of("0"))
        assert caught.tb is not None
        assert camera.is_released

    def test_close_ends_it_soon_from_a_thread_and_from_a_signal_handler(self) -> None:
        camera = Camera(lambda _, send: (camera.send_at(send, 20, 10), camera.wait(30)))
        with camera.running() as url:
            for how in ("thread", "signal"):
                source = source_of(url, stall_seconds=20.0)
                before = signal.signal(signal.SIGALRM, lambda *_, source=source: source.close())
                timer = threading.Timer(1.0, source.close)
                if how == "thread":
                    timer.start()
                else:
                    signal.setitimer(signal.ITIMER_REAL, 1.0)
                start = time.monotonic()
                assert frames_of(list(source))
                assert 0.9 < time.monotonic() - start < 4
                signal.signal(signal.SIGALRM, before)
                timer.cancel()

    @pytest.mark.slow
    @pytest.mark.parametrize("closed", [True, False])
    def test_a_program_that_ends_while_a_source_is_read_ends_well(self, closed: bool) -> None:
        camera = Camera(lambda _, send: (camera.send_at(send, 20, 30), camera.wait(30)))
        program = "import sys; from activity.video.live import LiveSource\n"
        program += "source = LiveSource(sys.argv[1], sample_fps=10, realtime=False, stall_seconds=20)\n"
        program += "items = iter(source); print(next(items).index)\n" + "source.close(); list(items)" * closed
        with camera.running() as url:
            command = [sys.executable, "-X", "dev", "-c", program, url]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "0\n", "")

    def test_close_ends_a_wait_between_tries(self) -> None:
        camera = Camera(lambda _, send: camera.send_at(send, 20, 3))
        with camera.running() as url, source_of(url) as source:
            items = iter(source)
            live._FIRST_WAIT_SECONDS = 20.0  # put back by the fixture
            assert next(item for item in items if isinstance(item, SourceLost)).retry_seconds == 20.0
            threading.Timer(0.2, source.close).start()
            start = time.monotonic()
            assert list(items) == []
        assert time.monotonic() - start < 2

    def test_memory_and_open_files_do_not_grow(self) -> None:
        camera = Camera(lambda _, send: camera.send_at(send, 50, 10))
        levels: list[tuple[int, int]] = []
        with camera.running() as url, source_of(url, most_wait_seconds=0.05) as source:
            tracemalloc.start()
            for item in source:
                if isinstance(item, SourceBack):
                    gc.collect()
                    levels.append((tracemalloc.get_traced_memory()[0], len(os.listdir("/proc/self/fd"))))  # noqa: PTH208
                if len(levels) == 12:
                    break
            tracemalloc.stop()
        assert levels[-1][0] < levels[2][0] + 200_000
        assert levels[-1][1] <= levels[2][1] + 4

    def test_it_is_iterated_once_and_wrong_arguments_are_named(self, tmp_path: Path) -> None:
        source = source_of(write_video(tmp_path / "video.mp4", index_frames(5)))
        list(source)
        with pytest.raises(ValueError, match="was iterated before"):
            list(source)
        with pytest.raises(ValueError, match="sample_fps is 0"):
            source_of("0", sample_fps=0)
        with pytest.raises(ValueError, match="stall_seconds is 0"):
            source_of("0", stall_seconds=0)
        with pytest.raises(VideoError, match=r"telnet:// is no address .* accepted: rtsp"):
            source_of("telnet://camera")


class TestFilesOnServers:
    """Streams of a known length: they have times of their own, and end."""

    @pytest.mark.parametrize("realtime", [False, True])
    def test_frames_are_those_of_the_file(self, tmp_path: Path, server: tuple[str, list[str]], realtime: bool) -> None:
        address, _ = server
        path = write_timed_video(tmp_path / "served" / "uneven.mp4", index_frames(len(UNEVEN)), UNEVEN)
        with source_of(address.replace("good.ts", "uneven.mp4"), sample_fps=8, realtime=realtime) as source:
            frames = list(source)
        expected = list(VideoReader(path).sampled_frames(8))
        assert [frame.index for frame in frames] == [frame.index for frame in expected]
        assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(frames, expected, strict=True))
        if realtime:
            assert frames[-1].received_at - frames[0].received_at > 1.0

    def test_a_slow_reader_misses_none(self, tmp_path: Path, server: tuple[str, list[str]]) -> None:
        address, _ = server
        write_video(tmp_path / "served" / "even.mp4", index_frames(20))
        source, indices = source_of(address.replace("good.ts", "even.mp4")), []
        for frame in source:
            time.sleep(0.1)
            indices.append(frame.index)
        assert (indices, source.dropped) == (list(range(8)), 0)

    def test_a_playlist_on_a_server_is_followed_there(self, tmp_path: Path, server: tuple[str, list[str]]) -> None:
        address, asked = server
        (tmp_path / "served" / "list.m3u8").write_text(HLS.format("good.ts").replace("EXTINF:2", "EXTINF:0.8"))
        frames = list(source_of(address.replace("good.ts", "list.m3u8"), sample_fps=5))
        assert [frame_index(frame.pixels) for frame in frames] == [0, 5, 10, 15]
        assert "/good.ts" in asked

    def test_one_that_is_shorter_than_it_says_ends_with_a_warning(
        self, tmp_path: Path, server: tuple[str, list[str]]
    ) -> None:
        address, _ = server
        (tmp_path / "served" / "list.m3u8").write_text(HLS.format("good.ts"))  # 2 s, and it has 0.8 s
        items: list[Any] = []
        with pytest.raises(VideoWarning, match=r"its frames end at 0\.8 s"):
            items.extend(iter(source_of(address.replace("good.ts", "list.m3u8"), sample_fps=5)))
        assert [frame_index(frame.pixels) for frame in frames_of(items)] == [0, 5, 10, 15]
        assert [type(item) for item in items[4:]] == [SourceLost]

    def test_one_whose_connection_breaks_goes_on_where_it_was(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "video.mp4", noise_frames(100), container_options={"movflags": "faststart"})
        data, expected = path.read_bytes(), list(VideoReader(path).sampled_frames(5))
        head = f"HTTP/1.0 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        with answering(head + data[: len(data) // 2], head + data) as port:
            items = list(source_of(f"http://127.0.0.1:{port}/video.mp4", sample_fps=5))
        kinds = [type(item) for item in items if not isinstance(item, LiveFrame)]
        frames = frames_of(items)
        assert kinds == [SourceLost, SourceBack]
        assert frames[-1].index == expected[-1].index == 19
        assert len({frame.index for frame in frames}) == len(frames) >= 18
        for frame in frames:
            assert np.array_equal(frame.pixels, expected[frame.index].pixels) or frame.index in (9, 10)
