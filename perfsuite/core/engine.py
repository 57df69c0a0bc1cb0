"""Owns what is asked of an engine, or of an endpoint, beyond the model itself."""

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from perfsuite.core.errors import OptionError

KEY_VARIABLE = "PERFSUITE_ENDPOINT_KEY"
"""Environment variable that holds an endpoint's key; it is nowhere else."""
REQUEST_TIMEOUT_NS = 60 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How an engine is to run a model, or where an endpoint is; `None` leaves a choice to the engine.

    `endpoint` is a base URL ('http://host:8000/v1'), or that of its completions or chat completions. It is stored with
    every recording, so it holds no credentials. `tokenizer` is the Hugging Face id or folder of the model's tokenizer,
    if the model's name does not lead to it. `request_timeout_ns` is how long an endpoint may be silent.
    `tensor_parallel_size` is how many GPUs a model is split over, by an engine or by perfsuite itself.
    """

    endpoint: str | None = None
    tokenizer: str | None = None
    request_timeout_ns: int = REQUEST_TIMEOUT_NS
    tensor_parallel_size: int = 1
    gpu_memory_utilization: float | None = None
    max_model_len: int | None = None

    def __post_init__(self) -> None:
        if self.endpoint is not None:
            _check_endpoint(self.endpoint)
        if self.tensor_parallel_size < 1:
            raise OptionError(f"tensor parallel: {self.tensor_parallel_size} is not allowed; it must be 1 or above")
        share = self.gpu_memory_utilization
        if share is not None and not 0 < share <= 1:
            raise OptionError(f"gpu memory utilization: {share} is not allowed; it must be above 0 and at most 1")
        if self.max_model_len is not None and self.max_model_len < 2:
            raise OptionError(f"max model len: {self.max_model_len} is not allowed; it must be 2 or above")


def _check_endpoint(url: str) -> None:
    """OptionError for what is no URL of a server, and, without repeating it, for one that holds credentials."""
    try:
        parts = urlsplit(url)
        well_formed = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, well_formed = SplitResult("", "", "", "", ""), False
    if parts.username is not None or parts.query or parts.fragment:
        raise OptionError(
            "endpoint: a URL with credentials, a query or a fragment is not allowed, as it would be stored; give it "
            f"without them and put the key into the environment variable {KEY_VARIABLE}"
        )
    if not well_formed:
        raise OptionError(f"endpoint: {url!r} is no URL of a server; give one such as http://127.0.0.1:8000/v1")
