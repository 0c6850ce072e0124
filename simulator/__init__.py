"""Replays traffic through the real service parts on a virtual clock."""
