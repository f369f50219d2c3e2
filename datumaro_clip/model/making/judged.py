"""Model directories for people: a model by any name, in a precision, judged before it is kept."""

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
    """What a precision is made with and judged on.

    Attributes
    ----------
    data : str
        What the samples are, for people.
    calibration : sequence of Sample
        For int8.
    judged : sequence of Sample
        For the certificate.
    held_out : bool
        Whether the two have nothing in common.
    """

    data: str
    calibration: Sequence[Sample]
    judged: Sequence[Sample]
    held_out: bool

    @classmethod
    def split(cls, data: str, samples: Sequence[Sample], calibration: int) -> Trial:
        """Calibrate on the first, at most half of them, and judge on the others."""
        cut = min(calibration, len(samples) // 2)
        if cut == 0:
            return cls(data, samples, samples, held_out=False)
        return cls(data, samples[:cut], samples[cut:], held_out=True)


def open_encoder(directory: Path, device: str, precision: str) -> Encoder:
    """An encoder over a model directory as it is, without self-check: what it is worth is about to be measured."""
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
    """Write a model directory where a person wants it, in a precision; it appears whole or not at all.

    Parameters
    ----------
    model : ModelDirectory
        As :func:`datumaro_clip.model.resolve` finds it.
    out : Path
        A new or empty directory.
    precision : str, optional
        ``f32``, ``f16``, ``bf16`` or ``int8``; the model's own where omitted.
    trial : Trial, optional
        Needed for int8; with it, any other precision than the model's own gets a certificate.
    requirement : Requirement
        What the certificate must say.
    device : str
        The device that will run the model.

    Returns
    -------
    Certificate or None
        The certificate, where one was made.

    Raises
    ------
    CertificateError
        If the requirement is missed: nothing is written then, and the next precision is proposed.
    OptionError
        If ``out`` holds something, or the precision cannot be made of this model.
    """
    try:
        with atomic_directory(out) as directory:
            if precision is None or precision == model.manifest.precision:
                for name in (MANIFEST, *verify_files(model.path).files):
                    shutil.copyfile(model.path / name, directory / name)
                certificate = Certificate.load(model.path)
            else:
                certificate = _convert(model.path, directory, precision, trial, requirement, device)
            if certificate is not None:
                certificate.save(directory)
            return certificate
    except FileExistsError as exc:
        raise OptionError(f"{exc}; name another directory") from exc


def _convert(
    source: Path, directory: Path, precision: str, trial: Trial | None, requirement: Requirement, device: str
) -> Certificate | None:
    """Make another precision; where there is data, judge it; raise CertificateError if it misses what is required."""
    if trial is None:
        convert_precision(source, directory, precision)
        return None
    calibration = Calibration([sample.picture for sample in trial.calibration], texts_of(trial.calibration))
    convert_precision(source, directory, precision, calibration)
    certificate = certify(
        open_encoder(source, "CPU", "f32"),
        open_encoder(directory, device, "auto" if precision == "int8" else precision),
        trial.judged,
        data=trial.data,
        held_out=trial.held_out,
    )
    proposal = f"export it as {NEXT_PRECISION[precision]}, or lower --require, or insist with --accept-loss"
    check_requirement(certificate, requirement, proposal)
    return certificate


def certify_directory(directory: Path, reference: Path, trial: Trial, *, device: str, precision: str) -> Certificate:
    """Judge a model directory against the same model in f32, and keep the certificate in it.

    Parameters
    ----------
    directory, reference : Path
        Model directories of one vector space.
    trial : Trial
        Only its ``judged`` samples are used.
    device, precision : str
        What will run the model; the reference runs on the CPU in f32.

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
        held_out=None,
    )
    certificate.save(directory)
    return certificate
