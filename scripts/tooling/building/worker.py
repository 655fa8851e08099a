"""Runs one build in a process of its own: rattler-build cannot be interrupted from Python.

Started with one JSON argument: recipe (path), variants (paths), pins (variant keys to replace), target and build
platform, channels, output (folder), test (whether to run package tests). Exit status 1, with rattler-build's
message on standard error, when the build or its tests fail.
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
import warnings

PR_SET_PDEATHSIG = 1


def main(job: dict) -> int:
    """Build the job's recipe and test its packages."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    from rattler_build import RattlerBuildError, build_recipes

    warnings.simplefilter("ignore", DeprecationWarning)
    try:
        build_recipes(
            [job["recipe"]],
            variant_config=job["variants"],
            variant_overrides=job["pins"] or None,
            target_platform=job["target_platform"],
            build_platform=job["build_platform"],
            channel=job["channels"],
            output_dir=job["output"],
            # The same paths every time: a compiler cache knows sources by their paths, too.
            no_build_id=True,
            package_format="conda:19",
            test="native" if job["test"] else "skip",
        )
    except RattlerBuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
