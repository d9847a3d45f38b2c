"""The command line: one file a verb. The one home of Hydra, argument parsing, progress bars and tables."""
