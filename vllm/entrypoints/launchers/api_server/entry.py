"""`python -m vllm.entrypoints.launchers.api_server.entry`: upstream's newer name of openai/api_server.py."""

import sys

from vllm.entrypoints.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
