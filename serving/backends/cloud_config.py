"""Where an upstream is, and what it is given and allowed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pydantic import SecretStr

from serving.backends.retrying import RetryConfig
from serving.backends.sse_reader import MEBIBYTE
from serving.errors import SettingsError


@dataclass(frozen=True, slots=True)
class CloudConfig:
    """An upstream and its limits.

    Attributes
    ----------
    base_url
        With its version, such as ``https://host/v1``.
    model
        Name that the upstream knows its model by.
    api_key, headers
        Bearer token and more headers; neither is ever shown.
    connect_s, write_s, pool_s
        Seconds to connect, to send, and to wait for a free connection.
    ttft_s
        From the start to a stream's first chunk, retries included.
    stall_s
        Between two parts of an answer that has begun.
    deadline_s
        For a whole answer with its retries.
    linger_s
        After a stream's finish reason, to wait for usage and ``[DONE]``.
    max_connections
        At a time.
    max_body_bytes, max_line_bytes
        Longest answer once decompressed, and longest line of a stream.
    ask_usage
        Ask streams for usage; off for servers that refuse ``stream_options``.
    """

    base_url: str
    model: str
    api_key: SecretStr | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    connect_s: float = 5.0
    write_s: float = 10.0
    pool_s: float = 5.0
    ttft_s: float = 10.0
    stall_s: float = 15.0
    deadline_s: float = 120.0
    linger_s: float = 2.0
    max_connections: int = 256
    max_body_bytes: int = 32 * MEBIBYTE
    max_line_bytes: int = MEBIBYTE
    ask_usage: bool = True
    retry: RetryConfig = field(default_factory=RetryConfig)

    def __post_init__(self) -> None:
        """Refuse what is not an HTTP address."""
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            why = "want an address such as https://host/v1, without user or password"
            raise SettingsError("base_url", why)

    @property
    def key(self) -> str:
        """The bearer token in the clear; empty for none."""
        return self.api_key.get_secret_value() if self.api_key else ""

    @property
    def url(self) -> str:
        """Where completions are asked for."""
        return self.base_url.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
