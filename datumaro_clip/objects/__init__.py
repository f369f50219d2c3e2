"""Objects in pictures: detectors, and the boxes that they find."""
