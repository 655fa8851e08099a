"""The cpu lane built a second time compiles nothing where SCCACHE_DIR names a cache; prints what both builds took."""

import hashlib
import re

from support.checkout import ROOT
from tooling import channels
from tooling.building import builder
from tooling.planning.lanes import default_lane
from tooling.progress import Progress


def test_an_unchanged_rebuild_takes_everything_from_the_cache(checkout, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SCCACHE_DIR", str(tmp_path / "cache"))
    copy = checkout(tmp_path / "checkout")
    log = copy.new_log("test")
    progress = Progress(log)
    job = builder.Job("vllm", default_lane(ROOT), channels.base_channel(copy, progress))
    digests = []
    for build in ("filling the cache", "from the cache"):
        (package,) = builder.build(copy, job, progress)
        digests.append(hashlib.sha256(package.read_bytes()).hexdigest())
        record = builder.last_build(copy, job.recipe, job.lane)
        with capsys.disabled():
            print(f"\n{build}: compilers {record['compile_seconds']} s, the whole build {record['seconds']} s")
    assert digests[0] == digests[1]
    first, second = re.findall(r"^Cache hits +(\d+).*?^Cache misses +(\d+)", log.read_text(), re.DOTALL | re.MULTILINE)
    assert int(first[1]) == int(second[0]) > 10, "what was compiled once"
    assert int(second[1]) == 0
