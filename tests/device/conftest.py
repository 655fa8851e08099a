"""Every test of this folder runs its kernels with waves of 32 and of 64 lanes, the threads of a block in two orders."""

import pytest

from support import device_emulator


@pytest.fixture(params=[(32, "reverse"), (64, "shuffled")], ids=lambda p: f"wave{p[0]}-{p[1]}", autouse=True)
def device(request):
    device_emulator.configure(*request.param)
