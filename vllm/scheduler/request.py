"""One sequence as the scheduler sees it."""

from vllm.kvcache.manager import SequenceBlocks
from vllm.messages import EngineRequest, TokenLogprobs
from vllm.sampling_params import SamplingParams
from vllm.scheduler.prompt_lookup import PromptLookup


class Request:
    """Tokens, how many of them have keys and values in the cache, and the blocks that hold those."""

    __slots__ = (
        "arrival_time",
        "blocks",
        "draft",
        "eos_token_ids",
        "first_scheduled_time",
        "greedy",
        "is_running",
        "lookup",
        "max_tokens",
        "num_cached_tokens",
        "num_computed_tokens",
        "num_preemptions",
        "num_prompt_tokens",
        "order",
        "params",
        "priority",
        "prompt_logprobs",
        "request_id",
        "stop_token_ids",
        "token_ids",
    )

    def __init__(self, request: EngineRequest, order: int, max_model_len: int):
        params = request.sampling_params
        self.request_id = request.request_id
        self.params: SamplingParams = params
        self.greedy = params.greedy
        self.token_ids = list(request.prompt_token_ids)  # prompt and answer
        self.num_prompt_tokens = len(self.token_ids)
        self.num_computed_tokens = 0
        self.num_preemptions = 0
        self.num_cached_tokens = -1  # of the prompt, when it was first scheduled; -1 before
        self.blocks = SequenceBlocks()
        room = max(max_model_len - self.num_prompt_tokens, 0)
        self.max_tokens = room if params.max_tokens is None else min(params.max_tokens, room)
        self.eos_token_ids = [] if params.ignore_eos else request.eos_token_ids
        self.stop_token_ids = frozenset(params.stop_token_ids or ())
        self.priority = request.priority
        self.arrival_time = request.arrival_time
        self.first_scheduled_time = 0.0  # of time.time(); 0 before
        self.order = order
        self.is_running = False
        self.lookup: PromptLookup | None = None  # makes drafts, where the request allows them
        self.draft: list[int] = []  # of the step that is being computed: tokens after the last one, to be checked
        # One entry a prompt token as they are computed; None once they have been handed out.
        self.prompt_logprobs: list[TokenLogprobs | None] | None = None if params.prompt_logprobs is None else [None]

    @property
    def allows_drafts(self) -> bool:
        """Whether the next tokens can be guessed, and all be checked at once: each is the likeliest of plain logits."""
        p = self.params
        changes_logits = p.logit_bias or p.allowed_token_ids or p.bad_words_token_ids or p.min_tokens
        penalizes = p.repetition_penalty != 1 or p.frequency_penalty != 0 or p.presence_penalty != 0
        return self.greedy and not (changes_logits or penalizes)

    @property
    def takes_likeliest(self) -> bool:
        """As allows_drafts, and nothing else of the logits is wanted."""
        return self.allows_drafts and self.params.logprobs is None

    @property
    def num_tokens(self) -> int:
        return len(self.token_ids)

    @property
    def num_output_tokens(self) -> int:
        return len(self.token_ids) - self.num_prompt_tokens

    def finish_reason(self, token: int) -> tuple[str | None, int | None]:
        """Why `token`, just appended, ends the sequence, and the stop token id to report; (None, None) to go on."""
        outputs = self.num_output_tokens
        if outputs > self.params.min_tokens:
            if token in self.stop_token_ids:
                return "stop", token
            if token in self.eos_token_ids:
                return "stop", None if token == self.eos_token_ids[0] else token
        if outputs >= self.max_tokens:
            return "length", None
        return None, None
