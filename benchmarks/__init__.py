"""How fast datumaro-clip is, beside its goals and its peers: ``make bench``, or ``python -m benchmarks [PART]``."""
