#!/usr/bin/env bash
# PyAV 18.1.0 opens every input with FFmpeg's flag to make up missing times (genpts). In an AVI with H.264 B-frames the first
# frame so gets 0.04 s and the second 0.12 s at an even 25 frames/s; FFmpeg's own tools, which do not set the flag, have the
# first at 0.08 s. Clearing `Flags.gen_pts` after opening, and taking `frame.dts` where `frame.pts` is None, gives theirs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import av, numpy as np
from av.container import Flags

with av.open("b.avi", "w") as container:
    stream = container.add_stream("libx264", rate=25, options={"bf": "2"})
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for level in range(20):
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * level, np.uint8), format="rgb24")))
    container.mux(stream.encode(None))

def times(clear):
    with av.open("b.avi") as container:
        if clear:
            container.flags &= ~Flags.gen_pts.value
        frames = container.decode(video=0)
        stamps = [next(frames) for _ in range(4)]
        return [round(float((f.dts if f.pts is None else f.pts) * f.time_base), 3) for f in stamps]

print("PyAV", av.__version__, "first times as opened:", times(False), "with gen_pts cleared:", times(True))
as_seen = times(False)[:2] == [0.04, 0.12] and times(True) == [0.08, 0.12, 0.16, 0.2]
print("as seen on 2026-12-01" if as_seen else "CHANGED")
sys.exit(not as_seen)
PYTHON
