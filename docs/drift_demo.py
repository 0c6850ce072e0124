"""Watch a running service notice that its cloud got worse, leave it, and come back.

Asks sums, knows their answers, votes through the API, switches the stand-in cloud from good to bad
and back, prints the shares per 50 queries and draws them with the alarms. See docs/live-demo.md.
"""

import argparse
import random
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

WINDOW = 50
PHASES = ("good", "bad", "good")
COLOURS = {
    "quality": "tab:purple",
    "guard": "tab:red",
    "promotion": "tab:green",
    "cost": "tab:brown",
    "latency": "tab:gray",
}


@dataclass(frozen=True)
class Asked:
    """One query: who answered, and whether the answer was right."""

    decision_id: str
    arm: str
    right: bool


def ask(client: httpx.Client, question: str, key: int, *, scenario: str) -> Asked:
    """Ask, compare with the key, vote."""
    body = {
        "model": f"auto:{scenario}",
        "messages": [{"role": "user", "content": question}],
        "max_tokens": 10,
    }
    reply = client.post("/v1/chat/completions", json=body).raise_for_status()
    numbers = re.findall(r"\d+", reply.json()["choices"][0]["message"]["content"] or "")
    right = bool(numbers) and int(numbers[-1]) == key
    decision_id = reply.headers["x-pointsman-decision-id"]
    vote = {
        "decision_id": decision_id,
        "metric": "task_success",
        "value": right,
        "source": "drift-demo",
    }
    client.post("/v1/feedback", json=vote).raise_for_status()
    return Asked(decision_id, reply.headers["x-pointsman-arm"], right)


def run_phase(client: httpx.Client, rng: random.Random, n: int, scenario: str) -> list[Asked]:
    """``n`` queries, four at a time; a line for every fifty."""
    found: list[Asked] = []
    with ThreadPoolExecutor(4) as pool:
        for _ in range(0, n, WINDOW):
            sums = [(rng.randrange(1, 10), rng.randrange(1, 10)) for _ in range(WINDOW)]
            jobs = [
                pool.submit(ask, client, f"What is {a} + {b}?", a + b, scenario=scenario)
                for a, b in sums
            ]
            found += [job.result() for job in jobs]
            window = found[-WINDOW:]
            cloud = sum(one.arm == "cloud" for one in window) / WINDOW
            right = sum(one.right for one in window) / WINDOW
            print(f"  cloud {cloud:4.0%}  right {right:4.0%}  {'#' * round(40 * cloud)}")
    return found


def alarms_since(client: httpx.Client, asked: list[Asked]) -> list[tuple[int, dict[str, str]]]:
    """The alarms about these queries, each with the number of the query at which it came."""
    at = {one.decision_id: i for i, one in enumerate(asked)}
    found = client.get("/v1/alarms", params={"limit": 500}).raise_for_status().json()["data"]
    known = [(at[alarm["decision_id"]], alarm) for alarm in found if alarm["decision_id"] in at]
    return sorted(known, key=lambda item: item[0])


def draw(asked: list[Asked], alarms: list[tuple[int, dict[str, str]]], out: Path) -> None:
    """The picture."""
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    middles = range(WINDOW // 2, len(asked), WINDOW)
    windows = [asked[i : i + WINDOW] for i in range(0, len(asked), WINDOW)]
    cloud = [sum(one.arm == "cloud" for one in w) / len(w) for w in windows]
    right = [sum(one.right for one in w) / len(w) for w in windows]
    axes.plot(middles, cloud, color="tab:blue", linewidth=2, label="share of the cloud")
    axes.plot(middles, right, color="black", linestyle=":", label="right answers")
    third = len(asked) // len(PHASES)
    axes.axvspan(third, 2 * third, color="tab:orange", alpha=0.15, label="the cloud is bad")
    for kind in dict.fromkeys(alarm["kind"] for _, alarm in alarms):
        places = [at for at, alarm in alarms if alarm["kind"] == kind]
        colour = COLOURS.get(kind, "tab:olive")
        style = "-" if kind in ("quality", "guard", "promotion") else "--"
        axes.vlines(places, 0, 1, colour, style, linewidth=1.2, label=f"alarm: {kind}")
    axes.set(xlabel="query", ylabel="share of 50 queries", ylim=(0, 1.02), xlim=(0, len(asked)))
    axes.legend(loc="upper center", ncols=3, bbox_to_anchor=(0.5, 1.17), frameon=False)
    figure.savefig(out, dpi=90)


def main() -> None:
    """Three phases, then the alarms and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the service")
    parser.add_argument("--stand-in", default="http://127.0.0.1:8123", help="its cloud")
    parser.add_argument("--queries", type=int, default=400, help="queries a phase")
    parser.add_argument("--scenario", default="quality")
    parser.add_argument("--out", type=Path, default=Path("live-demo.png"))
    given = parser.parse_args()
    rng, asked = random.Random(0), []  # noqa: S311 - sums are no secret
    with httpx.Client(base_url=given.url, timeout=60, trust_env=False) as client:
        for quality in PHASES:
            switch = f"{given.stand_in}/standin/behaviour"
            httpx.post(switch, json={"quality": quality}, trust_env=False).raise_for_status()
            print(f"the cloud is {quality}")
            asked += run_phase(client, rng, given.queries, given.scenario)
        alarms = alarms_since(client, asked)
    for at, alarm in alarms:
        print(f"query {at}: {alarm['text']}")
    draw(asked, alarms, given.out)
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
