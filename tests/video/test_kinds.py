"""Files of less usual kinds, made here: what a player shows of each."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition

from activity.data.doctor.facts import probe_video
from activity.video.errors import VideoError, VideoNote
from activity.video.picture import Converter, hdr_tables
from activity.video.reader import VideoReader
from tests.videos import Pixels, frame_index, index_frames, noise_frames, write_sound, write_video


def corner_frame() -> Pixels:
    """Red above left, green above right, blue below left, black below right."""
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:24, :32, 0] = pixels[:24, 32:, 1] = pixels[24:, :32, 2] = 255
    return pixels


def corners(pixels: Pixels) -> str:
    """The colours above left, above right, below left, below right."""
    height, width = pixels.shape[:2]
    places = [(height // 4, width // 4), (height // 4, 3 * width // 4)]
    places += [(3 * height // 4, width // 4), (3 * height // 4, 3 * width // 4)]
    return "".join("rgb"[int(np.argmax(pixels[place]))] if pixels[place].max() > 100 else "." for place in places)


def write_frames(
    path: Path, frames: list[av.VideoFrame], codec: str, *, stream: dict[str, Any] | None = None, **options: str
) -> Path:
    """Write frames at 25 a second as they are, with their own tags; `stream` sets attributes of the codec context."""
    with av.open(path, "w") as container:
        out = container.add_stream(codec, rate=25, options=options)
        out.width, out.height, out.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
        for name, value in (stream or {}).items():
            setattr(out.codec_context, name, value)
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(out.encode(frame))
        container.mux(out.encode(None))
    return path


class TestOrientation:
    @pytest.mark.parametrize(
        ("matrix", "expected"),
        [
            ((1, 0, 0, 1), "rgb."),
            ((0, 1, -1, 0), "br.g"),  # a quarter turn clockwise
            ((-1, 0, 0, -1), ".bgr"),
            ((0, -1, 1, 0), "g.rb"),
            ((-1, 0, 0, 1), "gr.b"),  # mirrored, as a front camera records
            ((1, 0, 0, -1), "b.rg"),
            ((0, 1, 1, 0), "rbg."),
            ((0, -1, -1, 0), ".gbr"),
        ],
    )
    def test_all_eight(self, tmp_path: Path, matrix: tuple[int, int, int, int], expected: str) -> None:
        path = write_video(tmp_path / "a.mp4", [corner_frame()] * 5)
        a, b, c, d = (np.array(value, ">i4").tobytes() for value in np.array(matrix) * 65536)
        data = path.read_bytes()
        place = data.index(b"tkhd") + 4 + 40
        zero = bytes(4)
        path.write_bytes(data[:place] + a + b + zero + c + d + zero + data[place + 24 :])
        for frame in VideoReader(path):
            assert corners(frame.pixels) == expected
        assert probe_video(path).sizes == ((64, 48) if matrix[0] else (48, 64),)

    def test_pixel_aspect_is_that_of_the_upright_picture(self, tmp_path: Path) -> None:
        path = tmp_path / "wide.mp4"
        with av.open(path, "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
            stream.set_display_rotation(90)
            for pixels in index_frames(3):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))
        assert {(frame.pixels.shape, frame.pixel_aspect) for frame in VideoReader(path)} == {((64, 48, 3), 0.5)}


def test_a_pixel_aspect_that_cannot_be_is_a_wrong_tag(tmp_path: Path) -> None:
    path = write_video(tmp_path / "wrong.mp4", index_frames(2), pixel_aspect=Fraction(10))
    for square_pixels in (False, True):
        frames = VideoReader(path, square_pixels=square_pixels)
        assert {(frame.pixels.shape, frame.pixel_aspect) for frame in frames} == {((48, 64, 3), 1.0)}


class TestInterlaced:
    def combed(self, count: int) -> list[av.VideoFrame]:
        """A bright bar that moves between the two fields of each frame."""
        frames = []
        for number in range(count):
            pixels = np.zeros((96, 128, 3), np.uint8)
            for field in (0, 1):
                left = 8 * number + 4 * field
                pixels[field::2, left : left + 24] = 255
            frames.append(av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p"))
        return frames

    @pytest.mark.parametrize(("name", "codec"), [("a.mpg", "mpeg2video"), ("a.ts", "mpeg2video"), ("a.mkv", "libx264")])
    def test_fields_are_put_together_without_combs(self, tmp_path: Path, name: str, codec: str) -> None:
        options = {"flags": "+ildct+ilme", "top": "1", **({"x264-params": "tff=1"} if codec == "libx264" else {})}
        path = write_frames(tmp_path / name, self.combed(12), codec, **options, b="2000000")
        frames = list(VideoReader(path))
        assert len(frames) == 12  # one a picture, not one a field
        for frame in frames[1:-1]:
            rows = frame.pixels[20:76].astype(int).mean(axis=2)
            combs = np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean()
            assert combs < 2, "neighbouring lines show the bar at one place"
            assert frame.pixels.max() > 200
        again = list(VideoReader(path))
        assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(frames, again, strict=True))
        facts = probe_video(path)
        assert not facts.black
        assert facts.damage is None

    def test_pictures_too_small_for_the_filter_are_given_as_they_are(self, tmp_path: Path) -> None:
        frames = [av.VideoFrame.from_ndarray(np.full((2, 2, 3), 90, np.uint8), format="rgb24") for _ in range(5)]
        frames = [frame.reformat(format="yuv444p") for frame in frames]
        path = write_frames(tmp_path / "tiny.mkv", frames, "ffv1", flags="+ildct", top="1")
        assert len(list(VideoReader(path))) == 5


class TestColours:
    def flat(self, luma: int, *, matrix: int = 2, colour_range: int = 0, transfer: int = 2) -> av.VideoFrame:
        """A frame of one brightness, with tags as ITU-T H.273 numbers them."""
        frame = av.VideoFrame.from_ndarray(np.full((72, 64), 128, np.uint8), format="yuv420p")
        frame.planes[0].update(bytes([luma]) * frame.planes[0].buffer_size)
        frame.colorspace, frame.color_range, frame.color_trc = matrix, colour_range, transfer
        frame.color_primaries = 9 if transfer in (16, 18) else 2
        return frame

    @pytest.mark.parametrize("matrix", range(16))
    @pytest.mark.parametrize("transfer", [0, 1, 2, 3, 9, 10])
    def test_every_tag_gives_the_picture(self, matrix: int, transfer: int) -> None:
        pixels = Converter().rgb(self.flat(126, matrix=matrix, transfer=transfer))
        assert np.abs(pixels.astype(int) - 128).max() <= 1

    def test_matrix_and_range_are_the_frames_own(self) -> None:
        assert Converter().rgb(self.flat(16)).max() == 0
        assert set(np.unique(Converter().rgb(self.flat(16, colour_range=2)))) == {16}
        reds = dict[int, list[int]]()
        for matrix in (1, 5, 9):
            frame = self.flat(81, matrix=matrix)
            frame.planes[2].update(bytes([240]) * frame.planes[2].buffer_size)
            reds[matrix] = Converter().rgb(frame)[0, 0].tolist()
        assert len({tuple(red) for red in reds.values()}) == 3  # BT.709, BT.601, BT.2020

    @pytest.mark.parametrize(("transfer", "code"), [(16, 0.5807), (18, 0.75)])
    def test_white_of_hdr_is_nearly_white_and_its_greys_rise(self, transfer: int, code: float) -> None:
        to_light, matrix, to_code = hdr_tables(transfer, wide=True)
        levels = to_code[to_light].astype(int)
        assert 235 <= levels[round(255 * code)] <= 255  # 203 nits, ITU-R BT.2408
        assert (np.diff(levels) >= 0).all()
        assert levels[0] == 0
        assert levels[-1] == 255
        assert np.allclose(matrix.sum(axis=1), 1, atol=1e-3)  # grey stays grey

    def test_a_file_in_hdr(self, tmp_path: Path) -> None:
        luma = round(64 + 0.75 * 876)  # HLG's diffuse white in 10 bit
        planes = [np.full((48, 64), luma, np.uint16), *[np.full((24, 32), 512, np.uint16)] * 2]
        frames = []
        for _ in range(3):
            frame = av.VideoFrame(64, 48, "yuv420p10le")
            for plane, values in zip(frame.planes, planes, strict=True):
                padded = np.zeros((plane.height, plane.line_size // 2), np.uint16)
                padded[:, : plane.width] = values
                plane.update(padded.tobytes())
            frames.append(frame)
        tags = {"color_trc": 18, "color_primaries": 9, "colorspace": 9}
        path = write_frames(tmp_path / "hlg.mp4", frames, "libx265", stream=tags, **{"x265-params": "log-level=none"})
        for shown in VideoReader(path):
            assert 235 <= shown.pixels.min() <= shown.pixels.max() <= 255

    def test_a_picture_that_is_rgb_already_is_the_callers_own(self, tmp_path: Path) -> None:
        frames = [av.VideoFrame.from_ndarray(pixels, format="rgb24") for pixels in noise_frames(4)]
        path = write_frames(tmp_path / "a.mkv", [frame.reformat(format="bgr0") for frame in frames], "ffv1")
        for frame, expected in zip(VideoReader(path), noise_frames(4), strict=True):
            assert np.array_equal(frame.pixels, expected)
            frame.pixels[:] = 0


class TestStreams:
    def write(self, path: Path, *parts: tuple[list[Pixels], int | None], codec: str = "libx264") -> Path:
        """A file with several videos, each with its disposition."""
        with av.open(path, "w") as container:
            streams = []
            for frames, disposition in parts:
                stream = container.add_stream("mjpeg" if disposition == Disposition.attached_pic else codec, rate=25)
                stream.height, stream.width = frames[0].shape[:2]
                stream.pix_fmt = "yuvj420p" if disposition == Disposition.attached_pic else "yuv420p"
                if disposition is not None:
                    stream.disposition = disposition
                streams.append(stream)
            for stream, (frames, _) in zip(streams, parts, strict=True):
                for pixels in frames:
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
                container.mux(stream.encode(None))
        return path

    def test_a_cover_picture_is_no_video(self, tmp_path: Path) -> None:
        cover = [np.full((96, 96, 3), 200, np.uint8)]
        path = self.write(tmp_path / "a.mp4", (cover, Disposition.attached_pic), (index_frames(10), None))
        assert [frame_index(frame.pixels) for frame in VideoReader(path)] == list(range(10))

    def test_the_default_one_is_read_and_the_others_are_named(self, tmp_path: Path) -> None:
        other, shown = [np.full((96, 96, 3), 200, np.uint8)] * 10, index_frames(10)
        path = self.write(tmp_path / "a.mkv", (other, 0), (shown, Disposition.default))
        with pytest.warns(VideoNote, match=r"further videos \(streams 0\): only stream 1 is read"):
            assert [frame_index(frame.pixels) for frame in VideoReader(path)] == list(range(10))

    def test_av1(self, tmp_path: Path) -> None:
        frames = index_frames(5, width=128, height=96)
        path = write_video(
            tmp_path / "a.mp4", frames, codec="libsvtav1", codec_options={"preset": "12", "svtav1-params": "lp=1"}
        )
        assert [frame_index(frame.pixels) for frame in VideoReader(path)] == list(range(5))
        assert probe_video(path).codec == "AV1"

    def test_one_that_is_encrypted_says_so(self, tmp_path: Path) -> None:
        keys = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb"}
        keys["encryption_kid"] = "a7e61c373e219033c21091fa607bf3b8"
        path = write_video(tmp_path / "a.mp4", noise_frames(20), container_options=keys)
        with pytest.raises(VideoError, match="it is encrypted; give a copy without copy protection"):
            list(VideoReader(path))

    def test_a_codec_without_decoder_is_named(self, tmp_path: Path) -> None:
        path = write_video(tmp_path / "a.mp4", index_frames(5))
        path.write_bytes(path.read_bytes().replace(b"avc1", b"evc1"))
        with pytest.raises(VideoError, match="no decoder here for its codec, evc"):
            list(VideoReader(path))


class TestRawStreams:
    @pytest.mark.parametrize(("name", "codec"), [("a.h264", "libx264"), ("a.hevc", "libx265")])
    def test_they_have_their_own_rate(self, tmp_path: Path, name: str, codec: str) -> None:
        options = {"x265-params": "log-level=none:bframes=2"} if codec == "libx265" else {}
        path = write_video(tmp_path / name, index_frames(36), fps=12, codec=codec, codec_options=options)
        reader = VideoReader(path)
        assert [frame.time_seconds for frame in reader] == pytest.approx([index / 12 for index in range(36)])
        assert reader.duration_seconds == pytest.approx(3.0)

    @pytest.mark.parametrize("name", ["a.mjpeg", "a.mjpg"])
    def test_or_25_is_assumed_and_said(self, tmp_path: Path, name: str) -> None:
        pictures = [cv2.imencode(".jpg", pixels[:, :, ::-1])[1].tobytes() for pixels in index_frames(10)]
        (tmp_path / name).write_bytes(b"".join(pictures))
        with pytest.warns(VideoNote, match="does not say its frame rate: 25 frames/s are assumed"):
            frames = list(VideoReader(tmp_path / name))
        assert [frame_index(frame.pixels) for frame in frames] == list(range(10))
        assert frames[-1].time_seconds == pytest.approx(0.36)


class TestSeeking:
    @pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.mov", "a.avi", "a.ts", "a.mpg", "a.flv"])
    def test_a_span_is_the_same_part_of_the_whole(self, tmp_path: Path, name: str) -> None:
        options = {"g": "30", "bf": "2"} if name not in ("a.webm", "a.avi") else {"g": "30"}
        path = write_video(tmp_path / name, noise_frames(200), codec_options=options)
        whole = list(VideoReader(path).sampled_frames(12.5))
        for start in (0, 13, 37, 60, 98):
            span = list(VideoReader(path).sampled_frames(12.5, indices=range(start, start + 7)))
            expected = [frame for frame in whole if frame.index in range(start, start + 7)]
            assert [(one.index, one.time_seconds) for one in span] == [
                (one.index, one.time_seconds) for one in expected
            ]
            assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(span, expected, strict=True))

    @pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
    def test_little_before_it_is_decoded(self, tmp_path: Path, name: str) -> None:
        options = {"g": "25"} if name == "a.avi" else {"g": "25", "bf": "2"}
        reader = VideoReader(write_video(tmp_path / name, noise_frames(500), codec_options=options))
        decoded: list[int] = []
        reader.on_frame = lambda: decoded.append(1)
        assert len(list(reader.sampled_frames(10, indices=range(180, 185)))) == 5
        assert len(decoded) < 80


def test_a_picture_that_begins_on_another_clock_begins_at_zero(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", index_frames(10), fps=10, sound_seconds=1.0, start_frames=30_000)
    with pytest.warns(VideoNote, match="its picture begins 3000 s after its start: time 0 is the first picture"):
        sampled = list(VideoReader(path).sampled_frames(10))
    assert [(shown.index, frame_index(shown.pixels)) for shown in sampled] == [(index, index) for index in range(10)]


def test_what_was_read_can_be_asked_of_a_closed_file(tmp_path: Path) -> None:
    reader = VideoReader(write_video(tmp_path / "a.mp4", index_frames(50)))
    frames = list(reader)
    assert (len(frames), reader.rate, reader.duration_seconds) == (50, 25, pytest.approx(2.0))


def test_reading_changes_nothing_outside(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", index_frames(50))
    level = cv2.utils.logging.getLogLevel()
    assert len(list(VideoReader(path))) == 50
    assert cv2.utils.logging.getLogLevel() == level
    assert av.logging.get_level() is None


def test_sound_alone_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="only sound"):
        list(VideoReader(write_sound(tmp_path / "sound.mkv")))
