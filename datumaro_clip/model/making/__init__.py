"""Making model directories: exporting, converting the precision, fingerprints and certificates."""
