"""Judging of what is being served: answers are offered to a judge as they end."""

from feedback.outcome import Outcome
from serving.answering import Answer, Routed
from serving.judge_jobs import Job, is_judgeable
from serving.judging import JudgeWorker
from serving.recording import Watcher


class JudgingWatcher(Watcher):
    """Offers answers to a judge as they end."""

    def __init__(self, worker: JudgeWorker) -> None:
        self._worker = worker

    def wants_text(self, routed: Routed) -> bool:
        """Whether the answer's text is needed, in memory, until it is judged."""
        return self._worker.wants(routed.decision)

    def ended(self, answer: Answer, outcome: Outcome) -> None:
        """Offer an answer that is whole, in the sample, and the drawn arm's own."""
        decision, text = answer.routed.decision, answer.meter.text
        if not text or not self._worker.wants(decision) or not is_judgeable(decision, outcome):
            return
        if "images" in answer.routed.query.requires:
            return  # the judge would grade what it cannot see
        job = Job(decision, outcome, answer.routed.query, text, answer.durable)
        self._worker.offer(job)
