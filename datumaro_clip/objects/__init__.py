"""Objects in pictures: detectors, boxes, and the parts of pictures that they show."""
