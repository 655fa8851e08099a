"""A build without kernels says on one line which it is and what to install, before it looks at a model."""

import subprocess
import sys

from vllm import LLM

COMMAND = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", "no-such-model"]

done = subprocess.run(COMMAND, capture_output=True, text=True)
(line,) = done.stderr.splitlines()
assert done.returncode == 2 and not done.stdout, done
assert "build, which holds no kernels" in line and "conda install 'vllm=*=cpu_*'" in line, line
print(line)

try:
    LLM("no-such-model")
except ValueError as error:
    assert str(error) in line, error
else:
    sys.exit("a build without kernels made an engine")
