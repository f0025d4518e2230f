"""The commands. Each file registers its own; everything heavy is imported when a command runs."""
