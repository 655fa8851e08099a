"""Types of elements, those of less than a byte among them, and their numbers: ops take ``scalar_types.uint4b8.id``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

# Bits of a type's fields in its number, the lowest first.
_WIDTHS = (8, 8, 1, 32, 1, 8)


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

    @classmethod
    def int_(cls, size_bits: int, bias: int | None = None) -> ScalarType:
        """A signed integer; `size_bits` counts its sign."""
        return cls(0, size_bits - 1, True, bias or 0)

    @classmethod
    def uint(cls, size_bits: int, bias: int | None = None) -> ScalarType:
        return cls(0, size_bits, False, bias or 0)

    @classmethod
    def float_IEEE754(cls, exponent: int, mantissa: int) -> ScalarType:
        return cls(exponent, mantissa, True)

    @classmethod
    def float_(cls, exponent: int, mantissa: int, finite_values_only: bool, nan_repr: NanRepr) -> ScalarType:
        """A float that differs from IEEE 754's in its largest codes."""
        return cls(exponent, mantissa, True, 0, finite_values_only, nan_repr)

    @classmethod
    def from_id(cls, scalar_type_id: int) -> ScalarType:
        """The type of this number. ValueError where it is none's."""
        fields, rest = [], scalar_type_id
        for width in _WIDTHS:
            fields.append(rest & (2**width - 1))
            rest >>= width
        exponent, mantissa, signed, bias, finite, nan_repr = fields
        if rest or not exponent + mantissa or nan_repr not in list(NanRepr):
            raise ValueError(f"scalar_type_id={scalar_type_id} is not accepted: give the id of a ScalarType")
        return cls(exponent, mantissa, bool(signed), bias, bool(finite), NanRepr(nan_repr))

    @cached_property
    def id(self) -> int:
        """The fields side by side from the lowest bit on, 8, 8, 1, 32, 1 and 8 bits wide."""
        number, offset = 0, 0
        fields = (self.exponent, self.mantissa, self.signed, self.bias, self.finite_values_only, self.nan_repr)
        for field, width in zip(fields, _WIDTHS, strict=True):
            number |= (int(field) & (2**width - 1)) << offset
            offset += width
        return number

    @property
    def size_bits(self) -> int:
        return self.exponent + self.mantissa + int(self.signed)

    def min(self) -> int | float:
        """The least value. ValueError for a float without a sign."""
        if not self.is_floating_point():
            return (-(2**self.mantissa) if self.signed else 0) - self.bias
        if not self.signed:
            raise ValueError(f"{self} has no sign, and no least value: ask for max()")
        return -self.max()

    def max(self) -> int | float:
        """The largest finite value."""
        if not self.is_floating_point():
            return 2**self.mantissa - 1 - self.bias
        above = {NanRepr.NONE: 0, NanRepr.EXTD_RANGE_MAX_MIN: 1, NanRepr.IEEE_754: 2**self.mantissa}[self.nan_repr]
        power, fraction = divmod(2 ** (self.exponent + self.mantissa) - 1 - above, 2**self.mantissa)
        return math.ldexp(2**self.mantissa + fraction, power - (2 ** (self.exponent - 1) - 1) - self.mantissa)

    def is_signed(self) -> bool:
        return self.signed

    def is_floating_point(self) -> bool:
        return self.exponent != 0

    def is_integer(self) -> bool:
        return self.exponent == 0

    def has_bias(self) -> bool:
        return self.bias != 0

    def has_infs(self) -> bool:
        return not self.finite_values_only

    def has_nans(self) -> bool:
        return self.nan_repr != NanRepr.NONE

    def is_ieee_754(self) -> bool:
        return self.nan_repr == NanRepr.IEEE_754 and not self.finite_values_only

    def __str__(self) -> str:
        """The name in `scalar_types`. After a float's, f: finite values only; n: NaNs, but not IEEE 754's."""
        if self.is_integer():
            return f"{'' if self.signed else 'u'}int{self.size_bits}" + (f"b{self.bias}" if self.bias else "")
        flags = ("f" if self.finite_values_only else "") + ("n" if self.has_nans() else "")
        return f"float{self.size_bits}_e{self.exponent}m{self.mantissa}" + ("" if self.is_ieee_754() else flags)

    def __repr__(self) -> str:
        return f"ScalarType.{self}"


class scalar_types:
    """Types that have names; `marlin_gemm` takes uint4, uint8, uint4b8, uint8b128 and float8_e4m3fn."""

    uint2 = ScalarType.uint(2)
    uint3 = ScalarType.uint(3)
    int4 = ScalarType.int_(4)
    uint4 = ScalarType.uint(4)
    uint5 = ScalarType.uint(5)
    uint6 = ScalarType.uint(6)
    uint7 = ScalarType.uint(7)
    int8 = ScalarType.int_(8)
    uint8 = ScalarType.uint(8)
    float8_e4m3fn = ScalarType.float_(4, 3, True, NanRepr.EXTD_RANGE_MAX_MIN)
    float8_e5m2 = ScalarType.float_IEEE754(5, 2)
    float8_e8m0fnu = ScalarType(8, 0, False, 0, True, NanRepr.EXTD_RANGE_MAX_MIN)
    float16_e8m7 = ScalarType.float_IEEE754(8, 7)
    float16_e5m10 = ScalarType.float_IEEE754(5, 10)
    float6_e3m2f = ScalarType.float_(3, 2, True, NanRepr.NONE)
    float6_e2m3f = ScalarType.float_(2, 3, True, NanRepr.NONE)
    float4_e2m1f = ScalarType.float_(2, 1, True, NanRepr.NONE)
    uint2b2 = ScalarType.uint(2, 2)
    uint3b4 = ScalarType.uint(3, 4)
    uint4b8 = ScalarType.uint(4, 8)
    uint5b16 = ScalarType.uint(5, 16)
    uint6b32 = ScalarType.uint(6, 32)
    uint7b64 = ScalarType.uint(7, 64)
    uint8b128 = ScalarType.uint(8, 128)

    bfloat16 = float16_e8m7
    float16 = float16_e5m10
