"""Upstream's outputs of pooling models, of which there are none."""

from vllm.not_offered import NotOffered
from vllm.pooling_params import NO_POOLING


class PoolingOutput(NotOffered, advice=NO_POOLING):
    pass


class EmbeddingOutput(NotOffered, advice=NO_POOLING):
    pass


class ClassificationOutput(NotOffered, advice=NO_POOLING):
    pass


class ScoringOutput(NotOffered, advice=NO_POOLING):
    pass


class PoolingRequestOutput(NotOffered, advice=NO_POOLING):
    """Written with its output in brackets, PoolingRequestOutput[PoolingOutput], too."""

    def __class_getitem__(cls, output: type) -> type:
        return cls


class EmbeddingRequestOutput(PoolingRequestOutput):
    pass


class ClassificationRequestOutput(PoolingRequestOutput):
    pass


class ScoringRequestOutput(PoolingRequestOutput):
    pass
