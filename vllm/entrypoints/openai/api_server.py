"""`python -m vllm.entrypoints.openai.api_server --model MODEL`: the same server as `vllm serve MODEL`."""

import sys

from vllm.entrypoints.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
