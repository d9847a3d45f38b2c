"""RTSP for real: a server of Debian's GStreamer on loopback, over TCP and over UDP."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from activity.video import live
from activity.video.errors import VideoError
from activity.video.live import LiveFrame, LiveSource, SourceBack, SourceLost
from tests.videos import frame_index

SYSTEM_PYTHON = "/usr/bin/python3"  # has GStreamer's bindings where Debian's packages are installed
NEEDED = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
PACKAGES = "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-rtsp gstreamer1.0-plugins-ugly python3-gi"


def is_there() -> bool:
    return (
        Path(SYSTEM_PYTHON).exists()
        and not subprocess.run([SYSTEM_PYTHON, "-c", NEEDED], capture_output=True).returncode
    )


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_there(), reason=f"there is no RTSP server here: apt-get install {PACKAGES}"),
]


@contextmanager
def serving(*flags: object, port: str = "0") -> Iterator[str]:
    """A camera; gives its port."""
    command = [SYSTEM_PYTHON, str(Path(__file__).with_name("rtsp_server.py")), "--port", port, *map(str, flags)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def source_of(port: str, *, user: str = "") -> LiveSource:
    url = f"rtsp://{user}127.0.0.1:{port}/live"
    return LiveSource(url, sample_fps=10, realtime=False, stall_seconds=5)


def until(items: Iterator[Any], kind: type) -> list[Any]:
    taken = []
    for item in items:
        taken.append(item)
        if isinstance(item, kind):
            break
    return taken


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_frames_come_in_order_and_again_after_the_server_was_gone(
    monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    monkeypatch.setattr(live, "_FIRST_WAIT_SECONDS", 0.2)
    flags, seen = ("--transport", transport), list[LiveFrame]()
    with serving(*flags) as port:
        source = source_of(port)
        items = iter(source)
        while len(seen) < 20:
            seen += until(items, LiveFrame)
    lost = until(items, SourceLost)[-1]
    assert re.search("no more frames|no frame for", lost.reason)
    with serving(*flags, "--first", 100, port=port):
        back = until(items, SourceBack)[-1]
        after = [frame for _ in range(10) for frame in until(items, LiveFrame)]
    source.close()
    assert list(items) == []
    for frames, numbers in ((seen, range(100)), (after, range(100, 200))):
        shown = [frame_index(frame.pixels) for frame in frames]
        assert shown == sorted(shown)
        assert set(shown) <= set(numbers)
        assert len(set(shown)) > len(shown) / 2  # 20 come a second, and 10 are sampled
    indices = [frame.index for frame in seen + after]
    assert indices == sorted(set(indices))
    assert back.index <= after[0].index
    assert back.away_seconds > 0.2


def test_a_wrong_password_is_refused_and_not_printed() -> None:
    with serving("--password", "right") as port:
        with pytest.raises(VideoError, match=r"401 Unauthorized.*user or password may be wrong") as caught:
            list(source_of(port, user="admin:secret@"))
        assert "secret" not in str(caught.value)
        assert caught.value.source == f"rtsp://127.0.0.1:{port}/live"
        with source_of(port, user="admin:right@") as source:
            assert isinstance(next(iter(source)), LiveFrame)
