"""An output head that finds the likeliest tokens without all logits."""

from torch import Tensor

from vllm.kernels.linear import PANEL_WIDTH
from vllm.kernels.screened_head import screen_head, screened_argmax

# Below this a head stays in the caches, and reading half of it is no gain.
MIN_ELEMENTS = 4 << 20
# Computing this share of the logits takes about as long as the screen saves.
_POOR_SHARE = 1 / 16
_POOR_CALLS = 16


class ScreenedHead:
    """A head's 8-bit copy and what it was rounded by (vllm.kernels.screened_head)."""

    __slots__ = ("_norms", "_packed", "_panels", "_poor_calls", "screen")

    def __init__(self, weight: Tensor, packed: Tensor):
        """weight [vocab_size, width] in floating point, which is read, and `packed`, which is kept, of it."""
        self._packed = packed
        self.screen, self._norms = screen_head(weight)
        self._panels = -(-weight.shape[0] // PANEL_WIDTH)
        self._poor_calls = 0

    def __call__(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """[rows, width] to tokens [rows] i64 and their logits [rows] f32."""
        tokens, logits, computed = screened_argmax(hidden, self._packed, self.screen, self._norms)
        poor = computed > hidden.shape[0] * self._panels * _POOR_SHARE
        self._poor_calls = max(0, self._poor_calls + (1 if poor else -1))
        return tokens, logits

    @property
    def pays(self) -> bool:
        """Whether bounds have been close enough: not where logits are nearly equal, or inputs have huge outliers."""
        return self._poor_calls < _POOR_CALLS
