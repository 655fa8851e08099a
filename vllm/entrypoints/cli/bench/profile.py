"""--profile: one prefill and one decode step as a page."""

from typing import TYPE_CHECKING

from vllm.entrypoints.cli.bench.report import write_text

if TYPE_CHECKING:
    from vllm import LLM
    from vllm.inputs import PromptType


def write_profile(path: str | None, llm: "LLM", prompts: "list[PromptType]") -> None:
    """Runs the prompts up to a step that only decodes; nothing where no path is given."""
    if path is None:
        return
    from vllm.profiling.page import trace_page
    from vllm.profiling.step_profile import profile_steps

    engine = llm.llm_engine
    model = engine.config.model_config
    steps = profile_steps(engine, prompts)
    write_text(path, trace_page(steps, f"{model.served_model_name[0]}, {model.dtype}: one step of each kind"))
    print(f"profile of {' and '.join(step.kind for step in steps)}, run op by op instead of replayed: {path}")
