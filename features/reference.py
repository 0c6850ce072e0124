"""Times the embedding model as sentence-transformers runs it, to compare our own serving with.

``python -m features.reference --model MODEL --max-tokens 128`` reads a JSON list of texts on
standard input and prints the milliseconds of each, one text at a time, fp32, one thread.
"""

import argparse
import json
import sys
import time

import torch
from sentence_transformers import SentenceTransformer

from features.model_store import locate


def main() -> int:
    """Read texts, print times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--max-tokens", type=int, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = SentenceTransformer(str(locate(given.model) or given.model), device="cpu")
    model.max_seq_length = given.max_tokens
    texts = json.load(sys.stdin)
    for text in texts[:5]:
        model.encode([text], show_progress_bar=False)
    times = []
    for text in texts:
        started = time.perf_counter()
        model.encode([text], show_progress_bar=False)
        times.append(1000 * (time.perf_counter() - started))
    sys.stdout.write(json.dumps(times))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
