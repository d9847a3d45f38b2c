import pickle
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from activity.video import opening
from activity.video.errors import HangError, NoFileError, NoFramesError, VideoError
from activity.video.files import find_videos
from activity.video.opening import open_file
from tests.videos import index_frames, noise_frames, write_video


def error_of(path: Path) -> VideoError:
    with pytest.raises(VideoError) as caught:
        open_file(str(path), hang_seconds=5)
    return caught.value


class TestOpeningFiles:
    def test_a_codec_without_decoder_is_named_and_no_log_level_changes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_video(tmp_path / "a.mp4", index_frames(5))
        good, levels = path.read_bytes(), list[int | None]()
        monkeypatch.setattr(av.logging, "set_level", levels.append)
        for tag, name in ((b"evc1", "evc"), (b"zzzz", "which FFmpeg does not know")):
            path.write_bytes(good.replace(b"avc1", tag))
            assert error_of(path).reason == f"there is no decoder here for its codec, {name}"
        assert levels == []

    def test_a_file_that_is_removed_meanwhile(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_video(tmp_path / "a.mp4", index_frames(5))
        monkeypatch.setattr(opening, "check_file", lambda _: path.unlink())
        error = error_of(path)
        assert (error.source, error.reason) == (str(path), "it cannot be read (No such file or directory)")

    @pytest.mark.parametrize("name", ["a%d.mp4", "a%03d.png"])
    def test_a_damaged_one_is_not_told_to_be_renamed(self, tmp_path: Path, name: str) -> None:
        good = write_video(tmp_path / "a.mp4", noise_frames(20)).read_bytes()
        (tmp_path / name).write_bytes(good[: good.index(b"moov") - 4])
        assert "its index (moov) is missing" in error_of(tmp_path / name).reason

    def test_one_with_a_damaged_header_is_not_either(self, tmp_path: Path) -> None:
        (tmp_path / "a%d.mkv").write_bytes(b"\x1aE\xdf\xa3" + b"\xff" * 1000)
        (tmp_path / "b%d.mp4").write_text("text")
        assert "headers are damaged" in error_of(tmp_path / "a%d.mkv").reason
        assert error_of(tmp_path / "b%d.mp4").reason == "it is not a video"


class TestFindVideos:
    def paths(self, folder: Path) -> list[str]:
        return [path.relative_to(folder).as_posix() for path in find_videos(folder)]

    def test_a_folder_and_links_to_it_give_each_file_once(self, tmp_path: Path) -> None:
        (tmp_path / "set" / "real" / "deep").mkdir(parents=True)
        (tmp_path / "set" / "real" / "deep" / "a.mp4").touch()
        for link in ("alink", "zlink", "b/link"):
            (tmp_path / "set" / link).parent.mkdir(exist_ok=True)
            (tmp_path / "set" / link).symlink_to(tmp_path / "set" / "real")
        (tmp_path / "set" / "part").symlink_to(tmp_path / "set" / "real" / "deep")
        assert self.paths(tmp_path / "set") == ["real/deep/a.mp4"]

    def test_without_the_folder_the_first_link_is_visited(self, tmp_path: Path) -> None:
        (tmp_path / "other" / "run").mkdir(parents=True)
        (tmp_path / "other" / "run" / "a.mp4").touch()
        (tmp_path / "other" / "b.mp4").touch()
        (tmp_path / "set" / "sub").mkdir(parents=True)
        for link, target in (("zlink", "other"), ("alink", "other"), ("sub/link", "other/run")):
            (tmp_path / "set" / link).symlink_to(tmp_path / target)
        assert self.paths(tmp_path / "set") == ["alink/b.mp4", "alink/run/a.mp4"]

    def test_a_link_to_a_folder_above_can_be_named(self, tmp_path: Path) -> None:
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / "a.mp4").touch()
        (tmp_path / "set" / "self").symlink_to(tmp_path / "set")
        assert self.paths(tmp_path / "set" / "self") == ["a.mp4"]


class TestErrors:
    @pytest.mark.parametrize("kind", [VideoError, NoFileError, NoFramesError, HangError])
    def test_they_stay_what_they_are_between_processes(self, kind: type[VideoError]) -> None:
        error = pickle.loads(pickle.dumps(kind("a.mp4", "it is bad", "mend it")))
        assert (type(error), str(error)) == (kind, "a.mp4: it is bad; mend it.")


def test_an_animated_picture_that_ffmpeg_does_not_read_is_no_damaged_video(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    path.write_bytes(cv2.imencode(".webp", np.zeros((48, 64, 3), np.uint8))[1].tobytes())
    assert error_of(path).reason == "it is not a video"
