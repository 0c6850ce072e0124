"""The process that holds the edge model: the only importer of llama.cpp.

It is started by `serving.backends.edge_process`; `serving.backends.edge_channel` has its language.
A crash, a hang or a hostile model file takes down this process and nothing else.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import random
import re
import resource
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.backends.child import die_with_parent
from serving.backends.edge_channel import Channel
from serving.backends.edge_decode import Confidence, TokenText

# Between two looks at whether the query was cancelled; about 0.3 s with the default model.
_PROMPT_STEP_TOKENS = 32
_TOP_K, _MIN_P = 40, 0.05


class UnusableModelError(Exception):
    """The model cannot be loaded; says why."""


class RefusedError(Exception):
    """The query does not fit; ``error`` is OpenAI's error object."""

    def __init__(self, message: str, *, param: str, code: str) -> None:
        super().__init__(message)
        self.error = {
            "message": message,
            "type": "invalid_request_error",
            "param": param,
            "code": code,
        }


def digest(path: Path, *, expected: str) -> str:
    """The file's SHA-256.

    Raises
    ------
    UnusableModelError
        If it cannot be read or is not the expected one.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnusableModelError(f"cannot be read: {error.strerror}") from error
    if expected and found != expected.lower().removeprefix("sha256:"):
        raise UnusableModelError(f"has sha256 {found}, not the configured {expected}")
    return found


class Model:
    """One llama.cpp model and its context; never shared between threads."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        path = Path(options["model_path"])
        self.digest = digest(path, expected=options["sha256"])
        import llama_cpp  # noqa: PLC0415 - not needed to say that the file is missing
        from llama_cpp import llama_chat_format, llama_grammar  # noqa: PLC0415 - same

        self._lib = llama_cpp
        self._grammar = llama_grammar
        self._llama = self._load(path, options)
        self._vocab = self._llama._model.vocab  # noqa: SLF001 - no public way to the vocabulary
        template = options["chat_template"] or self._llama.metadata.get("tokenizer.chat_template")
        if not template:
            raise UnusableModelError("has no chat template: it is a base model, not a chat model")
        special = [self._text_of(t) for t in (self._llama.token_eos(), self._llama.token_bos())]
        self._format = llama_chat_format.Jinja2ChatFormatter(template, *special)
        self._controls = self._control_tokens()
        self._recurrent = bool(self._llama._is_recurrent or self._llama._is_hybrid)  # noqa: SLF001 - same
        # Names no text can guess, to stand for control tokens that a message only quotes.
        self._nonce = secrets.token_hex(8)

    @property
    def n_ctx(self) -> int:
        """Room for query and answer together, in tokens."""
        return int(self._llama.n_ctx())

    def answer(
        self, request: Mapping[str, Any], cancelled: Callable[[], bool]
    ) -> Iterator[dict[str, Any]]:
        """Messages for the parent, in order; the last says how it ended.

        Raises
        ------
        RefusedError
            If the query is too long or its schema unusable.
        """
        tokens = self._tokens(request["messages"])
        if len(tokens) >= self.n_ctx:
            message = f"the query has {len(tokens)} tokens and the model has room for {self.n_ctx}"
            raise RefusedError(message, param="messages", code="context_length_exceeded")
        grammar = self._grammar_for(request["schema"])
        kept = self._keep_prefix(tokens)
        yield {"is": "started", "prompt_tokens": len(tokens), "cached_tokens": kept}
        for _ in self._ingest(tokens):
            if cancelled():
                yield {"is": "cancelled"}
                return
            yield {"is": "step"}
        yield from self._decode(tokens, request, grammar, cancelled)

    def _load(self, path: Path, options: Mapping[str, Any]) -> Any:
        wanted = int(options["context_tokens"])
        try:
            llama = self._open(path, wanted, int(options["threads"]))
            trained = self._lib.llama_model_n_ctx_train(llama._model.model)  # noqa: SLF001 - same
            if 0 < trained < wanted:
                llama.close()
                llama = self._open(path, trained, int(options["threads"]))
        except (ValueError, RuntimeError, AssertionError, OSError, MemoryError) as error:
            raise UnusableModelError(f"cannot be loaded as a GGUF model: {error}") from error
        return llama

    def _open(self, path: Path, n_ctx: int, n_threads: int) -> Any:
        return self._lib.Llama(
            str(path),
            n_ctx=n_ctx,
            n_batch=_PROMPT_STEP_TOKENS,
            n_threads=n_threads,
            n_threads_batch=n_threads,
            verbose=False,
        )

    def _text_of(self, token: int) -> str:
        return self._llama._model.token_get_text(token) if token >= 0 else ""  # noqa: SLF001 - same

    def _control_tokens(self) -> list[str]:
        controls = (
            self._text_of(token)
            for token in range(self._llama.n_vocab())
            if self._lib.llama_vocab_is_control(self._vocab, token)
        )
        return sorted((text for text in controls if text), key=len, reverse=True)

    def _tokens(self, messages: list[dict[str, str]]) -> list[int]:
        """The prompt. Control tokens in what people wrote stay text: nobody can forge a turn."""
        quoted = re.compile("|".join(map(re.escape, self._controls)) or r"(?!)")

        def mark(found: re.Match[str]) -> str:
            return f"<{self._nonce}:{self._controls.index(found[0])}>"

        safe = [{**m, "content": quoted.sub(mark, m["content"])} for m in messages]
        try:
            prompt = self._format(messages=safe).prompt
        except Exception as error:  # a template is a program of its own and may raise anything
            message = f"the model's chat template refuses these messages: {error}"
            raise RefusedError(message, param="messages", code="invalid_messages") from error
        parts = re.split(f"<{self._nonce}:(\\d+)>", prompt)
        tokens: list[int] = []
        for at, part in enumerate(parts):
            text = self._controls[int(part)] if at % 2 else part
            tokens += self._tokenize(text, special=at % 2 == 0) if text else []
        return tokens or self._tokenize(" ", special=False)

    def _tokenize(self, text: str, *, special: bool) -> list[int]:
        data = text.encode("utf-8", errors="replace")
        return list(self._llama.tokenize(data, add_bos=False, special=special))

    def _grammar_for(self, schema: Mapping[str, Any] | None) -> Any:
        if schema is None:
            return None
        try:
            text = (
                self._grammar.json_schema_to_gbnf(json.dumps(schema))
                if schema
                else self._grammar.JSON_GBNF
            )
        except Exception as error:  # whatever a caller's schema makes the converter raise
            raise _bad_schema(str(error)) from error
        # llama-cpp-python hands a null grammar on, and the process dies of it: try it first.
        sampler = self._lib.llama_sampler_init_grammar(self._vocab, text.encode(), b"root")
        if not sampler:
            raise _bad_schema("llama.cpp cannot express it")
        self._lib.llama_sampler_free(sampler)
        return self._grammar.LlamaGrammar.from_string(text, verbose=False)

    def _keep_prefix(self, tokens: list[int]) -> int:
        """Cut the context back to what it shares with the prompt; the last token is always run."""
        llama = self._llama
        if self._recurrent:  # its state cannot be cut back
            llama.reset()
            return 0
        seen = np.asarray(llama.input_ids[: min(llama.n_tokens, len(tokens) - 1)])
        differs = np.nonzero(seen != np.asarray(tokens[: len(seen)], dtype=seen.dtype))[0]
        kept = int(differs[0]) if len(differs) else len(seen)
        llama.n_tokens = kept
        return kept

    def _ingest(self, tokens: list[int]) -> Iterator[None]:
        """Run the prompt but its last token, a little at a time."""
        last = 0 if self._recurrent else len(tokens) - 1
        for at in range(self._llama.n_tokens, last, _PROMPT_STEP_TOKENS):
            self._llama.eval(tokens[at : min(at + _PROMPT_STEP_TOKENS, last)])
            yield

    def _decode(
        self,
        tokens: list[int],
        request: Mapping[str, Any],
        grammar: Any,
        cancelled: Callable[[], bool],
    ) -> Iterator[dict[str, Any]]:
        text = TokenText(request["stop"])
        confidence = Confidence(self._llama.n_vocab())
        limit = min(request["max_tokens"], self.n_ctx - len(tokens))
        n_tokens, peeked, finish = 0, 0, "length"
        for token in self._sample(tokens, request, grammar):
            if cancelled():
                yield {"is": "cancelled", "completion_tokens": n_tokens}
                return
            if self._lib.llama_vocab_is_eog(self._vocab, token):
                finish = "stop"
                break
            confidence.add(self._logits(), token)
            n_tokens += 1
            shown = text.feed(self._piece(token))
            if not shown:
                yield {"is": "step"}
            elif peeked < request["peek_tokens"]:
                peeked = n_tokens
                yield {"is": "text", "text": shown, "confidence": confidence.summary()}
            else:
                yield {"is": "text", "text": shown}
            if text.stopped:
                finish = "stop"
                break
            if n_tokens >= limit:
                break
        yield {
            "is": "done",
            "text": text.flush(),
            "finish": finish,
            "completion_tokens": n_tokens,
            "confidence": confidence.summary(),
        }

    def _sample(self, tokens: list[int], request: Mapping[str, Any], grammar: Any) -> Iterator[int]:
        seed = request["seed"]
        self._llama.set_seed(random.getrandbits(32) if seed is None else seed)
        sampled: Iterator[int] = self._llama.generate(
            tokens,
            temp=request["temperature"],
            top_p=request["top_p"],
            top_k=_TOP_K,
            min_p=_MIN_P,
            frequency_penalty=request.get("frequency_penalty", 0.0),
            presence_penalty=request.get("presence_penalty", 0.0),
            repeat_penalty=1.0,
            grammar=grammar,
        )
        return sampled

    def _logits(self) -> NDArray[np.float32]:
        """What the last token was drawn from, in llama.cpp's own memory.

        A logits processor would see the same, but it makes llama-cpp-python copy 49,000 structs
        to and fro for every token.
        """
        pointer = self._lib.llama_get_logits_ith(self._llama.ctx, -1)
        return np.ctypeslib.as_array(pointer, shape=(self._llama.n_vocab(),))

    def _piece(self, token: int) -> bytes:
        # Llama.detokenize loses pieces of more than 32 bytes, such as long runs of spaces.
        size = 64
        while True:
            buffer = (ctypes.c_char * size)()
            n = self._lib.llama_token_to_piece(self._vocab, token, buffer, size, 0, False)  # noqa: FBT003 - C
            if n >= 0:
                return buffer.raw[:n]
            size = -n


def _bad_schema(why: str) -> RefusedError:
    message = f"the schema cannot be used: {why[:200]}"
    return RefusedError(message, param="response_format", code="invalid_schema")


def serve(channel: Channel, options: Mapping[str, Any]) -> None:
    """Load the model, say so, and answer one query at a time for ever."""
    try:
        model = Model(options)
    except UnusableModelError as error:
        channel.say({"is": "failed", "reason": str(error)})
        os._exit(3)
    channel.say({"is": "ready", "digest": model.digest, "context_tokens": model.n_ctx})
    for job_id, request in channel.jobs():
        try:
            for message in model.answer(request, lambda: channel.cancelled(job_id)):  # noqa: B023 - used up here
                channel.say({**message, "id": job_id})
        except RefusedError as refused:
            channel.say({"is": "rejected", "error": refused.error, "id": job_id})


def main() -> None:
    """Entry point: the options come as one JSON argument."""
    options = json.loads(sys.argv[1])
    die_with_parent(options["parent"])
    if options["memory_limit_mb"]:
        limit = options["memory_limit_mb"] * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    # Whatever native code prints must not land among the messages.
    output = os.dup(1)
    os.dup2(2, 1)
    with contextlib.suppress(KeyboardInterrupt):
        serve(Channel(output, beat_s=options["beat_s"]), options)


if __name__ == "__main__":
    main()
