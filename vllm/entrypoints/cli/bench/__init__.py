"""`vllm bench`: latency of a batch, offline throughput, a running server, and startup."""

from vllm.entrypoints.cli.registry import Command

_PACKAGE = "vllm.entrypoints.cli.bench"

COMMANDS = (
    Command("latency", "time one batch of requests from start to end", f"{_PACKAGE}.latency"),
    Command("throughput", "answer many requests offline, as fast as they go", f"{_PACKAGE}.throughput"),
    Command("serve", "send requests to a running server and time its answers", f"{_PACKAGE}.serve"),
    Command(
        "startup", "time a server from the start of its process to the first healthy answer", f"{_PACKAGE}.startup"
    ),
)
