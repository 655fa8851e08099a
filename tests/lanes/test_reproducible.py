"""The cpu lane built twice, in two folders whose names differ in length, is the same file."""

import hashlib

from support.checkout import ROOT
from tooling import channels
from tooling.building import builder
from tooling.planning.lanes import default_lane
from tooling.progress import Progress


def test_two_builds_in_two_folders_are_the_same_bytes(checkout, tmp_path):
    digests = {}
    for copy in [checkout(tmp_path / name) for name in ("one", "another-folder")]:
        progress = Progress(copy.new_log("test"))
        job = builder.Job("vllm", default_lane(ROOT), channels.base_channel(copy, progress))
        for package in builder.build(copy, job, progress):
            digests.setdefault(package.name, set()).add(hashlib.sha256(package.read_bytes()).hexdigest())
    assert digests and all(len(found) == 1 for found in digests.values()), digests
