"""Datumaro's items, annotations, categories and media as JSON, and back."""
