"""A CPU build of torch is found among others, cheaply; where there is none, one line says what to add."""

import pytest

from standin.torch_wheel import choose_cpu_torch, fetch_cpu_torch, is_cpu_build, label_of
from support.wheels import downloads_from, make_wheel
from tooling.errors import UserError

TAG = "cp311-cp311-manylinux_2_28_x86_64"
CUDA = ("Requires-Dist: filelock", "Requires-Dist: nvidia-cudnn-cu13==9.1; platform_system == 'Linux'")
CPU = ("Requires-Dist: filelock", "Requires-Dist: sympy>=1.13.3")


def torch(folder, version, metadata=CPU, tag=TAG):
    return make_wheel(folder, "torch", version, tag, metadata)


def choose(tmp_path, *places, **indexes):
    return choose_cpu_torch(downloads_from(tmp_path / "got", *places, **indexes)).version


def publish(folder, versions, serve_metadata=True):
    """List wheels that do not exist, so that fetching one fails, with or without their METADATA beside them."""
    page = folder / "simple" / "torch"
    page.mkdir(parents=True)
    links = []
    for version, metadata in versions.items():
        name = f"torch-{version}-{TAG}.whl"
        attribute = ' data-dist-info-metadata="true"' if serve_metadata else ""
        links.append(f'<a href="{name.replace("+", "%2B")}"{attribute}>{name}</a>')
        (page / f"{name}.metadata").write_text("\n".join(["Metadata-Version: 2.4", "Name: torch", *metadata]))
    (page / "index.html").write_text("<!DOCTYPE html><html><body>" + "".join(links) + "</body></html>")


def test_labels():
    from packaging.version import Version

    labels = {v: label_of(Version(v)) for v in ("2.13.0", "2.13.0+cpu", "2.13.0+cu130", "2.13.0+rocm7.0", "2.13.0+xpu")}
    assert list(labels.values()) == [None, "cpu", "gpu", "gpu", "gpu"]


@pytest.mark.parametrize(
    ("requirement", "cpu"),
    [
        ("filelock", True),
        ("nvidia-nccl-cu13==2.30", False),
        ("cuda-toolkit[cublas]==13.2", False),
        ("triton~=3.9", False),
        ("pytorch-triton-rocm", False),
    ],
)
def test_requirements_tell_the_builds_apart(requirement, cpu):
    assert is_cpu_build(f"Name: torch\nRequires-Dist: {requirement}\n\nRequires-Dist: nvidia-text") is cpu


def test_cpu_label_is_taken_before_newer_gpu_builds(tmp_path):
    torch(tmp_path / "links", "2.13.0+cpu")
    torch(tmp_path / "links", "2.15.0", CUDA)
    torch(tmp_path / "links", "2.15.0+cu132", CUDA)
    assert choose(tmp_path, tmp_path / "links") == "2.13.0+cpu"


def test_preferred_version_is_taken_before_a_newer_one(tmp_path):
    torch(tmp_path / "links", "2.13.0+cpu")
    torch(tmp_path / "links", "2.14.0+cpu")
    assert choose(tmp_path, tmp_path / "links") == "2.13.0+cpu"


def test_another_version_will_do(tmp_path):
    torch(tmp_path / "links", "2.9.0+cpu")
    torch(tmp_path / "links", "2.10.0+cpu")
    torch(tmp_path / "links", "2.12.1+cpu")
    assert choose(tmp_path, tmp_path / "links") == "2.12.1+cpu"


def test_unlabelled_build_is_judged_by_its_requirements(tmp_path):
    torch(tmp_path / "links", "2.13.0", CPU)
    assert choose(tmp_path, tmp_path / "links") == "2.13.0"


def test_other_pythons_and_sources_are_passed_over(tmp_path):
    torch(tmp_path / "links", "2.13.0+cpu", tag="cp312-cp312-manylinux_2_28_x86_64")
    torch(tmp_path / "links", "2.13.0+cpu", tag="cp311-cp311-win_amd64")
    (tmp_path / "links" / "torch-2.13.0.tar.gz").write_bytes(b"")
    with pytest.raises(UserError, match=r"no torch >= 2\.10 for Python 3\.11"):
        choose(tmp_path, tmp_path / "links")


def test_only_gpu_builds_says_what_to_add(tmp_path):
    torch(tmp_path / "links", "2.13.0+cu130", CUDA)
    torch(tmp_path / "links", "2.15.0", CUDA)
    with pytest.raises(UserError) as caught:
        choose(tmp_path, tmp_path / "links")
    line = str(caught.value)
    assert "only GPU builds of torch (2.15.0, 2.13.0+cu130)" in line
    assert "PIP_EXTRA_INDEX_URL" in line and "PIP_FIND_LINKS" in line and str(tmp_path / "links") in line
    assert "\n" not in line


def test_index_is_judged_without_downloading_a_wheel(tmp_path, index):
    publish(index.folder, {"2.15.0": CUDA, "2.14.0": CUDA, "2.13.0": CUDA})
    with pytest.raises(UserError, match="only GPU builds"):
        choose(tmp_path, index_urls=(index.address,))
    assert index.asked and not any(path.endswith(".whl") for path in index.asked)


def test_cpu_build_in_an_index_is_seen_by_its_metadata(tmp_path, index):
    publish(index.folder, {"2.15.0": CUDA, "2.14.0": CPU})
    assert choose(tmp_path, index_urls=(index.address,)) == "2.14.0"
    assert not any(path.endswith(".whl") for path in index.asked)


def test_index_without_metadata_is_not_trusted(tmp_path, index):
    publish(index.folder, {"2.13.0": CPU}, serve_metadata=False)
    with pytest.raises(UserError, match="a CPU build is needed"):
        choose(tmp_path, index_urls=(index.address,))
    assert not any(path.endswith(".whl") for path in index.asked)


def test_fetch_keeps_the_wheel(tmp_path):
    wheel = torch(tmp_path / "links", "2.13.0+cpu")
    downloads = downloads_from(tmp_path / "got", tmp_path / "links")
    kept = fetch_cpu_torch(downloads)
    assert kept.read_bytes() == wheel.read_bytes() and kept.parent.parent == tmp_path / "got"
    assert fetch_cpu_torch(downloads_from(tmp_path / "got", index_urls=("http://127.0.0.1:9/simple",))) == kept


def test_label_that_lies_is_found_out(tmp_path):
    torch(tmp_path / "links", "2.13.0+cpu", CUDA)
    with pytest.raises(UserError, match="a CPU build is needed"):
        fetch_cpu_torch(downloads_from(tmp_path / "got", tmp_path / "links"))
    assert list((tmp_path / "got").iterdir()) == []
