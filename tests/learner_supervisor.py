"""Starts learners for a test that kills them.

Imports everything once and forks for each line of input, so that twenty learners start as quickly
as one. Prints the process id of each; a line with a process id waits for it to be gone.

Usage: ``python learner_supervisor.py DSN POLICY``
"""

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bandit.policies.config import PolicyConfig
from bandit.policies.factory import make_policy
from feedback.rows import utc_now
from feedback.sql import SqlDecisionLog
from serving.learner import Learner, LearnerConfig
from tests.mean_policy import MeanPolicy

CONFIG = LearnerConfig(poll_s=0.01, publish_s=0.0, batch=5)


def composed():
    return make_policy(PolicyConfig(schema={"bias": 1, "text": 3}))


MAKERS = {"mean": MeanPolicy, "composed": composed}


async def learn(dsn, make):
    log = SqlDecisionLog(dsn)
    await Learner(log, make, utc_now, CONFIG).run(asyncio.Event())


def main(dsn, policy):
    for line in sys.stdin:
        if line.strip() == "start":
            pid = os.fork()
            if pid == 0:
                asyncio.run(learn(dsn, MAKERS[policy]))
                os._exit(0)
            print(pid, flush=True)
        else:
            os.waitpid(int(line), 0)
            print("gone", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
