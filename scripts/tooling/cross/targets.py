"""The CPUs that kernels are tested on: which compiler builds for them and which emulated models they are."""

from __future__ import annotations

from dataclasses import dataclass

from tooling.errors import UserError


@dataclass(frozen=True)
class Cpu:
    """An emulated CPU model, and the instruction set (as VLLM_CPU_ISA spells it) that kernels must pick there."""

    name: str
    model: str
    isa: str
    baseline: str = ""
    """VLLM_CPU_BASELINE of the build that runs on it."""
    flags: tuple[str, ...] = ()
    """What the compiler is told in a build of its own."""


@dataclass(frozen=True)
class Target:
    """One architecture: Debian's names for its compiler, qemu's for its emulator."""

    arch: str
    triplet: str
    debian: str
    cpus: tuple[Cpu, ...]

    @property
    def platform(self) -> str:
        """conda's name."""
        return f"linux-{'64' if self.arch == 'x86_64' else self.arch}"

    @property
    def debs(self) -> list[str]:
        """The compiler, its libraries and those of the programs that it makes. x86-64's is not a cross compiler."""
        compiler = [f"{name}-12" for name in ("g++", "gcc", "cpp")]
        libraries = ["libc6", "libc6-dev", "linux-libc-dev", "libgcc-s1", "libgomp1", "libatomic1", "libstdc++6"]
        development = ["libgcc-12-dev", "libstdc++-12-dev"]
        if self.arch == "x86_64":
            return [*compiler, "binutils-x86-64-linux-gnu", *libraries, *development, "libcrypt-dev", "libcrypt1"]
        own = [f"{name}-{self.triplet}" for name in (*compiler, "binutils")]
        return own + [f"{name}-{self.debian}-cross" for name in (*libraries, *development)]


# What the compilers themselves are linked against.
HOST_LIBRARIES = ("libisl23", "libmpc3", "libmpfr6", "libgmp10", "libjansson4", "libzstd1", "libbinutils", "libctf0")

ARM_BF16 = "armv8.2-a+crypto+fp16+dotprod+bf16+i8mm"

TARGETS = (
    Target(
        "aarch64",
        "aarch64-linux-gnu",
        "arm64",
        (
            Cpu("neon", "cortex-a72", "neon"),
            # Before GCC 13.2, Highway leaves these instructions out, which GCC 12 knows only as part of the baseline.
            Cpu("bf16", "max,sve=off", "neon_bf16", flags=("-DHWY_BROKEN_NEON_BF16=0", f"-march={ARM_BF16}")),
            Cpu("sve256", "max,sve256=on,sve512=off", "sve_256"),
            Cpu("sve512", "max,sve512=on", "sve2"),
        ),
    ),
    Target(
        "ppc64le",
        "powerpc64le-linux-gnu",
        "ppc64el",
        tuple(Cpu(name, name, name) for name in ("power8", "power9", "power10")),
    ),
    Target(
        "s390x",
        "s390x-linux-gnu",
        "s390x",
        # The one model that qemu 7.2 has all of. It reports z14, so that the code for z15 is built and not run.
        (Cpu("z14", "max", "z14"),),
    ),
    Target(
        "x86_64",
        "x86_64-linux-gnu",
        "amd64",
        (
            Cpu("nehalem", "Nehalem", "sse2"),
            Cpu("haswell", "Haswell", "avx2"),
            Cpu("v3", "Haswell", "avx2", baseline="x86-64-v3"),
            # No emulator has AMX: tests/cross/amx_emulated.h does in C++ what its instructions do.
            Cpu("amx", "Haswell", "amx", flags=("-DVLLM_CPU_AMX_EMULATED",)),
        ),
    ),
)


def select(names: list[str]) -> list[tuple[Target, Cpu]]:
    """Pairs for ARCH or ARCH:CPU names; all of them for no name."""
    pairs = [(target, cpu) for target in TARGETS for cpu in target.cpus]
    known = {f"{target.arch}:{cpu.name}": (target, cpu) for target, cpu in pairs}
    if not names:
        return pairs
    chosen = []
    for name in names:
        found = [pair for key, pair in known.items() if name in (key, key.partition(":")[0])]
        if not found:
            raise UserError(
                f"unknown CPU {name!r}: choose from {', '.join(t.arch for t in TARGETS)}, {', '.join(known)}"
            )
        chosen += [pair for pair in found if pair not in chosen]
    return chosen


def is_target(name: str) -> bool:
    """Whether an argument names CPUs, and is not pytest's."""
    return name.partition(":")[0] in {target.arch for target in TARGETS} and "::" not in name
