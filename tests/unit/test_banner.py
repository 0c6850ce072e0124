"""The first request that a server suggests works as it is shown."""

import pytest

from serving.banner import example


@pytest.mark.parametrize(
    ("listens", "asks"),
    [
        ("http://0.0.0.0:8000", "http://127.0.0.1:8000/v1/"),
        ("http://[::]:8000", "http://[::1]:8000/v1/"),
        ("http://10.0.0.0:8000", "http://10.0.0.0:8000/v1/"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/"),
    ],
)
def test_the_example_asks_where_a_client_can_reach_it(listens, asks):
    assert f"curl {asks}" in example(listens, key_needed=False)[0]


def test_a_key_is_shown_where_one_is_needed():
    locked, unlocked = (
        "\n".join(example("http://127.0.0.1:1", key_needed=needed)) for needed in (True, False)
    )
    assert "-H 'authorization: Bearer YOUR_KEY' \\\n" in locked
    assert "authorization" not in unlocked
