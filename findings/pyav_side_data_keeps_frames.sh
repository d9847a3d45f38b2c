#!/usr/bin/env bash
# PyAV 18.1.0: asking a frame for `side_data` (its display matrix, say) keeps the frame in memory until Python's cycle
# collector runs: the frame holds the container of its side data, and that the frame. Frames are large and Python objects
# few, so the collector comes late: memory grows by the decoded pictures of seconds of video. `frame.rotation` holds nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import gc, sys, weakref
import av, numpy as np

with av.open("turned.mp4", "w") as container:
    stream = container.add_stream("libx264", rate=25)
    stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
    stream.set_display_rotation(90)
    for level in range(100):
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((360, 640, 3), level, np.uint8), format="rgb24")))
    container.mux(stream.encode(None))

def frames_left(ask):
    gc.collect()
    gc.disable()
    with av.open("turned.mp4") as container:
        for frame in container.decode(video=0):
            ask(frame)
    del frame
    left = sum(isinstance(item, av.VideoFrame) for item in gc.get_objects())
    gc.enable()
    gc.collect()
    return left

by_rotation, by_side_data = frames_left(lambda frame: frame.rotation), frames_left(lambda frame: frame.side_data)
print("PyAV", av.__version__, "- frames of 100 that are still there after reading, without a run of the collector:")
print("  asked for rotation:", by_rotation, " asked for side_data:", by_side_data)
as_seen = by_rotation <= 2 and by_side_data >= 90
print("as seen on 2026-12-01" if as_seen else "CHANGED")
sys.exit(not as_seen)
PYTHON
