"""Thirty identical queries, each judged: thumbs-down for the cloud, thumbs-up for the edge."""

import time

import httpx
import openai

client = openai.OpenAI(base_url="http://127.0.0.1:8080/v1", api_key="none")
for n in range(30):
    raw = client.chat.completions.with_raw_response.create(
        model="auto",
        messages=[{"role": "user", "content": "What is 2+2?"}],
        max_tokens=24,
    )
    arm, p = raw.headers["x-pointsman-arm"], raw.headers["x-pointsman-propensity"]
    vote = {
        "decision_id": raw.headers["x-pointsman-decision-id"],
        "metric": "thumbs",
        "value": "up" if arm == "edge" else "down",
        "source": "me",
    }
    reply = httpx.post("http://127.0.0.1:8080/v1/feedback", json=vote).json()
    print(
        f"{n:2} {arm:5} p={float(p):.2f} policy={raw.headers['x-pointsman-policy-version']}"
        f" will_apply={reply['will_apply']}"
    )
    time.sleep(0.5)  # the learner looks for votes five times a second
