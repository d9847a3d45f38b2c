"""Files from other people: what they ask for is not done, what they claim is not believed, and reading them ends."""

import os
import socket
import struct
import threading
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from activity.data.doctor.facts import probe_video
from activity.video.clock import MOST_GAP_SECONDS
from activity.video.decoding import Decoding
from activity.video.errors import VideoError, VideoNote, VideoWarning
from activity.video.opening import open_container, shown_stream
from activity.video.reader import VideoReader
from tests.videos import frame_index, index_frames, noise_frames, write_timed_video, write_video

HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"
DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S"><Period>
<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1000" width="64" height="48" codecs="avc1.64000a">
<BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>"""
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
SMIL = "<smil><body><video src='{}'/></body></smil>"


def error_of(path: Path) -> VideoError:
    with pytest.raises(VideoError) as caught:
        list(VideoReader(path))
    return caught.value


class TestWhatAFileRefersTo:
    @pytest.mark.parametrize("name", ["x.mp4", "x.m3u8"])
    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            (HLS, "HLS playlist"),
            ("\ufeff" + HLS, "HLS playlist"),
            ("ffconcat version 1.0\nfile {}\n", "list of files"),
            (DASH, "DASH manifest"),
            (SDP, "network stream"),
            (SMIL, "playlist"),
        ],
        ids=["hls", "hls-with-mark", "concat", "dash", "sdp", "smil"],
    )
    def test_a_playlist_is_refused_and_nothing_is_opened_for_it(
        self, tmp_path: Path, server: tuple[str, list[str]], name: str, text: str, kind: str
    ) -> None:
        address, asked = server
        local = write_video(tmp_path / "secret.ts", index_frames(20))
        for target in (address, local, "secret.ts", f"file:{local}", f"concat:{local}"):
            (tmp_path / name).write_text(text.format(target))
            error = error_of(tmp_path / name)
            assert kind in error.reason
            assert "not opened" in error.reason
            assert "give the video itself" in str(error)
        assert asked == []

    @pytest.mark.parametrize("text", [HLS, "ffconcat version 1.0\nfile {}\n", DASH], ids=["hls", "concat", "dash"])
    def test_the_decoder_itself_opens_no_playlist_whatever_its_first_bytes_say(
        self, tmp_path: Path, server: tuple[str, list[str]], text: str
    ) -> None:
        address, asked = server
        write_video(tmp_path / "secret.ts", index_frames(20))
        for target in (address, "secret.ts"):
            (tmp_path / "x.m3u8").write_text(text.format(target))
            with pytest.raises(av.error.FFmpegError):
                open_container(str(tmp_path / "x.m3u8"), protocols=("file", "http", "tcp"), hang_seconds=5)
        assert asked == []

    def test_a_movie_does_not_make_the_decoder_open_another_file(self, tmp_path: Path) -> None:
        target = write_video(tmp_path / "target.mov", index_frames(20))
        path = refer(target, tmp_path / "reference.mov")
        with pytest.raises(VideoError):
            list(VideoReader(path))
        # That it refers to the other file, FFmpeg shows where it is let.
        with av.open(path, options={"enable_drefs": "1", "use_absolute_path": "1"}) as container:
            assert len(list(container.decode(video=0))) == 20

    def test_files_are_read_side_by_side_and_the_environment_is_as_it_was(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "good.mp4", index_frames(5))
        before, counts = dict(os.environ), list[int]()

        def read() -> None:
            counts.extend(len(list(VideoReader(path))) for _ in range(20))

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert counts == [5] * 80
        assert dict(os.environ) == before


class TestSizes:
    @pytest.mark.parametrize("side", [9_000, 16_000, 30_000, 60_000])
    def test_frames_that_would_take_all_memory_are_refused(self, tmp_path: Path, side: int) -> None:
        # FFV1 decodes such a frame from a few bytes: 16,000 x 16,000 took 5 GB and 39 s.
        path = claim_size(write_avi(tmp_path / "huge.avi", "FFV1"), side)
        for read in (lambda: list(VideoReader(path)), lambda: probe_video(path)):
            start = time.monotonic()
            with pytest.raises(VideoError, match=f"{side} x {side} pixels") as caught:
                read()
            assert time.monotonic() - start < 5
            assert "at most 64 million" in caught.value.reason

    def test_so_are_those_of_a_codec_that_gives_none(self, tmp_path: Path) -> None:
        path = claim_size(write_avi(tmp_path / "huge.avi", "MJPG"), 60_000)
        assert "60000 x 60000 pixels (3,600 million)" in error_of(path).reason

    def test_a_header_that_is_wrong_about_good_frames_is_no_matter(self, tmp_path: Path) -> None:
        path = claim_size(write_video(tmp_path / "wrong.mp4", noise_frames(20)), 60_000)
        assert {frame.pixels.shape for frame in VideoReader(path)} == {(64, 96, 3)}

    def test_the_largest_usual_frame_is_read(self, tmp_path: Path) -> None:
        path = write_avi(tmp_path / "8k.avi", "MJPG", width=7680, height=4320, count=1)
        assert [frame.pixels.shape for frame in VideoReader(path)] == [(4320, 7680, 3)]

    @pytest.mark.parametrize(("first", "then"), [((64, 96), (240, 320)), ((240, 320), (64, 96))])
    def test_a_size_that_changes_midway(self, tmp_path: Path, first: tuple[int, int], then: tuple[int, int]) -> None:
        options = {"codec_options": {"x264-params": "annexb=1:repeat-headers=1"}}
        parts = [
            write_video(tmp_path / f"{height}.h264", noise_frames(25, width=width, height=height), **options)
            for height, width in (first, then)
        ]
        path = tmp_path / "changes.h264"
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
        shapes = [frame.pixels.shape for frame in VideoReader(path)]
        assert shapes == [(*first, 3)] * 25 + [(*then, 3)] * 25
        assert probe_video(path).sizes == (first[::-1], then[::-1])

    @pytest.mark.parametrize("name", ["long.avi", "long.mp4"])
    def test_an_absurd_length_is_said_and_no_matter(self, tmp_path: Path, name: str) -> None:
        path = write_video(tmp_path / name, index_frames(50))
        data = bytearray(path.read_bytes())
        if name == "long.avi":
            place = data.find(b"strh") + 8 + 32  # the stream's length in frames
            data[place : place + 4] = b"\xff\xff\xff\x7f"
        else:
            place = data.find(b"mdhd") + 4 + 16  # the track's duration
            data[place : place + 4] = b"\xff\xff\xff\x7f"
        path.write_bytes(data)
        start = time.monotonic()
        try:
            count = len(list(VideoReader(path).sampled_frames(8)))
        except VideoWarning:  # it is shorter than it says
            count = 16
        assert count == 16
        assert time.monotonic() - start < 5

    def test_an_index_of_absurd_boxes_is_no_matter(self, tmp_path: Path) -> None:
        for size in (b"\xff" * 8, b"\0" * 7 + b"\x10"):
            path = tmp_path / "boxes.mp4"
            path.write_bytes(b"\0\0\0\x10ftypisom\0\0\0\0" + (b"\0\0\0\1free" + size) * 20_000)
            assert "moov" in error_of(path).reason


class TestTimes:
    def times(self, path: Path) -> tuple[list[float], str]:
        with pytest.warns(VideoNote) as caught:
            times = [frame.time_seconds for frame in VideoReader(path)]
        return times, str(caught[0].message)

    @pytest.mark.parametrize("leap_seconds", [601, 86_400, 30_000_000])
    def test_frames_after_a_leap_follow_at_once(self, tmp_path: Path, leap_seconds: int) -> None:
        steps = [*range(0, 1000, 40), *(leap_seconds * 1000 + ms for ms in (1000, 1040, 1180, 1220))]
        path = write_timed_video(tmp_path / "leap.mkv", index_frames(len(steps)), steps)
        times, note = self.times(path)
        assert times == pytest.approx([step / 1000 for step in range(0, 1000, 40)] + [1.0, 1.04, 1.18, 1.22], abs=2e-3)
        assert f"{path}: its clock jumps once, first at 1.0 s" in note
        with pytest.warns(VideoNote, match="clock jumps"):
            sampled = list(VideoReader(path).sampled_frames(5))
        assert [(shown.index, frame_index(shown.pixels)) for shown in sampled] == [
            (0, 0), (1, 5), (2, 10), (3, 15), (4, 20), (5, 25), (6, 27),
        ]  # fmt: skip
        later = list(VideoReader(path).sampled_frames(5, indices=range(5, 9)))  # its index is not trusted
        assert [(shown.index, frame_index(shown.pixels)) for shown in later] == [(5, 25), (6, 27)]

    def test_a_rate_of_one_frame_in_years_is_not_believed(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "slow.avi", index_frames(20))
        data = bytearray(path.read_bytes())
        place = data.find(b"strh") + 8 + 20  # a frame takes the first of two numbers by the second, in seconds
        data[place : place + 8] = struct.pack("<II", 0x7FFFFFFF, 14)
        path.write_bytes(data)
        times, note = self.times(path)
        assert times == pytest.approx([0.04 * i for i in range(20)])
        assert "its clock jumps 19 times" in note

    def test_a_gap_that_people_record_is_none(self, tmp_path: Path) -> None:
        steps = [0, 40, int(MOST_GAP_SECONDS * 1000), int(MOST_GAP_SECONDS * 1000) + 40]
        path = write_timed_video(tmp_path / "sparse.mkv", index_frames(4), steps)
        assert [frame.time_seconds for frame in VideoReader(path)] == [0.0, 0.04, 600.0, 600.04]

    def test_times_that_begin_again_go_on(self, tmp_path: Path) -> None:
        part = write_video(tmp_path / "part.ts", index_frames(50))
        path = tmp_path / "joined.ts"
        path.write_bytes(part.read_bytes() * 3)
        times, note = self.times(path)
        assert times == pytest.approx([0.04 * i for i in range(150)], abs=0.02)
        assert "its clock jumps 2 times, first at 2.0 s" in note
        with pytest.warns(VideoNote, match="clock jumps"):
            sampled = list(VideoReader(path).sampled_frames(5))
        assert [shown.index for shown in sampled] == list(range(30))
        assert [frame_index(shown.pixels) for shown in sampled] == [*range(0, 50, 5)] * 3


class TestHanging:
    def test_a_source_that_gives_no_more_frames_is_given_up(self, tmp_path: Path) -> None:
        data = write_video(tmp_path / "part.ts", noise_frames(50)).read_bytes()
        with socket.create_server(("127.0.0.1", 0)) as server:
            connections = []

            def serve() -> None:
                connections.append(server.accept()[0])
                connections[0].sendall(data)

            thread = threading.Thread(target=serve)
            thread.start()
            url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
            container = open_container(url, protocols=("tcp",), hang_seconds=2)
            decoding = Decoding("it", container, shown_stream("it", container), hang_seconds=0.3)
            start = time.monotonic()
            with pytest.raises(VideoError, match=r"decoding hangs: there was no frame for 0.3 s"):
                list(decoding)
            assert time.monotonic() - start < 5
            decoding.close()
            thread.join()
            connections[0].close()

    def test_each_frame_is_said(self, tmp_path: Path) -> None:
        reader, said = VideoReader(write_video(tmp_path / "even.mp4", index_frames(50))), []
        reader.on_frame = lambda: said.append(1)
        sampled = list(reader.sampled_frames(1))
        assert (len(sampled), len(said)) == (2, 50)


def write_avi(path: Path, codec: str, *, width: int = 96, height: int = 64, count: int = 10) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (width, height))
    assert writer.isOpened()
    for frame in noise_frames(count) if width == 96 else [np.zeros((height, width, 3), np.uint8)] * count:
        writer.write(frame)
    writer.release()
    return path


def claim_size(path: Path, side: int) -> Path:
    """Have the headers of a 96 x 64 video say another size: AVI's, MP4's, and those of JPEG pictures."""
    data = path.read_bytes()
    for layout, sizes in (("<II", (96, 64)), (">II", (96 << 16, 64 << 16)), (">HH", (96, 64)), (">HH", (64, 96))):
        claimed = (side << 16, side << 16) if sizes[0] > 96 else (side, side)
        data = data.replace(struct.pack(layout, *sizes), struct.pack(layout, *claimed))
    path.write_bytes(data)
    return path


def refer(target: Path, path: Path) -> Path:
    """A movie without frames of its own that names another as the file that holds them."""
    data = target.read_bytes()
    first, last = data.find(b"mdat") + 4, data.find(b"moov") - 4
    path.write_bytes(_with_reference(data[:first] + bytes(last - first) + data[last:], target))
    return path


def _with_reference(boxes: bytes, target: Path) -> bytes:
    done, place = b"", 0
    while place < len(boxes):
        size, name = struct.unpack(">I4s", boxes[place : place + 8])
        body = boxes[place + 8 : place + size]
        if name in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
            body = _with_reference(body, target)
        elif name == b"dref":
            body = struct.pack(">II", 0, 1) + _box(b"alis", bytes(4) + _alias(target))
        done += _box(name, body)
        place += size
    return done


def _alias(target: Path) -> bytes:
    """What an Apple alias says: volume, name, levels up and down, and the whole path with colons."""
    path = b"vol" + str(target).encode().replace(b"/", b":")
    path += b"\0" * (len(path) % 2)
    names = bytes(10) + b"\3" + b"vol".ljust(27, b"\0") + bytes(12) + b"\1" + b"x".ljust(63, b"\0")
    levels = bytes(16) + struct.pack(">HH", 1, 1) + bytes(16)
    return names + levels + struct.pack(">HH", 2, len(path)) + path + struct.pack(">HH", 0xFFFF, 0)


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body
