"""The command line: mounts the command groups, nothing else."""
