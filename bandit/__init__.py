"""Core: values, policies, evaluation. Pure and synchronous: no I/O, no clock."""
