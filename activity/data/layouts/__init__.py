"""From what a user has on disk to a `Manifest`: one file a layout. No video is opened."""

from activity.data.layouts.detect import Layout, detect_layout, read_any
from activity.data.layouts.folder import read_folder
from activity.data.layouts.hmdb51 import read_hmdb51
from activity.data.layouts.kinetics import read_kinetics
from activity.data.layouts.table import CSV_COLUMNS, read_clips, read_csv
from activity.data.layouts.ucf101 import read_ucf101

__all__ = [
    "CSV_COLUMNS",
    "Layout",
    "detect_layout",
    "read_any",
    "read_clips",
    "read_csv",
    "read_folder",
    "read_hmdb51",
    "read_kinetics",
    "read_ucf101",
]
