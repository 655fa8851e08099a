"""Which class runs which architecture. A file an architecture, imported when a model of it is built."""

import importlib
from typing import Any

from vllm.exceptions import ModelError


class _Registry:
    """Architecture names (config.json's `architectures`) to model classes."""

    def __init__(self, known: dict[str, str]):
        self._known: dict[str, str | type] = dict(known)

    def get_supported_archs(self) -> list[str]:
        return sorted(self._known)

    def register_model(self, architecture: str, model: str | type) -> None:
        """Adds or replaces one: a class, or "module:Class", which is imported when it is needed.

        Raises TypeError for what is neither, and for a name that is not text.
        """
        if not isinstance(architecture, str):
            raise TypeError(f"architecture={architecture!r} is not accepted: give text")
        if not isinstance(model, str | type):
            raise TypeError(f"model={model!r} is not accepted: give a class or 'module:Class'")
        if isinstance(model, str) and model.count(":") != 1:
            raise ValueError(f"model={model!r} is not accepted: give a class or 'module:Class'")
        self._known[architecture] = model

    def check_supported(self, architecture: str) -> None:
        """Raises ModelError, naming what is supported, for an unknown architecture."""
        if architecture not in self._known:
            raise ModelError(
                f"Model architectures [{architecture!r}] are not supported for now: "
                f"supported are {', '.join(self.get_supported_archs())}"
            )

    def resolve(self, architecture: str) -> Any:
        """The model class; imports its file."""
        self.check_supported(architecture)
        model = self._known[architecture]
        if isinstance(model, str):
            module, name = model.split(":")
            model = getattr(importlib.import_module(module), name)
        return model


ModelRegistry = _Registry(
    {
        "LlamaForCausalLM": "vllm.models.llama:LlamaForCausalLM",
        "MistralForCausalLM": "vllm.models.llama:LlamaForCausalLM",
        "Qwen2ForCausalLM": "vllm.models.qwen2:Qwen2ForCausalLM",
        "Qwen3ForCausalLM": "vllm.models.qwen3:Qwen3ForCausalLM",
        "OPTForCausalLM": "vllm.models.opt:OPTForCausalLM",
    }
)
