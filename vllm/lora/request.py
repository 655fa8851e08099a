"""The adapter of a request, to be named and not to be made."""

from vllm.not_offered import NotOffered


class LoRARequest(NotOffered, advice="merge the adapter into the model's weights"):
    pass
