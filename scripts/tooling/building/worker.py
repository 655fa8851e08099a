"""Runs rattler-build in a process of its own: it cannot be interrupted from Python.

`worker.py build REQUEST` builds a recipe; REQUEST is JSON: recipe (path), variants (paths), pins (variant keys to
replace), target and build platform, channels, output (folder). `worker.py test REQUEST` installs packages (paths) from
channels, each into an environment of its own, and runs their tests there. Exit status 1 when anything fails;
rattler-build's message, or the output of the tests, is on standard output.
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
import warnings

PR_SET_PDEATHSIG = 1


def build(request: dict) -> bool:
    """Build a recipe's packages; False when that fails."""
    from rattler_build import RattlerBuildError, build_recipes

    warnings.simplefilter("ignore", DeprecationWarning)
    try:
        build_recipes(
            [request["recipe"]],
            variant_config=request["variants"],
            variant_overrides=request["pins"] or None,
            target_platform=request["target_platform"],
            build_platform=request["build_platform"],
            channel=request["channels"],
            output_dir=request["output"],
            # The same paths every time: a compiler cache knows sources by their paths, too.
            no_build_id=True,
            # Packed well when it is packed for good (repack.py).
            package_format="conda:1",
            test="skip",
        )
    except RattlerBuildError as error:
        print(error)
        return False
    return True


def test(request: dict) -> bool:
    """Run the tests of packages, up to the first that fails; False when one does."""
    from rattler_build import Package, RattlerBuildError

    for file in request["packages"]:
        try:
            for result in Package.from_file(file).run_tests(channel=request["channels"]):
                print(*result.output, sep="\n")
                if not result:
                    return False
        except RattlerBuildError as error:
            print(error)
            return False
    return True


if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    done = {"build": build, "test": test}[sys.argv[1]](json.loads(sys.argv[2]))
    sys.exit(0 if done else 1)
