"""Where the time of one prefill step and one decode step goes, op by op."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from vllm.detokenizer import IncrementalDetokenizer
from vllm.engine.llm_engine import LLMEngine
from vllm.engine.output_processor import OutputProcessor
from vllm.inputs import PromptType
from vllm.layers.replay import Replay
from vllm.models.interface import Model
from vllm.models.parts import named_parts
from vllm.profiling.model_parts import model_of, patched
from vllm.profiling.op_timer import LayerNames, OpTimer
from vllm.profiling.roofline import observe
from vllm.profiling.trace import Recorder, StepTrace
from vllm.sampling.sampler import Sampler
from vllm.sampling_params import SamplingParams
from vllm.scheduler.scheduler import Scheduler
from vllm.worker.input_batch import InputBatch

# Method, name of its spans, category.
PHASES = (
    (LLMEngine, "step", "step", "engine"),
    (Scheduler, "schedule", "schedule", "scheduler"),
    (Scheduler, "update", "update requests", "scheduler"),
    (InputBatch, "build", "build input", "worker"),
    (Sampler, "sample", "sample", "sampling"),
    (OutputProcessor, "process", "process outputs", "output"),
    (IncrementalDetokenizer, "append", "detokenise", "output"),
)
_LAYER = re.compile(r"layers\.\d+")


def profile_steps(engine: LLMEngine, prompts: list[PromptType]) -> list[StepTrace]:
    """Runs prompts until a step only decodes, and traces the first prefill step and that one.

    Steps run unrecorded (layers/replay.py), so that single ops are seen; timing them adds some 10 us to each. All is
    done twice, and the second time counts. The engine must be idle, and is so again afterwards, with an empty prefix
    cache. Prompts beyond max_num_seqs are left out; a prefill step alone is returned where no step only decodes.
    """
    prompts = prompts[: engine.config.scheduler_config.max_num_seqs]
    _run_until_decode(engine, prompts)
    return _run_until_decode(engine, prompts)


def _run_until_decode(engine: LLMEngine, prompts: list[PromptType]) -> list[StepTrace]:
    engine.reset_prefix_cache()
    params = SamplingParams(temperature=1.0, max_tokens=None, ignore_eos=True, detokenize=engine.tokenizer is not None)
    names = [f"profile-{index}" for index in range(len(prompts))]
    names_of_layers = LayerNames(model_of(engine))
    found: dict[str, StepTrace] = {}
    try:
        for name, prompt in zip(names, prompts, strict=True):
            engine.add_request(name, prompt, params)
        while "decode" not in found and engine.has_unfinished_requests():
            trace = _traced_step(engine, names_of_layers)
            found.setdefault(trace.kind, trace)
    finally:
        engine.abort_request(names)
        engine.reset_prefix_cache()
    return list(found.values())


def _traced_step(engine: LLMEngine, names: LayerNames) -> StepTrace:
    recorder = Recorder()
    with observe() as observation, _spans(recorder, model_of(engine)), OpTimer(recorder, names):
        engine.step()
    step = observation.steps[-1]
    tokens = sum(sequence.count for sequence in step.sequences)
    return StepTrace("prefill" if step.is_prefill else "decode", len(step.sequences), tokens, recorder.spans)


@contextmanager
def _spans(recorder: Recorder, model: Model) -> Iterator[None]:
    """Within the block, phases of the step, the model and its layers make spans, and nothing is replayed."""
    layers = {id(part): name for name, part in named_parts(model) if _LAYER.fullmatch(name)}
    classes = {type(part) for _, part in named_parts(model) if id(part) in layers}
    with ExitStack() as stack:
        stack.enter_context(patched(Replay, "run", _without_recording))
        for owner, method, name, category in PHASES:
            stack.enter_context(patched(owner, method, _spanned(recorder, lambda _, name=name: name, category)))
        for method in ("forward", "logits"):
            stack.enter_context(patched(type(model), method, _spanned(recorder, lambda _, name=method: name, "model")))
        for owner in classes:
            # A model's last layer may be called in two parts, the second for fewer rows.
            for method in ("attend", "transform") if hasattr(owner, "attend") else ("__call__",):
                spanned = _spanned(recorder, lambda part: layers[id(part)], "layer")
                stack.enter_context(patched(owner, method, spanned))
        yield


def _spanned(recorder: Recorder, name_of: Callable[[Any], str], category: str) -> Callable[[Callable], Callable]:
    def wrap(method: Callable) -> Callable:
        def spanned(self: Any, *args: Any, **kwargs: Any) -> Any:
            with recorder.span(name_of(self), category):
                return method(self, *args, **kwargs)

        return spanned

    return wrap


def _without_recording(_: Callable) -> Callable:
    def run(self: Replay, key: Any, function: Callable[[], None]) -> None:
        function()

    return run
