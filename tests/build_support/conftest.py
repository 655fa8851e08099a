"""Makes build_support/ of the checkout importable."""

import sys

from support.checkout import ROOT

if str(ROOT) not in sys.path:
    # Behind everything else: the checkout also holds a folder vllm/, which must not hide the installed package.
    sys.path.append(str(ROOT))
