"""Parts of the documentation that benchmarks write: what stands between two marks."""


def with_section(page: str, begin: str, end: str, made: str) -> str:
    """The page with `made` between its marks. ValueError where it lacks one."""
    before, first, rest = page.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise ValueError(f"the page has no {begin if not first else end}: put both marks where the section belongs")
    return f"{before}{begin}{made}{end}{after}"
