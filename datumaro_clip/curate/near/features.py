"""Aligns thumbnails by local features, for copies that were cropped anywhere or turned by any angle; with OpenCV."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from datumaro_clip.curate.near.rings import SIDE, Map, Thumbnail

# SIFT finds few features in 96 pixels: its smallest blobs fit twice as many.
_ENLARGE = 2
_RATIO = 0.8
_FEWEST_INLIERS = 8
_REACH = 3.0


class Features(NamedTuple):
    """Keypoints (K, 2), float32, in pixels of the thumbnail, and their SIFT descriptors (K, 128), uint8."""

    keypoints: npt.NDArray[np.float32]
    descriptors: npt.NDArray[np.uint8]

    @property
    def nbytes(self) -> int:
        """Memory of both arrays, in bytes."""
        return self.keypoints.nbytes + self.descriptors.nbytes


def features(picture: Thumbnail) -> Features:
    """Find the 300 strongest SIFT features (Lowe, 2004) of a lightly blurred, enlarged thumbnail."""
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (0, 0), 0.8)
    large = cv2.resize(grey, None, fx=_ENLARGE, fy=_ENLARGE, interpolation=cv2.INTER_CUBIC)
    sift: Any = cv2.SIFT.create(nfeatures=300, contrastThreshold=0.02)
    found, descriptors = sift.detectAndCompute(large, None)
    if descriptors is None:
        return Features(np.empty((0, 2), np.float32), np.empty((0, 128), np.uint8))
    points = np.array([(point.pt[0] + 0.5, point.pt[1] + 0.5) for point in found])
    # OpenCV returns whole numbers from 0 to 255 as float32.
    return Features((points / _ENLARGE - 0.5).astype(np.float32), descriptors.astype(np.uint8))


def are_enough(found: Features) -> bool:
    """Whether there are enough features to locate another picture by."""
    return len(found.keypoints) >= _FEWEST_INLIERS


def locate(first: Features, second: Features, mirrored: bool = False) -> Map | None:
    """Find a map from the first picture's pixels to the second's that eight or more features agree on.

    RANSAC fits an affine map to the matches that pass Lowe's ratio test.

    Parameters
    ----------
    first, second : Features
        Of the two thumbnails; ``second`` of the mirror image where ``mirrored``.
    mirrored : bool
        Convert the map to one to the second thumbnail as it is.

    Returns
    -------
    numpy.ndarray or None
        Shape (2, 3), float32; None where there is no such map, or no plausible one.
    """
    if not (are_enough(first) and are_enough(second)):
        return None
    descriptors = first.descriptors.astype(np.float32), second.descriptors.astype(np.float32)
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(*descriptors, k=2)
    good = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < _RATIO * pair[1].distance]
    if len(good) < _FEWEST_INLIERS:
        return None
    here = first.keypoints[[found.queryIdx for found in good]]
    there = second.keypoints[[found.trainIdx for found in good]]
    where, inliers = cv2.estimateAffine2D(here, there, method=cv2.RANSAC, ransacReprojThreshold=_REACH)
    if where is None or inliers.sum() < _FEWEST_INLIERS or not _plausible(where):
        return None
    found: Map = where.astype(np.float32)
    if mirrored:
        found[0] = -found[0]
        found[0, 2] += SIDE - 1
    return found


def mirror(picture: Thumbnail) -> Thumbnail:
    """Flip a thumbnail left to right."""
    return np.ascontiguousarray(picture[:, ::-1])


def _plausible(where: npt.NDArray[Any]) -> bool:
    """Whether a map neither mirrors, nor squeezes beyond 2:1, nor scales beyond 3."""
    scales = np.linalg.svd(where[:, :2], compute_uv=False)
    upright = np.linalg.det(where[:, :2]) > 0
    return bool(upright and scales[0] < 2 * scales[1] and scales[1] > 1 / 3 and scales[0] < 3)
