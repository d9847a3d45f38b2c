import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.videos import index_frames, write_video

collect_ignore = ["rtsp_server.py"]  # a program for Debian's Python, which has GStreamer's bindings


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A web server on loopback that has a good video, and the requests it got."""
    folder, asked = tmp_path / "served", []
    folder.mkdir()
    write_video(folder / "good.ts", index_frames(20))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http_server.server_address[1]}/good.ts", asked
        http_server.shutdown()
        thread.join()
