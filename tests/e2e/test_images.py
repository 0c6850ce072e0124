"""Queries with pictures, in a real server."""

import pytest

from tests import pictures


def asked(client, *urls, model="auto"):
    body = {"model": model, "messages": [pictures.message(*urls)], "max_tokens": 4}
    return client.post("/v1/chat/completions", json=body)


@pytest.mark.parametrize(
    "url",
    [
        pictures.url(pictures.encoded(pictures.print_like())),
        pictures.url(b"no picture at all"),
        "https://pictures.invalid/cat.jpg",
    ],
    ids=["picture", "broken", "remote"],
)
def test_a_query_with_a_picture_is_routed_to_whom_can_see_it_and_learned(server, url):
    with server.client() as client:
        reply = asked(client, url)
        decision = client.get(f"/v1/decisions/{reply.headers['x-pointsman-decision-id']}").json()
    assert (reply.status_code, reply.headers["x-pointsman-arm"]) == (200, "cloud")
    assert decision["masked"] == {"edge": "capability:images"}
    assert (decision["features_ok"], decision["reason"]) == (True, "mask")


def test_an_arm_that_cannot_see_is_refused_by_name(server):
    with server.client() as client:
        reply = asked(client, pictures.url(pictures.encoded(pictures.flat())), model="edge")
    assert reply.status_code == 400
    assert "capability:images" in reply.json()["error"]["message"]
