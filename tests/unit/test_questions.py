"""Questions with an answer key, what counts as right, and what the grader tells the server."""

import random
from collections import Counter

import pytest

from serving.backends.standin_answers import LABEL, answer
from serving.errors import QuestionsError
from serving.grading import grade, some_of, summary
from serving.questions import Question, load_questions

BUILTIN = load_questions()
KEY = {question.text: question.answer for question in BUILTIN}


def asked(of, *, good=True, key=KEY):
    return answer(of.body(model="m", max_tokens=24), good=good, key=key)


def test_the_questions_that_ship_are_all_different():
    assert len({q.text for q in BUILTIN}) == len({q.question_id for q in BUILTIN}) == 240
    assert Counter(q.category for q in BUILTIN) == {"arithmetic": 90, "facts": 90, "json": 60}


def test_the_sums_that_ship_are_right():
    def computed(question):
        left, sign, right = question.text.strip("?.").split()[-3:]
        made = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}[sign]
        return made(int(left), int(right))

    sums = [q for q in BUILTIN if q.category == "arithmetic"]
    assert [q.question_id for q in sums if q.answer != computed(q)] == []


def test_a_good_stand_in_knows_the_key_and_a_bad_one_does_not():
    assert [q.question_id for q in BUILTIN if not q.right(asked(q))] == []
    assert [q.question_id for q in BUILTIN if q.right(asked(q, good=False))] == []
    assert all(LABEL in asked(q, good=good) for q in BUILTIN for good in (True, False))


@pytest.mark.parametrize(
    ("key", "said", "right"),
    [
        (42, "17 + 25 = 42.", True),
        (42, "The answer is 42, as 40 + 2 is 42", True),
        (42, "42 is 40 + 2", False),
        (1234, "It is 1,234.", True),
        (-3, "-3", True),
        (42, "forty-two", False),
        (42, "", False),
        ("O", "The symbol is O.", True),
        ("O", "The symbol is Os.", False),
        ("H2O|H₂O", "It is H₂O.", True),
        ("eight", "EIGHT!", True),
        ({"sum": 5}, '{"sum": 5}', True),
        ({"sum": 5}, '{"sum": "5", "more": []}', True),
        ({"sum": 5}, '{"sum": 6}', False),
        ({"sum": 5}, '{"sum": 5', False),
        ({"sum": 5}, '[{"sum": 5}]', False),
        ({"sum": 5}, "The sum is 5.", False),
        ({"city": "Lyon"}, '{"city": " lyon"}', True),
        ({"numbers": [1, 2]}, '{"numbers": [1, 2]}', True),
        ({"numbers": [1, 2]}, '{"numbers": [2, 1]}', False),
    ],
)
def test_an_answer_is_right_by_its_keys_rule(key, said, right):
    assert Question("q", "c", "?", key).right(said) is right


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no questions"),
        ('{"id": "a"}', "line 1 needs id, category, question and answer"),
        ('{"id": "a", "category": "b", "question": "c", "answer": true}', "line 1: an answer is"),
        ("nonsense", "line 1 needs"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "q.jsonl"
    path.write_text(text)
    with pytest.raises(QuestionsError, match=message):
        load_questions(str(path))


def test_a_missing_file_is_named():
    with pytest.raises(QuestionsError, match=r"nowhere\.jsonl"):
        load_questions("nowhere.jsonl")


def test_every_question_comes_once_before_any_comes_again():
    for seed in range(20):
        lap = some_of(BUILTIN[:5], 12, seed=seed)
        assert set(lap[:5]) == set(lap[5:10]) == set(BUILTIN[:5])


class Server:
    """Answers like an edge that is right about sums only."""

    def __init__(self):
        self.judged = []

    def __call__(self, path, body):
        if path == "/v1/feedback":
            self.judged.append((body["decision_id"], body["metric"], body["value"], body["source"]))
            return {"will_apply": True}, {}
        question = next(q for q in BUILTIN if q.text == body["messages"][0]["content"])
        said = str(question.answer) if question.category == "arithmetic" else "?"
        reply = {"id": question.question_id, "choices": [{"message": {"content": said}}]}
        return reply, {"x-pointsman-arm": "edge", "x-pointsman-cost-usd": "0.5"}


def test_the_grader_judges_every_answer_and_says_so_to_the_server():
    server = Server()
    some = random.Random(0).sample(BUILTIN, 30)
    grades = list(grade(server, some, model="auto", max_tokens=24))
    assert server.judged == [
        (q.question_id, "task_success", q.category == "arithmetic", "grader") for q in some
    ]
    rows = {(row["category"], row["arm"]): row for row in summary(grades)}
    assert (rows["arithmetic", "edge"]["right"], rows["facts", "edge"]["right"]) == (1.0, 0.0)
    assert rows["all", "all"]["answers"] == 30
    assert rows["all", "edge"]["mean_cost_usd"] == 0.5
