"""Adapts the package to Datumaro, which no room below imports."""
