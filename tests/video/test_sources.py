import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from activity.video.addresses import without_credentials
from activity.video.errors import VideoError
from activity.video.sources import camera_arrivals, kind_of_source, open_url
from tests.video.cameras import DASH, HLS
from tests.videos import index_frames, write_video


def error_of(source: str, seconds: float = 2.0) -> VideoError:
    with pytest.raises(VideoError) as caught:
        open_source(source, seconds)
    return caught.value


def open_source(source: str, seconds: float) -> None:
    if kind_of_source(source) == "camera":
        next(camera_arrivals(source, on_frame=lambda: None, stall_seconds=seconds))
    else:
        open_url(source, stall_seconds=seconds).close()


@contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """A server that gives these answers, the last one to all that is asked later; its port."""
    over, left = threading.Event(), list(answers)

    def serve() -> None:
        while not over.is_set():
            with suppress(TimeoutError):
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(1)
                    connection.recv(10_000)
                    with suppress(OSError):  # the client has had enough
                        connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        over.set()
        thread.join()


# What a server answers that leads to another address.
LEADS = {
    "x.m3u8": "HTTP/1.0 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n" + HLS,
    "x.mpd": "HTTP/1.0 200 OK\r\nContent-Type: application/dash+xml\r\n\r\n" + DASH,
    "x.ts": "HTTP/1.0 302 Found\r\nLocation: {}\r\n\r\n",
}


class TestCredentials:
    @pytest.mark.parametrize(
        ("url", "name"),
        [
            ("rtsp://admin:secret@10.0.0.5:554/h264?channel=1", "rtsp://10.0.0.5:554/h264?channel=***"),
            ("http://secret@camera/video", "http://camera/video"),
            ("rtsp://admin:se/cr@et@camera:554/x", "rtsp://camera:554/x"),
            ("rtsp://admin:sec?ret#x@camera/x", "rtsp://camera/x"),
            ("rtsp://admin:p@ss@camera/x", "rtsp://camera/x"),
            ("http://camera/x?token=secret&user=secret", "http://camera/x?token=***&user=***"),
            ("http://camera/x?secret", "http://camera/x?***"),
            ("http://camera/x?a=1;pwd=secret", "http://camera/x?a=***;pwd=***"),
            ("http://camera/x?u=http://a:secret@b/", "http://camera/x?u=***"),
            ("http://camera/x#t=secret", "http://camera/x"),
            ("rtsp://camera/user=admin_password=secret_channel=1.sdp", "rtsp://camera/user=***"),
            ("rtsp://camera/user=admin&password=secret&channel=1", "rtsp://camera/user=***&password=***&channel=1"),
            ("http://camera/@people/video.mp4", "http://camera/@people/video.mp4"),
            ("http://camera:8080/@people/video.mp4", "http://people/video.mp4"),  # may be user:password/@host
            ("rtsp://admin:12/34secret@camera/x", "rtsp://camera/x"),
            ("rtsp:/admin:secret@camera/x", "rtsp://camera/x"),  # what a path makes of it
            ("rtsp://[fe80::1]:554/x", "rtsp://[fe80::1]:554/x"),
            ("http://camera", "http://camera"),
            ("udp://@:1234", "udp://:1234"),
            ("0", "0"),
            ("holiday@home.mp4", "holiday@home.mp4"),
        ],
    )
    def test_a_name_has_none(self, url: str, name: str) -> None:
        assert without_credentials(url) == name
        assert "secret" not in name

    @pytest.mark.parametrize(
        "url",
        [
            "http://secret:secret@127.0.0.1:1/x?token=secret",
            "rtsp://secret:secret@127.0.0.1:1/x?token=secret",
            "http://secret:secret@127.0.0.1:not_a_port/x",
            "udp://secret:secret@127.0.0.1:1/secret=secret",
            "telnet://secret:secret@camera/?token=secret",
        ],
    )
    def test_no_error_has_any(self, url: str) -> None:
        error = error_of(url, 0.5)
        assert "secret" not in str(error).replace("secret=***", "")
        assert error.source == without_credentials(url)


class TestKinds:
    @pytest.mark.parametrize("source", ["0", "12", "/dev/video0", "/dev/null"])
    def test_cameras(self, source: str) -> None:
        assert kind_of_source(source) == "camera"

    @pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "rtmp", "rtmps", "http", "HTTPS", "udp", "rtp", "srt", "tcp"])
    def test_urls(self, scheme: str) -> None:
        assert kind_of_source(f"{scheme}://camera/x") == "url"

    def test_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        write_video(Path("0.mp4"), index_frames(5)).rename("0")
        assert kind_of_source("./0") == "file"
        with pytest.raises(VideoError, match="no such file"):
            kind_of_source("missing.mp4")

    @pytest.mark.parametrize("scheme", ["file", "concat", "data", "pipe", "ftp", "gopher", "subfile,,start,0,end,0,,"])
    def test_other_schemes_are_refused_and_those_accepted_are_said(self, scheme: str) -> None:
        with pytest.raises(VideoError, match=f"{scheme}:// is no address") as caught:
            kind_of_source(f"{scheme}:///etc/passwd")
        assert "accepted: rtsp, rtsps, rtmp, rtmps, http, https, udp, rtp, srt, tcp" in caught.value.reason


class TestOpening:
    @pytest.mark.skipif(bool(list(Path("/dev").glob("video*"))), reason="there is a camera")
    @pytest.mark.parametrize("source", ["0", "7", "9" * 20, "9" * 5000, "/dev/video0", "/dev/null"])
    def test_a_camera_that_is_not_there(self, source: str) -> None:
        error = error_of(source)
        assert "no such camera" in error.reason
        assert "there is no /dev/video* here" in error.advice

    def test_the_cameras_that_are_there_are_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Path, "glob", lambda *_: [Path("/dev/video2"), Path("/dev/video0")])
        assert "here are /dev/video0, /dev/video2" in error_of("7").advice

    def test_a_port_that_refuses(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        for scheme in ("http", "rtsp", "rtmp"):
            error = error_of(f"{scheme}://127.0.0.1:{port}/x")
            assert "the connection was refused" in error.reason

    def test_a_host_that_does_not_exist(self) -> None:
        assert "no host of this name" in error_of("http://camera.invalid/x").reason

    @pytest.mark.parametrize("scheme", ["http", "rtsp", "tcp"])
    def test_a_host_that_accepts_and_says_nothing(self, scheme: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            error = error_of(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/x", 0.5)
        assert "no video came from it within 0.5 s" in error.reason

    def test_nothing_on_udp(self) -> None:
        assert "no video came from it within 0.5 s" in error_of("udp://127.0.0.1:45671", 0.5).reason

    def test_a_protocol_that_this_ffmpeg_lacks_is_named(self) -> None:
        assert "built without srt" in error_of("srt://127.0.0.1:1", 0.5).reason

    @pytest.mark.parametrize("name", LEADS)
    @pytest.mark.parametrize("target", ["file://{}", "{}", "concat:{}", "subfile,,start,0,end,0,,:{}"])
    def test_a_server_does_not_make_the_decoder_open_files(self, tmp_path: Path, name: str, target: str) -> None:
        secret = write_video(tmp_path / "secret.ts", index_frames(50))
        with answering(LEADS[name].format(target.format(secret)).encode()) as port:
            assert "no video" in error_of(f"http://127.0.0.1:{port}/{name}").reason

    @pytest.mark.parametrize("name", LEADS)
    @pytest.mark.parametrize("scheme", ["tcp", "udp", "rtmp", "rtsp", "ftp", "gopher", "tls"])
    def test_nor_connect_by_another_protocol(self, name: str, scheme: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as target:
            target.settimeout(0)
            port_there = target.getsockname()[1]
            with answering(LEADS[name].format(f"{scheme}://127.0.0.1:{port_there}/x.ts").encode()) as port:
                assert "no video" in error_of(f"http://127.0.0.1:{port}/{name}").reason
            with pytest.raises(BlockingIOError):  # nobody has connected
                target.accept()

    @pytest.mark.parametrize("name", sorted(LEADS.keys() - {"x.mpd"}))  # PyAV's FFmpeg is built without DASH
    def test_what_is_refused_there_is_opened_by_http(self, name: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as target:
            target.settimeout(2)
            lead = LEADS[name].format(f"http://127.0.0.1:{target.getsockname()[1]}/x.ts").encode()
            with answering(lead) as port:
                error_of(f"http://127.0.0.1:{port}/{name}", 0.5)
            target.accept()[0].close()


class TestTheProcess:
    def test_opening_changes_nothing_in_it(self, server: tuple[str, list[str]]) -> None:
        environment, level = dict(os.environ), cv2.utils.logging.getLogLevel()
        open_url(server[0], stall_seconds=2).close()
        error_of("7")
        error_of("rtsp://127.0.0.1:1/x")
        assert dict(os.environ) == environment
        assert cv2.utils.logging.getLogLevel() == level

    def test_a_host_programs_own_capture_opens_meanwhile(self, server: tuple[str, list[str]]) -> None:
        over = threading.Event()

        def work() -> None:
            while not over.is_set():
                open_url(server[0], stall_seconds=2).close()

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        opened = [cv2.VideoCapture(server[0], cv2.CAP_FFMPEG).isOpened() for _ in range(10)]
        over.set()
        for thread in threads:
            thread.join()
        assert all(opened)


class FakeCamera:
    """OpenCV's capture of a camera: blue pictures, one of them damaged, and the end."""

    def __init__(self, *_: object) -> None:
        self.reads = 0
        self.is_released = False

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def read(self) -> tuple[bool, np.ndarray]:
        self.reads += 1
        return self.reads in (1, 3), np.full((2, 2, 3), (255, 0, 0), np.uint8)

    def release(self) -> None:
        self.is_released = True


def test_a_camera_gives_rgb_until_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = FakeCamera()
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: camera)
    frames = []
    with pytest.raises(VideoError, match=r"there was no frame for 0\.2 s"):
        frames.extend(rgb() for _, rgb in camera_arrivals("0", on_frame=lambda: None, stall_seconds=0.2))
    assert [frame[0, 0].tolist() for frame in frames] in ([], [[0, 0, 255]] * 2)
    assert camera.is_released
