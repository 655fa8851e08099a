"""From a prompt and sampling parameters to requests of the engine's core."""

from dataclasses import dataclass

from vllm.config import VllmConfig
from vllm.engine.messages import EngineRequest
from vllm.inputs import PromptType
from vllm.sampling_params import SamplingParams
from vllm.tokenizer import Tokenizer


@dataclass(slots=True)
class ProcessedInput:
    """A request of the user and the sequences it needs: `n` of them.

    `prompt` is None where token ids were given. `params` is the user's, with `n` and `output_kind`.
    """

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    params: SamplingParams
    arrival_time: float
    engine_requests: list[EngineRequest]


class InputProcessor:
    """Tokenizes, checks, fills in what depends on the model, and expands `n`."""

    def __init__(self, config: VllmConfig, tokenizer: Tokenizer | None): ...

    def process(
        self,
        request_id: str,
        prompt: PromptType,
        params: SamplingParams,
        *,
        arrival_time: float | None = None,
        priority: int = 0,
        add_special_tokens: bool = True,
    ) -> ProcessedInput:
        """Raises VLLMValidationError (PromptTooLongError, EmptyPromptError, TokenOutOfVocabularyError, ...)."""
