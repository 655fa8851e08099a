"""What a model's files say about sampling from it."""

from typing import Any

from vllm.config import ModelConfig
from vllm.hf_config import read_generation_config, token_id_list

_SAMPLING_KEYS = """temperature top_p top_k min_p repetition_penalty presence_penalty frequency_penalty
    skip_special_tokens""".split()


def default_sampling_values(config: ModelConfig) -> dict[str, Any]:
    """SamplingParams fields that the model's makers chose, for requests that do not set them."""
    values = read_generation_config(config.generation_config, config.folder) | config.override_generation_config
    defaults = {k: values[k] for k in _SAMPLING_KEYS if values.get(k) is not None}
    if values.get("max_new_tokens") is not None:
        defaults["max_tokens"] = values["max_new_tokens"]
    return defaults


def max_tokens_limit(config: ModelConfig) -> int | None:
    """Most tokens of an answer, where max_new_tokens was chosen for a server: what makers chose is a default."""
    if config.generation_config in ("auto", "vllm"):
        return config.override_generation_config.get("max_new_tokens")
    return default_sampling_values(config).get("max_tokens")


def eos_token_ids(config: ModelConfig, tokenizer_eos: int | None) -> list[int]:
    """Ids that end an answer, the tokenizer's first: it is the one that is reported as no stop reason."""
    generation = read_generation_config("auto", config.folder) | config.override_generation_config
    declared = generation.get("eos_token_id")
    if declared is None:
        declared = config.hf_config.get("eos_token_id")
    ids = ([] if tokenizer_eos is None else [tokenizer_eos]) + token_id_list(declared)
    return list(dict.fromkeys(i for i in ids if 0 <= i < config.vocab_size))
