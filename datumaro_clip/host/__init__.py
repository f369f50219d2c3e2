"""Where this package meets Datumaro; the only floor that imports it."""
