"""Export a model in a precision, and keep it only if its certificate meets the requirement."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datumaro_clip.errors import OptionError
from datumaro_clip.model.directory import MANIFEST, verify_files
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.making.certificate import (
    Certificate,
    Requirement,
    Sample,
    certify,
    check_requirement,
    texts_of,
)
from datumaro_clip.model.making.precision import NEXT_PRECISION, Calibration, convert_precision
from datumaro_clip.model.openvino import OpenVINOEncoder
from datumaro_clip.model.resolve import ModelDirectory
from datumaro_clip.system.files import atomic_directory

NO_REQUIREMENT = Requirement(())


@dataclass(frozen=True)
class Trial:
    """Samples to calibrate a precision on, and samples to certify it on.

    Attributes
    ----------
    data : str
        Name of the samples, for people.
    calibration : sequence of Sample
        For int8.
    judged : sequence of Sample
        For the certificate.
    held_out : bool or None
        Whether no sample is in both; None if unknown.
    """

    data: str
    calibration: Sequence[Sample]
    judged: Sequence[Sample]
    held_out: bool | None

    @classmethod
    def split(cls, data: str, samples: Sequence[Sample], calibration: int) -> Trial:
        """Use the first samples, at most half of them, for calibration, and the others for the certificate."""
        cut = min(calibration, len(samples) // 2)
        if cut == 0:
            return cls(data, samples, samples, held_out=False)
        return cls(data, samples[:cut], samples[cut:], held_out=True)


def open_encoder(directory: Path, device: str, precision: str) -> Encoder:
    """Open an encoder without self-check, because its vectors are about to be measured."""
    return OpenVINOEncoder(directory, verify_files(directory), device=device, precision=precision)


def export_model(
    model: ModelDirectory,
    out: Path,
    precision: str | None = None,
    trial: Trial | None = None,
    *,
    requirement: Requirement = NO_REQUIREMENT,
    device: str = "CPU",
) -> Certificate | None:
    """Write a model directory in a precision; it appears whole or not at all.

    Parameters
    ----------
    model : ModelDirectory
        As :func:`datumaro_clip.model.resolve.resolve` finds it.
    out : Path
        A new or empty directory.
    precision : str, optional
        ``f32``, ``f16``, ``bf16`` or ``int8``; by default the model's own.
    trial : Trial, optional
        Needed for int8; with it, any precision other than the model's own gets a certificate.
    requirement : Requirement
        What the certificate must meet.
    device : str
        The device that will run the model.

    Returns
    -------
    Certificate or None
        The certificate, if one was made, or the model has one.

    Raises
    ------
    CertificateError
        If the requirement is not met; nothing is written, and the message proposes the next precision.
    OptionError
        If ``out`` holds something, or this model cannot be converted to the precision.
    """
    try:
        with atomic_directory(out) as directory:
            if precision is None or precision == model.manifest.precision:
                for name in (MANIFEST, *verify_files(model.path).files):
                    shutil.copyfile(model.path / name, directory / name)
                certificate = Certificate.load(model.path)
                if certificate is not None:
                    certificate.save(directory)
                return certificate
            return _convert(model.path, directory, precision, trial, requirement, device)
    except FileExistsError as exc:
        raise OptionError(f"{exc}; name another directory") from exc


def _convert(
    source: Path, directory: Path, precision: str, trial: Trial | None, requirement: Requirement, device: str
) -> Certificate | None:
    """Convert a model; with samples, certify it, and raise CertificateError if it misses the requirement."""
    if trial is None:
        convert_precision(source, directory, precision)
        return None
    calibration = Calibration([sample.picture for sample in trial.calibration], texts_of(trial.calibration))
    convert_precision(source, directory, precision, calibration)
    computing = "auto" if precision == "int8" else precision
    certificate = certify_directory(directory, source, trial, device=device, precision=computing)
    proposal = f"export it as {NEXT_PRECISION[precision]}, or lower --require, or insist with --accept-loss"
    check_requirement(certificate, requirement, proposal)
    return certificate


def certify_directory(directory: Path, reference: Path, trial: Trial, *, device: str, precision: str) -> Certificate:
    """Certify a model directory against the same model in f32, and save the certificate in it.

    Parameters
    ----------
    directory, reference : Path
        Model directories of one vector space.
    trial : Trial
        Its ``calibration`` is not used.
    device, precision : str
        Where and how the model will run; the reference runs on the CPU in f32.

    Raises
    ------
    SpaceMismatchError
        If the two are not of one model.
    """
    certificate = certify(
        open_encoder(reference, "CPU", "f32"),
        open_encoder(directory, device, precision),
        trial.judged,
        data=trial.data,
        held_out=trial.held_out,
    )
    certificate.save(directory)
    return certificate
