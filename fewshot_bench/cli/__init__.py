"""The command line. Nothing heavy is imported until a command needs it, so that help and lists are immediate."""
