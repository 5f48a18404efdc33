"""Builds the wheel: maturin, after the agent's files were put into the package.

Those are built by `make agent` of the checkout around this folder, or are the ones in the folder that KUBETETHER_AGENT names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import maturin

_HERE = Path(__file__).resolve().parent
_FILES = ("kubetether-agent-x86_64", "kubetether-restore-x86_64")


def _carry_agent() -> None:
    named = os.environ.get("KUBETETHER_AGENT")
    if named:
        source = Path(named)
    else:
        subprocess.run(["make", "--directory", str(_HERE.parent), "agent"], check=True)
        source = _HERE.parent / "target" / "agent"
    package = _HERE / "python" / "kubetether" / "agent"
    package.mkdir(exist_ok=True)
    for name in _FILES:
        shutil.copyfile(source / name, package / name)


def build_wheel(*args: Any, **kwargs: Any) -> str:
    _carry_agent()
    return maturin.build_wheel(*args, **kwargs)


def build_editable(*args: Any, **kwargs: Any) -> str:
    _carry_agent()
    return maturin.build_editable(*args, **kwargs)


build_sdist = maturin.build_sdist
get_requires_for_build_wheel = maturin.get_requires_for_build_wheel
get_requires_for_build_sdist = maturin.get_requires_for_build_sdist
get_requires_for_build_editable = maturin.get_requires_for_build_editable
prepare_metadata_for_build_wheel = maturin.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = maturin.prepare_metadata_for_build_editable
