"""Other precisions of a model are of the same space, reproducible byte for byte, and certified before they are kept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from datumaro_clip.errors import CertificateError, ModelFormatError, OptionError, SpaceMismatchError
from datumaro_clip.model.directory import read_manifest, verify_files
from datumaro_clip.model.golden import GoldenVectors, check_pictures, check_texts
from datumaro_clip.model.making.certificate import Certificate, Requirement, Sample, certify, texts_of
from datumaro_clip.model.making.certified import Trial, certify_directory, export_model
from datumaro_clip.model.making.precision import Calibration, convert_precision
from datumaro_clip.model.openvino import OpenVINOEncoder
from datumaro_clip.model.resolve import resolve
from datumaro_clip.testing import FakeEncoder

pytestmark = pytest.mark.export


def pictures(count: int) -> list[np.ndarray]:
    """Smooth colours with a bright square: nothing like the golden inputs."""
    rng = np.random.default_rng(0)
    result = []
    for _ in range(count):
        picture = np.zeros((40, 40, 3), np.uint8) + rng.integers(0, 200, 3).astype(np.uint8)
        top, left = rng.integers(0, 30, 2)
        picture[top : top + 10, left : left + 10] = rng.integers(100, 256, 3)
        result.append(picture)
    return result


COLOURS = ("red", "green", "blue", "white")
SAMPLES = [
    Sample(picture, (f"a {COLOURS[index % 4]} square, number {index}",), COLOURS[index % 4])
    for index, picture in enumerate(pictures(24))
]
CALIBRATION = Calibration([sample.picture for sample in SAMPLES[:12]], texts_of(SAMPLES[:12]))
TRIAL = Trial.split("squares", SAMPLES, 12)


@pytest.fixture(scope="module")
def int8(random_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("int8") / "model"
    convert_precision(random_clip, out, "int8", CALIBRATION)
    return out


def encoder(directory: Path, precision: str = "auto") -> OpenVINOEncoder:
    return OpenVINOEncoder(directory, read_manifest(directory), precision=precision)


def test_int8_is_the_same_space_in_a_fraction_of_the_size(int8: Path, random_clip: Path) -> None:
    manifest, reference = verify_files(int8), read_manifest(random_clip)
    assert manifest.precision == "int8"
    assert manifest.vector_space == reference.vector_space
    assert manifest.versions["nncf"]
    assert manifest.files["image_encoder.bin"].size < 0.4 * reference.files["image_encoder.bin"].size
    for check in (check_pictures, check_texts):
        check(encoder(int8), GoldenVectors.load(int8))


def test_the_same_calibration_gives_the_same_bytes(int8: Path, random_clip: Path, tmp_path: Path) -> None:
    assert convert_precision(random_clip, tmp_path / "again", "int8", CALIBRATION) == read_manifest(int8)


@pytest.mark.parametrize("precision", ["f16", "bf16"])
def test_half_precision_is_the_same_space_in_half_the_size(precision: str, random_clip: Path, tmp_path: Path) -> None:
    manifest = convert_precision(random_clip, tmp_path / "half", precision)
    reference = read_manifest(random_clip)
    assert manifest.vector_space == reference.vector_space
    assert manifest.files["text_encoder.bin"].size < 0.6 * reference.files["text_encoder.bin"].size
    for check in (check_pictures, check_texts):
        check(encoder(tmp_path / "half"), GoldenVectors.load(tmp_path / "half"))


def test_a_certificate_says_what_was_compared_and_survives_a_file(int8: Path, random_clip: Path) -> None:
    certificate = certify(encoder(random_clip, "f32"), encoder(int8), SAMPLES, data="squares")
    assert certificate.reference == {"precision": "f32", "device": "CPU"}
    assert certificate.candidate == {"precision": "int8", "device": "CPU"}
    assert certificate.data == {"name": "squares", "pictures": 24, "captions": 24, "classes": 4, "held_out": None}
    assert certificate.metrics["mean_cosine"].value > 0.9
    assert {"overlap@10", "image_to_text_recall@5", "zero_shot_top1", "alignment_changed"} <= set(certificate.metrics)
    certificate.save(int8)
    assert Certificate.load(int8) == certificate
    assert "mean_cosine" in certificate.table()
    os.remove(int8 / "certificate.json")


def test_certifying_f32_against_itself_finds_nothing(random_clip: Path) -> None:
    metrics = certify(encoder(random_clip, "f32"), encoder(random_clip, "f32"), SAMPLES, data="squares").metrics
    assert metrics["min_cosine"].value == pytest.approx(1)
    assert (metrics["overlap@10"].value, metrics["duplicates_changed"].value) == (1, 0)
    assert all(metric.reference in (None, metric.value) for metric in metrics.values())


def test_two_models_are_not_compared(random_clip: Path) -> None:
    with pytest.raises(SpaceMismatchError):
        certify(encoder(random_clip, "f32"), FakeEncoder(), SAMPLES, data="squares")


def test_a_certificate_needs_samples() -> None:
    with pytest.raises(OptionError, match="gave 0"):
        certify(FakeEncoder(), FakeEncoder(), [], data="nothing")


@pytest.mark.parametrize("text", ["{}", "[]", '{"format": "datumaro-clip-certificate", "format_version": 2}'])
def test_a_certificate_that_cannot_be_read_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "certificate.json").write_text(text)
    with pytest.raises(ModelFormatError):
        Certificate.load(tmp_path)


def test_a_directory_may_have_no_certificate(tmp_path: Path) -> None:
    assert Certificate.load(tmp_path) is None


def test_an_export_that_meets_its_requirement_keeps_its_certificate(random_clip: Path, tmp_path: Path) -> None:
    made = export_model(
        resolve(random_clip), tmp_path / "out", "int8", TRIAL, requirement=Requirement.parse("mean_cosine>0.5")
    )
    assert made == Certificate.load(tmp_path / "out")
    assert made is not None
    assert made.data["held_out"] is True
    assert made.data["pictures"] == 12


def test_an_export_that_misses_its_requirement_is_refused_with_the_next_precision(
    random_clip: Path, tmp_path: Path
) -> None:
    impossible = Requirement.parse("mean_cosine>1.5")
    with pytest.raises(CertificateError, match=r"misses mean_cosine>1\.5 \(is 0\.9.*export it as f16"):
        export_model(resolve(random_clip), tmp_path / "out", "bf16", TRIAL, requirement=impossible)
    assert list(tmp_path.iterdir()) == []


def test_an_export_without_change_is_a_copy(random_clip: Path, tmp_path: Path) -> None:
    assert export_model(resolve(random_clip), tmp_path / "out") is None
    assert verify_files(tmp_path / "out") == read_manifest(random_clip)


def test_certifying_a_directory_keeps_the_certificate_in_it(random_clip: Path, tmp_path: Path) -> None:
    convert_precision(random_clip, tmp_path / "half", "bf16")
    made = certify_directory(tmp_path / "half", random_clip, TRIAL, device="CPU", precision="auto")
    assert Certificate.load(tmp_path / "half") == made


def test_refusals(random_clip: Path, tmp_path: Path) -> None:
    """No calibration, nothing to calibrate on, a reference that is not f32, an output directory in use."""
    with pytest.raises(OptionError, match="--calibrate"):
        convert_precision(random_clip, tmp_path / "out", "int8")
    with pytest.raises(OptionError, match="needs pictures and texts"):
        Calibration([], ["a"])
    convert_precision(random_clip, tmp_path / "half", "f16")
    with pytest.raises(OptionError, match="is f16, of which f32 cannot be made; start from f32"):
        convert_precision(tmp_path / "half", tmp_path / "out", "f32")
    with pytest.raises(OptionError, match="name another directory"):
        export_model(resolve(random_clip), tmp_path / "half")


@pytest.mark.parametrize(
    ("count", "calibration", "cut", "held_out"),
    [(1, 300, 1, False), (2, 300, 1, True), (9, 3, 3, True), (9, 30, 4, True)],
)
def test_what_a_model_is_judged_on_was_not_calibrated_on(
    count: int, calibration: int, cut: int, held_out: bool
) -> None:
    trial = Trial.split("squares", SAMPLES[:count], calibration)
    assert (len(trial.calibration), trial.held_out) == (cut, held_out)
    assert len(trial.judged) == (count - cut if held_out else count)
