"""Thumbnails sampled on rings around a centre: turning a picture only shifts the samples along each ring.

The Fourier coefficients along each ring keep their magnitudes when a picture is turned or mirrored; their phases say by
how much. The magnitudes propose near duplicates, whatever their orientation; the phases align a pair. A copy that was
cut out of a picture resembles a *view*, a smaller square of it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from datumaro_clip.vectors import FloatArray

#: Side of the square thumbnails, in pixels.
SIDE = 96
_RINGS = 24
_ANGLES = 128
# Higher harmonics are noise at this size.
_HARMONICS = 24
_DESCRIBED_HARMONICS = 9
_DESCRIBED_RINGS = 8

Thumbnail = npt.NDArray[np.uint8]
Spectrum = npt.NDArray[np.complex64]
#: An affine map (2, 3) from pixels of one thumbnail to pixels of another.
Map = npt.NDArray[Any]


class Thumbnails(Protocol):
    """Thumbnails (96, 96, 3) by number, which several threads may read at once."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Thumbnail: ...


class View(NamedTuple):
    """A square inside the frame: its centre, and half its side, as fractions of the frame's side."""

    x: float
    y: float
    reach: float


WHOLE = View(0.5, 0.5, 0.5)
#: The whole frame, and what a crop to 80 % or 64 % may have left.
VIEWS = (
    WHOLE,
    View(0.5, 0.5, 0.4),
    View(0.4, 0.4, 0.4),
    View(0.6, 0.4, 0.4),
    View(0.4, 0.6, 0.4),
    View(0.6, 0.6, 0.4),
    View(0.5, 0.5, 0.32),
)

_RADII = (np.arange(_RINGS, dtype=np.float32) + 0.5) / _RINGS
_WEIGHTS = _RADII[:, None, None]
_REPEATED_EDGE = np.clip(np.arange(-2, SIDE + 2), 0, SIDE - 1)
_TURNS = np.arange(_ANGLES, dtype=np.float32) * (2 * np.pi / _ANGLES)


class Orientation(NamedTuple):
    """The view, turn and mirroring that align the second picture of a pair with the first.

    Attributes
    ----------
    score : float
        Normalised correlation over the rings at the best turn, from -1 to 1.
    mirrored : bool
    turn : float
        Radians, clockwise, 0 to 2 pi.
    view : View
        The part of the first picture that the second one shows.
    """

    score: float
    mirrored: bool
    turn: float
    view: View


def spectra(thumbnail: Thumbnail, views: tuple[View, ...] = VIEWS) -> Spectrum:
    """Return the Fourier coefficients along the rings of each view, scaled to unit length.

    Parameters
    ----------
    thumbnail : numpy.ndarray
        Shape (96, 96, 3), uint8 RGB.

    Returns
    -------
    numpy.ndarray
        Shape (V, rings, harmonics, 3), complex64; the channels are lightness, red and blue less lightness.
    """
    centred = np.stack([_centred(samples) for samples in _polar(_opponent(thumbnail), views)])
    along = np.ascontiguousarray(centred.swapaxes(2, 3))
    found = np.ascontiguousarray(np.fft.rfft(along)[..., :_HARMONICS].swapaxes(2, 3))
    energies = [_ANGLES * max(float(np.sqrt((samples * samples).sum())), 1e-3) for samples in centred]
    # Scaled so that the correlation of a picture with itself is 1.
    unit = found / np.array(energies, np.float32)[:, None, None, None]
    scaled: Spectrum = (unit * np.sqrt(_ANGLES)).astype(np.complex64)
    return scaled


def describe(thumbnail: Thumbnail, views: tuple[View, ...] = VIEWS) -> FloatArray:
    """Describe each view by the magnitudes of its spectrum, which turning and mirroring do not change.

    Returns
    -------
    numpy.ndarray
        Shape (V, D), float32 unit rows; a picture of one colour gives one fixed direction.
    """
    found = spectra(thumbnail, views)[:, :, :_DESCRIBED_HARMONICS]
    rings = found.reshape(len(views), _DESCRIBED_RINGS, -1, _DESCRIBED_HARMONICS, 3).mean(axis=2)
    magnitudes = np.abs(rings)
    magnitudes[:, :, 0] *= np.sign(rings[:, :, 0].real) / np.sqrt(2)
    rows = magnitudes.reshape(len(views), -1)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(lengths > 1e-6, rows / np.maximum(lengths, 1e-6), np.eye(1, rows.shape[1], dtype=np.float32))


def orient(first: Spectrum, second: Spectrum) -> Orientation:
    """Find the view of the first picture, the turn and the mirroring at which the whole second one correlates best.

    Parameters
    ----------
    first, second : numpy.ndarray
        As from :func:`spectra` over ``VIEWS``.
    """
    best = Orientation(-1.0, False, 0.0, WHOLE)
    first = np.conj(first)
    for mirrored in (False, True):
        other = np.conj(second[0]) if mirrored else second[0]
        cross = np.einsum("vrhc,rhc->vh", first, other)
        curves = np.fft.irfft(cross, n=_ANGLES, axis=1) * _ANGLES
        view, step = np.unravel_index(int(curves.argmax()), curves.shape)
        score = float(curves[view, step])
        if score > best.score:
            best = Orientation(score, mirrored, float(_TURNS[step]), VIEWS[view])
    return best


def _opponent(thumbnail: Thumbnail) -> FloatArray:
    """Lightness, and red and blue less lightness, of a blurred thumbnail."""
    pixels = _blurred(thumbnail.astype(np.float32) / np.float32(255))
    lightness = (pixels[..., 0] + pixels[..., 1] + pixels[..., 2]) / np.float32(3)
    return np.stack([lightness, pixels[..., 0] - lightness, pixels[..., 2] - lightness], axis=-1)


def _blurred(pixels: FloatArray) -> FloatArray:
    """Blur by a binomial filter with a standard deviation of about 1 pixel, against noise and aliasing."""
    for axis in (0, 1):
        padded = np.take(pixels, _REPEATED_EDGE, axis=axis)
        parts = [padded[shift : shift + SIDE] if axis == 0 else padded[:, shift : shift + SIDE] for shift in range(5)]
        pixels = (parts[0] + parts[4] + 4 * (parts[1] + parts[3]) + 6 * parts[2]) / np.float32(16)
    return pixels


def _centred(samples: FloatArray) -> FloatArray:
    """Subtract the picture's mean from samples (rings, angles, 3), and weight each ring by its circumference."""
    means = np.einsum("rac,r->c", samples, _RADII) / (float(_WEIGHTS.sum()) * _ANGLES)
    centred: FloatArray = (samples - means) * np.sqrt(_WEIGHTS)
    return centred


def _polar(channels: FloatArray, views: tuple[View, ...]) -> FloatArray:
    """Sample the rings of each view bilinearly: (V, rings, angles, 3); outside the frame its edge is repeated."""
    flat = channels.reshape(-1, 3)
    places, weights = _samples(views)
    sampled = np.take(flat, places[0], axis=0) * weights[0]
    for place, weight in zip(places[1:], weights[1:], strict=True):
        sampled += np.take(flat, place, axis=0) * weight
    return sampled.reshape(len(views), _RINGS, _ANGLES, 3)


@lru_cache(maxsize=4)
def _samples(views: tuple[View, ...]) -> tuple[list[npt.NDArray[np.int64]], list[FloatArray]]:
    """Flat indices of the four pixels around each sample, and their weights (V * rings * angles, 3)."""
    middle_x, middle_y, reach = np.array(views, np.float32).T[:, :, None, None]
    x = (middle_x + reach * _RADII[:, None] * np.cos(_TURNS)).ravel() * SIDE - 0.5
    y = (middle_y + reach * _RADII[:, None] * np.sin(_TURNS)).ravel() * SIDE - 0.5
    x, y = np.clip(x, 0, SIDE - 1.001), np.clip(y, 0, SIDE - 1.001)
    left, top = x.astype(np.int64), y.astype(np.int64)
    across, down = (x - left)[:, None].astype(np.float32), (y - top)[:, None].astype(np.float32)
    corner = top * SIDE + left
    places = [corner, corner + 1, corner + SIDE, corner + SIDE + 1]
    weights = [(1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down]
    # A weight for each channel: broadcasting one over three takes several times as long.
    return places, [np.repeat(corner, 3, axis=1) for corner in weights]


def frame_map(found: Orientation) -> Map:
    """Turn an orientation into a map (2, 3), float32, from pixels of the first picture to pixels of the second."""
    cos, sin = np.cos(found.turn), np.sin(found.turn)
    turn = np.array([[cos, -sin], [sin, cos]]) * (0.5 / found.view.reach)
    if found.mirrored:
        turn = np.diag([1.0, -1.0]) @ turn
    middle = SIDE / 2 - 0.5
    centre = np.array([found.view.x, found.view.y]) * SIDE - 0.5
    shift = np.array([middle, middle]) - turn @ centre
    return np.hstack([turn, shift[:, None]]).astype(np.float32)
