"""scripts/publish: packages in, an indexed channel out, in a folder or on a server."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from support.checkout import ROOT
from support.conda_file import Contents
from support.static_server import serving
from support.toy_checkout import make_checkout, make_empty_channel
from tooling import cli
from tooling.building import builder
from tooling.building.repack import make_reproducible
from tooling.installing.environments import solve
from tooling.progress import Progress


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "rattler"))
    layout = make_checkout(tmp_path / "checkout")
    job = builder.Job("toy", "cpu", make_empty_channel(tmp_path / "base"))
    (package,) = builder.build(layout, job, Progress(layout.new_log("test")))
    target = tmp_path / "fetched" / package.name
    target.parent.mkdir()
    shutil.copy(package, target)
    return target


def publish(package, channel) -> int:
    return cli.main(["publish", str(package.parent), str(channel)])


def test_packages_are_sorted_by_platform_and_indexed(package, tmp_path):
    channel = tmp_path / "channel"
    assert publish(package, channel) == 0
    assert publish(package, channel) == 0, "a second time changes nothing"
    repodata = json.loads((channel / "linux-64/repodata.json").read_text())
    assert list(repodata["packages.conda"]) == [package.name]
    assert {"repodata.json.zst", "repodata_shards.msgpack.zst"} <= {f.name for f in (channel / "noarch").iterdir()}


def test_a_name_keeps_its_contents(package, tmp_path, capsys):
    channel = tmp_path / "channel"
    publish(package, channel)
    (channel / "linux-64" / package.name).write_bytes(b"other")
    assert publish(package, channel) == 2
    assert "is there with other contents: raise build_number" in capsys.readouterr().err


def test_half_a_package_is_refused(package, tmp_path, capsys):
    package.write_bytes(package.read_bytes()[:-200])
    assert publish(package, tmp_path / "channel") == 2
    assert "is damaged or no .conda package" in capsys.readouterr().err
    assert not (tmp_path / "channel").exists()


def test_a_package_that_breaks_a_promise_keeps_all_of_them_from_being_published(package, tmp_path, capsys):
    Contents(licences={}).write(package.parent)
    assert publish(package, tmp_path / "channel") == 2
    assert "toy-1.0-cpu_h0123456_0.conda is not published, it breaks 1 promise(s): licences:" in capsys.readouterr().err
    assert not (tmp_path / "channel").exists()


def test_a_published_channel_is_solved_from_over_http(package, tmp_path):
    channel = tmp_path / "channel"
    publish(package, channel)
    with serving(channel) as address:
        (record,) = asyncio.run(solve([address], ["toy"]))
    assert record.file_name == package.name
    assert (channel / "index.html").exists()


def test_what_was_there_stays_and_nothing_else_is_left_behind(package, tmp_path):
    channel = tmp_path / "offered" / "channel"
    publish(package, channel)
    other = Contents(name="other", index={"subdir": "noarch"}, build="h0_0").write(tmp_path / "more")
    publish(other, channel)
    named = {
        name for file in channel.glob("*/repodata.json") for name in json.loads(file.read_text())["packages.conda"]
    }
    assert named == {package.name, other.name}
    assert [entry.name for entry in channel.parent.iterdir()] == ["channel"]
    assert not [file for file in channel.rglob(".*")]


def release(tmp_path, channel, offered=None, **contents) -> int:
    """Publish one package, made of `contents`, into the folder `channel`; what `offered` offers is kept."""
    package = Contents(index={"subdir": "noarch"}, **contents).write(tmp_path / channel / "made")
    folder = tmp_path / channel / "offered"
    if offered is None:
        return publish(package, folder)
    with serving(tmp_path / offered / "offered") as address:
        return cli.main(["publish", str(package.parent), str(folder), "--keep", f"{address}/"])


def test_a_release_keeps_what_is_offered_at_the_channels_address(tmp_path, capsys):
    """Into an empty folder, as continuous integration has one."""
    release(tmp_path, "first", name="one", build="h0_0")
    assert release(tmp_path, "second", "first", name="two", build="h0_0") == 0
    assert "1 packages of http" in capsys.readouterr().out
    repodata = json.loads((tmp_path / "second/offered/noarch/repodata.json").read_text())
    assert sorted(repodata["packages.conda"]) == ["one-1.0-h0_0.conda", "two-1.0-h0_0.conda"]
    assert {file.name for file in tmp_path.glob("second/offered/noarch/*.conda")} == set(repodata["packages.conda"])


def test_a_release_cannot_change_what_is_offered(tmp_path, capsys):
    release(tmp_path, "first", name="one", build="h0_0")
    assert release(tmp_path, "second", "first", name="one", build="h0_0", files={"share/other": b"x"}) == 2
    assert "is there with other contents: raise build_number" in capsys.readouterr().err


def test_a_package_that_was_only_built_again_stays_as_it_is_offered(tmp_path):
    """Every release builds every package, at a time of its own."""
    release(tmp_path, "first", name="one", build="h0_0")
    (offered,) = tmp_path.glob("first/offered/noarch/*.conda")
    package = Contents(index={"subdir": "noarch"}, name="one", build="h0_0").write(tmp_path / "again")
    make_reproducible(package, 1234567890)
    assert package.read_bytes() != offered.read_bytes()
    with serving(tmp_path / "first/offered") as address:
        arguments = [str(package.parent), str(tmp_path / "second"), "--keep", address]
        assert cli.main(["publish", *arguments]) == 0
    assert (tmp_path / "second/noarch" / package.name).read_bytes() == offered.read_bytes()


def test_a_first_release_has_nothing_to_keep(tmp_path):
    (tmp_path / "empty/offered").mkdir(parents=True)
    assert release(tmp_path, "first", "empty", name="one", build="h0_0") == 0


@pytest.mark.parametrize("damaged", ["repodata.json", "one-1.0-h0_0.conda"])
def test_a_damaged_offer_ends_the_release_in_one_line(tmp_path, capsys, damaged):
    release(tmp_path, "first", name="one", build="h0_0")
    (tmp_path / "first/offered/noarch" / damaged).write_text("half of it")
    assert release(tmp_path, "second", "first", name="two", build="h0_0") == 2
    assert f"/noarch/{damaged} is no" in capsys.readouterr().err


def test_an_address_that_does_not_answer_ends_the_release_in_one_line(package, tmp_path, capsys):
    command = ["publish", str(package.parent), str(tmp_path / "channel"), "--keep", "http://127.0.0.1:9"]
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert "cannot be fetched" in error and len(error.splitlines()) == 1


class _Server(BaseHTTPRequestHandler):
    """Takes files as Artifactory does; `server.taken` holds path, credentials and body of each."""

    def do_PUT(self):
        body = b""
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken.append((self.path, self.headers["authorization"], body))
        self.send_response(201 if self.headers["authorization"] == "Bearer secret" else 403)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    running = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    running.taken = []
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def send(server, package, token: str) -> subprocess.CompletedProcess:
    """Publish from a process of its own: the client holds this one's lock, under which the server could not answer."""
    address = f"http://127.0.0.1:{server.server_address[1]}/repository/ours"
    command = [sys.executable, str(ROOT / "scripts/tooling"), "publish", str(package.parent), address]
    environment = os.environ | {"VLLM_RECIPES_TOKEN": token}
    return subprocess.run(
        [*command, "--server", "artifactory"], env=environment, capture_output=True, text=True, timeout=60
    )


def test_packages_are_uploaded_with_the_token(package, server):
    done = send(server, package, "secret")
    assert done.returncode == 0, done.stderr
    ((path, credentials, body),) = server.taken
    assert path == f"/repository/ours/linux-64/{package.name}"
    assert credentials == "Bearer secret" and body == package.read_bytes()


def test_a_refused_upload_is_told_without_the_token(package, server):
    done = send(server, package, "wrong-and-secret")
    assert done.returncode == 2
    assert "did not take the packages" in done.stderr and "wrong-and-secret" not in done.stderr + done.stdout


def test_no_token_is_told_before_anything_is_sent(package, server):
    done = send(server, package, "")
    assert done.returncode == 2 and "needs a token: set VLLM_RECIPES_TOKEN" in done.stderr
    assert server.taken == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["one"],
        ["/nowhere", "channel"],
        ["/", "https://host/channel"],
        ["/", "channel", "--server", "quetz"],
        ["/", "https://host/channel", "--server", "quetz", "--keep", "https://host"],
    ],
)
def test_wrong_arguments_are_one_line(arguments, capsys):
    assert cli.main(["publish", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
