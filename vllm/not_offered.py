"""Upstream's classes that programs name at their top, in imports and annotations, and that are not offered."""

from typing import Any, ClassVar

from vllm.exceptions import NotOfferedError


class NotOffered:
    """Can be imported, annotated with and asked for with isinstance; raises NotOfferedError when it is called.

    Subclasses give `advice`, what to do without it.
    """

    _advice: ClassVar[str]

    def __init_subclass__(cls, advice: str = "", **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if advice:
            cls._advice = advice

    def __init__(self, *args: Any, **kwargs: Any):
        name = type(self).__name__
        raise NotOfferedError(f"{name} is not offered: {self._advice}", name)
