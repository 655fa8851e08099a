"""From the core's outputs to what users read: text, stop strings, logprobs, n answers in one."""

from dataclasses import dataclass, field

from vllm.engine.input_processor import ProcessedInput
from vllm.engine.messages import EngineOutput
from vllm.outputs import RequestMetrics, RequestOutput
from vllm.tokenizer import Tokenizer


@dataclass(slots=True)
class FinishedRequest:
    """What metrics need of one finished sequence."""

    finish_reason: str
    metrics: RequestMetrics
    num_prompt_tokens: int


@dataclass(slots=True)
class ProcessedOutputs:
    """`requests_to_abort`: core request ids that a stop string ended; the caller tells the core.

    The rest feeds metrics: seconds to the first token, seconds between tokens, and the sequences that finished.
    """

    request_outputs: list[RequestOutput] = field(default_factory=list)
    requests_to_abort: list[str] = field(default_factory=list)
    first_token_latencies: list[float] = field(default_factory=list)
    inter_token_latencies: list[float] = field(default_factory=list)
    finished: list[FinishedRequest] = field(default_factory=list)


class OutputProcessor:
    """Keeps one state a request until it has finished or is aborted."""

    def __init__(self, tokenizer: Tokenizer | None): ...

    def add_request(self, request: ProcessedInput) -> None:
        """Call before the core can answer. Raises VLLMValidationError for a request id that is in use."""

    def process(self, outputs: list[EngineOutput]) -> ProcessedOutputs:
        """Outputs of unknown (aborted) requests are skipped."""

    def abort_requests(self, request_ids: list[str]) -> list[str]:
        """Forgets requests (the user's ids); returns the core request ids to abort."""

    def fail_all(self, error: str) -> list[RequestOutput]:
        """Ends every open request with finish_reason "error" and this cause."""
