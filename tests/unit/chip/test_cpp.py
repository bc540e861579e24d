"""The C++ tests, built apart from the extension."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def build_and_test(folder: Path, *options: str) -> None:
    if shutil.which("cmake") is None or not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        pytest.skip("the C++ tests need cmake and a C++ compiler")
    flags = ["-DCHIPLOOP_PYTHON=OFF", "-DCHIPLOOP_TESTS=ON", *options]
    for command in (
        ["cmake", "-S", str(ROOT), "-B", str(folder), *flags],
        ["cmake", "--build", str(folder), "--parallel", "2"],
        ["ctest", "--test-dir", str(folder), "--output-on-failure", "--no-tests=error"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


def test_cpp(tmp_path: Path) -> None:
    build_and_test(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_cpp_under_sanitizers(tmp_path: Path, sanitizers: str) -> None:
    build_and_test(tmp_path, f"-DCHIPLOOP_SANITIZE={sanitizers}")


def test_the_core_on_arm(tmp_path: Path) -> None:
    """The NEON kernels and the portable ones as an Arm processor runs them, emulated."""
    compiler = shutil.which("aarch64-linux-gnu-g++")
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if compiler is None or emulator is None:
        pytest.skip(
            "needs a compiler for aarch64 and its emulator (on Debian: g++-aarch64-linux-gnu, qemu-user-static)"
        )
    cpp = ROOT / "cpp"
    sources = [cpp / "core.test.cc", cpp / "core.cc", cpp / "isa.cc", *sorted(cpp.glob("kernel_*.cc"))]
    program = tmp_path / "core"
    for command in (
        [compiler, "-std=c++20", "-O1", "-static", *map(str, sources), "-o", str(program)],
        [emulator, str(program)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
