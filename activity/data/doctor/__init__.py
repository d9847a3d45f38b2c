"""What is wrong with a data set, before training: every video read once, then one diagnosis of all of it.

`read_for_diagnosis` takes what a layout's reader says, `survey_videos` reads the videos, `find_class_lists` looks for
lists of classes beside them, and `diagnose` makes findings of all that. `read_findings` makes those that need no
reading once features have been computed.
"""

from activity.data.doctor.class_lists import ClassList, find_class_lists
from activity.data.doctor.copies import identical_findings
from activity.data.doctor.diagnosis import (
    ClassCount,
    Diagnosis,
    Distribution,
    Reading,
    diagnose,
    read_for_diagnosis,
)
from activity.data.doctor.findings import SEVERITIES, Finding, Settings, Severity, Subject
from activity.data.doctor.read_clips import ReadClip, read_findings
from activity.data.doctor.survey import SurveyProgress, VideoRecord, survey_videos
from activity.data.doctor.videos import read_in_part_finding, span_outside_finding

__all__ = [
    "SEVERITIES",
    "ClassCount",
    "ClassList",
    "Diagnosis",
    "Distribution",
    "Finding",
    "ReadClip",
    "Reading",
    "Settings",
    "Severity",
    "Subject",
    "SurveyProgress",
    "VideoRecord",
    "diagnose",
    "find_class_lists",
    "identical_findings",
    "read_findings",
    "read_for_diagnosis",
    "read_in_part_finding",
    "span_outside_finding",
    "survey_videos",
]
