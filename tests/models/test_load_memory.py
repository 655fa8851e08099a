"""Loading maps files and packs weights once: a process needs little more than weights, KV cache and torch itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

MIB = 2**20
# What may be needed beside weights and KV cache, the process before the engine included: interpreter, torch, kernels.
ALLOWANCE = 300 * MIB
KV_CACHE = 64 * MIB
HIDDEN, LAYERS, INTERMEDIATE, VOCABULARY = 1024, 8, 4096, 32000

MEASURE = """
import sys
from pathlib import Path
from vllm import LLM, SamplingParams
def status(name):
    return int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0]) * 1024
import torch, vllm.worker.runner, vllm.engine.llm_engine
before = status("VmRSS") - status("RssFile")
llm = LLM(sys.argv[1], skip_tokenizer_init=True, max_model_len=512, kv_cache_memory_bytes=int(sys.argv[2]))
params = SamplingParams(temperature=0, max_tokens=4, ignore_eos=True, detokenize=False)
llm.generate([{"prompt_token_ids": list(range(3, 300))}], params, use_tqdm=False)
print(status("VmHWM"), before)
"""


def save_large_model(folder: Path) -> int:
    """A Llama of random bfloat16 weights in two shards of one file each; returns the bytes of its weights."""
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": LAYERS,
        "hidden_size": HIDDEN,
        "num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": INTERMEDIATE,
        "dtype": "bfloat16", "vocab_size": VOCABULARY, "max_position_embeddings": 512, "tie_word_embeddings": True,
        "rms_norm_eps": 1e-6,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for i in range(LAYERS):
        layer = f"model.layers.{i}"
        shapes |= {f"{layer}.{n}_layernorm.weight": (HIDDEN,) for n in ("input", "post_attention")}
        shapes |= {f"{layer}.self_attn.{n}_proj.weight": (HIDDEN, HIDDEN) for n in "qo"}
        shapes |= {f"{layer}.self_attn.{n}_proj.weight": (HIDDEN // 4, HIDDEN) for n in "kv"}
        shapes |= {f"{layer}.mlp.{n}_proj.weight": (INTERMEDIATE, HIDDEN) for n in ("gate", "up")}
        shapes[f"{layer}.mlp.down_proj.weight"] = (HIDDEN, INTERMEDIATE)
    weights = {name: torch.full(shape, 0.01, dtype=torch.bfloat16) for name, shape in shapes.items()}
    names = sorted(weights)
    for shard, part in enumerate((names[::2], names[1::2])):
        save_file({name: weights[name] for name in part}, folder / f"model-{shard}.safetensors")
    return sum(w.numel() * 2 for w in weights.values())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_peak_memory(tmp_path):
    weights = save_large_model(tmp_path)
    assert weights > 280 * MIB  # one copy too many would not go unnoticed
    environment = {k: v for k, v in os.environ.items() if k != "VLLM_CPU_KVCACHE_SPACE"}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), str(KV_CACHE)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    peak, before = map(int, done.stdout.split())
    print(f"peak {peak / MIB:.0f} MiB, weights {weights / MIB:.0f}, imports {before / MIB:.0f}")
    assert peak < weights + KV_CACHE + ALLOWANCE
