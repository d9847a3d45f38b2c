#!/usr/bin/env bash
# PyAV 18.1.0 shows a stream's index as `stream.index_entries`. Of a Matroska file it holds one entry when the file was opened
# and while frames are decoded, though the file has its index (Cues): FFmpeg reads that only when somebody seeks, and then
# there are all. Whoever looks at the index to decide whether to seek finds a file without one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet av==18.1.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import av, numpy as np

with av.open("keys.mkv", "w") as container:
    stream = container.add_stream("mpeg4", rate=25, options={"g": "25"})
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for level in range(500):
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), level // 2, np.uint8), format="rgb24")))
    container.mux(stream.encode(None))

with av.open("keys.mkv") as container:
    stream = container.streams.video[0]
    opened = len(stream.index_entries)
    next(container.decode(stream))
    decoded = len(stream.index_entries)
    container.seek(10_000_000)
    sought = len(stream.index_entries)
print("PyAV", av.__version__, "entries when opened:", opened, "after a frame:", decoded, "after a seek:", sought)
as_seen = opened <= 1 and decoded <= 1 and sought >= 20
print("as seen on 2026-12-01" if as_seen else "CHANGED")
sys.exit(not as_seen)
PYTHON
