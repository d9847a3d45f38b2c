import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from activity.video.addresses import without_credentials
from activity.video.reader import VideoError
from activity.video.sources import camera_arrivals, kind_of_source, open_url
from tests.video.cameras import HLS
from tests.videos import index_frames, write_video


def error_of(source: str, seconds: float = 2.0) -> VideoError:
    with pytest.raises(VideoError) as caught:
        if kind_of_source(source) == "camera":
            next(camera_arrivals(source, on_frame=lambda: None, stall_seconds=seconds))
        else:
            open_url(source, stall_seconds=seconds)
    return caught.value


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
    @pytest.mark.parametrize("source", ["0", "7", "/dev/video0", "/dev/null"])
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

    @pytest.mark.parametrize("target", ["file://{}", "{}", "concat:{}", "subfile,,start,0,end,0,,:{}"])
    def test_a_server_does_not_make_the_decoder_open_files(self, tmp_path: Path, target: str) -> None:
        secret = write_video(tmp_path / "secret.ts", index_frames(50))
        playlist = HLS.format(target.format(secret)).encode()
        with answering(b"HTTP/1.0 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n" + playlist) as port:
            assert "no video that can be read" in error_of(f"http://127.0.0.1:{port}/x.m3u8").reason
        with answering(f"HTTP/1.0 302 Found\r\nLocation: {target.format(secret)}\r\n\r\n".encode()) as port:
            assert "no video that can be read" in error_of(f"http://127.0.0.1:{port}/x.ts").reason
