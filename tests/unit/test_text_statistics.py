"""Statistics and the task type of a text."""

import numpy as np
import pytest

from features.statistics import STATISTICS, text_statistics
from features.task import TASKS, task_type, task_vector


def statistic(text, name):
    return text_statistics(text)[STATISTICS.index(name)]


def test_names_are_unique():
    assert len(set(STATISTICS)) == len(STATISTICS)
    assert len(set(TASKS)) == len(TASKS)


@pytest.mark.parametrize(
    "text", ["", " ", "a", "9" * 10_000, "é" * 3_000, "\n" * 5_000, "你好" * 999]
)
def test_every_statistic_is_finite_and_of_order_one(text):
    found = text_statistics(text)
    assert found.shape == (len(STATISTICS),)
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 3


def test_the_true_length_counts_beyond_what_is_measured():
    assert statistic("word " * 4000, "log_chars") > statistic("word " * 400, "log_chars") + 1


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("see https://example.org", "has_url"),
        ("```py\nx = 1\n```", "has_fence"),
        (r"so $x^2$ is", "has_latex"),
        ("x = 3", "has_equation"),
        ("Explain it step by step", "asks_steps"),
        ("Answer with only the letter", "asks_brief"),
        ("as JSON", "asks_format"),
        ("the cat sat on the ___", "has_blank"),
        ("Write it down", "starts_with_order"),
        ("When was it?", "starts_with_question"),
        ("it was when?", "ends_with_question"),
    ],
)
def test_a_flag_is_raised_by_its_sign_only(text, name):
    assert (statistic(text, name), statistic("The cat sat there.", name)) == (1, 0)


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("Which is a fish?\nA. cod\nB. bat\nC. owl\nD. elk", "multiple_choice"),
        ("Pick the capital. (A) Rome (B) Milan (C) Turin", "multiple_choice"),
        ("Choices: 1. red 2. green", "multiple_choice"),
        ("Translate this into French: the cat sleeps", "translation"),
        ("Summarize the report below in two lines.", "summarisation"),
        ("Rephrase this sentence, please: I want it now.", "rewriting"),
        ("Write a Python function that reverses a list.", "code"),
        ("SELECT name FROM users WHERE id = 3 is slow", "code"),
        ("Extract all phone numbers from this page.", "extraction"),
        ("Classify the sentiment of this tweet.", "classification"),
        ("Solve the equation 3x + 2 = 11.", "math"),
        ("Tom has 4 bags of 6 apples. How many apples are there?", "math"),
        ("Write a short story about a lighthouse.", "creative"),
        ("If all bloops are razzies, what must be true of a bloop?", "reasoning"),
        ("Who wrote the first novel in Latin?", "factual"),
        ("hello there", "chat"),
        ("the weather has been odd lately and nobody knows it", "other"),
    ],
)
def test_the_task_type_follows_the_rules(text, task):
    assert task_type(text) == task


@pytest.mark.parametrize(
    "text", ["1. eggs\n2. milk\n3. bread\nare on my list", "A. B. Smith met C. D. Jones", ""]
)
def test_a_list_is_not_multiple_choice(text):
    assert task_type(text) != "multiple_choice"


def test_options_do_not_hide_what_is_asked():
    vector = task_vector("Solve the equation x + 2 = 3.\nA. 1\nB. 2\nC. 3")
    assert [name for name, on in zip(TASKS, vector, strict=True) if on] == [
        "multiple_choice",
        "math",
    ]
