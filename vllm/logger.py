"""Upstream's name for loggers; vllm.log sets logging up where this package starts a program."""

import logging


def init_logger(name: str) -> logging.Logger:
    return logging.getLogger(name)
