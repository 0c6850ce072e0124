"""A scripted grader: asks a running server sums, compares with the key, votes through the API."""

import random

STAND_IN = {"model": "pointsman-stand-in", "backend": "openai"}


class Grader:
    """Asks and votes in batches; ``arms`` are those that answered, oldest first.

    The cloud's right answers are worth .95, its wrong ones .05; the edge's always .5.
    """

    def __init__(self, client, *, seed=0):
        self._client = client
        self._random = random.Random(seed)
        self.arms = []

    def ask(self, n=25):
        votes = [self._ask_one() for _ in range(n)]
        reply = self._client.post("/v1/feedback/batch", json={"feedback": votes})
        assert reply.status_code < 300, reply.text

    def _ask_one(self):
        left, right = self._random.randrange(2, 500), self._random.randrange(2, 500)
        question = f"What is {left} + {right}?"
        asked = {"model": "auto", "messages": [{"role": "user", "content": question}]}
        reply = self._client.post("/v1/chat/completions", json=asked)
        said = reply.json()["choices"][0]["message"]["content"]
        arm = reply.headers["x-pointsman-arm"]
        self.arms.append(arm)
        value = 0.5 if arm == "edge" else 0.95 if str(left + right) in said else 0.05
        return {
            "decision_id": reply.headers["x-pointsman-decision-id"],
            "metric": "judge",
            "value": value,
            "source": "grader",
        }

    def share(self, last, arm="cloud"):
        return self.arms[-last:].count(arm) / last

    def ask_until(self, what, *, most):
        """Ask until ``what()``; how many queries that took."""
        start = len(self.arms)
        while not what():
            assert len(self.arms) - start < most, self.arms[-200:]
            self.ask()
        return len(self.arms) - start
