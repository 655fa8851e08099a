"""What is not offered: upstream's classes that programs name in imports and annotations, and upstream's arguments."""

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


def refuse_given(**arguments: Any) -> None:
    """Raises NotOfferedError for the first argument that asks for something; None and empty lists and dicts do not."""
    for name, value in arguments.items():
        if value is not None and not (isinstance(value, list | dict) and not value):
            raise NotOfferedError(f"{name} is not offered yet: leave it out", name)
