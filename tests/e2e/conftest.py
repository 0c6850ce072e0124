"""Real server processes, one of each kind a session."""

import pytest

from tests.running import STAND_IN_ARM, RunningServer


@pytest.fixture(scope="session")
def server():
    """The default server: real edge model, stand-in cloud, embedded Postgres, no keys."""
    running = RunningServer()
    try:
        yield running.start()
    finally:
        running.stop()
        running.clear()


@pytest.fixture(scope="session")
def locked():
    """A server whose requests need keys; it has the stand-in alone."""
    running = RunningServer({"arms": [STAND_IN_ARM]})
    running.first_key = running.key("inference", "feedback")
    try:
        yield running.start()
    finally:
        running.stop()
        running.clear()
