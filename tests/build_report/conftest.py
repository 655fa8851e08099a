"""Records of builds, as build_support/compile_launcher.py writes them."""

import json

import pytest

import support.checkout  # noqa: F401


@pytest.fixture
def record(tmp_path):
    """Writes a record of (source, start, end, others) entries."""

    def write(*compiles, name="compile_record.jsonl"):
        lines = [
            {"source": source, "object": f"{source}.o", "start": 1.7e9 + start, "end": 1.7e9 + end,
             "user_s": (end - start) * 0.9, "peak_rss_kb": 1 << 20, "cache": None, "exit": 0} | others
            for source, start, end, others in compiles
        ]  # fmt: skip
        file = tmp_path / name
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return file

    return write
