"""The words of a query: which text is embedded and measured.

What the user says now counts most. In order:

1. The last user turn that has words of its own; where none has, the last message with any text.
2. Harness boilerplate goes (`strip_boilerplate`): tagged blocks, tool-result dumps, template lines,
   header lines. If the harness marks the user's words (``<user_query>``), only those stay.
3. Lines of 20 characters and more that an earlier user turn had too are repeated headers and go.
4. A short turn ("yes, go on") has the previous user turn put before it.

No rule may leave nothing: a turn that is boilerplate only is passed over, and if all are, the last
one is taken as it is. Every step works on bounded text, so that 10 MB cost no more than 24 kB.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

SHORT_WORDS = 6
"""A turn with fewer words than this leans on the turn before it."""

_KEPT_CHARS = 24_000
_PREVIOUS_CHARS = 400
_LOOK_BACK = 64
_TURNS = 8
_HEADER_CHARS = 20

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+", re.UNICODE)
_TAG = re.compile(r"<(/?)([A-Za-z][\w-]{0,40})(?:\s[^<>]{0,200})?>")
_WORDS_OF_USER = frozenset(
    {
        "user_query",
        "user_message",
        "user_request",
        "user_input",
        "user_prompt",
        "task",
        "question",
        "query",
        "request",
        "feedback",
    }
)
_DROPPED = frozenset(
    {
        "context",
        "documents",
        "document",
        "attachments",
        "attachment",
        "attached_files",
        "file",
        "files",
        "file_contents",
        "file_content",
        "open_files",
        "diff",
        "logs",
        "memory",
        "history",
        "conversation_history",
    }
)
_DROPPED_PART = re.compile(
    r"(?:^|[_-])(?:system|environment|env|workspace|editor|ide|tool|tools|function|reminder|"
    r"additional|metadata|local|recently|currently|git|project|linter|terminal|command|stdout|"
    r"stderr|todo|memories|rules|guidelines|search_results|user_info|user_rules)(?:$|[_-])",
    re.IGNORECASE,
)
_DUMP = re.compile(
    r"\s*(?:\[[\w .-]{1,40} for '[^'\n]{0,300}'\] Result:"
    r"|\[?tool[ _-]?(?:result|output|response)s?\b[^\n]{0,80}\]?:?\s*(?:\n|$)"
    r"|Observation:\s|Command (?:output|executed)\b|Exit code:)",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(
    r"\s*(?:\[ERROR\] You did not use a tool"
    r"|\[Request interrupted by user"
    r"|Caveat: The messages below were generated"
    r"|This session is being continued from a previous conversation"
    r"|(?:please )?continue (?:working|with (?:the|your) (?:task|work|todo)|from where you)"
    r"|\[?TASK RESUMPTION\]?"
    r"|If you have completed the user's task)",
    re.IGNORECASE,
)
_HEADER = re.compile(
    r"^[ \t>*#-]*(?:(?:current|today's) (?:date|time|working directory|file|mode)|date|timestamp"
    r"|working directory|cwd|platform|os(?: version)?|operating system|shell|home directory"
    r"|timezone|locale|is directory a git repo|model name)\b[^:=\n]{0,30}[:=][^\n]*$",
    re.IGNORECASE | re.MULTILINE,
)


def query_text(messages: Sequence[Mapping[str, Any]]) -> str:
    r"""The text of a query that its features are made from; empty if it has none.

    >>> query_text([{"role": "user", "content": "What is a monad?"}])
    'What is a monad?'
    >>> turns = ["Explain monads, with one example.", "yes, go on"]
    >>> query_text([{"role": "user", "content": turn} for turn in turns])
    'Explain monads, with one example.\nyes, go on'
    """
    turns = user_turns(messages)
    own = ((i, text) for i in reversed(range(len(turns))) if (text := strip_boilerplate(turns[i])))
    at, words = next(own, (-1, ""))
    if not words:
        return turns[-1].strip() if turns else _last_text(messages)
    words = _without_repeats(words, turns[:at])
    if count_words(words, SHORT_WORDS) >= SHORT_WORDS:
        return words
    _, before = next(own, (-1, ""))
    return f"{cut_middle(before, _PREVIOUS_CHARS)}\n{words}" if before else words


def user_turns(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Texts of the last 8 user turns in the last 64 messages, oldest first, bounded each."""
    texts = (
        content_text(message.get("content"))
        for message in reversed(messages[-_LOOK_BACK:])
        if isinstance(message, Mapping) and message.get("role") == "user"
    )
    found = itertools.islice(filter(None, texts), _TURNS)
    return [speakable(cut_middle(text, _KEPT_CHARS)) for text in found][::-1]


def content_text(content: Any) -> str:
    """The text of a message's content: a string, or the text parts of a list; else empty."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, Mapping))
    return "\n".join(part for part in parts if isinstance(part, str))


def strip_boilerplate(text: str) -> str:
    r"""The user's own words in a turn; empty if there are none.

    >>> strip_boilerplate("Fix the login.<system-reminder>Be brief.</system-reminder>")
    'Fix the login.'
    >>> strip_boilerplate("[read_file for 'a.py'] Result:\nimport os")
    ''
    """
    text = _without_blocks(text)
    if _DUMP.match(text) or _TEMPLATE.match(text):
        return ""
    return _HEADER.sub("", text).strip()


def cut_middle(text: str, limit: int) -> str:
    """``text`` if it is short enough, else its first 3/4 and last 1/4 of ``limit`` characters.

    >>> cut_middle("abcdefgh", 4)
    'abc h'
    """
    if len(text) <= limit:
        return text
    tail = limit // 4
    return f"{text[: limit - tail]} {text[len(text) - tail :]}"


def speakable(text: str) -> str:
    """``text`` with NUL as a space and lone surrogates as question marks, so that it encodes.

    >>> speakable("a" + chr(0) + chr(0xd800))
    'a ?'
    """
    if text.isascii():
        return text.replace("\0", " ")
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")


def count_words(text: str, most: int) -> int:
    """Words of ``text``, counted no further than ``most``; a CJK character is a word."""
    return sum(1 for _, _ in zip(_WORD.finditer(text), range(most), strict=False))


def words_of(text: str) -> list[str]:
    """The words of ``text``, a CJK character being a word.

    >>> words_of("It's 你好")
    ['It', 's', '你', '好']
    """
    return _WORD.findall(text)


def _without_blocks(text: str) -> str:
    """Marked words of the user if any, else the text without its dropped blocks.

    One pass over the tags with one open block at a time: linear, whatever is left unclosed.
    """
    if "<" not in text:
        return text
    marked, kept, last = [], [], 0
    for name, start, inner, end in _blocks(text):
        if name in _WORDS_OF_USER:
            marked.append(text[inner[0] : inner[1]])
        kept.append(text[last:start])
        last = end
        if name in _WORDS_OF_USER:
            kept.append(text[inner[0] : inner[1]])
    kept.append(text[last:])
    return "\n".join(marked) if any(map(str.strip, marked)) else "".join(kept)


def _blocks(text: str) -> Iterable[tuple[str, int, tuple[int, int], int]]:
    """Outermost known blocks: name, start, span of the inside, end."""
    tags = list(_TAG.finditer(text))
    closes = {tag[2].lower() for tag in tags if tag[1]}
    name, depth, opened = "", 0, None
    for tag in tags:
        found = tag[2].lower()
        if opened is None:
            if not tag[1] and found in closes and _known(found):
                name, depth, opened = found, 1, tag
        elif found == name:
            depth += -1 if tag[1] else 1
            if depth == 0:
                yield name, opened.start(), (opened.end(), tag.start()), tag.end()
                opened = None


def _known(name: str) -> bool:
    return name in _WORDS_OF_USER or name in _DROPPED or bool(_DROPPED_PART.search(name))


def _without_repeats(text: str, earlier: Sequence[str]) -> str:
    """``text`` without the long lines that earlier turns had; itself if nothing would be left."""
    lines = text.split("\n")
    if not earlier or all(len(line.strip()) < _HEADER_CHARS for line in lines):
        return text
    seen = {line.strip() for turn in earlier for line in turn.split("\n")}
    kept = [line for line in lines if len(line.strip()) < _HEADER_CHARS or line.strip() not in seen]
    return "\n".join(kept).strip() or text


def _last_text(messages: Sequence[Mapping[str, Any]]) -> str:
    texts = (
        content_text(message.get("content"))
        for message in reversed(messages[-_LOOK_BACK:])
        if isinstance(message, Mapping)
    )
    return speakable(cut_middle(next(filter(None, texts), ""), _KEPT_CHARS))
