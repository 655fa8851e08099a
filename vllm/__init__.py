"""vLLM's Python interface over this project's own engine and kernels.

Names are imported when they are first used, so that `import vllm` loads neither torch nor the engine.
"""

import importlib
from typing import TYPE_CHECKING, Any

from vllm.version import __version__, __version_tuple__

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs, EngineArgs
    from vllm.engine.async_llm import AsyncLLM as AsyncLLMEngine
    from vllm.engine.llm_engine import LLMEngine
    from vllm.entrypoints.llm import LLM
    from vllm.inputs import PromptType, TextPrompt, TokensPrompt
    from vllm.models.registry import ModelRegistry
    from vllm.outputs import CompletionOutput, RequestOutput
    from vllm.sampling_params import SamplingParams

_EXPORTS = {
    "LLM": ("vllm.entrypoints.llm", "LLM"),
    "SamplingParams": ("vllm.sampling_params", "SamplingParams"),
    "EngineArgs": ("vllm.engine.arg_utils", "EngineArgs"),
    "AsyncEngineArgs": ("vllm.engine.arg_utils", "AsyncEngineArgs"),
    "LLMEngine": ("vllm.engine.llm_engine", "LLMEngine"),
    "AsyncLLMEngine": ("vllm.engine.async_llm", "AsyncLLM"),
    "TextPrompt": ("vllm.inputs", "TextPrompt"),
    "TokensPrompt": ("vllm.inputs", "TokensPrompt"),
    "PromptType": ("vllm.inputs", "PromptType"),
    "ModelRegistry": ("vllm.models.registry", "ModelRegistry"),
    "RequestOutput": ("vllm.outputs", "RequestOutput"),
    "CompletionOutput": ("vllm.outputs", "CompletionOutput"),
}

# Upstream's names that can be imported and annotated with, not called.
_POOLING_OUTPUTS = (
    "PoolingOutput",
    "PoolingRequestOutput",
    "EmbeddingOutput",
    "EmbeddingRequestOutput",
    "ClassificationOutput",
    "ClassificationRequestOutput",
    "ScoringOutput",
    "ScoringRequestOutput",
)
_EXPORTS["PoolingParams"] = ("vllm.pooling_params", "PoolingParams")
_EXPORTS |= {name: ("vllm.pooling_outputs", name) for name in _POOLING_OUTPUTS}

__all__ = [
    "LLM",
    "AsyncEngineArgs",
    "AsyncLLMEngine",
    "CompletionOutput",
    "EngineArgs",
    "LLMEngine",
    "ModelRegistry",
    "PromptType",
    "RequestOutput",
    "SamplingParams",
    "TextPrompt",
    "TokensPrompt",
    "__version__",
    "__version_tuple__",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        module, attribute = _EXPORTS[name]
        value = getattr(importlib.import_module(module), attribute)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'vllm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
