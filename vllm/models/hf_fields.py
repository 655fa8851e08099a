"""Checked access to config.json's fields."""

from typing import Any

from vllm.exceptions import ModelError


class Fields:
    """Reads fields of one config.json; every refusal names the field, its value and what is accepted."""

    def __init__(self, hf_config: dict[str, Any]):
        self._values = hf_config

    def positive(self, name: str, default: int | None = None) -> int:
        """A positive integer; `default` where the field is missing or null."""
        value = self._values.get(name)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise ModelError(f"config.json: {name}={value!r} is not accepted: it must be a positive integer")
        return value

    def require(self, name: str, *accepted: Any) -> None:
        """The field must be missing or one of `accepted`."""
        value = self._values.get(name, accepted[0])
        if value not in accepted:
            shown = ", ".join(repr(a) for a in accepted)
            raise ModelError(f"config.json: {name}={value!r} is not supported; supported: {shown}")
