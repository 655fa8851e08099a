"""Upstream's name for the formatter that files of logging settings name."""

import logging


class NewLineFormatter(logging.Formatter):
    """Every line of a message begins as the first does."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        begins = text.partition(record.message)[0] if record.message else ""
        return text.replace("\n", f"\n{begins}")
