"""Downloading the pictures of a table of addresses: each once, without overloading servers or reaching private ones."""

from __future__ import annotations
