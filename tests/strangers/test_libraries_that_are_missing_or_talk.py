"""Machines for which a library has no wheel, installs beside the tested set, and libraries that report their use."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from commands import run_python

from datumaro_clip import cli
from datumaro_clip.cli import doctor
from datumaro_clip.similarity import kernels
from datumaro_clip.store.columns import checksum

STORE = """
import sys
{without}
import numpy as np
from pathlib import Path
from datumaro_clip.similarity import pairs_above, top_k
from datumaro_clip.similarity import kernels
from datumaro_clip.store import columns
from datumaro_clip.store import create_store, open_store
from datumaro_clip.testing.records import HEADER, make_records
for kind in ("clip_hdf5", "clip_mmap"):
    with create_store(Path(sys.argv[1]) / kind, kind, HEADER) as writer:
        for record in make_records(60):
            writer.add(record)
    with open_store(Path(sys.argv[1]) / kind) as store:
        store.check()
rows = np.random.default_rng(0).standard_normal((500, 64)).astype(np.float32)
rows /= np.linalg.norm(rows, axis=1, keepdims=True)
found, scores = top_k(rows[:40], rows.astype(np.float16), 5)
print(kernels.numkong is None, columns.crc32.__module__, found.tolist())
"""


def files_below(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_numpy_and_zlib_stand_in_for_what_has_no_wheel(tmp_path: Path) -> None:
    """Stores equal byte for byte, and the same rows are found."""
    printed = []
    for name, without in (("with", ""), ("without", "sys.modules.update(numkong=None, zlib_ng=None)")):
        program = STORE.format(without=without).replace("sys.argv[1]", repr(str(tmp_path / name)))
        printed.append(run_python(program).split(maxsplit=2))
    assert [line[:2] for line in printed] == [["False", "zlib_ng.zlib_ng"], ["True", "zlib"]]
    assert printed[0][2] == printed[1][2]
    with_them, without_them = files_below(tmp_path / "with"), files_below(tmp_path / "without")
    assert len(with_them) > 10
    assert with_them == without_them


def test_the_sums_are_those_of_zlib() -> None:
    block = np.arange(100_000, dtype=np.float32)
    assert checksum(block) == zlib.crc32(block.tobytes())


@pytest.mark.parametrize(("queries", "rows"), [(0, 5), (1, 0), (1, 9), (5, 40)])
def test_numpys_kernels_are_right(queries: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "numkong", None)
    chance = np.random.default_rng(3)
    left, right = (chance.standard_normal((n, 33)).astype(np.float16) for n in (queries, rows))
    exact = left.astype(float) @ right.astype(float).T
    np.testing.assert_allclose(kernels.half_products(left, right), exact, atol=1e-4)
    np.testing.assert_array_equal(kernels.widened(left), left.astype(np.float32))
    for values in (right, right.astype(np.float32)):
        np.testing.assert_allclose(kernels.row_dots(values, values), (values.astype(float) ** 2).sum(axis=1), rtol=1e-5)
    small, other = (chance.integers(-128, 128, (n, 512)).astype(np.int8) for n in (queries, rows))
    np.testing.assert_array_equal(kernels.byte_products(small, other), small.astype(int) @ other.astype(int).T)


def test_doctor_names_what_leaves_the_tested_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = {"torch": "2.13.0+cpu", "transformers": "5.9.1", "nncf": "3.4.0"}
    monkeypatch.setattr(doctor, "library_versions", lambda names: {n: versions[n] for n in names if n in versions})
    monkeypatch.setattr(doctor, "_fault", lambda modules: "")
    assert cli.main(["doctor"]) == 0
    printed = capsys.readouterr().out
    section = printed[printed.index("export, beside") : printed.index("caches below")].splitlines()
    assert section[1] == "  transformers 5.9.1, tested was 5.5.4"
    assert section[2].startswith("  to have the tested set: pip install -c ")
    assert len(section) == 3
    assert doctor.CONSTRAINTS.is_file()


# Runs at the start of every Python process of the test, children included.
REFUSING = """
import os, socket
def refuse(*args, **kwargs):
    with open(os.environ["ASKED"], "a") as file:
        file.write(repr(args[:2]) + "\\n")
    raise OSError("the network is refused")
class Refusing(socket.socket):
    def connect(self, address):
        if self.family != getattr(socket, "AF_UNIX", None):
            refuse(address)
        return super().connect(address)
    connect_ex = sendto = connect
socket.socket = Refusing
socket.create_connection = socket.getaddrinfo = socket.gethostbyname = refuse
"""
EMBED = """
import numpy as np, datumaro_clip
vectors, errors = datumaro_clip.embed([np.zeros((40, 30, 3), np.uint8)], "tiny", cache="off")
print(vectors.shape, errors)
"""
QUANTISE = """
import sys, numpy as np
from pathlib import Path
from datumaro_clip.model.making.precision import Calibration, convert_precision
from datumaro_clip.model.resolve import BUNDLED
chance = np.random.default_rng(0)
pictures = [chance.integers(0, 255, (96, 96, 3), dtype=np.uint8) for _ in range(4)]
print(convert_precision(BUNDLED / "tiny", Path("int8"), "int8", Calibration(pictures, ["a", "b"])).precision)
print(sys.modules["nncf"].__name__, sys.modules["openvino_telemetry"])
"""
CONVERT = """
import datumaro_clip.model, openvino
from openvino.tools.ovc import telemetry_utils
telemetry_utils.init_ovc_telemetry()
telemetry_utils.send_conversion_result("success")
print(telemetry_utils.tm.__name__)
"""


def refused(program: str, tmp_path: Path) -> tuple[str, list[str]]:
    """What a program prints, and what it asked the network for."""
    site, asked = tmp_path / "site", tmp_path / "asked"
    site.mkdir()
    (site / "sitecustomize.py").write_text(REFUSING)
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "ASKED": str(asked), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, asked.read_text().splitlines() if asked.exists() else []


def test_the_network_is_refused_as_it_is_tried(tmp_path: Path) -> None:
    """The tests below could not fail otherwise."""
    program = "import urllib.request as r\ntry: r.urlopen('http://127.0.0.1:9')\nexcept OSError as exc: print(exc)"
    printed, asked = refused(program, tmp_path)
    assert "the network is refused" in printed
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("program", "printed"), [(EMBED, "(1, 128) {}"), (CONVERT, "openvino.tools.ovc.telemetry_stub")]
)
def test_nothing_is_reported_when_embedding(program: str, printed: str, tmp_path: Path) -> None:
    out, asked = refused(program, tmp_path)
    assert out.splitlines()[-1] == printed
    assert asked == []


@pytest.mark.export
def test_nothing_is_reported_when_quantising(export_extra: None, tmp_path: Path) -> None:
    """NNCF and OpenVINO's converter tell their makers of each use, unless they are kept from it."""
    out, asked = refused(QUANTISE, tmp_path)
    assert out.splitlines()[-2:] == ["int8", "nncf None"]
    assert asked == []
