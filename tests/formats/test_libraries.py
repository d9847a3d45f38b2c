"""Libraries of formats tell nobody of their use."""

import subprocess
import sys

_PROGRAM = """
import sys
from activity.formats.libraries import import_silent

openvino, nncf = import_silent("openvino"), import_silent("nncf")
import openvino.tools.ovc.telemetry_utils as of_openvino
from nncf.telemetry import telemetry as of_nncf

print(of_openvino.tm.__name__, type(of_nncf).__name__, "openvino_telemetry" in sys.modules)
"""


def test_openvino_and_nncf_have_nothing_to_report_with() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-3:] == ["openvino.tools.ovc.telemetry_stub", "MagicMock", "False"]
