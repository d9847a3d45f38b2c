"""Servers on loopback, for tests: a camera that sends JPEG pictures in an HTTP answer without end, and playlists."""

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cv2

from tests.videos import index_frame

HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"

DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" type="static"
mediaPresentationDuration="PT2S"><Period>
<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1000" width="64" height="48" codecs="avc1.64000a">
<BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>"""

Send = Callable[[Any], object]
_BOUNDARY = "picture"


class Camera:
    """What a connection gives is said by a script, which is called with its number and a function that sends a frame.

    A frame's colour says its index (`tests.videos.frame_index`). The connection ends with the script. With a media
    type of its own the function sends bytes.
    """

    def __init__(self, script: Callable[[int, Send], object], *, mime: str | None = None) -> None:
        self.script, self.mime = script, mime
        self.connections = 0
        self.over = threading.Event()  # the test's end: scripts that wait go on
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/live"

    def wait(self, seconds: float) -> None:
        """Wait in a script."""
        self.over.wait(seconds)

    def send_at(self, send: Send, fps: float, count: int, *, first: int = 0) -> None:
        """Send frames `first`, `first` + 1, ... at even times."""
        start = time.monotonic()
        for number in range(count):
            self.wait(start + number / fps - time.monotonic())
            if self.over.is_set():
                return
            send(first + number)

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve; gives the URL."""
        camera = self
        self.over.clear()

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                number, camera.connections = camera.connections, camera.connections + 1
                try:
                    self.send_response(200)
                    pictures = f"multipart/x-mixed-replace; boundary={_BOUNDARY}"
                    self.send_header("Content-Type", camera.mime or pictures)
                    self.end_headers()
                    camera.script(number, self.wfile.write if camera.mime else self._send)
                except OSError:  # the client is gone
                    pass

            def _send(self, index: int) -> None:
                picture = cv2.imencode(".jpg", index_frame(index)[:, :, ::-1])[1].tobytes()
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
                self.wfile.write(head.encode() + picture + b"\r\n")

        with http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler) as server:
            self.port = server.server_address[1]
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield self.url
            finally:
                self.over.set()
                server.shutdown()
                thread.join()
