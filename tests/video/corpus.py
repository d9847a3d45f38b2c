"""Made video files, one a row: containers, codecs, rates, starts, orientations, interlacing, colours, sizes, streams.

Debian's ffmpeg (5.1) makes them; `write_case` makes one. `tests.video.crosscheck` reads them.
"""

import shlex
import struct
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One file, how it is made, and what is special about reading it."""

    name: str  # of the file; its suffix names the container
    encode: str = "libx264 -g 12 -pix_fmt yuv420p"  # codec and options after ``-c:v``
    sound: str = ""  # codec and options after ``-c:a``; no sound if empty
    rate: str = "25"
    size: str = "176x144"
    seconds: float = 2.0
    filters: str = ""  # applied to the made picture before encoding
    options: str = ""  # further options of the output
    joined: "tuple[Case, ...]" = ()  # files whose bytes follow each other, instead of an encoded one
    then: str = ""  # a second command: it reads "{0}", the file so far, and writes the next one
    edit: Callable[[bytes], bytes] | None = None  # changes the bytes of the last file
    # What reading the file beside ffmpeg needs to know.
    video: int = 0  # the stream that a player shows, counted among video streams
    interlaced: bool = False
    first_interlaced: int = 0  # which frame that is
    start: float | None = None  # of the container, where FFmpeg 5.1 says another time than 8.1
    raw_rate: float | None = None  # the file has no times: frame n is shown at n / raw_rate
    reference: str = ""  # options that make ffmpeg 5.1 show the right picture where it does not by itself
    damaged: bool = False  # the reader may call the file damaged
    differs: str = ""  # why pixels are not compared

    @property
    def commands(self) -> list[list[str]]:
        """The ffmpeg commands, one file each; "{0}" is the file of the command before, "{1}" the one to write."""
        inputs = f"-f lavfi -i testsrc2=s={self.size}:r={self.rate}:d={self.seconds}"
        inputs += f" -f lavfi -i sine=d={self.seconds}" if self.sound else ""
        filters = f"-vf {self.filters}" if self.filters else ""
        sound = f"-c:a {self.sound}" if self.sound else ""
        encode = f"{inputs} {filters} -c:v {self.encode} {sound} {self.options}"
        steps = [*([] if self.joined else [encode]), *([self.then] if self.then else [])]
        return [["ffmpeg", "-v", "error", "-y", *shlex.split(step), "{1}"] for step in steps]


def write_case(case: Case, folder: Path) -> Path:
    """Return the case's file in the folder; make it unless it is there. Several processes may ask at once."""
    path = folder / case.name
    if path.exists():
        return path
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        parts = [write_case(part, Path(scratch)) for part in case.joined]
        latest = Path(scratch, "joined" + (parts[0].suffix if parts else ""))
        latest.write_bytes(b"".join(part.read_bytes() for part in parts))
        for number, command in enumerate(case.commands):
            following = Path(scratch, f"{number}{path.suffix}")
            places = {"{0}": str(latest), "{1}": str(following)}
            words = [places.get(word, word) for word in command]
            outcome = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            assert outcome.returncode == 0, f"{case.name}: {shlex.join(words)}\n{outcome.stderr}"
            latest = following
        if case.edit:
            latest.write_bytes(case.edit(latest.read_bytes()))
        latest.replace(path)
    return path


X264 = Case.encode
X264_PLAIN = f"{X264} -bf 0"
X264_TFF = f"{X264} -flags +ildct+ilme -x264opts tff=1"
X264_BFF = f"{X264} -flags +ildct+ilme -x264opts bff=1"
X265 = "libx265 -g 12 -pix_fmt yuv420p -x265-params log-level=none"
VP8 = "libvpx -g 12 -cpu-used 8 -deadline realtime -b:v 1M"
VP9 = "libvpx-vp9 -g 12 -cpu-used 8 -deadline realtime -b:v 1M -pix_fmt yuv420p"
AV1 = "libaom-av1 -g 12 -cpu-used 8 -usage realtime -pix_fmt yuv420p"
MPEG2 = "mpeg2video -g 12 -b:v 2M -pix_fmt yuv420p"
MPEG2_FIELDS = f"{MPEG2} -bf 2 -flags +ildct+ilme"
MPEG4 = "mpeg4 -g 12 -b:v 1M"
PRORES = "prores_ks -profile:v 2"
DV = "dvvideo -pix_fmt yuv420p -s 720x576"
COPY = "-i {0} -map 0 -c copy"
# Above 8 bits and for 4:1:1, FFmpeg 8.1 interpolates colours from where the file says that they stand between pixels;
# 5.1 ignores that place. Soft colours are the same within the limit.
SOFT = "format=yuv444p,gblur=12:steps=6:planes=6,hue=s=0.12"


# Containers and codecs


def _containers() -> list[Case]:
    return [
        Case("h264.mp4", X264_PLAIN),
        Case("h264-b-frames.mp4", X264, "aac"),
        Case("h264-b-pyramid.mp4", f"{X264} -bf 5 -x264opts b-pyramid=normal:b-adapt=0"),
        Case("h264-open-gop.mp4", f"{X264} -bf 3 -x264opts open-gop=1"),
        Case("h264-all-intra.mp4", f"{X264} -g 1"),
        Case("h264-intra-refresh.mp4", f"{X264} -x264opts intra-refresh=1"),
        Case("h264-fragmented.mp4", X264, "aac", options="-movflags frag_keyframe+empty_moov"),
        Case("h264-index-first.mp4", X264, "aac", options="-movflags faststart"),
        Case("h264-negative-offsets.mp4", X264, options="-movflags negative_cts_offsets"),
        Case("hevc.mp4", X265, "aac", options="-tag:v hvc1"),
        Case("mpeg4.mp4", f"{MPEG4} -bf 2", "aac"),
        Case("mpeg2.mp4", f"{MPEG2} -bf 2"),
        Case("vp9.mp4", VP9),
        Case("av1.mp4", AV1, "aac"),
        Case("mjpeg.mp4", "mjpeg -pix_fmt yuvj420p"),
        Case("h264.m4v", X264),
        Case("h264.f4v", X264, "aac"),
        Case("h263.3gp", "h263", size="176x144"),
        Case("h264.3gp", X264_PLAIN, "aac"),
        Case("h264.mov", X264, "aac"),
        Case("prores.mov", PRORES, "pcm_s16le"),
        Case("prores-4444.mov", "prores_ks -profile:v 4 -pix_fmt yuva444p10le"),
        Case("mjpeg.mov", "mjpeg -pix_fmt yuvj422p"),
        Case("dnxhd.mov", "dnxhd -profile:v dnxhr_sq -pix_fmt yuv422p", size="256x120"),
        Case("png.mov", "png -pix_fmt rgb24"),
        Case("qtrle.mov", "qtrle -g 12"),
        Case("cineform.mov", "cfhd -pix_fmt yuv422p10le"),
        Case("raw-422.mov", "rawvideo -pix_fmt uyvy422"),
        Case("h264.mkv", X264_PLAIN),
        Case("h264-b-frames.mkv", X264, "aac"),
        Case("hevc.mkv", X265, "aac"),
        Case("vp8.mkv", VP8, "libvorbis"),
        Case("av1.mkv", "libsvtav1 -g 12 -preset 12 -pix_fmt yuv420p", "libopus", start=0),
        Case("ffv1.mkv", "ffv1 -g 12 -pix_fmt yuv420p", "flac"),
        Case("mpeg4.mkv", f"{MPEG4} -bf 2"),
        Case("mpeg2.mkv", f"{MPEG2} -bf 2", "mp2"),
        Case("theora.mkv", "libtheora -g 12 -q:v 7", "libvorbis"),
        Case("huffyuv.mkv", "huffyuv -pix_fmt yuv422p"),
        Case("vp8.webm", VP8, "libvorbis"),
        Case("vp9.webm", VP9, "libopus", start=0),
        Case("vp9-hidden-frames.webm", "libvpx-vp9 -g 25 -b:v 1M -auto-alt-ref 1 -lag-in-frames 16 -cpu-used 5"),
        Case("av1.webm", AV1, "libopus", start=0),
        Case("mpeg4.avi", MPEG4, "mp3"),
        Case("mpeg4-b-frames.avi", f"{MPEG4} -bf 2"),
        Case("xvid.avi", "libxvid -g 12 -b:v 1M -bf 2"),
        Case("h264.avi", X264_PLAIN),
        Case("h264-b-frames.avi", X264),
        Case("mjpeg.avi", "mjpeg -pix_fmt yuvj422p", "pcm_s16le"),
        Case("msmpeg4.avi", "msmpeg4 -g 12 -b:v 1M"),
        Case("huffyuv.avi", "huffyuv -pix_fmt yuv422p"),
        Case("utvideo.avi", "utvideo -pix_fmt yuv422p"),
        Case("raw-bgr.avi", "rawvideo -pix_fmt bgr24"),
        Case("cinepak.avi", "cinepak", seconds=0.6),
        Case("h264.ts", X264, "aac"),
        Case("hevc.ts", X265, "aac"),
        Case("mpeg2.ts", f"{MPEG2} -bf 2", "mp2"),
        Case("h264.mts", X264, "ac3", options="-mpegts_m2ts_mode 1"),
        Case("h264.m2ts", X264, "ac3"),
        Case("mpeg1.mpg", "mpeg1video -g 12 -b:v 2M -bf 2", "mp2"),
        Case("mpeg2.mpg", f"{MPEG2} -bf 2", "mp2", options="-f vob"),
        Case("mpeg2.vob", f"{MPEG2} -bf 2", "ac3"),
        Case("h264.mpg", X264_PLAIN, "mp2", options="-f vob"),
        Case("flv1.flv", "flv -g 12 -b:v 1M", "mp3 -ar 44100"),
        Case("h264.flv", X264, "aac"),
        Case("wmv2.wmv", "wmv2 -g 12 -b:v 1M", "wmav2"),
        Case("mpeg2.mxf", MPEG2, "pcm_s16le -ar 48000"),
        Case("dnxhd.mxf", "dnxhd -profile:v dnxhr_sq -pix_fmt yuv422p", size="256x120"),
        Case("h264.mxf", X264_PLAIN),
        Case("theora.ogv", "libtheora -g 12 -q:v 7", "libvorbis"),
        Case("ffv1.nut", "ffv1 -g 12 -pix_fmt yuv420p"),
        Case("h264.nut", X264, "aac"),
        Case("mpeg2.wtv", MPEG2, "mp2"),
        Case("rv20.rm", "rv20 -g 12 -b:v 1M"),
        Case("picture.gif", "gif", rate="10"),
        Case("raw.y4m", "wrapped_avframe -pix_fmt yuv420p"),
        Case("vp8.ivf", VP8),
        Case("vp9.ivf", VP9),
        Case("av1.ivf", AV1),
        Case("h264.h264", X264, raw_rate=25),
        Case("h264-no-b-frames.264", X264_PLAIN, raw_rate=25, options="-f h264"),
        Case("hevc.hevc", X265, raw_rate=25),
        Case("mpeg2.m2v", f"{MPEG2} -bf 2", raw_rate=25),
        Case("mpeg1.m1v", "mpeg1video -g 12 -b:v 2M", raw_rate=25),
        Case("mjpeg.mjpeg", "mjpeg -pix_fmt yuvj420p", raw_rate=25),
        Case("av1.obu", AV1, raw_rate=25),
        Case("mpeg4.m4v", MPEG4, raw_rate=25, options="-f m4v"),
    ]


def _formats() -> list[Case]:
    x264_formats = ["yuv422p", "yuv444p", "yuv444p10le", "gray", "yuvj420p"]
    ffv1_formats = ["bgr0", "yuv444p16le", "gray", "gray16le", "yuva420p"]
    soft = [
        ("h264-420-10-bit.mp4", f"{X264} -pix_fmt yuv420p10le"),
        ("h264-422-10-bit.mp4", f"{X264} -pix_fmt yuv422p10le"),
        ("hevc-420-10-bit.mp4", f"{X265} -pix_fmt yuv420p10le"),
        ("hevc-420-12-bit.mkv", f"{X265} -pix_fmt yuv420p12le"),
        ("vp9-420-10-bit.webm", f"{VP9} -pix_fmt yuv420p10le"),
        ("av1-420-10-bit.mkv", f"{AV1} -pix_fmt yuv420p10le"),
        ("ffv1-410.mkv", "ffv1 -g 12 -pix_fmt yuv410p"),
    ]
    return [
        *(Case(f"h264-{name}.mp4", f"libx264 -g 12 -pix_fmt {name}") for name in x264_formats),
        *(Case(f"hevc-{name}.mp4", f"{X265} -pix_fmt {name}") for name in ("yuv422p10le", "yuv444p")),
        *(Case(f"vp9-{name}.webm", f"{VP9} -pix_fmt {name}") for name in ("yuv444p", "gbrp")),
        *(Case(f"ffv1-{name}.mkv", f"ffv1 -g 12 -pix_fmt {name}") for name in ffv1_formats),
        *(Case(name, encode, filters=SOFT) for name, encode in soft),
        Case("h264-rgb.mkv", "libx264rgb -g 12 -qp 0"),
    ]


# Rates and starts


def _rates() -> list[Case]:
    uneven = "settb=1/90000,setpts='(PTS/(TB*90000)+900*random(1))',select='mod(n\\,7)*mod(n\\,5)'"
    passed = "-fps_mode passthrough -enc_time_base 1:90000"
    return [
        *(
            Case(f"rate-{rate.replace('/', '-')}.{suffix}", rate=rate, sound=sound)
            for rate in ("30000/1001", "60", "120")
            for suffix, sound in (("mp4", "aac"), ("mkv", ""), ("ts", ""))
        ),
        *(Case(f"one-a-second.{suffix}", rate="1", seconds=6) for suffix in ("mp4", "mkv", "ts")),
        Case("one-in-two-seconds.avi", MPEG4, rate="1/2", seconds=12),
        Case("one-frame.mp4", X264, seconds=0.04),
        Case("one-frame.mkv", "ffv1", seconds=0.04),
        Case("two-frames.ts", X264, seconds=0.08),
        *(Case(f"uneven.{suffix}", filters=uneven, options=passed) for suffix in ("mp4", "mov", "mkv", "ts", "nut")),
        Case("uneven.webm", VP9, filters=uneven, options=passed),
        Case("uneven.flv", filters=uneven, options="-fps_mode vfr"),
        Case("uneven.wmv", "wmv2 -g 12", filters=uneven, options="-fps_mode vfr"),
        Case("left-out.avi", MPEG4, filters="select='mod(n\\,7)*mod(n\\,5)'", options="-fps_mode vfr"),
        Case("milliseconds.mp4", rate="30000/1001", options="-video_track_timescale 1000"),
        Case("timescale-25.mp4", X264, options="-video_track_timescale 25"),
        Case("timescale-90000.mov", rate="24000/1001", options="-video_track_timescale 90000"),
        Case("twelve.h264", rate="12", raw_rate=12),
        Case("twelve.hevc", X265, rate="12", raw_rate=12),
        Case("fifty-nine.h264", rate="60000/1001", raw_rate=60000 / 1001),
        Case("thirty.m2v", f"{MPEG2} -bf 2", rate="30000/1001", raw_rate=30000 / 1001),
        Case("fifteen.y4m", "wrapped_avframe -pix_fmt yuv420p", rate="15"),
        Case("seven.gif", "gif", rate="7"),
    ]


def _starts() -> list[Case]:
    later = "-i {0} -itsoffset 1 -f lavfi -i sine=d=1 -map 0:v -map 1:a -c:v copy -c:a aac"
    late = "-f lavfi -i sine=d=5 -itsoffset 3 -i {0} -map 0:a -map 1:v -c:v copy -c:a"
    return [
        *(
            Case(f"sound-3-s-before.{suffix}", then=f"{late} aac {options}")
            for suffix, options in (("mp4", ""), ("mov", ""), ("mkv", ""), ("ts", ""), ("flv", ""))
        ),
        Case("sound-3-s-before.webm", VP9, then=f"{late} libopus", start=0),
        Case("sound-3-s-before.mpg", f"{MPEG2} -bf 2", then=f"{late} mp2 -f vob"),
        *(Case(f"sound-1-s-later.{suffix}", then=later) for suffix in ("mp4", "mkv")),
        *(Case(f"from-10-s.{suffix}", options="-output_ts_offset 10") for suffix in ("ts", "mkv", "mp4", "flv", "nut")),
        Case("from-10-s.mpg", f"{MPEG2} -bf 2", options="-f vob -output_ts_offset 10"),
        Case("clock-wraps.ts", X264, "aac", options=f"-output_ts_offset {2**33 / 90000 - 1:.3f}"),
        Case("cut-in-gop.ts", X264, "aac", edit=lambda data: _packets_from(data, 0.3), damaged=True),
        Case("cut-in-gop-no-sound.ts", X264, edit=lambda data: _packets_from(data, 0.3), damaged=True),
        Case("cut-in-gop.m2v", f"{MPEG2} -bf 2", raw_rate=25, edit=lambda data: data[len(data) // 3 :], damaged=True),
        Case("copied-from-0.7-s.mp4", X264, "aac", then=f"-ss 0.7 {COPY}"),
        Case("copied-from-0.7-s.mov", X264, then=f"-ss 0.7 {COPY}"),
        Case("copied-from-0.7-s.mkv", X264, "aac", then=f"-ss 0.7 {COPY}"),
        Case("copied-from-0.7-s.ts", X264, "aac", then=f"-ss 0.7 {COPY}"),
        Case("copied-to-1.3-s.mp4", X264, "aac", then=f"{COPY} -t 1.3"),
        Case("negative.mp4", X264, "aac", then=f"-itsoffset -0.5 {COPY} -avoid_negative_ts disabled"),
    ]


def _packets_from(data: bytes, share: float) -> bytes:
    """Return a transport stream without its first packets; its tables stand again before each key frame."""
    return data[int(len(data) * share) // 188 * 188 :]


# Orientations


MATRICES = {
    "as-stored": (1, 0, 0, 1),
    "turned-90": (0, 1, -1, 0),
    "turned-180": (-1, 0, 0, -1),
    "turned-270": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "upside-down": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "anti-transposed": (0, -1, -1, 0),
}


def _with_matrix(name: str) -> Callable[[bytes], bytes]:
    """Return what writes a display matrix into the header of the first track of an MP4 or MOV file."""
    a, b, c, d = MATRICES[name]
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)

    def edit(data: bytes) -> bytes:
        place = data.index(b"tkhd") + 44  # behind the box's type: version, times, number, length, layer, volume
        return data[:place] + matrix + data[place + len(matrix) :]

    return edit


def _orientations() -> list[Case]:
    return [
        *(Case(f"{name}.mp4", edit=_with_matrix(name)) for name in MATRICES),
        *(Case(f"{name}-hevc.mov", X265, edit=_with_matrix(name)) for name in ("turned-90", "transposed")),
        Case("mirrored-prores.mov", PRORES, edit=_with_matrix("mirrored")),
        Case("turned-270-h263.3gp", "h263", edit=_with_matrix("turned-270")),
        Case("turned-90-wide-pixels.mp4", filters="setsar=64/45", edit=_with_matrix("turned-90")),
        # ffmpeg turns first and deinterlaces then, across the lines.
        Case(
            "turned-90-interlaced.mp4",
            X264_TFF,
            rate="50",
            filters="interlace=tff",
            edit=_with_matrix("turned-90"),
            interlaced=True,
            reference="-noautorotate -vf bwdif=mode=send_frame:deint=interlaced,transpose=clock",
        ),
    ]


# Interlacing


def _interlaced() -> list[Case]:
    tff, bff = "interlace=tff", "interlace=bff"
    flagged, unflagged = "setfield=tff", "setfield=prog"
    rows = [
        ("mpeg2-tff.mpg", f"{MPEG2_FIELDS} -top 1", tff),
        ("mpeg2-bff.mpg", f"{MPEG2_FIELDS} -top 0", bff),
        ("mpeg2-tff.ts", f"{MPEG2_FIELDS} -top 1", tff),
        ("mpeg2-tff.mkv", f"{MPEG2_FIELDS} -top 1", tff),
        ("mpeg2-tff.mxf", f"{MPEG2} -flags +ildct+ilme -top 1", tff),
        ("h264-tff.mp4", X264_TFF, tff),
        ("h264-bff.mp4", X264_BFF, bff),
        ("h264-tff.mts", X264_TFF, tff),
        ("h264-bff.mkv", X264_BFF, bff),
        ("ffv1-tff.mkv", "ffv1 -g 12 -flags +ildct -pix_fmt yuv420p", tff),
        ("ffv1-bff.mkv", "ffv1 -g 12 -flags +ildct -pix_fmt yuv422p", bff),
        ("prores-tff.mov", f"{PRORES} -flags +ildct", tff),
        ("prores-bff.mov", f"{PRORES} -flags +ildct", bff),
        ("dnxhd-tff.mov", "dnxhd -b:v 120M -flags +ildct -pix_fmt yuv422p -s 1920x1080", tff),
        ("utvideo-tff.avi", "utvideo -flags +ildct -pix_fmt yuv422p", tff),
        ("mpeg4-tff.avi", "mpeg4 -g 12 -b:v 2M -flags +ildct+ilme -top 1", tff),
        ("h264-flagged.mp4", X264_TFF, flagged),
        ("mpeg2-flagged.ts", f"{MPEG2_FIELDS} -top 1", flagged),
        ("ffv1-flagged.mkv", "ffv1 -g 12 -flags +ildct -pix_fmt yuv420p", flagged),
    ]
    first, second = Case("a.ts", X264, filters=unflagged), Case("b.ts", X264_TFF, rate="50", filters=tff)
    second_later = Case("c.ts", X264_TFF, rate="50", filters=tff, options="-output_ts_offset 2.2")
    first_later = Case("d.ts", X264, filters=unflagged, options="-output_ts_offset 2.2")
    return [
        *(
            Case(name, encode, rate="25" if filters == flagged else "50", filters=filters, interlaced=True)
            for name, encode, filters in rows
        ),
        Case("dv-pal.dv", DV, seconds=0.6, interlaced=True),
        Case("dv-pal.avi", DV, "pcm_s16le -ar 48000 -ac 2", seconds=0.6, interlaced=True),
        Case(
            "dv-ntsc.mov",
            "dvvideo -pix_fmt yuv411p -s 720x480",
            rate="30000/1001",
            seconds=0.6,
            filters=SOFT,
            interlaced=True,
        ),
        Case("becomes-interlaced.ts", joined=(first, second_later), interlaced=True, first_interlaced=50),
        Case("becomes-progressive.ts", joined=(second, first_later), interlaced=True),
        Case("becomes-interlaced.mkv", joined=(first, second_later), then=COPY, interlaced=True, first_interlaced=50),
        Case(
            "h264-tff-422.mxf",
            f"{X264_TFF} -bf 0 -pix_fmt yuv422p10le",
            rate="50",
            filters=f"{SOFT},interlace=tff",
            interlaced=True,
        ),
        Case("one-interlaced-frame.mp4", X264_TFF, rate="50", filters=tff, seconds=0.04, interlaced=True),
    ]


# Colours


def _colours() -> list[Case]:
    def h264(name: str, tags: str, **options: str) -> Case:
        return Case(f"h264-{name}.mp4", seconds=0.6, options=f"-bsf:v h264_metadata={tags}", **options)

    def hevc(name: str, tags: str, **options: str) -> Case:
        return Case(f"hevc-{name}.mkv", X265, seconds=0.6, options=f"-bsf:v hevc_metadata={tags}", **options)

    full = "scale=out_range=full"
    matrices = (0, 1, 3, 4, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255)
    hdr = "the reader shows high dynamic range as a player does, plain ffmpeg does not"
    return [
        *(h264(f"matrix-{number}", f"matrix_coefficients={number}") for number in matrices),
        *(hevc(f"matrix-{number}", f"matrix_coefficients={number}") for number in (0, 7, 8, 10, 14)),
        *(h264(f"transfer-{number}", f"transfer_characteristics={number}") for number in (0, 3, 9, 10, 13)),
        *(h264(f"primaries-{number}", f"colour_primaries={number}") for number in (0, 3, 10, 12)),
        *(hevc(f"all-{number}", _all_tags(number)) for number in (0, 3)),
        h264("display-p3", "colour_primaries=12:transfer_characteristics=13:matrix_coefficients=6"),
        hevc("bt2020", "colour_primaries=9:transfer_characteristics=14:matrix_coefficients=9"),
        hevc("pq", "colour_primaries=9:transfer_characteristics=16:matrix_coefficients=9", differs=hdr),
        hevc("hlg", "colour_primaries=9:transfer_characteristics=18:matrix_coefficients=9", differs=hdr),
        h264("full-range", "video_full_range_flag=1:matrix_coefficients=1", filters=full),
        hevc("full-range", "video_full_range_flag=1:matrix_coefficients=9", filters=full),
        Case("vp9-full-range.webm", f"{VP9} -color_range pc -colorspace bt709", seconds=0.6, filters=full),
        Case("vp9-bt2020.webm", f"{VP9} -colorspace bt2020nc", seconds=0.6),
        Case("av1-ycgco.mkv", f"{AV1} -colorspace ycgco", seconds=0.6),
        Case("mpeg2-fcc.ts", f"{MPEG2} -colorspace fcc", seconds=0.6),
        Case("mpeg2-smpte240m.mpg", f"{MPEG2} -colorspace smpte240m", seconds=0.6, options="-f vob"),
        Case("prores-bt709.mov", f"{PRORES} -colorspace bt709 -color_primaries bt709 -color_trc bt709", seconds=0.6),
        Case("ffv1-full-range.mkv", "ffv1 -pix_fmt yuv420p -color_range pc", seconds=0.6, filters=full),
        Case("mjpeg-limited.mkv", "mjpeg -pix_fmt yuv420p -color_range tv -strict unofficial", seconds=0.6),
    ]


def _all_tags(number: int) -> str:
    return f"colour_primaries={number}:transfer_characteristics={number}:matrix_coefficients={number}"


# Sizes


def _sizes() -> list[Case]:
    def sized(name: str, size: str, encode: str, *, later: bool = False) -> Case:
        return Case(name, encode, size=size, seconds=1, options="-output_ts_offset 1.2" if later else "")

    small_raw, large_raw = sized("a.h264", "96x64", X264_PLAIN), sized("b.h264", "176x144", X264_PLAIN)
    mjpegs = sized("a.mjpeg", "96x64", "mjpeg"), sized("b.mjpeg", "176x144", "mjpeg")
    return [
        Case("odd-size.mp4", "libx264 -pix_fmt yuv444p", size="97x65"),
        Case("odd-size.webm", VP9, size="97x65"),
        Case("odd-size-420.mkv", "ffv1 -pix_fmt yuv420p", size="97x65"),
        Case("odd-size.avi", "mjpeg -pix_fmt yuvj420p", size="33x17"),
        Case("odd-size.mov", "mjpeg -pix_fmt yuvj422p", size="35x45", edit=_with_matrix("turned-90")),
        Case("tiny.mp4", X264, size="2x2"),
        Case("one-pixel.mkv", "ffv1 -pix_fmt bgr0", filters="scale=1:1"),
        Case("wide-and-low.mp4", X264, size="512x16"),
        Case("cropped.mp4", X264, size="182x98"),
        Case("wide-pixels-64-45.mp4", filters="setsar=64/45"),
        Case("wide-pixels-64-45.mkv", filters="setsar=64/45"),
        Case("wide-pixels-16-9.mpg", f"{MPEG2} -aspect 16:9", options="-f vob"),
        Case("wide-pixels-2-1.ts", filters="setsar=2/1"),
        Case("narrow-pixels-1-2.avi", X264_PLAIN, filters="setsar=1/2"),
        Case("size-grows.h264", joined=(sized("a.h264", "96x64", X264), sized("b.h264", "176x144", X264)), raw_rate=25),
        Case("size-grows.ts", joined=(sized("a.ts", "96x64", X264), sized("b.ts", "176x144", X264, later=True))),
        Case("size-shrinks.ts", joined=(sized("a.ts", "176x144", MPEG2), sized("b.ts", "96x64", MPEG2, later=True))),
        Case("size-grows.mkv", joined=(small_raw, large_raw), then=COPY),
        Case("size-grows.mjpeg", joined=mjpegs, raw_rate=25),
        Case(
            "size-grows-interlaced.ts",
            joined=(sized("a.ts", "96x64", X264_TFF), sized("b.ts", "176x144", X264_TFF, later=True)),
            interlaced=True,
            differs="ffmpeg 5.1 loses the frame that its filter still holds when the size changes",
        ),
    ]


# Streams


def _cover_before(data: bytes) -> bytes:
    """Return an MP4 file with its description, which holds the cover picture, before the first track."""
    start = data.index(b"moov") + 4
    track, description = data.index(b"trak", start) - 4, data.rindex(b"udta") - 4
    length = int.from_bytes(data[description : description + 4], "big")
    box, rest = data[description : description + length], data[description + length :]
    return data[:track] + box + data[track:description] + rest


def _streams() -> list[Case]:
    cover = (
        "-i {0} -f lavfi -i color=red:s=64x64:d=0.04 -map 0 -map 1 -c copy -c:v:1 mjpeg -disposition:v:1 attached_pic"
    )
    second = "-f lavfi -i testsrc=s=64x48:d=2 -i {0} -map 0 -map 1 -c:v:0"
    default = "-c:v:1 copy -disposition:v:0 0 -disposition:v:1 default"
    long_sound = "-i {0} -f lavfi -i sine=d=5 -map 0 -map 1 -c:v copy -c:a"
    return [
        Case("cover.mp4", X264, "aac", then=cover),
        Case("cover-first.mp4", X264, "aac", then=cover, edit=_cover_before, video=1),
        Case("cover.wmv", "wmv2 -g 12", "wmav2", then=cover),
        Case("cover.mkv", X264, "aac", then="-i {0} -map 0 -c copy -metadata:s:t mimetype=image/jpeg"),
        Case("second-is-default.mkv", then=f"{second} mpeg4 {default}", video=1),
        Case("second-is-default.mp4", then=f"{second} mpeg4 {default}", video=1),
        Case("two-videos.ts", then=f"{second} mpeg2video -c:v:1 copy"),
        Case("two-videos.mp4", then=f"{second} mpeg4 -c:v:1 copy -disposition:v 0"),
        *(Case(f"sound-3-s-longer.{suffix}", then=f"{long_sound} aac") for suffix in ("mp4", "mkv", "ts", "flv")),
        Case("sound-3-s-longer.mts", then=f"{long_sound} ac3 -mpegts_m2ts_mode 1"),
        Case("sound-3-s-longer.webm", VP9, then=f"{long_sound} libopus", start=0),
        Case("sound-3-s-longer.avi", MPEG4, then=f"{long_sound} mp3"),
        Case("sound-3-s-longer.wmv", "wmv2 -g 12", then=f"{long_sound} wmav2"),
        Case("two-sounds.mkv", then="-i {0} -f lavfi -i sine=d=2 -map 0 -map 1 -map 1 -c:v copy -c:a aac"),
    ]


CASES = (
    *_containers(),
    *_formats(),
    *_rates(),
    *_starts(),
    *_orientations(),
    *_interlaced(),
    *_colours(),
    *_sizes(),
    *_streams(),
)
