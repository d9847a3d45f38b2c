"""An RTSP camera on loopback, run by the system's Python with Debian's GStreamer: `python3 rtsp_server.py --help`.

A frame's colour says its index, as of `tests.videos.index_frame`; all who connect see the same frames.
"""

import argparse

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

WIDTH, HEIGHT, LEVELS, STEP, COUNT = 64, 48, 6, 51, 216
ENCODED = "video/x-raw,format=I420 ! x264enc tune=zerolatency key-int-max=10 ! rtph264pay name=pay0 config-interval=1"
TRANSPORTS = {
    "tcp": GstRtsp.RTSPLowerTrans.TCP,
    "udp": GstRtsp.RTSPLowerTrans.UDP,
    "both": GstRtsp.RTSPLowerTrans.TCP | GstRtsp.RTSPLowerTrans.UDP,
}


def picture(index: int) -> bytes:
    return bytes(index // LEVELS**place % LEVELS * STEP for place in range(3)) * (WIDTH * HEIGHT)


class Camera(GstRtspServer.RTSPMediaFactory):  # type: ignore[misc]
    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__()
        self.index = options.first
        source = "appsrc name=source is-live=true do-timestamp=true format=time max-buffers=1 caps="
        caps = f"video/x-raw,format=RGB,width={WIDTH},height={HEIGHT},framerate={options.fps}/1"
        self.set_launch(f"( {source}{caps} ! videoconvert ! {ENCODED} )")
        self.set_shared(True)
        self.set_protocols(TRANSPORTS[options.transport])
        self.connect("media-configure", self.configure, options.fps)

    def configure(self, _: object, media: GstRtspServer.RTSPMedia, fps: int) -> None:
        source = media.get_element().get_by_name_recurse_up("source")
        GLib.timeout_add(1000 // fps, self.push, source)

    def push(self, source: Gst.Element) -> bool:
        flow = source.emit("push-buffer", Gst.Buffer.new_wrapped(picture(self.index % COUNT)))
        self.index += flow == Gst.FlowReturn.OK
        return flow in (Gst.FlowReturn.OK, Gst.FlowReturn.FLUSHING)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", default="0")
    parser.add_argument("--transport", choices=tuple(TRANSPORTS), default="both", help="what is offered")
    parser.add_argument("--fps", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="index of the first frame")
    parser.add_argument("--password", help="of the user `admin`")
    options = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service=options.port)
    factory = Camera(options)
    if options.password:
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth = GstRtspServer.RTSPAuth()
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic("admin", options.password), token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("viewer", "media.factory.access", True)
        permissions.add_permission_for_role("viewer", "media.factory.construct", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/live", factory)
    assert server.attach(None)
    print(server.get_bound_port(), flush=True)  # noqa: T201 - whoever started it reads the port
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
