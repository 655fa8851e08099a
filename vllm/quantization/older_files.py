"""The files beside config.json in which GPTQ's and AWQ's first tools said how a model is quantised."""

from pathlib import Path
from typing import Any

from vllm.hf_config import read_json

# With the method of those that do not name it.
_FILES = {"quantize_config.json": "gptq", "quant_config.json": "awq"}


def read_older_config(folder: Path) -> dict[str, Any] | None:
    """What such a file says, as `quantization_config` in config.json would; None where there is none."""
    for name, method in _FILES.items():
        if (folder / name).exists():
            return {"quant_method": method, **read_json(folder / name)}
    return None
