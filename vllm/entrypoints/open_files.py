"""How many connections a process may have open."""

import resource

# Enough for every load that one machine makes; some systems' hard limit is a billion, which tools loop over.
_ENOUGH = 65_536


def raise_open_file_limit() -> int:
    """Raises the soft limit of open files as far as the hard one and reason allow; returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft
