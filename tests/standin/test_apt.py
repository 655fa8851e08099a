"""Debs come through apt's own client, in folders of ours; its failures become one line."""

import os
import stat

import pytest

from standin.apt import Apt, deb_version, explain, upstream_version
from tooling.errors import UserError

FAKE_APT = """#!/bin/sh
# Stands for apt-get: answers as FAKE_* say.
echo "$@" >> "$FAKE_LOG"
case " $* " in
  *" update "*) echo "${FAKE_UPDATE_ERROR:-}" >&2; exit "${FAKE_UPDATE_STATUS:-0}" ;;
  *" indextargets "*)
    echo "Packages main bookworm mirror:debian"; echo "Packages main bookworm-security mirror:security"
    echo "Packages contrib bookworm mirror:other" ;;
  *" source --print-uris "*)
    echo "'mirror:pool/x_3.1.dsc' x_3.1.dsc 4 SHA256:00"
    echo "'mirror:pool/x_3.1.orig.tar.xz' x_3.1.orig.tar.xz 4 SHA256:00"
    echo "'mirror:pool/x_3.1.orig.tar.xz.asc' x_3.1.orig.tar.xz.asc 4 SHA256:00" ;;
  *" source --download-only "*) printf 'source' > x_3.1.orig.tar.xz ;;
  *" --print-uris "*)
    if [ -n "${FAKE_MISSING:-}" ]; then echo "E: Unable to locate package $FAKE_MISSING" >&2; exit 100; fi
    echo "Reading package lists..."
    echo "'mirror:pool/libx1_1%3a2.0-1_amd64.deb' libx1_1%3a2.0-1_amd64.deb 4 SHA256:00" ;;
  *" download "*)
    if [ -n "${FAKE_DOWNLOAD_ERROR:-}" ]; then printf 'ha' > libx1_1%3a2.0-1_amd64.deb
      echo "$FAKE_DOWNLOAD_ERROR" >&2; exit 100; fi
    printf 'half' > libx1_1%3a2.0-1_amd64.deb ;;
esac
"""


@pytest.fixture
def apt(tmp_path, monkeypatch):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("apt-get", FAKE_APT), ("dpkg-deb", "#!/bin/sh\n")):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "calls"))
    return Apt(tmp_path / "apt")


@pytest.mark.parametrize(
    ("debian", "upstream"),
    [
        ("12.2.0-14+deb12u1", "12.2.0"),
        ("1:1.2.13.dfsg-1", "1.2.13"),
        ("2:6.2.1+dfsg1-1.1", "6.2.1"),
        ("20250419~deb12u2", "20250419"),
    ],
)
def test_upstream_version(debian, upstream):
    assert upstream_version(debian) == upstream


def test_version_without_a_number_is_refused():
    with pytest.raises(UserError, match="does not begin with a number: snapshot"):
        upstream_version("snapshot")


def test_version_in_a_file_name(tmp_path):
    assert deb_version(tmp_path / "zlib1g_1%3a1.2.13.dfsg-1_amd64.deb") == "1.2.13"


def test_every_folder_that_apt_writes_is_private(apt):
    command = apt.command("update")
    options = dict(part.split("=", 1) for part in command if "=" in part)
    for key in ("Dir::State", "Dir::State::Lists", "Dir::State::Status", "Dir::Cache"):
        assert options[key].startswith(str(apt.folder)), key
    assert not any(key.startswith("Dir::Etc") for key in options), "the machine's sources and keys are used"


def test_update_makes_its_folders_writable_for_this_user_only_as_needed(apt):
    apt.update()
    for name in ("lists/partial", "cache/archives/partial", "debs", "partial"):
        assert stat.S_ISDIR((apt.folder / name).stat().st_mode)


def test_download_gives_final_names(apt, tmp_path):
    apt.update()
    debs = apt.download(["libx1"])
    assert debs == {"libx1": apt.debs / "libx1_1%3a2.0-1_amd64.deb"}
    assert debs["libx1"].read_text() == "half"
    calls = (tmp_path / "calls").read_text()
    apt.download(["libx1"])
    again = (tmp_path / "calls").read_text()[len(calls) :]
    assert "--print-uris" in again and "download libx1" not in again, "what is there is not fetched again"


def test_interrupted_download_leaves_no_half_deb(apt, monkeypatch):
    apt.update()
    monkeypatch.setenv("FAKE_DOWNLOAD_ERROR", "E: Failed to fetch libx1  Connection reset by peer")
    with pytest.raises(UserError, match="Connection reset by peer"):
        apt.download(["libx1"])
    assert list(apt.debs.iterdir()) == []
    monkeypatch.delenv("FAKE_DOWNLOAD_ERROR")
    assert apt.download(["libx1"])["libx1"].read_text() == "half"


def test_one_source_that_fails_does_not_matter(apt, monkeypatch):
    monkeypatch.setenv("FAKE_UPDATE_ERROR", "E: The repository 'mirror:other' has no Release file.")
    monkeypatch.setenv("FAKE_UPDATE_STATUS", "100")
    apt.update()
    assert apt.download(["libx1"])


def test_without_network_the_reason_is_the_network(apt, monkeypatch):
    monkeypatch.setenv("FAKE_UPDATE_ERROR", "W: Failed to fetch mirror:InRelease  Temporary failure resolving 'mirror'")
    monkeypatch.setenv("FAKE_MISSING", "libx1")
    apt.update()
    with pytest.raises(UserError, match=r"Temporary failure resolving 'mirror'.*check the network") as caught:
        apt.download(["libx1"])
    assert "\n" not in str(caught.value)


def test_source_package_of_another_suite(apt, tmp_path):
    archive = apt.fetch_source("x", "trixie")
    assert archive == apt.folder / "trixie/debs/x_3.1.orig.tar.xz" and archive.read_text() == "source"
    (line,) = (apt.folder / "trixie.list").read_text().splitlines()
    assert line.startswith("deb-src") and line.endswith(" mirror:debian trixie main")
    calls = [line for line in (tmp_path / "calls").read_text().splitlines() if " source " in line]
    assert all(f"Dir::Etc::SourceList={apt.folder}/trixie.list" in call for call in calls)
    assert deb_version(archive) == "3.1"


def test_source_package_where_no_debian_is_named(apt, monkeypatch):
    monkeypatch.setattr("standin.apt.MACHINE_SUITE", "buster")
    with pytest.raises(UserError, match=r"name no buster main: it is where trixie is looked for"):
        apt.fetch_source("x", "trixie")


def test_missing_deb_names_it(apt, monkeypatch):
    monkeypatch.setenv("FAKE_MISSING", "libx1")
    apt.update()
    with pytest.raises(UserError, match=r"Unable to locate package libx1; apt's sources must include Debian 12"):
        apt.download(["libx1"])


def test_machine_without_apt(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="this machine has no apt-get and dpkg-deb"):
        Apt(tmp_path / "apt").update()


@pytest.mark.parametrize(
    ("stderr", "expected"),
    [
        ("E: Failed to fetch x  Hash Sum mismatch", "does not have its hash"),
        ("E: Write error - write (28: No space left on device)", "the disk is full"),
        ("E: Could not connect to mirror", "check the network"),
        ("", "no reason given"),
    ],
)
def test_explanations_are_one_line(stderr, expected):
    line = explain("download", stderr)
    assert expected in line and "\n" not in line
