"""Upstream's parameters of pooling models, of which there are none."""

from vllm.not_offered import NotOffered

NO_POOLING = "this version generates text only, it has no pooling models"


class PoolingParams(NotOffered, advice=NO_POOLING):
    pass
