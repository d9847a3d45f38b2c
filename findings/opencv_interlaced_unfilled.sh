#!/usr/bin/env bash
# opencv-python 5.0.0.93: of an interlaced video, VideoCapture.read() returns True with a picture that was never written.
# A good guess: True means that the picture is the video's. Here it holds whatever the memory held before, so two readings of
# one file differ, or are black. Progressive files are read well, and so is this one by PyAV 18.1.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opencv-python==5.0.0.93 av==18.1.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import av, cv2, numpy as np

def write(path, level, interlaced):
    with av.open(path, "w") as container:
        options = {"flags": "+ildct+ilme", "top": "1"} if interlaced else {}
        stream = container.add_stream("mpeg2video", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 320, 240, "yuv420p", 4_000_000
        for _ in range(10):
            grey = np.full((240, 320, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode(None))

def by_opencv(path):
    done, picture = cv2.VideoCapture(path, cv2.CAP_FFMPEG).read()
    return done, None if picture is None else round(float(picture.mean()))

def by_pyav(path):
    with av.open(path) as container:
        return round(float(next(container.decode(video=0)).to_ndarray(format="rgb24").mean()))

write("dark.mpg", 40, interlaced=False)
write("interlaced.mpg", 180, interlaced=True)
print("OpenCV", cv2.__version__, "PyAV", av.__version__)
dark = by_opencv("dark.mpg")
picture = by_opencv("interlaced.mpg")
print("mean of a progressive video of grey 40, read first:", dark)
print("mean of an interlaced video of grey 180, read next: OpenCV", picture, "PyAV", by_pyav("interlaced.mpg"))
as_seen = picture[0] and abs(picture[1] - 180) > 20 and abs(by_pyav("interlaced.mpg") - 180) < 5 and abs(dark[1] - 40) < 5
print("as seen on 2026-12-01" if as_seen else "CHANGED")
sys.exit(not as_seen)
PYTHON
