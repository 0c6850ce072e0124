"""Which words of a query count."""

import time

import pytest

from features.text import content_text, cut_middle, query_text, speakable, strip_boilerplate

REMINDER = "<system-reminder>\nNever mention the todo list.\n</system-reminder>"
ENVIRONMENT = "<environment_details>\n# Open tabs\nsrc/app.ts\n</environment_details>"
QUESTION = "Why does the login page reload twice after a wrong password?"


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def test_the_last_user_turn_is_the_text():
    turns = [user("Tell me about the history of the Roman road network."), assistant("Sure.")]
    assert query_text([*turns, user(QUESTION)]) == QUESTION


def test_system_and_tool_messages_are_not_the_users_words():
    messages = [
        {"role": "system", "content": "You are a careful assistant with many rules."},
        user(QUESTION),
        {"role": "tool", "content": "exit code 0, four hundred files listed"},
    ]
    assert query_text(messages) == QUESTION


@pytest.mark.parametrize(
    "text",
    [
        f"{QUESTION}\n{REMINDER}",
        f"{REMINDER}{REMINDER}\n{QUESTION}\n{ENVIRONMENT}",
        f"<context>\nfile a\n<context>nested</context>\n</context>\n{QUESTION}",
        f"<user_query>\n{QUESTION}\n</user_query>\nYou must answer in the house format.",
        f"<task>{QUESTION}</task>{ENVIRONMENT}",
        f"<attached_files><file name='x'>long</file></attached_files>{QUESTION}",
        f"<additional_data>files</additional_data>\n<user_query>{QUESTION}</user_query>",
        f"Current date: 2024-05-01\nWorking directory: /home/me\n{QUESTION}\nPlatform: linux",
        f'<tool_result id="7">{{"ok": true}}</tool_result>\n{QUESTION}',
    ],
)
def test_boilerplate_leaves_only_the_users_words(text):
    assert query_text([user(text)]) == QUESTION


@pytest.mark.parametrize(
    "filler",
    [
        "[read_file for 'src/app.ts'] Result:\nimport x from 'y'",
        "[ERROR] You did not use a tool in your previous response! Please retry.",
        "Continue working on the task. Do not stop until every test passes.",
        "[Request interrupted by user]",
        REMINDER,
        "Tool result:\n{'a': 1}",
    ],
)
def test_a_turn_that_only_the_harness_wrote_is_passed_over(filler):
    assert query_text([user(QUESTION), assistant("..."), user(filler)]) == QUESTION


def test_a_turn_of_boilerplate_alone_is_taken_as_it_is():
    assert query_text([user(REMINDER)]) == REMINDER


@pytest.mark.parametrize("text", ["yes", "yes, go on", "and the second one?", "继续"])
def test_a_short_turn_has_the_turn_before_it_put_in_front(text):
    assert query_text([user(QUESTION), assistant("..."), user(text)]) == f"{QUESTION}\n{text}"


def test_a_long_turn_before_a_short_one_is_cut():
    assert len(query_text([user("word " * 900), user("go on")])) < 420


def test_lines_that_an_earlier_turn_had_too_are_dropped():
    header = "You are helping with the repository called lighthouse."
    first = f"{header}\nFind the slow query in the report module, please."
    assert query_text([user(first), user(f"{header}\n{QUESTION}")]) == QUESTION


def test_a_question_asked_again_is_kept():
    assert query_text([user(QUESTION), assistant("no idea"), user(QUESTION)]) == QUESTION


def test_tags_that_nobody_knows_are_the_users_words():
    text = "Why is <div>a</div> wider than <span>b</span> in this page?"
    assert query_text([user(text)]) == text


def test_an_unclosed_tag_removes_nothing():
    assert strip_boilerplate(f"<context> {QUESTION}") == f"<context> {QUESTION}"


def test_text_parts_are_joined_and_images_left_out():
    parts = [
        {"type": "text", "text": "What is"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "text", "text": "in this picture?"},
        None,
    ]
    assert content_text(parts) == "What is\nin this picture?"


def test_without_a_user_turn_the_last_text_is_taken():
    messages = [{"role": "system", "content": "Be brief."}, assistant(None), "not a message"]
    assert query_text(messages) == "Be brief."


@pytest.mark.parametrize("messages", [[], [{}], [user(None)], [user("")], [user([])], [user(7)]])
def test_no_text_is_the_empty_text(messages):
    assert query_text(messages) == ""


def test_a_cut_keeps_three_quarters_of_the_head_and_a_quarter_of_the_tail():
    assert cut_middle("a" * 90 + "b" * 10, 40) == "a" * 30 + " " + "b" * 10


def test_text_that_fits_is_not_cut():
    assert cut_middle("abcd", 4) == "abcd"


def test_surrogates_and_nul_become_encodable():
    assert speakable("a\0\ud800é") == "a ?é"


@pytest.mark.parametrize("unit", ["word ", "<context>", "</x>", "<", "\n", "é", "a:\n", "current "])
def test_ten_megabytes_are_read_in_bounded_work(unit):
    text = unit * (10_000_000 // len(unit))
    before = time.process_time()
    query_text([user(text)] * 20)
    # About 20 ms on a slow core; reading it all would take seconds.
    assert time.process_time() - before < 1.0
