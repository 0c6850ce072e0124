"""The policies: each maps a context and the eligible arms to a pmf, and learns."""
