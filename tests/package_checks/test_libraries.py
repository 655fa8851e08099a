"""Checks of compiled libraries, each with a library that breaks it."""

import shutil

import pytest

from support.conda_file import LIBRARY, Contents, shared_library

GLIBC = "-l:libc.so.6"
TORCH = {"index": {"depends": ["__glibc >=2.36", "pytorch >=2.10"]}}


def only(found: dict[str, str], check: str) -> str:
    assert list(found) == [check], found
    return found[check]


def call(*symbols: str) -> str:
    """C source that refers to functions of those names, mangled or not."""
    declared = "".join(f'void f{n}(void) __asm__("{symbol}");' for n, symbol in enumerate(symbols))
    return f"{declared} void all(void) {{ {''.join(f'f{n}();' for n in range(len(symbols)))} }}"


def test_a_sound_library(findings, with_library):
    assert findings(with_library()) == {}


def test_a_call_of_pythons_interface(findings, with_library):
    found = only(findings(with_library(call("PyObject_Repr", "_Py_Dealloc", "Pyramid_height"))), "python")
    assert found == f"{LIBRARY} calls PyObject_Repr, _Py_Dealloc"


def test_a_name_that_only_begins_like_pythons(findings, with_library):
    assert findings(with_library(call("Pyramid", "Pytorch_x"))) == {}


def test_libpython(findings, with_library, compiled, tmp_path):
    compiled("", "-Wl,-soname,libpython3.11.so.1.0")
    (tmp_path / "compiled/library.so").rename(tmp_path / "compiled/libpython3.11.so")
    contents = with_library("", "-Wl,--no-as-needed", str(tmp_path / "compiled/libpython3.11.so"))
    assert only(findings(contents), "python") == f"{LIBRARY} links libpython3.11.so.1.0"


def test_a_package_tied_to_one_python(findings, with_library):
    contents = with_library(index={"depends": ["__glibc >=2.17", "python_abi 3.11.* *_cp311"]})
    assert only(findings(contents), "python") == "depends on python_abi 3.11.* *_cp311"


@pytest.mark.parametrize(
    "symbol",
    ["_ZN2at5emptyEv", "_ZNK3c104Type3strEv", "_ZN5torch3jit4loadERKSs", "_Z3fooRKN3c106DeviceE", "_ZTIN3c105ErrorE"],
)
def test_unstable_torch_symbols_by_both_judges(findings, with_library, symbol):
    found = only(findings(with_library(call(symbol), **TORCH)), "torch")
    assert f"calls {symbol}: not in the stable ABI" in found
    assert f"torch-abi-audit on {LIBRARY}: unstable" in found


def test_stable_torch_symbols(findings, with_library):
    stable = call("aoti_torch_get_data_ptr", "torch_call_dispatcher", "_ZN5torch6stable3fooEv", "_ZN3cat2atEv")
    assert findings(with_library(stable, **TORCH)) == {}


def test_a_function_newer_than_the_oldest_torch(findings, with_library):
    contents = with_library(call("torch_call_dispatcher"), index={"depends": ["__glibc >=2.17", "pytorch >=2.9"]})
    assert "needs torch 2.10.0 (torch_call_dispatcher); the package admits 2.9" in only(findings(contents), "torch")


def test_torch_used_but_not_asked_for(findings, with_library):
    found = only(findings(with_library(call("aoti_torch_get_data_ptr"))), "torch")
    assert found == f"{LIBRARY} uses torch; the package depends on no pytorch >=X"


def test_an_unstable_torch_library(findings, with_library, compiled, tmp_path):
    compiled("", "-Wl,-soname,libc10.so")
    (tmp_path / "compiled/library.so").rename(tmp_path / "compiled/libc10.so")
    contents = with_library("", "-Wl,--no-as-needed", str(tmp_path / "compiled/libc10.so"))
    assert only(findings(contents), "torch") == f"{LIBRARY} links libc10.so, which is no part of the stable ABI"


MEMFD = "int memfd_create(const char*, unsigned); int f(void) { return memfd_create(0, 0); }"
"""Appeared in glibc 2.27."""


@pytest.mark.parametrize(
    ("pinned", "depends", "finding"),
    [
        ("2.17", ["__glibc >=2.28"], "needs GLIBC_2.27; its lane's sysroot is 2.17"),
        ("2.28", ["__glibc >=2.17"], "needs GLIBC_2.27; __glibc is 2.17"),
        ("2.28", [], "needs GLIBC_2.27; the package has no __glibc dependency"),
    ],
)
def test_a_newer_glibc(findings, with_library, pinned, depends, finding):
    contents = with_library(MEMFD, GLIBC, variant={"c_stdlib_version": pinned}, index={"depends": depends})
    assert finding in only(findings(contents), "glibc")


def test_a_glibc_that_is_promised(findings, with_library):
    contents = with_library(
        MEMFD, GLIBC, variant={"c_stdlib_version": "2.28"}, index={"depends": ["__glibc >=2.28,<3"]}
    )
    assert findings(contents) == {}


def libstdcxx_package(tmp_path, depends: list[str]) -> Contents:
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed (Debian: apt-get install g++)")
    source = "#include <charconv>\nint f(char* a, double b) { return std::to_chars(a, a + 9, b).ptr - a; }"
    library = shared_library(tmp_path / "c++", source, "-std=c++17", "-lstdc++", compiler="g++", language="c++")
    return Contents(files={LIBRARY: library}, index={"depends": ["__glibc >=2.17", *depends]})


@pytest.mark.parametrize(
    ("depends", "finding"),
    [
        (["libstdcxx >=10"], "needs GLIBCXX_3.4.29 (gcc 11.1); the package admits libstdcxx 10"),
        ([], "needs GLIBCXX_3.4.29; the package does not depend on libstdcxx >=X"),
    ],
)
def test_a_newer_libstdcxx(findings, tmp_path, depends, finding):
    assert finding in only(findings(libstdcxx_package(tmp_path, depends)), "libstdc++")


def test_a_libstdcxx_that_is_promised(findings, tmp_path):
    assert findings(libstdcxx_package(tmp_path, ["libstdcxx >=12.2.0"])) == {}


@pytest.mark.parametrize(
    ("path", "finding"),
    [
        ("/usr/lib", "searches /usr/lib; begin with $ORIGIN"),
        ("$ORIGIN:", "searches the current folder (an empty entry)"),
        ("$ORIGIN/../../../../..", "which is outside of the environment"),
    ],
)
def test_search_paths(findings, with_library, path, finding):
    assert finding in only(findings(with_library("", f"-Wl,-rpath,{path}")), "rpath")


@pytest.mark.parametrize("path", ["$ORIGIN/../torch/lib:$ORIGIN/../../..", "${ORIGIN}"])
def test_search_paths_inside_the_environment(findings, with_library, path):
    assert findings(with_library("", f"-Wl,-rpath,{path}")) == {}


def test_a_library_linked_by_its_path(findings, with_library, compiled, tmp_path):
    compiled("")
    other = (tmp_path / "compiled/library.so").rename(tmp_path / "compiled/other.so")
    found = findings(with_library("", "-Wl,--no-as-needed", str(other)))
    assert f"links {other} by its path" in found["rpath"]


def test_another_platforms_library(findings, with_library):
    contents = with_library()
    data = contents.files[LIBRARY]
    contents.files[LIBRARY] = data[:18] + (183).to_bytes(2, "little") + data[20:]  # e_machine: EM_AARCH64
    assert only(findings(contents), "machine") == f"{LIBRARY} is for EM_AARCH64, the package for linux-64"


def test_a_library_in_a_package_for_every_platform(findings, with_library):
    contents = with_library(index={"subdir": "noarch"})
    assert only(findings(contents), "machine") == f"{LIBRARY} is an ELF file in a package for noarch"


def test_a_path_of_the_machine_that_built_it(findings, with_library):
    contents = with_library('const char* file = "/home/someone/vllm/csrc/norm.cpp";')
    assert only(findings(contents), "build paths") == f"{LIBRARY} names /home/someone/vllm/csrc/norm.cpp"


def test_a_damaged_library_is_refused(with_library, tmp_path, capsys):
    from tooling import cli

    contents = with_library()
    contents.files[LIBRARY] = contents.files[LIBRARY][:100]
    assert cli.main(["check_package", str(contents.write(tmp_path))]) == 2
    assert "cannot be read by the check" in capsys.readouterr().err
