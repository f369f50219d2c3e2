"""The certificate of a model: how much its precision changes the results on the user's own data."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from datumaro_clip.errors import CertificateError, ModelFormatError, OptionError
from datumaro_clip.images import ImageLike
from datumaro_clip.model.directory import CERTIFICATE, read_json
from datumaro_clip.model.encoder import Encoder
from datumaro_clip.model.making.metrics import METRICS, GroundTruth, Metric, Thresholds, Vectors, compare, owners_of
from datumaro_clip.system.files import write_text
from datumaro_clip.texts import DEFAULT_PROMPT, fill_prompt
from datumaro_clip.vectors import require_same_space

FORMAT = "datumaro-clip-certificate"
FORMAT_VERSION = 1

# All pictures are compared with one another; a float32 matrix of this side takes 256 MB.
MOST_SAMPLES = 8000


@dataclass(frozen=True)
class Sample:
    """One picture of the user's data.

    Attributes
    ----------
    picture : ImageLike
    captions : tuple of str
        May be empty.
    label : str or None
        The name of its class, if it has exactly one.
    """

    picture: ImageLike
    captions: tuple[str, ...] = ()
    label: str | None = None


def texts_of(samples: Sequence[Sample]) -> list[str]:
    """Return the first caption of each sample; if no sample has one, the prompts for their labels."""
    captions = [sample.captions[0] for sample in samples if sample.captions]
    labels = dict.fromkeys(fill_prompt(DEFAULT_PROMPT, sample.label) for sample in samples if sample.label)
    return captions or list(labels)


@dataclass(frozen=True)
class Certificate:
    """The measured differences between two encoders of one model.

    Attributes
    ----------
    model, space : str
        Name and fingerprint.
    reference, candidate : mapping
        ``precision`` and ``device`` of each encoder.
    data : mapping
        ``name``; numbers of ``pictures``, ``captions`` and ``classes``; ``held_out``: whether none of them was used
        for calibration (None if unknown).
    thresholds : Thresholds
        Thresholds of the decisions that are counted.
    metrics : mapping of str to Metric
        As :func:`datumaro_clip.model.making.metrics.compare` names them.
    """

    model: str
    space: str
    reference: Mapping[str, str]
    candidate: Mapping[str, str]
    data: Mapping[str, Any]
    thresholds: Thresholds
    metrics: Mapping[str, Metric]

    def to_json(self) -> str:
        """Return the text of ``certificate.json``."""
        return json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}, indent=2) + "\n"

    def table(self) -> str:
        """Return the figures as text for people: what was compared, then one figure a line."""
        used = {True: ", not used for calibration", False: ", also used for calibration", None: ""}
        data = self.data
        lines = [
            f"{self.model}: {_where(self.candidate)} against {_where(self.reference)}; {data['name']}: "
            f"{data['pictures']} pictures, {data['captions']} captions, {data['classes']} classes"
            f"{used[data['held_out']]}",
            f"{'':<26}{self.reference['precision']:>12}{self.candidate['precision']:>12}",
        ]
        for name, metric in self.metrics.items():
            pair = (metric.reference, metric.value)
            cells = ["" if each is None else f"{each}" if isinstance(each, int) else f"{each:.5f}" for each in pair]
            lines.append(f"{name:<26}{cells[0]:>12}{cells[1]:>12}")
        return "\n".join(lines)

    def save(self, directory: Path) -> None:
        """Write ``certificate.json`` into a model directory."""
        write_text(directory / CERTIFICATE, self.to_json())

    @classmethod
    def load(cls, directory: Path) -> Certificate | None:
        """Read a model directory's certificate, None where it has none.

        Raises
        ------
        ModelFormatError
            If it cannot be read, or is of an unknown version.
        """
        path = directory / CERTIFICATE
        if not path.is_file():
            return None
        values = read_json(path)
        if values.pop("format", None) != FORMAT or values.pop("format_version", None) != FORMAT_VERSION:
            raise ModelFormatError(f"{path} is not a certificate of version {FORMAT_VERSION}; certify the model again")
        try:
            metrics = {name: Metric(**metric) for name, metric in values.pop("metrics").items()}
            return cls(thresholds=Thresholds(**values.pop("thresholds")), metrics=metrics, **values)
        except (AttributeError, KeyError, TypeError) as exc:
            raise ModelFormatError(f"{path} cannot be used: {exc}; certify the model again") from exc


def certify(
    reference: Encoder, candidate: Encoder, samples: Sequence[Sample], *, data: str, held_out: bool | None = None
) -> Certificate:
    """Compare two encoders of one model on the user's samples.

    Parameters
    ----------
    reference : Encoder
        The model in f32.
    candidate : Encoder
        The model in the precision, and on the device, in which it will be used.
    samples : sequence of Sample
        At least 1, at most :data:`MOST_SAMPLES`.
    data : str
        Name of the samples, for people.
    held_out : bool, optional
        Whether none of them was used for calibration.

    Raises
    ------
    OptionError
        If there are no samples, or too many.
    SpaceMismatchError
        If the two are not of one model.
    ImageError
        For the first picture that cannot be decoded.
    """
    if not 1 <= len(samples) <= MOST_SAMPLES:
        raise OptionError(f"a certificate needs 1 to {MOST_SAMPLES} pictures, {data} gave {len(samples)}")
    require_same_space(reference.space, candidate.space)
    thresholds = Thresholds()
    classes = sorted({sample.label for sample in samples if sample.label})
    labels = [classes.index(sample.label) if sample.label else -1 for sample in samples]
    owners = owners_of([len(sample.captions) for sample in samples])
    truth = GroundTruth(owners, np.asarray(labels, np.int64))
    metrics = compare(_vectors(reference, samples, classes), _vectors(candidate, samples, classes), truth, thresholds)
    return Certificate(
        model=candidate.space.model,
        space=candidate.space.fingerprint,
        reference={"precision": reference.provenance.precision, "device": reference.provenance.device},
        candidate={"precision": candidate.provenance.precision, "device": candidate.provenance.device},
        data={
            "name": data,
            "pictures": len(samples),
            "captions": len(truth.owners),
            "classes": len(classes),
            "held_out": held_out,
        },
        thresholds=thresholds,
        metrics=metrics,
    )


def _vectors(encoder: Encoder, samples: Sequence[Sample], classes: Sequence[str]) -> Vectors:
    """Embed pictures, captions and the prompts for all classes with one encoder."""
    return Vectors(
        images=encoder.embed_images(sample.picture for sample in samples),
        captions=encoder.embed_texts([caption for sample in samples for caption in sample.captions]),
        prompts=encoder.embed_texts([fill_prompt(DEFAULT_PROMPT, name) for name in classes]),
    )


def _where(side: Mapping[str, str]) -> str:
    """Return precision and device as text for people."""
    return f"{side['precision']} on {side['device']}"


#: What an export must meet by default: one neighbour in ten may change.
DEFAULT_REQUIREMENT = "mean_cosine>=0.99,overlap@10>=0.9"

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
)
_CLAUSE = re.compile(r"\s*(?P<metric>[\w@]+)\s*(?P<operator>>=|<=|>|<)\s*(?P<bound>[-+.\deE]+)\s*")


@dataclass(frozen=True)
class Clause:
    """A comparison of one metric with a bound."""

    metric: str
    operator: str
    bound: float

    def __str__(self) -> str:
        return f"{self.metric}{self.operator}{self.bound:g}"


@dataclass(frozen=True)
class Requirement:
    """Comparisons that must all hold."""

    clauses: tuple[Clause, ...]

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Parse comparisons separated by commas; raise :class:`OptionError` for malformed ones and unknown metrics."""
        clauses: list[Clause] = []
        for part in filter(str.strip, text.split(",")):
            match = _CLAUSE.fullmatch(part)
            bound = None
            with suppress(ValueError):
                bound = float(match["bound"]) if match else None
            if match is None or bound is None:
                raise OptionError(
                    f"{part.strip()!r} is no requirement; write as mean_cosine>=0.99, separated by commas"
                )
            if match["metric"] not in METRICS:
                raise OptionError(f"no metric is called {match['metric']}; there are: {', '.join(METRICS)}")
            clauses.append(Clause(match["metric"], match["operator"], bound))
        return cls(tuple(clauses))

    def missed(self, figures: Mapping[str, float]) -> list[str]:
        """Return the comparisons that do not hold, each with the figure found.

        Raises
        ------
        OptionError
            If a metric was not measured; lists those that were.
        """
        for clause in self.clauses:
            if clause.metric not in figures:
                raise OptionError(f"{clause.metric} was not measured; there are: {', '.join(figures)}")
        return [
            f"{clause} (is {figures[clause.metric]:.5g})"
            for clause in self.clauses
            if not _OPERATORS[clause.operator](figures[clause.metric], clause.bound)
        ]


def check_requirement(certificate: Certificate, requirement: Requirement, cure: str) -> None:
    """Raise :class:`CertificateError`, with each comparison that does not hold, unless the requirement is met."""
    missed = requirement.missed({name: metric.value for name, metric in certificate.metrics.items()})
    if missed:
        where = _where(certificate.candidate)
        raise CertificateError(f"{certificate.model}, {where}, misses {'; '.join(missed)}: {cure}")
