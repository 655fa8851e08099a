"""vllm.exceptions' error of an engine under upstream's name."""

from vllm.exceptions import EngineDeadError

__all__ = ["EngineDeadError"]
