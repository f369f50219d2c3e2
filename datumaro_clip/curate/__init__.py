"""Curation: arrays and plain records in, decisions out."""
