"""Makes a CLIP model with random weights: ``python -m tests.tiny_clip FOLDER``.

Smallest dimensions, real classes: what loads it loads any of them. In a process of its own, because
building one warns about much that loading one does not.
"""

import json
import sys
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Transformer
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
)

START, END = "<|startoftext|>", "<|endoftext|>"


def main(folder):
    raw = folder / "raw"
    raw.mkdir(parents=True)
    letters = [chr(code) for code in range(97, 123)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), START, END]
    (raw / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (raw / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(raw / "vocab.json"), str(raw / "merges.txt"))
    small = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": 24,
    }
    ends = {"bos_token_id": words.index(START), "eos_token_id": words.index(END)}
    text = CLIPTextConfig(vocab_size=len(words), max_position_embeddings=64, **small, **ends)
    vision = CLIPVisionConfig(image_size=32, patch_size=8, **small)
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=24
    )
    CLIPModel(config).save_pretrained(raw)
    crop = {"height": 32, "width": 32}
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=crop)
    CLIPProcessor(images, tokenizer).save_pretrained(raw)
    SentenceTransformer(modules=[Transformer(str(raw))]).save(str(folder / "model"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
