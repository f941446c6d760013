"""The command line. Nothing heavy is imported until a command needs it, so that help and lists are immediate."""

INTERRUPTED = 130
"""The exit code after Ctrl-C, or whatever else asks a process to stop."""
