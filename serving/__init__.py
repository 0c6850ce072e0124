"""The shell: HTTP, settings, wiring, backends, and the learner's loop."""
