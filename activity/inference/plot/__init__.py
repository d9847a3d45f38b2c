"""A timeline as a picture: frames, scores over time, the segments under them (the one home of Matplotlib)."""

from activity.inference.plot.figure import SUFFIXES, PlotError, check_plot, plot_timeline
from activity.inference.plot.thumbnails import thumbnails_of

__all__ = ["SUFFIXES", "PlotError", "check_plot", "plot_timeline", "thumbnails_of"]
