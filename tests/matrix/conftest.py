"""A channel of every lane, rendered, not built; its page in a browser."""

import pytest

from support.browser import Page
from support.checkout import ROOT
from support.machines import write_channel
from support.static_server import serving
from tooling.matrix_page import page


@pytest.fixture(scope="session")
def channel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matrix") / "channel"
    write_channel(folder, ROOT)
    page.write(folder)
    return folder


@pytest.fixture(scope="session")
def address(channel):
    with serving(channel) as url:
        yield url


@pytest.fixture(scope="session")
def browser(address):
    with Page(address) as opened:
        yield opened
