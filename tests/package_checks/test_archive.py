"""Files that are no packages, or hostile ones, are refused with one line and exit status 2."""

import io
import tarfile

import pytest

from support.conda_file import Contents, tar_of, write_parts
from tooling import cli, package_checks
from tooling.package_checks import archive


def refusal(file, capsys) -> str:
    assert cli.main(["check_package", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and len(error.splitlines()) == 1
    return error


def tar_with(member: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(member)
    return buffer.getvalue()


def link(path: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.type, member.linkname = kind, target
    return member


def test_a_sound_package_passes_with_a_line_a_check(tmp_path, capsys):
    assert cli.main(["check_package", str(Contents().write(tmp_path))]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == len(package_checks.checks()) > 10
    assert all(line.startswith("  ok ") for line in lines)


def test_a_broken_promise_is_exit_status_1(tmp_path, capsys):
    assert cli.main(["check_package", str(Contents(licences={}).write(tmp_path))]) == 1
    assert "  FAIL licences: no licence file: set about.license_file in the recipe" in capsys.readouterr().out


def test_no_file(capsys, tmp_path):
    assert "does not exist" in refusal(tmp_path / "toy-1.0-0.conda", capsys)
    assert cli.main(["check_package"]) == 2


def test_another_format(capsys, tmp_path):
    file = tmp_path / "toy-1.0-0.tar.bz2"
    file.write_bytes(b"BZh9")
    assert "is not named *.conda" in refusal(file, capsys)


@pytest.mark.parametrize("kept", [0, 10, 0.5, -1])
def test_a_truncated_file(capsys, tmp_path, kept):
    file = Contents().write(tmp_path)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * kept) if isinstance(kept, float) else kept])
    assert "is damaged or no .conda package" in refusal(file, capsys)


def test_every_flipped_byte_is_told_or_harmless(tmp_path):
    """Whatever one damaged byte does to a package, the answer is a report or a refusal."""
    file = Contents().write(tmp_path)
    data = file.read_bytes()
    for position in range(0, len(data), 7):
        file.write_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
        try:
            with package_checks.opened(file) as package:
                package_checks.run(package)
        except package_checks.BadPackage:
            pass


def test_a_renamed_package(capsys, tmp_path):
    file = Contents().write(tmp_path)
    assert "lacks info-other-1.0-0.tar.zst" in refusal(file.rename(tmp_path / "other-1.0-0.conda"), capsys)


def test_an_unknown_format_version(capsys, tmp_path):
    file = write_parts(tmp_path / "a-1-0.conda", tar_of({}), tar_of({}), {"conda_pkg_format_version": 3})
    assert "has package format 3; only 2 is known" in refusal(file, capsys)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has no info/index.json"),
        ({"info/index.json": b"{"}, "info/index.json is no JSON"),
        ({"info/index.json": b"[1]"}, "info/index.json is no JSON object"),
        ({"info/index.json": b"{}"}, "has no info/paths.json"),
    ],
)
def test_broken_metadata(capsys, tmp_path, files, message):
    assert message in refusal(write_parts(tmp_path / "a-1-0.conda", tar_of({}), tar_of(files)), capsys)


@pytest.mark.parametrize("path", ["../outside", "/outside", "share/../../outside"])
def test_a_path_that_leads_outside(capsys, tmp_path, path):
    file = write_parts(tmp_path / "in" / "a-1-0.conda", tar_of({path: b"x"}), tar_of({}))
    assert "leads outside" in refusal(file, capsys)


def test_a_path_through_a_link(capsys, tmp_path):
    first, second = tar_with(link("share", str(tmp_path))), tar_of({"share/stolen": b"x"})
    joined = first[: 512 * (first.count(b"ustar"))] + second
    file = write_parts(tmp_path / "a-1-0.conda", joined, tar_of({}))
    assert "goes through a symbolic link" in refusal(file, capsys)
    assert not (tmp_path / "stolen").exists()


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_members_that_no_package_has(capsys, tmp_path, kind):
    file = write_parts(tmp_path / "a-1-0.conda", tar_with(link("dev", "x", kind)), tar_of({}))
    assert "neither a file, a folder nor a symbolic link" in refusal(file, capsys)


def test_a_bomb(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES", 1_000_000)
    file = Contents(files={"share/zeros": bytes(20_000_000)}).write(tmp_path)
    assert file.stat().st_size < 10_000
    assert "unpacks to more than 0.001 GB" in refusal(file, capsys)


def test_too_many_files(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_FILES", 10)
    file = Contents(files={f"share/{number}": b"" for number in range(20)}).write(tmp_path)
    assert "holds more than 10 files" in refusal(file, capsys)
