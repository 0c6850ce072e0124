"""What a log line may hold."""

import io
import json
import logging

import pytest
import structlog

from serving.observability import configure_logging, redact


@pytest.fixture
def lines():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging("info", "json")
    written = io.StringIO()
    root.handlers[0].setStream(written)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


SECRETS = [
    ("Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
    ("key sk-pm-abcdefghijkm-" + "s" * 48, "s" * 48),
    ("openai sk-proj-AbCdEf0123456789", "AbCdEf0123456789"),
    ("postgresql://me:hunter2@db:5432/x", "hunter2"),
    ("https://user:hunter2@host/v1", "hunter2"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_what_looks_like_a_secret_is_left_out(text, secret):
    assert secret not in redact(text)


def test_the_public_part_of_a_key_stays():
    assert "sk-pm-abcdefghijkm" in redact("sk-pm-abcdefghijkm-" + "s" * 48)


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_a_secret_never_reaches_the_log(lines, text, secret):
    structlog.get_logger("a").info("event", detail=text, nested={"list": [text]})
    logging.getLogger("b").warning("from the library: %s", text)
    try:
        int(text)
    except ValueError:
        logging.getLogger("c").exception("failed")
    found = lines()
    assert len(found) == 3
    assert secret not in json.dumps(found)


def test_fields_with_a_secrets_name_are_masked(lines):
    structlog.get_logger("a").info("event", api_key="plain", nested={"password": "word"})
    assert lines()[0] | {"ts": 0} == {
        "event": "event",
        "api_key": "***",
        "nested": {"password": "***"},
        "level": "info",
        "ts": 0,
    }


def test_a_line_is_one_line_whatever_is_in_it(lines):
    structlog.get_logger("a").info("event", text='x\n{"level": "forged"}')
    assert len(lines()) == 1
