"""A wheel works where there is no compiler, no source and no editable installation."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

USE_IT = """
import sys
import numpy as np
import chiploop, chiploop._core
from chiploop.chip.oracle import OracleDevice
from chiploop.chip.compile import compile
from chiploop.chip.profile import profile_names, read_profile
from chiploop.chip.virtual import VirtualDevice
from chiploop.datasets.shapes import open_shapes
from chiploop.quantize.apply import quantize
from chiploop.recipes.recipe import recipe_names
from chiploop.rng import stream
from chiploop.spec import NeuronSpec
from chiploop.spec.notation import parse_notation

assert chiploop.__file__.startswith(sys.prefix), chiploop.__file__
assert "demo" in recipe_names() and "speck2f" in profile_names()
shapes = open_shapes()
spec = parse_notation("4c3p1-P2-3", shapes.shape, NeuronSpec(v_th=0.5), stream(0, "weights"))
program = compile(quantize(spec), read_profile("speck2f"))
counts = []
for device in (VirtualDevice(), OracleDevice()):
    with device:
        device.load(program)
        counts.append(device.run_batch([shapes.sample(0).events]).output_counts)
assert counts[0].sum() > 0 and np.array_equal(*counts)
print("the wheel works")
"""


@pytest.mark.slow
@pytest.mark.network
def test_a_wheel_runs_a_program_in_an_environment_of_its_own(tmp_path: Path) -> None:
    """Needs the network: the build's requirements are fetched into an isolated environment."""
    built, env = tmp_path / "dist", tmp_path / "env"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(built), str(ROOT)], check=True)
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.startswith("chiploop/_core.") and name.endswith((".so", ".pyd")) for name in names)
    assert {"chiploop/py.typed", "chiploop/_core.pyi", "chiploop/recipes/library/demo.toml"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") or name.endswith("dist-info/LICENSE") for name in names)
    assert not any(name.startswith(("tests/", "cpp/", ".ci/")) for name in names)

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(env)], check=True)
    site = env / Path(sysconfig.get_path("purelib", vars={"base": ""}).lstrip("/"))
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    # The requirements of the environment that runs the tests, but not its editable chiploop: a path that is only
    # appended is searched last, and its own start-up files are not read.
    (site / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    done = subprocess.run([str(env / "bin" / "python"), "-c", USE_IT], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "the wheel works"
