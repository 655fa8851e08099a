"""Importing vllm and answering --version or --help must not load torch: it takes seconds and hundreds of megabytes."""

import subprocess
import sys

CALL = "import sys; sys.argv = {argv}; from vllm.entrypoints.cli.main import main; main()"
COMMANDS = {
    "import vllm": "import vllm; vllm.__version__",
    "vllm --version": CALL.format(argv=["vllm", "--version"]),
    "vllm serve --help": CALL.format(argv=["vllm", "serve", "--help"]),
}
REPORT = "import atexit, sys; atexit.register(lambda: print('torch loaded:', 'torch' in sys.modules)); "

for name, code in COMMANDS.items():
    done = subprocess.run([sys.executable, "-c", REPORT + code], capture_output=True, text=True)
    assert done.returncode == 0, f"{name} failed: {done.stderr}"
    assert "torch loaded: False" in done.stdout, f"{name} loaded torch"
    print(f"{name}: no torch")
