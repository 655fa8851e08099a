"""Numbers of element types as vLLM's ops take them: ``scalar_types.uint4b8.id``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class NanRepr(IntEnum):
    """How a type represents NaN."""

    NONE = 0
    IEEE_754 = 1
    EXTD_RANGE_MAX_MIN = 2


@dataclass(frozen=True)
class ScalarType:
    """Bits of an element. Integers have no exponent; their value is the code minus `bias`."""

    exponent: int
    mantissa: int
    signed: bool
    bias: int = 0
    finite_values_only: bool = False
    nan_repr: NanRepr = NanRepr.IEEE_754

    @property
    def size_bits(self) -> int:
        return self.exponent + self.mantissa + int(self.signed)

    @property
    def id(self) -> int:
        """The fields side by side from the lowest bit on, 8, 8, 1, 32, 1 and 8 bits wide."""
        number, offset = 0, 0
        widths = (8, 8, 1, 32, 1, 8)
        fields = (self.exponent, self.mantissa, self.signed, self.bias, self.finite_values_only, self.nan_repr)
        for field, width in zip(fields, widths, strict=True):
            number |= (int(field) & (2**width - 1)) << offset
            offset += width
        return number


class scalar_types:
    """Types of quantised weights that `marlin_gemm` takes."""

    uint4 = ScalarType(0, 4, False)
    uint8 = ScalarType(0, 8, False)
    uint4b8 = ScalarType(0, 4, False, 8)
    uint8b128 = ScalarType(0, 8, False, 128)
    float8_e4m3fn = ScalarType(4, 3, True, 0, True, NanRepr.EXTD_RANGE_MAX_MIN)
