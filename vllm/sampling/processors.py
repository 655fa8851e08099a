"""Changes to logits before sampling that depend on a request's parameters and on its tokens so far."""

from torch import Tensor

from vllm.kernels.op_set import OpSet
from vllm.sampling.penalties import apply_penalties, has_penalties
from vllm.scheduler.request import Request

_NEVER = float("-inf")


def needs_processors(request: Request) -> bool:
    """Whether any of them applies to this request's next token."""
    params = request.params
    return (
        bool(params.logit_bias or params.allowed_token_ids or params.bad_words_token_ids)
        or request.num_output_tokens < params.min_tokens
        or has_penalties(params)
    )


def apply_processors(ops: OpSet, logits: Tensor, requests: list[Request]) -> None:
    """Changes logits [rows, vocab] f32 in place: allowed ids, bad words, min_tokens, logit_bias, then penalties."""
    for row, request in enumerate(requests):
        params = request.params
        if params.allowed_token_ids:
            _allow_only(logits[row], params.allowed_token_ids)
        if forbidden := _forbidden(request):
            logits[row, forbidden] = _NEVER
        if params.logit_bias:
            ids = list(params.logit_bias)
            logits[row, ids] += logits.new_tensor([float(params.logit_bias[i]) for i in ids])
    apply_penalties(ops, logits, requests)


def _allow_only(logits: Tensor, token_ids: list[int]) -> None:
    kept = logits[token_ids]
    logits.fill_(_NEVER)
    logits[token_ids] = kept


def _forbidden(request: Request) -> list[int]:
    """Ids that must not come next: the ends of bad words, and what would end the text before min_tokens."""
    params = request.params
    forbidden: list[int] = []
    if request.num_output_tokens < params.min_tokens:
        forbidden += [*request.eos_token_ids, *request.stop_token_ids]
    if params.bad_words_token_ids:
        output = request.token_ids[request.num_prompt_tokens :]
        for *before, last in params.bad_words_token_ids:
            if not before or output[-len(before) :] == before:
                forbidden.append(last)
    return forbidden
