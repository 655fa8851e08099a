"""The process of a rank that is not the first: loads its part of the model and does what rank 0 says."""

import os
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle

from vllm.config import VllmConfig
from vllm.distributed import child_main
from vllm.executor.workers import LOST_A_PEER
from vllm.platforms import current_platform
from vllm.plugins import load_general_plugins

EXIT_FAILED = 1


def main(descriptor: int) -> None:
    """Follows rank 0 at the other end of the inherited socket `descriptor`, and ends with it."""
    child_main.begin()
    child_main.end_with(descriptor)
    connection = Connection(descriptor)
    try:
        config, rank = connection.recv()
        current_platform.prepare(own_process=True, rank=rank, ranks=config.parallel_config.tensor_parallel_size)
        load_general_plugins()
        _follow(connection, config, rank)
    except (EOFError, OSError):
        os._exit(LOST_A_PEER)
    except Exception as error:
        _end(connection, error)


def _follow(connection: Connection, config: VllmConfig, rank: int) -> None:
    import torch
    from torch.distributed import TCPStore

    from vllm.distributed.group import LOOPBACK, ProcessGroup
    from vllm.executor.parallel_model import FollowingRank
    from vllm.executor.rank import load_rank
    from vllm.worker.runner import ModelRunner

    connection.send(None)  # ready
    port, shares_memory = connection.recv()
    shared = recv_handle(connection) if shares_memory else None
    store = TCPStore(LOOPBACK, port, is_master=False)
    device_type = config.device_config.device
    if device_type == "cuda":
        torch.cuda.set_device(rank)  # what "cuda" means from here on
    group = ProcessGroup(store, rank, config.parallel_config.tensor_parallel_size, device_type, shared)
    follower = FollowingRank(ModelRunner(config, lambda: load_rank(config, group), group))
    while True:
        method, arguments = connection.recv()
        getattr(follower, method)(*arguments)


def _end(connection: Connection, error: Exception) -> None:
    """Tells rank 0 why this process ends, unless it ends because another rank did."""
    from vllm.distributed.group import PeerLostError

    if isinstance(error, PeerLostError):
        os._exit(LOST_A_PEER)
    try:
        connection.send(child_main.describe_failure(error))
    except OSError:  # rank 0 has ended already, and said why
        os._exit(LOST_A_PEER)
    os._exit(EXIT_FAILED)
