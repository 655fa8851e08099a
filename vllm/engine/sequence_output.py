"""The growing answer of one sequence: text, stop strings, logprobs."""

from vllm.detokenizer import IncrementalDetokenizer
from vllm.engine.logprobs import TOKENS_BEFORE, append_decoded
from vllm.logprobs import SampleLogprobs, create_sample_logprobs
from vllm.messages import EngineOutput, EngineRequest, TokenLogprobs
from vllm.outputs import CompletionOutput, RequestMetrics
from vllm.sampling_params import RequestOutputKind
from vllm.tokenizer import Tokenizer


class SequenceOutput:
    """Takes the core's outputs for one sequence and gives out CompletionOutputs."""

    def __init__(self, index: int, request: EngineRequest, arrival_time: float, tokenizer: Tokenizer | None):
        params = request.sampling_params
        self.index = index
        self.text = ""
        self.token_ids: list[int] = []
        self.logprobs: SampleLogprobs | None = None
        if params.logprobs is not None:
            self.logprobs = create_sample_logprobs(params.flat_logprobs)
        self.cumulative_logprob: float | None = None if params.logprobs is None else 0.0
        self.finish_reason: str | None = None
        self.stop_reason: int | str | None = None
        self.metrics = RequestMetrics(arrival_time)
        self._params = params
        self._tokenizer = tokenizer if params.detokenize else None
        self._detokenizer = None
        if self._tokenizer is not None:
            special = params.skip_special_tokens
            self._detokenizer = IncrementalDetokenizer(self._tokenizer, request.prompt_token_ids, special)
        # A stop string may begin in text that is already there: so much is held back from streams.
        longest = max((len(s) for s in params.stop or []), default=1)
        self._held_back = 0 if params.include_stop_str_in_output else longest - 1
        self._sent_text = 0
        self._sent_tokens = 0

    def append(self, output: EngineOutput) -> None:
        """Takes what a step made; a stop string ends the sequence, and later tokens of the step are dropped."""
        for position, token in enumerate(output.new_token_ids):
            self.token_ids.append(token)
            if output.new_logprobs is not None and self.logprobs is not None:
                self._add_logprobs(output.new_logprobs[position])
            is_last = output.finish_reason is not None and position == len(output.new_token_ids) - 1
            hidden = is_last and output.finish_reason == "stop" and not self._params.include_stop_str_in_output
            if self._detokenizer is not None and not hidden and self._extend_text(self._detokenizer.append(token)):
                return
        if output.finish_reason is not None:
            self._finish(output.finish_reason, output.stop_reason)

    def take_output(self, kind: RequestOutputKind) -> CompletionOutput | None:
        """What the user sees now; None where a stream has nothing new."""
        end = len(self.text) if self.finish_reason else max(len(self.text) - self._held_back, self._sent_text)
        text_from, tokens_from = 0, 0
        if kind == RequestOutputKind.DELTA:
            text_from, tokens_from = self._sent_text, self._sent_tokens
            if not (self.finish_reason or end > text_from or len(self.token_ids) > tokens_from):
                return None
        self._sent_text, self._sent_tokens = end, len(self.token_ids)
        return CompletionOutput(
            index=self.index,
            text=self.text[text_from:end],
            token_ids=self.token_ids[tokens_from:],
            cumulative_logprob=self.cumulative_logprob,
            logprobs=None if self.logprobs is None else self.logprobs[tokens_from:],
            finish_reason=self.finish_reason,
            stop_reason=self.stop_reason,
        )

    def _finish(self, reason: str, stop_reason: int | str | None) -> None:
        if self._detokenizer is not None and self._extend_text(self._detokenizer.flush()):
            return
        self.finish_reason, self.stop_reason = reason, stop_reason

    def _extend_text(self, new_text: str) -> bool:
        """Adds text; True where a stop string in it ended the sequence."""
        if not new_text:
            return False
        self.text += new_text
        if not self._params.stop or len(self.token_ids) <= self._params.min_tokens:
            return False
        found = _first_stop(self.text, len(new_text), self._params.stop)
        if found is None:
            return False
        at, stop = found
        self.text = self.text[: at + len(stop) if self._params.include_stop_str_in_output else at]
        self.finish_reason, self.stop_reason = "stop", stop
        return True

    def _add_logprobs(self, entry: TokenLogprobs) -> None:
        assert self.logprobs is not None and self.cumulative_logprob is not None
        append_decoded(self.logprobs, entry, self._tokenizer, self.token_ids[-1 - TOKENS_BEFORE : -1])
        self.cumulative_logprob += entry.logprobs[0]


def _first_stop(text: str, new_characters: int, stops: list[str] | str) -> tuple[int, str] | None:
    """The stop string that ends earliest in the new characters, and where it begins."""
    best: tuple[int, str] | None = None
    for stop in stops:
        at = text.find(stop, max(len(text) - new_characters - len(stop) + 1, 0))
        if at >= 0 and (best is None or at + len(stop) < best[0] + len(best[1])):
            best = (at, stop)
    return best
